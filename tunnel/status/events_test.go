package status

import (
	"context"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// An answer tells of every event that was published before the question.
func TestEventsThatWaitComeBeforeTheAnswer(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			s := New()
			for range 3 {
				s.Publish(NewEvent(time.Now(), "hq", LevelInfo, "up", "up"))
			}
			answer := make(chan Reply, 1)
			go func() {
				answer <- s.Answer(context.Background(), os.Geteuid(), Request{Op: OpEvents, Last: 10})
			}()
			synctest.Wait() // the question waits, too
			done := make(chan struct{})
			go s.hub(done)
			if r := <-answer; len(r.Events) != 3 {
				t.Errorf("%d of 3 events", len(r.Events))
			}
			close(done)
			<-s.hubDone
		})
	}
}

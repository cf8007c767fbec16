package tunnel

import (
	"testing"
	"time"

	"greseal/ikev2"
	"greseal/tunnel/attempt"
)

func TestStrangersWriteFewLinesHoweverMuchTheySend(t *testing.T) {
	b := newLineLimit()
	now := ikev2.Time(time.Hour)
	lines, told := 0, uint64(0)
	const seconds, each = 600, 1000
	for range seconds {
		for range each {
			if ok, muted := b.take(now); ok {
				lines++
				told += muted
			}
			now += time.Second / each
		}
	}
	if most := strangerBurst + seconds/10; lines < most-1 || lines > most+1 {
		t.Errorf("%d lines in %d s, want about %d", lines, seconds, most)
	}
	if told+b.muted+uint64(lines) != seconds*each {
		t.Errorf("%d written, %d told of, %d still to tell: not all of %d", lines, told, b.muted, seconds*each)
	}
	now += time.Hour
	for range strangerBurst {
		if ok, _ := b.take(now); !ok {
			t.Error("after an hour's quiet the bucket is not full")
		}
	}
}

func TestOwnAttemptsAreAlwaysLogged(t *testing.T) {
	b := newLineLimit()
	now := ikev2.Time(time.Second)
	for failures := range 200 {
		if ok, _ := b.take(now); !ok {
			t.Fatalf("attempt %d was not logged", failures)
		}
		now += attempt.Backoff(failures+1, 0)
	}
}

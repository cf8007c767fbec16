package tunnel

import (
	"testing"
	"time"

	"greseal/ikev2"
	"greseal/tunnel/status"
)

// Examinations whose clients went away do not keep others from starting one.
func TestForgottenExaminationsMakeRoom(t *testing.T) {
	given := map[int]bool{}
	var j jobs
	for id := range maxJobsRunning {
		j.list = append(j.list, &job{Job: status.Job{ID: id}, cancel: func() { given[id] = true }, askedAt: ikev2.Time(id+1) * time.Second})
	}
	if n := j.busy(10 * time.Second); n != maxJobsRunning || len(given) > 0 {
		t.Errorf("while their clients ask: %d are under way, given up %v", n, given)
	}
	j.list[0].askedAt = 40 * time.Second
	if n := j.busy(41 * time.Second); n != maxJobsRunning-1 || len(given) != 1 || !given[1] {
		t.Errorf("%d are under way, given up %v; want the one that was asked after the longest time ago", n, given)
	}
	if n := j.busy(41 * time.Second); n != maxJobsRunning-1 || len(given) != 1 {
		t.Errorf("with room there is no reason: %d are under way, given up %v", n, given)
	}
}

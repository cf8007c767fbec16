package kernel

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	// underWay is longer than any packet takes from the choice of its outbound
	// SA to its encryption.
	underWay = 200 * time.Millisecond

	// drainTime is given to it where the kernel cannot tell.
	drainTime = 2 * time.Millisecond
)

// drain waits until no packet is between the choice of an outbound SA and its
// encryption, so that none is lost (XfrmOutStateInvalid) when the SA is removed
// right after a newer one has taken its place, which is how a rekeying ends.
//
// The kernel outdates what it remembers of the old SA a moment before it lets the
// new one be found, so a sender may remember the old one again in between: the
// policy is written once more, which makes all look again. Whoever has chosen
// before is inside an RCU read-side critical section, and membarrier(2) returns
// when those that had begun are over, after some ticks of the kernel's clock.
// Where the newer SA is older than underWay there is nothing to wait for.
func (d *Datapath) drain(s *installed) error {
	p := s.flow
	if next := newest(p.out); next == s || p.allowOut == nil || time.Since(next.since) > underWay {
		return nil
	}
	if err := d.allow(*p.allowOut, true); err != nil {
		return err
	}
	const global = 1 // MEMBARRIER_CMD_GLOBAL (4.3)
	if _, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, global, 0, 0); errno != 0 {
		time.Sleep(drainTime)
	}
	return nil
}

package kernel

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	// underWay is longer than any packet takes from the look-up of its outbound
	// SA to its encryption.
	underWay = 200 * time.Millisecond

	// drainTime is waited where the kernel has no membarrier.
	drainTime = 2 * time.Millisecond
)

// drain waits until no packet is between the look-up of an outbound SA and its
// encryption, so that none is lost (XfrmOutStateInvalid) when the SA is removed
// right after a newer one has replaced it, as at the end of a rekeying.
//
// The kernel invalidates cached uses of the old SA just before the new one can be
// found, so a sender may cache the old one again in between: the policy is written
// once more, which invalidates them all. Look-ups from before are inside an RCU
// read-side critical section, and membarrier(2) returns when those that had begun are
// over, after some ticks of the kernel's clock.
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

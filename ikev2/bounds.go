package ikev2

import (
	"slices"

	"greseal/ikev2/rate"
)

// What one peer can make us hold is bounded, whatever it asks for, how often, and
// however little of it it deletes. Besides what stands here and what a message's
// own bounds allow: one request of ours and one series of key exchanges for each
// IKE SA, maxOthers addresses, and maxResponses answers for all peers.
const (
	// maxSAs is for the IKE SAs of a peer: one is in use, rekeying and collisions
	// make three, a new one beside it as many.
	maxSAs = 16
	// maxLingering is for its deleted pairs whose inbound SA still takes what is
	// under way.
	maxLingering = 8
	// maxKept is for an opaque value of a notify, octets.
	maxKept = 1024
)

// newChildren limits how often a peer has new keys made: what it asks for beyond
// is refused for the moment.
func newChildren() rate.Bucket { return rate.Bucket{Rate: 10, Burst: 60} }

// boundSAs forgets the oldest IKE SAs that are on their way out, when a peer has
// too many: those that it was to delete, or that others took the place of.
func (e *Engine) boundSAs(p *peer) {
	for _, s := range slices.Clone(p.sas) {
		if len(p.sas) <= maxSAs {
			return
		}
		if s.superfluous() {
			e.drop(s, nil, true)
		}
	}
}

func (s *ikeSA) superfluous() bool {
	switch s.state {
	case stateReplaced, stateDeleting, stateChildless, stateRedundantOurs, stateRedundantTheirs, stateRedundantGone:
		return true
	}
	return false
}

// lingers notes a pair whose inbound SA stays for a while, and forgets the oldest
// of those when there are too many.
func (e *Engine) lingers(c *child) {
	p := c.sa.peer
	p.lingering = append(p.lingering, c)
	if len(p.lingering) > maxLingering {
		e.forgetChild(p.lingering[0])
	}
}

// pairs counts a peer's pairs but for those that linger for their time.
func (p *peer) pairs() int {
	n := 0
	for _, s := range p.sas {
		for _, c := range s.children {
			if c.state != childLingers || c.lingerAt == never {
				n++
			}
		}
	}
	return n
}

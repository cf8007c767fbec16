package doctor

import (
	"fmt"

	"greseal/ikev2"
)

// checkESPProposals: both sides have an ESP suite in common. Only the responder
// knows both lists.
func checkESPProposals(x *exam) Step {
	if c := x.now.Tunnel.Child; c != nil && x.now.up() {
		return fine("agreed: " + c.Suite)
	}
	ours := "ours: " + proposals(x.ESP)
	f := x.failure()
	if f == nil || f.Kind != ikev2.FailNoProposal || f.Exchange == "IKE_SA_INIT" {
		return fine("nothing shows that they differ", ours)
	}
	s := x.told()
	if f.ByPeer {
		s = s.and("the peer does not say what it accepts; if it runs greseal, its own doctor does")
	}
	return s
}

// checkSelectors: the "crypto ACL" of other vendors. Each side must ask for its
// own GRE endpoint and the peer's, protocol 47, and both for the same mode.
func checkSelectors(x *exam) Step {
	if x.now.up() && x.now.Tunnel.Child != nil {
		c, o := x.now.Tunnel.Child, &x.now.Tunnel.Outside
		s := fine(fmt.Sprintf("agreed: %s ↔ %s, %s mode", c.SelectorIn, c.SelectorOut, o.Mode))
		if o.Mode != o.ModeAsked {
			return warn(fmt.Sprintf("set mode = %q on both sides, or leave it as it is", o.ModeAsked), append(s.Evidence, fmt.Sprintf("%s mode was asked for", o.ModeAsked))...)
		}
		return s
	}
	f := x.failure()
	if f == nil || f.Kind != ikev2.FailSelectors && f.Kind != ikev2.FailMode {
		return fine("nothing shows that they differ")
	}
	return x.told()
}

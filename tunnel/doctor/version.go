package doctor

import (
	"fmt"

	"greseal/ikev2"
	"greseal/ikev2/wire"
)

// checkIKEv1 distinguishes a peer that only speaks IKEv1 from one that does not answer:
// it answers with version 1, or refuses every IKEv2 request while it accepts an
// IKEv1 one.
func checkIKEv1(x *exam) Step {
	const remedy = "set the peer to IKEv2 (strongSwan: version = 2; RouterOS: exchange-mode=ike2; Cisco: crypto ikev2 instead of crypto isakmp); greseal does not speak IKEv1"
	if f := x.now.Failure; f != nil && f.Kind == ikev2.FailMajorVersion && !x.now.up() {
		return fault(remedy, f.What())
	}
	if x.now.up() || !x.remote.IsValid() {
		if x.now.up() {
			return fine("it does")
		}
		if from := x.now.IKEv1; from.IsValid() {
			return warn("if that is the peer: "+remedy,
				fmt.Sprintf("%s sent a message of IKEv1 %.0f s ago", from, x.now.IKEv1Age.Seconds()))
		}
		return skip("the peer connects to us; nobody has sent IKEv1 so far")
	}
	a := x.probeIKE()
	if a.kind == v1Reply {
		return fault(remedy, "it answered an IKEv2 request with IKE version 1")
	}
	if a.kind == ikev2Reply {
		if a.header.Major() > 2 {
			return warn("", "it answered with a higher version than 2")
		}
		if !refuses(a.m, wire.NoProposalChosen) {
			return fine("it answered an IKEv2 request")
		}
		// Some answer every IKEv2 request with NO_PROPOSAL_CHOSEN when no
		// connection of theirs is of that version.
		if v1 := x.probeV1(); v1.kind == v1Reply && acceptedV1(v1.raw) {
			return fault(remedy, "it refuses every IKEv2 request (NO_PROPOSAL_CHOSEN) and accepts an IKEv1 Main Mode proposal")
		}
		return fine("it answered an IKEv2 request")
	}
	if v1 := x.probeV1(); v1.kind == v1Reply {
		return fault(remedy, "it does not answer IKEv2 requests, and answers an IKEv1 Main Mode request")
	}
	return skip("nobody answers")
}

func refuses(m *wire.Message, t wire.NotifyType) bool {
	if m == nil {
		return false
	}
	for _, p := range m.Payloads {
		if n, ok := p.(*wire.Notify); ok && n.Kind == t {
			return true
		}
	}
	return false
}

// acceptedV1 reports whether an IKEv1 answer begins with an SA payload: a proposal
// was taken (RFC 2408 section 3.1, payload type 1).
func acceptedV1(b []byte) bool { return len(b) > 16 && b[16] == 1 }

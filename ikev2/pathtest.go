package ikev2

import (
	"net/netip"

	"greseal/ikev2/wire"
)

// pathTest asks for a proof that the peer receives at an address: that of IKE, or
// another, from where its ESP comes (RFC 4555 sections 3.7 and 3.10). With MOBIKE
// the proof is COOKIE2, which only its receiver can return; without, any answer.
type pathTest struct {
	lone
	cookie2 []byte // which the response must bring back; nil without MOBIKE
}

// testPath begins a pathTest; to is not valid for the address of IKE.
func (e *Engine) testPath(s *ikeSA, to netip.AddrPort) bool { return e.askAt(s, &pathTest{}, to) }

func (x *pathTest) payloads(e *Engine, s *ikeSA) (wire.ExchangeType, []wire.Payload, bool) {
	if s.mob == nil {
		return wire.Informational, nil, true
	}
	if x.cookie2 = e.newCookie2(); x.cookie2 == nil {
		return 0, nil, false
	}
	return wire.Informational, []wire.Payload{wire.NewNotify(wire.Cookie2, x.cookie2)}, true
}

func (x *pathTest) answer(e *Engine, s *ikeSA, r *request, c content, d *Datagram) {
	switch {
	case !e.sound(s, r, c):
	case x.cookie2 != nil && !e.checkCookie2(s, x.cookie2, c.Contents):
	case r.spread || x.cookie2 == nil && d.Remote != r.at.remote:
		// It went to several addresses, or came from elsewhere: what is still to
		// be verified is asked again.
	case r.at.remote == s.remote:
		e.arrived(s)
	case r.to.IsValid():
		// The peer's ESP comes from there and it hears us there: its packets go
		// there, too. IKE waits for its update (RFC 4555 section 3.8).
		to := s.esp
		to.local, to.remote = netip.AddrPortFrom(to.local.Addr(), r.at.local.Port()), r.to
		e.goTo(s, to, way{s.local, r.to})
		s.told = way{s.local, s.remote}
	}
}

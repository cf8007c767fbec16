package ikev2

import (
	"net/netip"
	"strings"

	"greseal/ikev2/wire"
)

// protoGRE is the only protocol whose traffic a Child SA carries here.
const protoGRE = 47

// ends are the GRE endpoints of a pair: what its traffic selectors say.
type ends struct{ local, remote netip.Addr }

// wantedEnds are the endpoints that we ask for, or accept. Rekeying keeps those
// that were negotiated, whatever was configured (RFC 7296 section 2.8).
func (s *ikeSA) wantedEnds(old *child) ends {
	if old != nil {
		return ends{old.pub.GRELocal, old.pub.GRERemote}
	}
	w := s.outerEnds()
	if a := s.peer.cfg.GRELocal; a.IsValid() {
		w.local = a.Unmap()
	}
	if a := s.peer.cfg.GRERemote; a.IsValid() {
		w.remote = a.Unmap()
	}
	return w
}

// outerEnds are the addresses of the Child SAs' packets.
func (s *ikeSA) outerEnds() ends { return ends{s.esp.local.Addr(), s.esp.remote.Addr()} }

// payloads are TSi and TSr with initiator as TSi's address.
func tsPayloads(initiator, responder netip.Addr) (tsi, tsr *wire.TS) {
	return &wire.TS{Of: wire.TypeTSi, Selectors: []wire.Selector{wire.HostSelector(initiator, protoGRE)}},
		&wire.TS{Of: wire.TypeTSr, Selectors: []wire.Selector{wire.HostSelector(responder, protoGRE)}}
}

// narrow chooses, as responder, the endpoints out of what the initiator offers:
// exactly ours where the offer contains them (RFC 7296 section 2.9). theirs is
// TSi and ours TSr. With any, the peer may name its own endpoint, preferably by
// a selector for a single address, else its outer address.
func narrow(theirs, ours *wire.TS, want ends, any bool, outer netip.Addr) (ends, bool) {
	if !covers(ours, want.local) {
		return ends{}, false
	}
	if !any {
		return want, want.local.BitLen() == want.remote.BitLen() && covers(theirs, want.remote)
	}
	for _, t := range theirs.Selectors {
		if a, ok := t.Host(); ok && t.Covers(a, protoGRE) && usableEnd(a) && a.BitLen() == want.local.BitLen() {
			return ends{want.local, a}, true
		}
	}
	if outer.BitLen() == want.local.BitLen() && covers(theirs, outer) {
		return ends{want.local, outer}, true
	}
	return ends{}, false
}

// usableEnd refuses endpoints that are no single host.
func usableEnd(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

func covers(ts *wire.TS, a netip.Addr) bool {
	for _, t := range ts.Selectors {
		if t.Covers(a, protoGRE) {
			return true
		}
	}
	return false
}

// exactly tells whether a response holds our selector and nothing else: a peer
// that returns more than was offered is not followed.
func exactly(ts *wire.TS, a netip.Addr) bool {
	return ts != nil && len(ts.Selectors) == 1 && ts.Skipped == 0 && ts.Selectors[0] == wire.HostSelector(a, protoGRE)
}

// substitute is the address substitution of transport mode through NAT (RFC 7296
// section 2.23.1): selectors that name one host name the address the host is
// seen at instead. ok is false when they name several.
func substitute(ts *wire.TS, a netip.Addr) (*wire.TS, bool) {
	out := &wire.TS{Of: ts.Of, Skipped: ts.Skipped}
	for _, t := range ts.Selectors {
		h, single := t.Host()
		if !single || h != ts.Selectors[0].First {
			return nil, false
		}
		t.First, t.Last = a, a
		out.Selectors = append(out.Selectors, t)
	}
	return out, len(out.Selectors) > 0
}

// tsText shows selectors in an explanation, local side first.
func tsText(local, remote *wire.TS) string {
	return selectorsText(local) + " to " + selectorsText(remote)
}

func selectorsText(ts *wire.TS) string {
	if ts == nil || len(ts.Selectors) == 0 {
		return "nothing known"
	}
	var b strings.Builder
	for i, t := range ts.Selectors {
		if i == 4 {
			b.WriteString(", …")
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(t.String())
	}
	return b.String()
}

// text shows endpoints as the selectors they are.
func (w ends) text() string {
	return wire.HostSelector(w.local, protoGRE).String() + " to " + wire.HostSelector(w.remote, protoGRE).String()
}

// Package selector chooses and checks the traffic selectors of Child SAs that
// carry GRE (RFC 7296 section 2.9): each side's are one address with protocol 47.
// What a peer offers is hostile input; nothing here keeps any of it.
package selector

import (
	"net/netip"
	"strings"

	"greseal/ikev2/wire"
)

// GRE is the only protocol whose traffic a Child SA carries here.
const GRE = 47

// Ends are the GRE endpoints of a Child SA: what its traffic selectors say.
type Ends struct{ Local, Remote netip.Addr }

// Payloads are TSi and TSr with initiator as TSi's address.
func Payloads(initiator, responder netip.Addr) (tsi, tsr *wire.TS) {
	return &wire.TS{Of: wire.TypeTSi, Selectors: []wire.Selector{wire.HostSelector(initiator, GRE)}},
		&wire.TS{Of: wire.TypeTSr, Selectors: []wire.Selector{wire.HostSelector(responder, GRE)}}
}

// Narrow chooses, as responder, the endpoints out of what the initiator offers:
// Exact ours where the offer contains them (RFC 7296 section 2.9). theirs is
// TSi and ours TSr. With any, the peer may name its own endpoint, preferably by
// a selector for a single address, else its outer address.
func Narrow(theirs, ours *wire.TS, want Ends, any bool, outer netip.Addr) (Ends, bool) {
	if !Covers(ours, want.Local) {
		return Ends{}, false
	}
	if !any {
		return want, want.Local.BitLen() == want.Remote.BitLen() && Covers(theirs, want.Remote)
	}
	for _, t := range theirs.Selectors {
		if a, ok := t.Host(); ok && t.Covers(a, GRE) && Usable(a) && a.BitLen() == want.Local.BitLen() {
			return Ends{want.Local, a}, true
		}
	}
	if outer.BitLen() == want.Local.BitLen() && Covers(theirs, outer) {
		return Ends{want.Local, outer}, true
	}
	return Ends{}, false
}

// Usable refuses endpoints that are no single host.
func Usable(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

func Covers(ts *wire.TS, a netip.Addr) bool {
	for _, t := range ts.Selectors {
		if t.Covers(a, GRE) {
			return true
		}
	}
	return false
}

// Exact tells whether a response holds our selector and nothing else: a peer
// that returns more than was offered is not followed.
func Exact(ts *wire.TS, a netip.Addr) bool {
	return ts != nil && len(ts.Selectors) == 1 && ts.Skipped == 0 && ts.Selectors[0] == wire.HostSelector(a, GRE)
}

// Substitute is the address substitution of transport mode through NAT (RFC 7296
// section 2.23.1): selectors that name one host name the address the host is
// seen at instead. ok is false when they name several.
func Substitute(ts *wire.TS, a netip.Addr) (*wire.TS, bool) {
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

// Text shows selectors in an explanation, local side first.
func Text(local, remote *wire.TS) string {
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

// String shows endpoints as the selectors they are.
func (w Ends) String() string {
	return wire.HostSelector(w.Local, GRE).String() + " to " + wire.HostSelector(w.Remote, GRE).String()
}

package selector

import (
	"net/netip"
	"testing"

	"greseal/ikev2/wire"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func ts(sel ...wire.Selector) *wire.TS { return &wire.TS{Selectors: sel} }

func rng(first, last string, proto uint8) wire.Selector {
	return wire.Selector{First: addr(first), Last: addr(last), Protocol: proto, PortLast: 65535}
}

func TestResponderNarrowsToItsOwnSelectors(t *testing.T) {
	want := Ends{addr("10.9.0.2"), addr("10.9.0.1")}
	host := wire.HostSelector
	gre6 := rng("10.9.0.1", "10.9.0.1", 6)
	ports := host(want.Remote, 47)
	ports.PortLast = 80
	for _, c := range []struct {
		name         string
		theirs, ours *wire.TS
		ok           bool
	}{
		{"exactly ours", ts(host(want.Remote, 47)), ts(host(want.Local, 47)), true},
		{"everything", ts(rng("0.0.0.0", "255.255.255.255", 0)), ts(rng("0.0.0.0", "255.255.255.255", 0)), true},
		{"a subnet, protocol 47", ts(rng("10.9.0.0", "10.9.0.3", 47)), ts(rng("10.9.0.0", "10.9.0.255", 47)), true},
		{"several, one of which fits", ts(host(addr("10.1.1.1"), 0), host(want.Remote, 47)), ts(gre6, host(want.Local, 0)), true},
		{"another protocol", ts(gre6), ts(host(want.Local, 47)), false},
		{"another address", ts(host(addr("10.9.0.7"), 47)), ts(host(want.Local, 47)), false},
		{"another address of ours", ts(host(want.Remote, 47)), ts(host(addr("10.9.0.7"), 47)), false},
		{"some ports only", ts(ports), ts(host(want.Local, 47)), false},
		{"nothing", ts(), ts(host(want.Local, 47)), false},
		{"the other family", ts(rng("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 0)), ts(host(want.Local, 47)), false},
	} {
		got, ok := Narrow(c.theirs, c.ours, want, false, addr("192.0.2.1"))
		if ok != c.ok || ok && got != want {
			t.Errorf("%s: %v, %v", c.name, got, ok)
		}
	}
}

func TestAnyPeerNamesOneUsableHost(t *testing.T) {
	want := Ends{addr("192.0.2.2"), addr("192.0.2.1")}
	all := rng("0.0.0.0", "255.255.255.255", 0)
	host := func(s string) wire.Selector { return wire.HostSelector(addr(s), 47) }
	for _, c := range []struct {
		name   string
		theirs *wire.TS
		want   string // "" refused
	}{
		{"its own private address", ts(host("10.1.0.1")), "10.1.0.1"},
		{"a host behind a range", ts(all, host("10.1.0.1")), "10.1.0.1"},
		{"everything: the outer address", ts(all), "198.51.100.7"},
		{"a range without the outer address", ts(rng("10.0.0.0", "10.0.0.255", 0)), ""},
		{"multicast", ts(host("224.0.0.1")), ""},
		{"broadcast", ts(host("255.255.255.255")), ""},
		{"loopback", ts(host("127.0.0.1")), ""},
		{"no address", ts(host("0.0.0.0")), ""},
		{"the other family", ts(host("2001:db8::1")), ""},
	} {
		got, ok := Narrow(c.theirs, ts(all), want, true, addr("198.51.100.7"))
		if ok != (c.want != "") || ok && got.Remote != addr(c.want) {
			t.Errorf("%s: %v, %v", c.name, got, ok)
		}
	}
}

func TestInitiatorTakesNothingButWhatItOffered(t *testing.T) {
	a := addr("10.9.0.1")
	if !Exact(ts(wire.HostSelector(a, 47)), a) {
		t.Error("what was offered is refused")
	}
	for name, x := range map[string]*wire.TS{
		"wider":          ts(rng("10.9.0.0", "10.9.0.255", 47)),
		"any protocol":   ts(wire.HostSelector(a, 0)),
		"twice":          ts(wire.HostSelector(a, 47), wire.HostSelector(a, 47)),
		"another":        ts(wire.HostSelector(addr("10.9.0.2"), 47)),
		"nothing":        ts(),
		"missing":        nil,
		"and an unknown": {Selectors: []wire.Selector{wire.HostSelector(a, 47)}, Skipped: 1},
	} {
		if Exact(x, a) {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestSubstitutionNeedsOneHost(t *testing.T) {
	to := addr("198.51.100.7")
	got, ok := Substitute(ts(wire.HostSelector(addr("10.1.0.1"), 47), wire.HostSelector(addr("10.1.0.1"), 0)), to)
	if !ok || len(got.Selectors) != 2 || got.Selectors[0].First != to || got.Selectors[1].Last != to || got.Selectors[0].Protocol != 47 {
		t.Errorf("%v, %v", got, ok)
	}
	for name, x := range map[string]*wire.TS{
		"a range":   ts(rng("10.1.0.0", "10.1.0.9", 47)),
		"two hosts": ts(wire.HostSelector(addr("10.1.0.1"), 47), wire.HostSelector(addr("10.1.0.2"), 47)),
		"nothing":   ts(),
	} {
		if _, ok := Substitute(x, to); ok {
			t.Errorf("%s is substituted", name)
		}
	}
}

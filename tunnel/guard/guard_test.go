package guard

import (
	"net/netip"
	"slices"
	"testing"
)

var first, second, third = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::3")

func TestAnAddressIsAddedOnce(t *testing.T) {
	for _, c := range []struct {
		name        string
		laid, come  []netip.Addr
		want, added []netip.Addr
	}{
		{"the first", nil, []netip.Addr{second}, []netip.Addr{second}, []netip.Addr{second}},
		{"one more", []netip.Addr{second}, []netip.Addr{first, third}, []netip.Addr{second, first, third}, []netip.Addr{first, third}},
		{"one that is closed", []netip.Addr{second, first}, []netip.Addr{first}, []netip.Addr{first, second}, nil},
		{"the same twice", nil, []netip.Addr{third, third}, []netip.Addr{third}, []netip.Addr{third}},
		{"none", []netip.Addr{first}, []netip.Addr{{}, netip.IPv4Unspecified(), netip.IPv6Unspecified()}, []netip.Addr{first}, nil},
	} {
		var g Guards
		g.Stand(c.laid)
		want, added := g.With(c.come...)
		if !slices.Equal(want, c.want) || !slices.Equal(added, c.added) {
			t.Errorf("%s: %v, of which %v are new; want %v, %v", c.name, want, added, c.want, c.added)
		}
		for _, a := range added {
			if g.Has(a) {
				t.Errorf("%s: %v counts as closed before it is", c.name, a)
			}
		}
	}
}

func TestWhatIsStillNeededStays(t *testing.T) {
	for _, c := range []struct {
		name   string
		needed []netip.Addr
		want   []netip.Addr
		fewer  bool
	}{
		{"all, and more", []netip.Addr{first, second, third}, []netip.Addr{first, second}, false},
		{"one", []netip.Addr{second, {}}, []netip.Addr{second}, true},
		{"nothing", nil, nil, true},
	} {
		var g Guards
		g.Stand([]netip.Addr{second, first})
		needed := map[netip.Addr]bool{}
		for _, a := range c.needed {
			needed[a] = true
		}
		if want, fewer := g.Only(needed); !slices.Equal(want, c.want) || fewer != c.fewer {
			t.Errorf("%s: %v, fewer: %v; want %v, %v", c.name, want, fewer, c.want, c.fewer)
		}
		if laid := []netip.Addr{first, second}; !slices.Equal(g.Laid(), laid) {
			t.Errorf("%s: %v before the datapath has opened any", c.name, g.Laid())
		}
	}
}

func TestOpenedUntilClosedAgain(t *testing.T) {
	var g Guards
	if g.Opened() {
		t.Error("open before anybody asked for that")
	}
	g.Stand([]netip.Addr{first})
	g.Open()
	if !g.Opened() || len(g.Laid()) != 0 {
		t.Errorf("opened: %v, with guards towards %v", g.Opened(), g.Laid())
	}
	g.Close()
	if _, added := g.With(first); g.Opened() || !slices.Equal(added, []netip.Addr{first}) {
		t.Errorf("closed again: %v, closing %v", !g.Opened(), added)
	}
}

package underlay

import (
	"errors"
	"net/netip"
	"testing"

	"greseal/platform"
)

var (
	home  = netip.MustParseAddr("198.51.100.2")
	other = netip.MustParseAddr("203.0.113.5")
)

func TestATunnelComesFromWhereItShould(t *testing.T) {
	for _, c := range []struct {
		name            string
		gone, initiated bool
		route           netip.Addr // its source, unset: there is none
		want            Verdict
	}{
		{"we began, the route is as it was", false, true, home, Follow},
		{"we began, the route is another one", false, true, other, Move},
		{"we began, there is no route", false, true, netip.Addr{}, Stay},
		{"we began, the address is gone", true, true, other, Move},
		{"we began, the address is gone and the route, too", true, true, netip.Addr{}, Wait},
		{"the peer found us, the route is another one", false, false, other, Follow},
		{"the peer found us, there is no route", false, false, netip.Addr{}, Follow},
		{"the peer found us, the address is gone", true, false, other, Move},
		{"the peer found us, the address is gone and the route, too", true, false, netip.Addr{}, Wait},
	} {
		none := errors.New("no route")
		got, way, err := Judge(home, c.gone, c.initiated, func() (platform.RouteInfo, error) {
			if !c.route.IsValid() {
				return platform.RouteInfo{}, none
			}
			return platform.RouteInfo{Local: c.route}, nil
		})
		if got != c.want || got == Move && way.Local != c.route || got == Wait && err != none {
			t.Errorf("%s: %d, %v, %v; want %d", c.name, got, way.Local, err, c.want)
		}
	}
}

func TestAWayIsKnownFromItsChoiceUntilThereIsNone(t *testing.T) {
	var u Underlay
	if _, _, ok := u.MTU(); ok || u.Known() || u.Local().IsValid() {
		t.Error("a way is known before one was chosen")
	}
	wan := platform.RouteInfo{Local: home, IfIndex: 2, IfName: "wan", MTU: 1500, PathMTU: 1400}
	u.Choose(wan)
	if name, mtu, ok := u.MTU(); name != "wan" || mtu != 1500 || !ok || u.Learned() != 1400 || u.Local() != home {
		t.Errorf("%s, %d, %v, %d, %v", name, mtu, ok, u.Learned(), u.Local())
	}
	if u.Follow(wan) || u.Rerouted(wan) {
		t.Error("the same way is another one")
	}
	narrow := wan
	narrow.MTU = 1400
	if u.Rerouted(narrow) || !u.Follow(narrow) {
		t.Error("another MTU leads elsewhere, or is not followed")
	}
	lte := platform.RouteInfo{Local: other, IfIndex: 3, IfName: "lte", MTU: 1400}
	if !u.Rerouted(lte) || !u.Follow(lte) || u.Local() != home {
		t.Errorf("another interface: the address in use is %v", u.Local())
	}
	u.Arrive(other)
	if u.Local() != other {
		t.Errorf("arrived at %v", u.Local())
	}
	u.None()
	if _, _, ok := u.MTU(); ok || u.Known() {
		t.Error("there is no way, and one is known")
	}
}

package tunnel

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"greseal/platform"
)

// guardedPath is a datapath that knows nothing but guards, and closes them as
// the real ones do: all that it is asked for, or none more than before.
type guardedPath struct {
	platform.Datapath
	closed []netip.Addr
	refuse error
}

func (p *guardedPath) Guard(_ string, remotes []netip.Addr) error {
	if p.refuse == nil {
		p.closed = slices.SortedFunc(slices.Values(remotes), netip.Addr.Compare)
	}
	return p.refuse
}

func TestARefusedGuardLeavesThoseBeforeIt(t *testing.T) {
	dp := &guardedPath{}
	l, s := &loop{dp: dp}, &tunnel{name: "hq"}
	first, second, third := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::3")
	check := func(want ...netip.Addr) {
		t.Helper()
		known := s.guards.Laid()
		if !slices.Equal(known, want) || !slices.Equal(dp.closed, want) {
			t.Errorf("known as closed: %v; closed: %v; want %v", known, dp.closed, want)
		}
	}
	if err := l.guard(s, first, netip.Addr{}, netip.IPv4Unspecified()); err != nil {
		t.Fatal(err)
	}
	check(first)

	dp.refuse = errors.New("no room for a policy")
	if err := l.guard(s, first, second); !errors.Is(err, dp.refuse) {
		t.Errorf("the refusal was not handed on: %v", err)
	}
	check(first)
	if err := l.guard(s, first); err != nil {
		t.Errorf("what is closed was asked for again: %v", err)
	}

	dp.refuse = nil
	if err := l.guard(s, second, third); err != nil {
		t.Fatal(err)
	}
	check(first, second, third)
}

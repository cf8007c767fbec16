package endpoint

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	ours    = netip.MustParseAddr("198.51.100.1")
	ours2   = netip.MustParseAddr("198.51.100.9")
	theirs  = netip.MustParseAddr("192.0.2.1")
	nowhere = netip.Addr{}
)

// remedyOf is what to change, "" without an error.
func remedyOf(err error) string {
	if r, ok := err.(Refused); ok {
		return r.Remedy()
	}
	return ""
}

func TestWhoHasTheBetterRight(t *testing.T) {
	const ok, address, key, later = "", "gre_local", "gre.key", "gives way"
	from := func(local netip.Addr, by Right) []Claim { return []Claim{{local, by, true}} }
	configured := []Claim{{nowhere, Named, false}}
	for _, c := range []struct {
		name                 string
		mine                 Right
		claims               []Claim
		apart, busy, waiting string // told apart by keys; not, the other's Child SA stands; not, and it has none
	}{
		{"both chose it", Chosen, from(ours, Chosen), ok, key, key},
		{"chosen where another is reached", Chosen, from(ours, Reached), address, address, address},
		{"chosen where another is configured and stands", Chosen, from(ours, Named), address, address, address},
		{"chosen where another is configured", Chosen, configured, address, address, address},
		{"reached where another chose", Reached, from(ours, Chosen), ok, later, later},
		{"both are reached there", Reached, from(ours, Reached), ok, key, later},
		{"reached where another is configured and stands", Reached, from(ours, Named), ok, key, key},
		{"reached where another is configured", Reached, configured, ok, key, key},
		{"configured where another chose", Named, from(ours, Chosen), ok, later, later},
		{"configured where another is reached", Named, from(ours, Reached), ok, later, later},
		{"both are configured, and the other stands", Named, from(ours, Named), ok, key, ok},
		{"both are configured", Named, configured, ok, ok, ok},
		{"from another address of ours", Chosen, from(ours2, Named), ok, ok, ok},
		{"one of ours, or any", Chosen, []Claim{{ours2, Named, true}, {nowhere, Named, false}}, address, address, address},
		{"of two claims the one that refuses counts", Reached, []Claim{{ours, Chosen, true}, {ours, Named, false}}, ok, key, key},
	} {
		a := Ask{Local: ours, Remote: theirs, By: c.mine}
		for _, state := range []struct {
			other Other
			want  string
		}{
			{Other{Name: "b", Claims: c.claims, Apart: true}, c.apart},
			{Other{Name: "b", Claims: c.claims}, c.busy},
			{Other{Name: "b", Claims: c.claims, Idle: true}, c.waiting},
		} {
			gives, err := a.Against([]Other{state.other})
			if (err == nil) != (state.want == ok) || !strings.Contains(remedyOf(err), state.want) {
				t.Errorf("%s, apart %v, idle %v: %v, %q; want %q", c.name, state.other.Apart, state.other.Idle, err, remedyOf(err), state.want)
			}
			if slices.Equal(gives, []string{"b"}) != (state.want == later) {
				t.Errorf("%s, apart %v, idle %v: %v give way", c.name, state.other.Apart, state.other.Idle, gives)
			}
		}
	}
}

func TestNobodyGivesWayToWhoIsRefused(t *testing.T) {
	chose, named := Other{Name: "b", Claims: []Claim{{ours, Chosen, true}}}, Other{Name: "c", Claims: []Claim{{ours, Named, true}}}
	a := Ask{ours, theirs, Reached}
	for _, others := range [][]Other{{chose, named}, {named, chose}} {
		if gives, err := a.Against(others); err == nil || gives != nil {
			t.Errorf("%v, %v give way", err, gives)
		}
	}
	if gives, err := a.Against([]Other{chose, {Name: "d", Claims: chose.Claims}}); err == nil || !slices.Equal(gives, []string{"b", "d"}) {
		t.Errorf("%v, %v give way", err, gives)
	}
}

func TestAPromiseIsKept(t *testing.T) {
	for _, c := range []struct {
		by    Right
		apart bool
		ok    bool
	}{{Chosen, false, false}, {Chosen, true, true}, {Reached, false, true}, {Named, false, true}} {
		_, err := Ask{ours, theirs, c.by}.Against([]Other{{Name: "b", Promised: true, Apart: c.apart}})
		if (err == nil) != c.ok {
			t.Errorf("right %d, told apart %v: %v", c.by, c.apart, err)
		}
	}
	p := Promise{theirs, time.Minute}
	if end := time.Minute + PromiseTime; !p.Holds(theirs, end-1) || p.Holds(theirs, end) || p.Holds(ours, end-1) {
		t.Error("a promise holds for another time or endpoint than its own")
	}
}

func TestOfAnotherMachine(t *testing.T) {
	m := Machine{Own: map[netip.Addr]bool{ours: true}, Foreign: map[netip.Addr]string{theirs: "gre9"}}
	for _, c := range []struct {
		remote string
		by     Right
		want   string // in the reason
	}{
		{"192.0.2.2", Chosen, ""},
		{"192.0.2.1", Named, ""},
		{"192.0.2.1", Reached, `"gre9"`},
		{"198.51.100.1", Named, "this machine"},
		{"::ffff:192.0.2.2", Named, "not a unicast address"},
		{"127.0.0.1", Named, "not a unicast address"},
		{"224.0.0.5", Named, "not a unicast address"},
		{"255.255.255.255", Named, "not a unicast address"},
		{"::", Named, "not a unicast address"},
	} {
		err := Ask{ours, netip.MustParseAddr(c.remote), c.by}.OnMachine(m)
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || remedyOf(err) == "") {
			t.Errorf("%s: %v; want %q", c.remote, err, c.want)
		}
	}
}

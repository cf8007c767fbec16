package resolve

import (
	"errors"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func addrs(s ...string) (all []netip.Addr) {
	for _, a := range s {
		all = append(all, netip.MustParseAddr(a))
	}
	return all
}

func TestLiteralRemotesNeedNoResolver(t *testing.T) {
	got, ok := Literals([]string{"192.0.2.1", "::ffff:192.0.2.2", "2001:db8::1"})
	if want := addrs("192.0.2.1", "192.0.2.2", "2001:db8::1"); !ok || !slices.Equal(got, want) {
		t.Errorf("Literals = %v, %v; want %v", got, ok, want)
	}
	if _, ok := Literals([]string{"192.0.2.1", "vpn.example.net"}); ok {
		t.Error("a host name passes as a literal address")
	}
	var n Names
	if n.Ask(time.Second, 0, "192.0.2.1") {
		t.Error("an address is asked for")
	}
}

func TestANameIsAskedForOnceAPause(t *testing.T) {
	var n Names
	for _, c := range []struct {
		at    time.Duration
		took  bool // an answer before
		pause time.Duration
		want  bool
		due   time.Duration
	}{
		{1, false, Down, true, 0},
		{1 + Down, false, Down, false, 0}, // still under way
		{2, true, Down, false, 1 + Down},
		{1 + Down, false, Up, false, 1 + Up},
		{1 + Down, false, Down, true, 0},
	} {
		if c.took && !n.Took(Answer{Host: "a", Addrs: addrs("192.0.2.1")}) {
			t.Errorf("at %v the answer is nobody's", c.at)
		}
		if got := n.Ask(c.at, c.pause, "a"); got != c.want {
			t.Errorf("at %v asked: %v", c.at, got)
		}
		if due := n.Due([]string{"192.0.2.1", "a"}, c.pause); due != c.due {
			t.Errorf("at %v due at %v, want %v", c.at, due, c.due)
		}
	}
	if n.Took(Answer{Host: "b"}) {
		t.Error("an answer is taken that nobody asked for")
	}
	n.Keep(nil)
	if !n.Took(Answer{Host: "a"}) {
		t.Error("a name is forgotten that is being asked for")
	}
	if n.Keep(nil); n.Took(Answer{Host: "a"}) {
		t.Error("a name is kept that nobody has")
	}
}

func TestCandidatesGoInTheOrderOfRemote(t *testing.T) {
	var n Names
	take := func(host string, a Answer) {
		n.Ask(time.Hour, 0, host)
		a.Host = host
		n.Took(a)
	}
	remotes := []string{"a", "192.0.2.9", "b"}
	for _, c := range []struct {
		what  string
		host  string
		takes Answer
		want  []netip.Addr
		ranks []int
	}{
		{"names unknown", "c", Answer{}, addrs("192.0.2.9"), []int{1}},
		{"the last", "b", Answer{Addrs: addrs("192.0.2.9", "192.0.2.2")}, addrs("192.0.2.9", "192.0.2.2"), []int{1, 2}},
		{"the first", "a", Answer{Addrs: addrs("192.0.2.2", "192.0.2.1")}, addrs("192.0.2.2", "192.0.2.1", "192.0.2.9"), []int{0, 0, 1}},
		{"in another order", "a", Answer{Addrs: addrs("192.0.2.1", "192.0.2.2")}, addrs("192.0.2.2", "192.0.2.1", "192.0.2.9"), []int{0, 0, 1}},
		{"a failure", "a", Answer{Err: errors.New("no")}, addrs("192.0.2.2", "192.0.2.1", "192.0.2.9"), []int{0, 0, 1}},
	} {
		take(c.host, c.takes)
		if got, ranks := n.Candidates(remotes); !slices.Equal(got, c.want) || !slices.Equal(ranks, c.ranks) {
			t.Errorf("%s: %v of %v; want %v of %v", c.what, got, ranks, c.want, c.ranks)
		}
	}
}

func TestWhatAPeerWaitsFor(t *testing.T) {
	const asked = time.Minute
	good, bad := Answer{Host: "a", Addrs: addrs("192.0.2.1")}, Answer{Host: "a", Err: errors.New("no a")}
	for _, c := range []struct {
		name   string
		answer *Answer
		best   int // of a, 192.0.2.9
		after  time.Duration
		tried  bool
		want   Lack
	}{
		{"the first address of all", nil, 2, 0, false, Lack{Must: true, Asking: true}},
		{"one that does not resolve", &bad, 2, time.Second, false, Lack{Must: true, Until: asked + Down, Failed: []string{"no a"}}},
		{"a name before what is known", nil, 1, time.Second, false, Lack{Must: true, Until: asked + grace, Asking: true}},
		{"not for long", nil, 1, grace, false, Lack{Until: asked + grace, Asking: true}},
		{"not after a failure", nil, 1, time.Second, true, Lack{Until: asked + grace, Asking: true}},
		{"a name that failed, before what is known", &bad, 1, time.Second, false, Lack{Failed: []string{"no a"}}},
		{"nothing", &good, 0, time.Second, false, Lack{}},
	} {
		var n Names
		n.Ask(asked, Down, "a")
		if c.answer != nil {
			n.Took(*c.answer)
		}
		if got := n.Lacks(asked+c.after, []string{"a", "192.0.2.9"}, c.best, c.tried); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		name  string
		addrs []netip.Addr
		err   error
		want  []netip.Addr
		why   string
	}{
		{"IPv4 first", addrs("2001:db8::1", "::ffff:192.0.2.2", "192.0.2.1"), nil, addrs("192.0.2.2", "192.0.2.1", "2001:db8::1"), ""},
		{"what no peer has is left out", addrs("127.0.0.1", "192.0.2.1", "224.0.0.1", "::1", "255.255.255.255", "0.1.2.3"), nil, addrs("192.0.2.1"), ""},
		{"a host that is away", addrs("0.0.0.0", "::"), nil, nil, "the name server answers 0.0.0.0, ::"},
		{"nothing", nil, nil, nil, "answers none"},
		{"no such name", nil, &net.DNSError{IsNotFound: true}, nil, "knows no such name"},
		{"silence", nil, &net.DNSError{IsTimeout: true}, nil, "no name server answers"},
		{"a failure", nil, &net.DNSError{Err: "server misbehaving"}, nil, "reports a failure"},
		{"no server", nil, &net.DNSError{Err: "read: connection refused"}, nil, "no name server runs"},
		{"anything else", nil, errors.New("odd"), nil, "does not resolve: odd"},
	} {
		a := Judge("x", c.addrs, c.err)
		if !slices.Equal(a.Addrs, c.want) || (a.Err == nil) != (c.why == "") {
			t.Errorf("%s: %v, %v; want %v", c.name, a.Addrs, a.Err, c.want)
		}
		if a.Err != nil && (!strings.Contains(a.Err.Error(), c.why) || !strings.HasPrefix(a.Err.Error(), `host name "x"`)) {
			t.Errorf("%s: %v; want %q", c.name, a.Err, c.why)
		}
	}
}

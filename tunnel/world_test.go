package tunnel

import (
	"context"
	crand "crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"greseal/ikev2"
	"greseal/platform"
	"greseal/platform/rtnl"
	"greseal/tunnel/config"
	"greseal/tunnel/status"
)

const (
	worldKey  = "q8mC2nT5vY7xZ1aB4dE6fG9hJ0kL3pR8sU2wX5zA7c="
	worldName = "vpn.example.net"
)

var (
	peer4  = netip.MustParseAddr("192.0.2.1")
	peer6  = netip.MustParseAddr("2001:db8::1")
	nobody = netip.MustParseAddr("192.0.2.9") // where nothing answers
)

// world is what a loop has around it in a test: a machine, a name server and peers,
// each of which can be made to fail. All of it belongs to the loop's goroutine.
type world struct {
	t   testing.TB
	l   *loop
	ctx context.Context // ends with the loop

	// The machine's network (fakenet_test.go).
	wan4, wan6     netip.Addr // addresses of the interface wan, unset: none
	wanMTU         int
	pathMTU        int    // 0: wanMTU
	others         []card // further interfaces
	route4, route6 bool   // by which the peer is reached
	by4, by6       string // and by which interface
	leaves         string // the interface by which an SSH client is reached
	refuse         netip.Prefix
	foreign        map[netip.Addr]string
	routesTo       map[netip.Addr]bool // as SetRoutes was told
	changes        chan platform.Change

	// The datapath (fakepath_test.go).
	kind             string
	ike, opening     chan platform.Datagram
	events           chan platform.Event
	devices          map[string]bool // interfaces of tunnels
	index            int             // of the last one
	setDown          bool            // by somebody else
	linkErr          error           // SetLink's
	failing          map[string]error
	drops            platform.Drops      // of the interface
	leftovers        []platform.Leftover // of a daemon that was killed
	stats            rtnl.LinkStats      // of the interface
	ikeDropped       uint64
	deviations       []platform.Deviation // what an audit of the datapath finds
	lacks            string               // an algorithm
	initiated, links int
	espLost          map[string]bool // by form
	noGRE            bool            // the peer answers GRE with ICMP errors

	// The name server.
	answer     []netip.Addr
	answerErr  error
	answerTime time.Duration
	asked      []ikev2.Time            // when
	known      map[string][]netip.Addr // by name, instead of answer

	latency time.Duration // of what peers send
	arrival ikev2.Time    // of the last message

	*node // the peer of tests that have one
	nodes []*node

	// What a conversation is told (conversation_test.go); nil hears nothing.
	hear func(string)
	laid map[string]string // as told last

	addresses, routes map[string][]netip.Prefix // as wanted last
	showIKE           bool
}

func newWorld(t testing.TB) *world {
	w := &world{
		t: t, kind: platform.KindUserspace, wanMTU: 1500, by4: "wan", by6: "wan", leaves: "wan",
		wan4: netip.MustParseAddr("198.51.100.2"), wan6: netip.MustParseAddr("2001:db8:f::2"), route4: true, route6: true,
		answer: []netip.Addr{peer4}, known: map[string][]netip.Addr{},
		ike: make(chan platform.Datagram, 64), opening: make(chan platform.Datagram, 64),
		events: make(chan platform.Event, 16), changes: make(chan platform.Change, 16),
		devices: map[string]bool{}, index: 6, failing: map[string]error{}, espLost: map[string]bool{}, laid: map[string]string{}, addresses: map[string][]netip.Prefix{}, routes: map[string][]netip.Prefix{},
	}
	return w
}

// add gives the world another node.
func (w *world) add(name string, addrs ...netip.Addr) *node {
	n := &node{w: w, name: name, addrs: addrs, deaf: map[netip.Addr]bool{}}
	w.nodes = append(w.nodes, n)
	n.setPeer()
	return n
}

// newLoop makes a loop in the world.
func (w *world) newLoop(opt Options, cfg *config.Config, random, engine io.Reader) *loop {
	return &loop{
		opt:     opt,
		log:     opt.Logger,
		origin:  time.Now().Add(-time.Second),
		rand:    random,
		cfg:     cfg,
		engine:  ikev2.New(ikev2.Config{Rand: engine, Run: 1}),
		dp:      newWorldPath(w),
		net:     worldNet{w},
		inside:  worldInside{w},
		around:  w.changes,
		server:  status.New(),
		names:   newNameTable(w.lookup),
		jobs:    newJobs(),
		tunnels: map[string]*tunnel{},
		peers:   map[ikev2.PeerID]*peer{},
		dirty:   map[ikev2.PeerID]bool{},
		started: time.Now(),
	}
}

// play runs f beside a loop with a config, in a synctest bubble.
func play(t *testing.T, text string, prepare func(*world), f func(*world)) {
	w := newWorld(t)
	w.node = w.add("peer", peer4, peer6)
	if prepare != nil {
		prepare(w)
	}
	w.l = w.newLoop(Options{ConfigPath: "/nonexistent", Logger: slog.New(slog.DiscardHandler)}, w.config(text), crand.Reader, crand.Reader)
	var cancel context.CancelFunc
	w.ctx, cancel = context.WithCancel(context.Background())
	done := make(chan struct{})
	if err := w.l.adopt(); err != nil {
		w.t.Fatal(err)
	}
	go func() { defer close(done); w.l.run(w.ctx) }()
	f(w)
	cancel()
	<-done
	w.l.jobs.end()
	time.Sleep(time.Minute) // for questions that are still under way
}

func (w *world) config(text string) *config.Config {
	c, err := config.Parse("greseal.toml", []byte(text), 0o600)
	if err != nil {
		w.t.Fatalf("%v in\n%s", err, text)
	}
	return c
}

// do has the loop call f, which may change the world.
func (w *world) do(f func()) {
	w.t.Helper()
	if _, err := onLoop(w.l, w.ctx, func() struct{} { f(); return struct{}{} }); err != nil {
		w.t.Fatal(err)
	}
}

// post is do for those who don't wait for it; once the loop has ended, nothing.
func (w *world) post(f func()) {
	_, _ = onLoop(w.l, w.ctx, func() struct{} { f(); return struct{}{} })
}

// ask is what a client of the status socket does.
func (w *world) ask(r status.Request) status.Reply {
	return w.l.server.Answer(w.ctx, os.Geteuid(), r)
}

// look is what the tunnel hq is at.
func (w *world) look() status.Tunnel {
	w.t.Helper()
	r := w.ask(status.Request{Op: status.OpStatus, Tunnel: "hq"})
	if r.Snapshot == nil {
		w.t.Fatal(r.Error)
	}
	return r.Snapshot.Tunnels[0]
}

func (w *world) changed() { w.changes <- platform.Change{Underlay: true} }

// say tells a conversation what the machine was told.
func (w *world) say(format string, args ...any) {
	if w.hear != nil {
		w.hear(fmt.Sprintf(format, args...))
	}
}

// lay is say for what is told over and over: only another one is of interest.
func (w *world) lay(name, what, now string) {
	key := name + " " + what
	if w.laid[key] == now {
		return
	}
	w.laid[key] = now
	if now == "" {
		now = "none"
	}
	w.say("%s: %s: %s", name, what, now)
}

// fails is the error that a call on the machine is to have.
func (w *world) fails(call string) error { return w.failing[call] }

func (w *world) lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	type said struct {
		addrs []netip.Addr
		err   error
		wait  time.Duration
	}
	s, err := onLoop(w.l, ctx, func() said {
		w.asked = append(w.asked, w.l.now())
		if a, ok := w.known[strings.ToLower(name)]; ok {
			return said{a, nil, w.answerTime}
		}
		return said{w.answer, w.answerErr, w.answerTime}
	})
	if err != nil {
		return nil, err
	}
	select {
	case <-time.After(s.wait):
	case <-ctx.Done():
		return nil, &net.DNSError{Err: "i/o timeout", Name: name, IsTimeout: true}
	}
	if s.err != nil {
		return nil, s.err
	}
	return append([]netip.Addr(nil), s.addrs...), nil
}

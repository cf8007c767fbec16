package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	crand "crypto/rand"

	"greseal/crypto/suite"
	"greseal/ikev2"
	"greseal/platform"
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

// world is what a loop has around it in a test: a machine, a name server and a
// peer, each of which can be made to fail. All of it belongs to the loop's
// goroutine.
type world struct {
	t   *testing.T
	l   *loop
	ike chan platform.Datagram

	wan4, wan6       netip.Addr // addresses of the interface wan, unset: none
	route4, route6   bool       // by which the peer is reached
	linkErr          error      // SetLink's
	refuse           netip.Prefix
	answer           []netip.Addr // of the name server
	answerErr        error
	answerTime       time.Duration
	asked            []ikev2.Time // when
	silent           bool         // the peer does not answer
	wrongKey         bool         // or refuses
	throwsOut        bool         // or can't install what was agreed
	peer             *ikev2.Engine
	changes          chan platform.Change
	initiated, links int
	routesTo         map[netip.Addr]bool // as SetRoutes was told
}

// play runs f beside a loop with a config, in a synctest bubble.
func play(t *testing.T, text string, prepare func(*world), f func(*world)) {
	w := &world{
		t: t, ike: make(chan platform.Datagram, 64), changes: make(chan platform.Change, 16),
		wan4: netip.MustParseAddr("198.51.100.2"), wan6: netip.MustParseAddr("2001:db8:f::2"), route4: true, route6: true,
		answer: []netip.Addr{peer4},
	}
	w.setPeer()
	if prepare != nil {
		prepare(w)
	}
	w.l = &loop{
		opt:     Options{ConfigPath: "/nonexistent", Logger: slog.New(slog.DiscardHandler)},
		log:     slog.New(slog.DiscardHandler),
		origin:  time.Now().Add(-time.Second),
		rand:    crand.Reader,
		cfg:     w.config(text),
		engine:  ikev2.New(ikev2.Config{Rand: crand.Reader}),
		dp:      &worldPath{w: w},
		net:     worldNet{w},
		around:  w.changes,
		server:  &status.Server{},
		names:   newNameTable(w.lookup),
		jobs:    newJobs(),
		tunnels: map[string]*tunnel{},
		peers:   map[ikev2.PeerID]*peer{},
		stirred: map[ikev2.PeerID]bool{},
		started: time.Now(),
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	w.l.adopt()
	go func() { defer close(done); w.l.run(ctx) }()
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
	if _, err := onLoop(w.l, context.Background(), func() struct{} { f(); return struct{}{} }); err != nil {
		w.t.Fatal(err)
	}
}

// look is what the tunnel hq is at.
func (w *world) look() (s status.Tunnel) {
	w.do(func() { s = w.l.describe(w.l.tunnels["hq"]) })
	return s
}

func (w *world) changed() { w.changes <- platform.Change{Underlay: true} }

// setPeer makes the peer anew: it has forgotten all.
func (w *world) setPeer() {
	w.peer = ikev2.New(ikev2.Config{Rand: crand.Reader})
	key := worldKey
	if w.wrongKey {
		key = "another"
	}
	ike, esp := cheapIKE(), cheapESP()
	w.peer.SetPeer(time.Hour, ikev2.Peer{ID: "branch", PSK: []byte(key), GRERemoteAny: true, IKE: ike, ESP: esp, IKELifetime: 24 * time.Hour, ChildLifetime: time.Hour})
}

func cheapIKE() []suite.Proposal {
	p, err := suite.ParseIKE("aes128gcm16-prfsha256-x25519")
	if err != nil {
		panic(err)
	}
	return []suite.Proposal{p}
}

func cheapESP() []suite.Proposal {
	p, err := suite.ParseESP("aes128gcm16")
	if err != nil {
		panic(err)
	}
	return []suite.Proposal{p}
}

func (w *world) lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	type said struct {
		addrs []netip.Addr
		err   error
		wait  time.Duration
	}
	s, err := onLoop(w.l, ctx, func() said {
		w.asked = append(w.asked, w.l.now())
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

// worldNet is the machine's network.
type worldNet struct{ w *world }

func (worldNet) Hold()                               {}
func (worldNet) Release() error                      { return nil }
func (worldNet) Refresh() error                      { return nil }
func (worldNet) Sweep() error                        { return nil }
func (worldNet) Forget(string) error                 { return nil }
func (worldNet) SetForeign(string, bool)             {}
func (worldNet) Close()                              {}
func (n worldNet) Leaves(netip.Addr) (string, error) { return "wan", nil }

func (n worldNet) SetAddresses(_ string, want []netip.Prefix) error { return n.refused(want) }

func (n worldNet) SetRoutes(_ string, set platform.RouteSet, _ bool) error {
	n.w.routesTo = map[netip.Addr]bool{}
	for _, p := range set.Peers {
		n.w.routesTo[p] = true
	}
	return n.refused(set.Prefixes)
}

func (n worldNet) refused(want []netip.Prefix) error {
	var errs []error
	for _, p := range want {
		if p == n.w.refuse {
			errs = append(errs, &platform.Unlaid{Prefix: p, What: "add " + p.String(), Err: errors.New("operation not permitted")})
		}
	}
	return errors.Join(errs...)
}

func (n worldNet) RouteTo(remote, local netip.Addr, ifname string, _ uint32) (platform.RouteInfo, error) {
	own, route := n.w.wan4, n.w.route4
	if remote.Is6() {
		own, route = n.w.wan6, n.w.route6
	}
	if !own.IsValid() || local.IsValid() && local != own || ifname != "" && ifname != "wan" {
		return platform.RouteInfo{}, fmt.Errorf("interface wan has no address: %w", platform.ErrNoSource)
	}
	if !route {
		return platform.RouteInfo{}, fmt.Errorf("%w to %s: wait for the WAN or add one", platform.ErrNoRoute, remote)
	}
	return platform.RouteInfo{Local: own, IfIndex: 2, IfName: "wan", MTU: 1500, PathMTU: 1500}, nil
}

func (n worldNet) LocalAddrs() ([]netip.Addr, error)          { return n.InterfaceAddrs("wan") }
func (n worldNet) ForeignGRE() (map[netip.Addr]string, error) { return nil, nil }

func (n worldNet) HasElsewhere(string, netip.Addr) (bool, error) { return false, nil }

func (n worldNet) InterfaceAddrs(name string) (all []netip.Addr, _ error) {
	for _, a := range []netip.Addr{n.w.wan4, n.w.wan6} {
		if a.IsValid() && name == "wan" {
			all = append(all, a)
		}
	}
	return all, nil
}

func (n worldNet) Link(string) (*platform.LinkInfo, error) { return nil, platform.ErrNoLink }

// worldPath is a datapath that hands IKE to the world's peer.
type worldPath struct {
	platform.Datapath
	w *world
}

func (*worldPath) Kind() string                                    { return platform.KindUserspace }
func (*worldPath) Supports(suite.Transform, suite.Transform) error { return nil }
func (*worldPath) Guard(string, []netip.Addr) error                { return nil }
func (*worldPath) Unguard(string) error                            { return nil }
func (*worldPath) DeleteLink(string) error                         { return nil }
func (*worldPath) SetRunning(string, bool) error                   { return nil }
func (*worldPath) InstallIn(platform.SA) error                     { return nil }
func (*worldPath) InstallOut(platform.SA) error                    { return nil }
func (*worldPath) RemoveSA(platform.SAKey) (platform.Counters, error) {
	return platform.Counters{}, nil
}
func (*worldPath) SACounters(platform.SAKey) (platform.Counters, error) {
	return platform.Counters{}, nil
}
func (*worldPath) MoveSA(platform.SAKey, netip.AddrPort, netip.AddrPort) error { return nil }
func (*worldPath) Clamps(string) error                                         { return nil }
func (*worldPath) GREKeepalives(string) platform.GREKeepalives                 { return platform.GREKeepalives{} }
func (*worldPath) LinkDrops(string) (platform.Drops, error)                    { return platform.Drops{}, nil }
func (*worldPath) Listening() []string                                         { return nil }
func (*worldPath) Notes() []string                                             { return nil }
func (*worldPath) Sweep([]string) error                                        { return nil }
func (*worldPath) Events() <-chan platform.Event                               { return nil }
func (*worldPath) SendKeepalive(_, _ netip.AddrPort) error                     { return nil }
func (*worldPath) IKEOpening() <-chan platform.Datagram                        { return nil }
func (p *worldPath) IKE() <-chan platform.Datagram                             { return p.w.ike }

func (p *worldPath) SetLink(platform.Link) (int, error) {
	p.w.links++
	return 7, p.w.linkErr
}

func (p *worldPath) SplitIKE(local, remote netip.AddrPort, data []byte) error {
	return p.SendIKE(local, remote, data, false)
}

// SendIKE brings a message to the peer, and its answers back.
func (p *worldPath) SendIKE(local, remote netip.AddrPort, data []byte, _ bool) error {
	w := p.w
	w.initiated++
	if _, err := w.l.net.RouteTo(remote.Addr(), local.Addr(), "", 0); err != nil {
		return err
	}
	if w.silent || remote.Addr() != peer4 && remote.Addr() != peer6 {
		return nil
	}
	now := w.l.now() + time.Hour
	actions := w.peer.Tick(now)
	actions = append(actions, w.peer.Receive(now, ikev2.Datagram{Local: remote, Remote: local, Data: data})...)
	for i := 0; i < len(actions); i++ {
		if in, ok := actions[i].(ikev2.InstallIn); ok && w.throwsOut {
			actions = append(actions, w.peer.InstallFailed(now, in.Child.ID, errors.New("no room"))...)
		}
		if m, ok := actions[i].(ikev2.Send); ok {
			select {
			case w.ike <- platform.Datagram{Local: m.Remote, Remote: m.Local, Data: m.Data}:
			default:
				return io.ErrShortBuffer
			}
		}
	}
	return nil
}

package ikev2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"greseal/crypto/suite"
	"greseal/ikev2/wire"
)

func pattern(s string) Pattern {
	p, err := ParsePattern(s)
	if err != nil {
		panic(err)
	}
	return p
}

func ident(s string) Identity {
	i, err := ParseIdentity(s)
	if err != nil {
		panic(err)
	}
	return i
}

// hubAndSpoke lets one spoke initiate to a hub with several tunnels and returns
// the hub's tunnel it ended in, or what the spoke was told.
func hubAndSpoke(t *testing.T, spoke Peer, tunnels ...Peer) (PeerID, *Failure) {
	t.Helper()
	n := newNetwork(3)
	n.fault = t.Fatalf
	hub := n.add("hub", "192.0.2.2", "192.0.2.1", tunnels[0])
	for _, p := range tunnels[1:] {
		hub.do(hub.e.SetPeer(0, p))
	}
	s := n.add("spoke", "192.0.2.1", "192.0.2.2", spoke)
	s.initiate()
	n.run(time.Second)
	for _, p := range tunnels {
		if len(hub.e.Children(p.ID)) > 0 {
			return p.ID, nil
		}
	}
	if len(s.failed) == 0 {
		t.Fatal("neither up nor failed")
	}
	return "", s.failed[0].Reason
}

func tunnel(id string, change func(*Peer)) Peer {
	p := testPeer(id)
	if change != nil {
		change(&p)
	}
	return p
}

// Contract 9: IDr, then the most specific remote identity, then addresses; the
// secrets are never tried in turn.
func TestTunnelIsChosenByIdentities(t *testing.T) {
	remotes := func(a string) func(*Peer) {
		return func(p *Peer) { p.Remotes = []netip.Addr{addr(a)} }
	}
	any := tunnel("any", func(p *Peer) { p.PSK = []byte("any") })
	bob := tunnel("bob", func(p *Peer) { p.RemoteID, p.PSK = pattern("bob.example"), []byte("bob") })
	eve := tunnel("eve", func(p *Peer) { p.RemoteID, p.PSK = pattern("eve.example"), []byte("eve") })
	other := tunnel("other", func(p *Peer) {
		p.LocalID, p.RemoteID, p.PSK = ident("other.hub"), pattern("bob.example"), []byte("other")
	})
	spoke := func(id, psk, wants string) Peer {
		return tunnel("hub", func(p *Peer) {
			p.LocalID, p.PSK = ident(id), []byte(psk)
			if wants != "" {
				p.RemoteID = pattern(wants)
			}
		})
	}
	for _, c := range []struct {
		name    string
		spoke   Peer
		tunnels []Peer
		want    PeerID
		why     FailureKind
	}{
		{"the tunnel of the identity", spoke("bob.example", "bob", ""), []Peer{any, eve, bob}, "bob", 0},
		{"any, when nobody expects the identity", spoke("new.example", "any", ""), []Peer{eve, bob, any}, "any", 0},
		{"not by another tunnel's secret", spoke("bob.example", "any", ""), []Peer{any, bob}, "", FailAuthentication},
		{"by IDr", spoke("bob.example", "other", "other.hub"), []Peer{bob, other}, "other", 0},
		{"nobody has the wanted identity", spoke("bob.example", "bob", "no.hub"), []Peer{bob, other}, "", FailAuthentication},
		{"only tunnels of the address", spoke("bob.example", "bob", ""),
			[]Peer{tunnel("far", func(p *Peer) { remotes("203.0.113.9")(p); p.PSK = []byte("bob") }), bob}, "bob", 0},
		{"the more specific address", spoke("bob.example", "near", ""),
			[]Peer{any, tunnel("near", func(p *Peer) { remotes("192.0.2.1")(p); p.PSK = []byte("near") })}, "near", 0},
	} {
		got, f := hubAndSpoke(t, c.spoke, c.tunnels...)
		if got != c.want || (f != nil) != (c.why != 0) || f != nil && f.Kind != c.why {
			t.Errorf("%s: tunnel %q, %v", c.name, got, f)
		}
	}
}

// The suite of an IKE SA is agreed on before the tunnel is known; it must be one
// of the tunnel's own all the same.
func TestSuiteMustBeTheTunnelsOwn(t *testing.T) {
	weak := tunnel("weak", func(p *Peer) {
		p.RemoteID, p.IKE = pattern("weak.example"), []suite.Proposal{ike("aes128-sha256-modp2048")}
	})
	strong := tunnel("strong", func(p *Peer) { p.RemoteID = pattern("strong.example") })
	spoke := tunnel("hub", func(p *Peer) { p.LocalID, p.IKE = ident("strong.example"), weak.IKE })
	if got, f := hubAndSpoke(t, spoke, weak, strong); f == nil || f.Kind != FailAuthentication {
		t.Errorf("tunnel %q, %v", got, f)
	}
	spoke.LocalID = ident("weak.example")
	if got, f := hubAndSpoke(t, spoke, weak, strong); got != "weak" {
		t.Errorf("tunnel %q, %v", got, f)
	}
}

// initRequest is an IKE_SA_INIT request from nowhere.
func initRequest(spi uint64, cookie []byte) []byte {
	ps := []wire.Payload{
		saPayload([]suite.Proposal{ike("aes128gcm16-prfsha256-x25519")}, nil),
		&wire.KE{Method: suite.KE_CURVE25519, Data: []byte(strings.Repeat("k", 32))},
		&wire.Nonce{Data: binary.BigEndian.AppendUint64(make([]byte, 24), spi)},
	}
	if cookie != nil {
		ps = append([]wire.Payload{wire.NewNotify(wire.Cookie, cookie)}, ps...)
	}
	m := wire.Message{Header: wire.Header{SPIi: spi, Exchange: wire.IKESAInit, Flags: wire.FlagInitiator}, Payloads: ps}
	data, err := m.Append(nil)
	if err != nil {
		panic(err)
	}
	return data
}

// Whoever shows addresses, and has many, cannot make a responder keep more than a
// few megabytes: a request of IKE_SA_INIT has a largest length.
func TestLongInitRequestsAreDropped(t *testing.T) {
	padded := func(octets int) []byte {
		m, err := wire.Parse(initRequest(1, nil))
		if err != nil {
			t.Fatal(err)
		}
		m.Payloads = append(m.Payloads, &wire.VendorID{Data: make([]byte, octets-len(m.Raw)-4)})
		data, err := m.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for octets, kept := range map[int]int{3000: 1, maxInit: 1, maxInit + 1: 0, 60_000: 0} {
		e := New(Config{Rand: seeded(1)})
		e.SetPeer(0, testPeer("any"))
		e.Receive(0, Datagram{benchEast, benchWest, padded(octets)})
		if n := e.Stats().HalfOpen; n != kept {
			t.Errorf("%d octets: %d half-open, want %d", octets, n, kept)
		}
	}
}

func answers(t *testing.T, actions []Action) []*wire.Contents {
	t.Helper()
	var out []*wire.Contents
	for _, a := range actions {
		if s, ok := a.(Send); ok {
			m, err := wire.Parse(s.Data)
			if err != nil {
				t.Fatal(err)
			}
			c, err := wire.Collect(m.Payloads)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, c)
		}
	}
	return out
}

// A flood of requests makes the responder ask for cookies, and neither memory
// nor the answers grow; whoever reflects its cookie is served.
func TestFloodIsAnsweredWithCookies(t *testing.T) {
	e := New(Config{Rand: seeded(1)})
	e.SetPeer(0, testPeer("any"))
	local := netip.MustParseAddrPort("192.0.2.2:500")
	asked := 0
	for i := range uint64(5000) {
		remote := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 500)
		req := initRequest(i+1, nil)
		for _, c := range answers(t, e.Receive(0, Datagram{local, remote, req})) {
			if n := c.Notify(wire.Cookie); n != nil {
				asked++
				if len(n.Data) < 1 || len(n.Data) > 64 {
					t.Fatalf("a cookie of %d octets", len(n.Data))
				}
			}
		}
	}
	if s := e.Stats(); s.HalfOpen > cookieFrom || asked < 4900 || len(e.ids) != s.HalfOpen || len(e.half.waiting) != s.HalfOpen || len(e.half.sas) != s.HalfOpen || len(e.half.origins) > mostOrigins*9/8+2 {
		t.Fatalf("%+v, %d cookies, %d SAs", s, asked, len(e.ids))
	}

	// Whoever answers from its address gets through.
	remote := netip.MustParseAddrPort("192.0.2.77:500")
	get := func(now Time, spi uint64, cookie []byte) *wire.Contents {
		t.Helper()
		a := answers(t, e.Receive(now, Datagram{local, remote, initRequest(spi, cookie)}))
		if len(a) != 1 {
			t.Fatalf("%d answers", len(a))
		}
		return a[0]
	}
	cookie := get(0, 1<<40, nil).Notify(wire.Cookie).Data
	if c := get(0, 1<<40+1, cookie); c.SA != nil {
		t.Error("another request's cookie is taken")
	}
	if c := get(time.Second, 1<<40, cookie); c.SA == nil {
		t.Error("the right cookie is not taken")
	}

	// When the flood is over nothing is left of it.
	e.Tick(2 * halfOpenLife)
	if s := e.Stats(); s.HalfOpen != 0 || len(e.ids) != 0 || len(e.half.sas) != 0 || len(e.half.waiting)+e.half.held+e.half.foreign != 0 || len(e.timers) != 0 {
		t.Errorf("left over: %+v, %d SAs, %d requests, %d timers", s, len(e.ids), len(e.half.sas), len(e.timers))
	}
}

func TestRepeatedInitGetsTheSameAnswer(t *testing.T) {
	e := New(Config{Rand: seeded(1)})
	e.SetPeer(0, testPeer("any"))
	d := Datagram{netip.MustParseAddrPort("192.0.2.2:500"), netip.MustParseAddrPort("192.0.2.1:500"), initRequest(1, nil)}
	first := e.Receive(0, d)
	again := e.Receive(time.Second, d)
	a, b := first[0].(Send), again[0].(Send)
	if string(a.Data) != string(b.Data) || e.Stats().HalfOpen != 1 {
		t.Error("a repeated request makes another SA")
	}
	if len(a.Data) > 2*len(d.Data) {
		t.Errorf("%d octets are answered to %d", len(a.Data), len(d.Data))
	}
}

func TestStrangersAreAnsweredSparingly(t *testing.T) {
	e := New(Config{Rand: seeded(1)})
	e.SetPeer(0, testPeer("any"))
	h := wire.Header{SPIi: 1, SPIr: 2, Exchange: wire.Informational, Flags: wire.FlagInitiator, MessageID: 9}
	m := wire.Message{Header: h, Payloads: []wire.Payload{&wire.SK{Sealed: make([]byte, 40)}}}
	data, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	d := Datagram{netip.MustParseAddrPort("192.0.2.2:500"), netip.MustParseAddrPort("192.0.2.1:500"), data}
	count := func(now Time) (n int) {
		for range 1000 {
			for _, c := range answers(t, e.Receive(now, d)) {
				if c.Notify(wire.InvalidIKESPI) == nil {
					t.Fatal("not INVALID_IKE_SPI")
				}
				n++
			}
		}
		return n
	}
	if n := count(0); n < 10 || n > 50 {
		t.Errorf("%d answers to 1000 requests", n)
	}
	if n := count(time.Second); n < 10 || n > 30 {
		t.Errorf("%d answers in the next second", n)
	}
	// A response is never answered.
	data[19] |= byte(wire.FlagResponse)
	if n := count(time.Minute); n != 0 {
		t.Errorf("%d answers to responses", n)
	}
}

func TestOtherVersionsAreToldOf(t *testing.T) {
	e := New(Config{Rand: seeded(1)})
	p := testPeer("east")
	p.Remotes = []netip.Addr{addr("192.0.2.1")}
	e.SetPeer(0, p)
	req := initRequest(1, nil)
	d := Datagram{netip.MustParseAddrPort("192.0.2.2:500"), netip.MustParseAddrPort("192.0.2.1:500"), req}
	req[17] = 0x30
	a := answers(t, e.Receive(0, d))
	if len(a) != 1 || a[0].Notify(wire.InvalidMajorVersion) == nil {
		t.Errorf("version 3 is answered with %v", a)
	}
	req[17] = 0x10
	got := e.Receive(0, d)
	n, ok := got[0].(Noted)
	if !ok || n.Peer != "east" || n.Reason.Kind != FailMajorVersion || !strings.Contains(n.Reason.Error(), "IKEv1") {
		t.Errorf("IKEv1 gives %v", got)
	}
	if got := e.Receive(time.Second, d); len(got) != 0 {
		t.Errorf("the same note again: %v", got)
	}
}

// brokenReader is randomness that has run out.
type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("no entropy") }

func TestWithoutRandomnessNothingIsSent(t *testing.T) {
	e := New(Config{Rand: brokenReader{}})
	e.SetPeer(0, testPeer("east"))
	for _, a := range e.Initiate(0, "east", benchWest, benchEast) {
		switch a := a.(type) {
		case Send:
			t.Error("something is sent")
		case Failed:
			if !strings.Contains(a.Reason.Error(), "randomness") {
				t.Errorf("%v", a.Reason)
			}
		}
	}
	if a := answers(t, e.Receive(0, Datagram{benchEast, benchWest, initRequest(1, nil)})); len(a) != 0 {
		t.Error("a request is answered")
	}
}

// Nothing that is printed of an engine's values holds a secret.
func TestNoSecretIsPrinted(t *testing.T) {
	n, w, e := twoNodes(t, 1, func(a, b *Peer) { a.PSK, b.PSK = []byte("hush-hush"), []byte("hush-hush") })
	var log strings.Builder
	n.log = func(f string, a ...any) { fmt.Fprintf(&log, f+"\n", a...) }
	w.initiate()
	n.run(time.Second)
	s := w.e.peers["east"].sas[0]
	c := w.in[w.e.Children("east")[0].SPIIn]
	for _, text := range []string{
		log.String(), fmt.Sprintf("%v %+v %#v %s %x", s.keys, s.keys, s.keys, s.keys, s.keys),
		fmt.Sprintf("%v %+v %#v", w.peer, w.peer, &w.peer),
		fmt.Sprintf("%v %+v %#v", InstallIn{Params: c.params}, InstallIn{Params: c.params}, c.params),
	} {
		for _, secret := range [][]byte{s.keys.D, c.params.Key, []byte("hush")} {
			for _, form := range []string{string(secret), fmt.Sprintf("%x", secret), fmt.Sprint(secret)} {
				if strings.Contains(text, form) {
					t.Errorf("a secret is printed: %.200s", text)
				}
			}
		}
	}
	_ = e
}

// A higher minor version, flags that nobody knows and reserved bits are ignored
// (RFC 7296 sections 2.5 and 3.1 to 3.4), and answered as version 2.0.
func TestReservedBitsOfInitAreIgnored(t *testing.T) {
	_, _, e := twoNodes(t, 3, nil)
	b := initRequest(1, nil)
	b[17] = 0x2f
	b[19] |= 0xc7 | byte(wire.FlagVersion)
	for at, next := wire.HeaderLen, b[16]; next != 0; {
		b[at+1] = 0xff // critical and reserved
		n := int(binary.BigEndian.Uint16(b[at+2:]))
		next, at = b[at], at+n
	}
	answered := false
	for _, a := range e.e.Receive(e.time(), Datagram{Local: e.local, Remote: e.remote, Data: b}) {
		if s, ok := a.(Send); ok {
			m, err := wire.Parse(s.Data)
			answered = err == nil && m.Version == wire.Version && m.Flags == wire.FlagResponse && len(m.Payloads) > 0 && m.Payloads[0].Type() == wire.TypeSA
		}
	}
	if !answered {
		t.Error("not answered")
	}
}

// Where a peer may only be met at certain addresses of ours and there are none,
// it is met nowhere.
func TestAPeerWithoutAnOwnAddressIsNotLetIn(t *testing.T) {
	here, there := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for _, c := range []struct {
		own  []netip.Addr
		only bool
		want bool
	}{
		{nil, false, true}, {nil, true, false}, {[]netip.Addr{there}, true, false}, {[]netip.Addr{there, here}, true, true},
	} {
		p := &peer{cfg: Peer{Local: c.own, LocalOnly: c.only}}
		if _, ok := p.accepts(here, netip.MustParseAddr("198.51.100.9")); ok != c.want {
			t.Errorf("local %v, only %v: let in: %v", c.own, c.only, ok)
		}
	}
}

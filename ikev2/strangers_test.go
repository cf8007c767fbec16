package ikev2

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"greseal/crypto/suite"
	"greseal/ikev2/keymat"
	"greseal/ikev2/wire"
)

// crowd is hosts that receive what is sent to them, in front of one responder.
type crowd struct {
	t     *testing.T
	e     *Engine
	now   Time
	local netip.AddrPort
	spi   uint64
}

func newCrowd(t *testing.T, change func(*Config, *Peer)) *crowd {
	t.Helper()
	c, p := Config{Rand: seeded(1)}, testPeer("any")
	if change != nil {
		change(&c, &p)
	}
	e := New(c)
	e.kex = keyExchanges{cheapStart, cheapRespond}
	e.SetPeer(0, p)
	return &crowd{t: t, e: e, local: netip.MustParseAddrPort("192.0.2.2:500")}
}

// request is an IKE_SA_INIT request for a proposal.
func (c *crowd) request(spi uint64, ike string, method uint16, octets int, cookie []byte) []byte {
	p, err := suite.ParseIKE(ike)
	if err != nil {
		c.t.Fatal(err)
	}
	ke, _ := cheapStart(method, seeded(spi))
	ps := []wire.Payload{
		saPayload([]suite.Proposal{p}, nil),
		&wire.KE{Method: method, Data: ke.Public()},
		&wire.Nonce{Data: binary.BigEndian.AppendUint64(make([]byte, 24), spi)},
		notify(wire.FragmentationSupported),
	}
	if cookie != nil {
		ps = append([]wire.Payload{wire.NewNotify(wire.Cookie, cookie)}, ps...)
	}
	m := wire.Message{Header: wire.Header{SPIi: spi, Exchange: wire.IKESAInit, Flags: wire.FlagInitiator}, Payloads: ps}
	data, err := m.Append(nil)
	if err == nil && len(data) < octets {
		m.Payloads = append(m.Payloads, &wire.VendorID{Data: make([]byte, octets-len(data)-4)})
		data, err = m.Append(nil)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return data
}

// visitor is a host in the middle of a handshake.
type visitor struct {
	from     netip.AddrPort
	ike      string
	method   uint16
	octets   int
	spi      uint64
	contents *wire.Contents // the answer to its IKE_SA_INIT, nil: none came
	spiR     uint64
	regroup  uint16 // asked for by INVALID_KE_PAYLOAD
}

func (c *crowd) visit(from string, change func(*visitor)) *visitor {
	c.t.Helper()
	c.spi++
	v := &visitor{from: netip.AddrPortFrom(netip.MustParseAddr(from), 500), ike: "aes128gcm16-prfsha256-x25519", method: suite.KE_CURVE25519, spi: 1<<50 + c.spi}
	if change != nil {
		change(v)
	}
	local := c.local
	if v.from.Addr().Is6() {
		local = netip.MustParseAddrPort("[2001:db8:f::2]:500")
	}
	var cookie []byte
	for range 2 {
		for _, a := range c.e.Receive(c.now, Datagram{local, v.from, c.request(v.spi, v.ike, v.method, v.octets, cookie)}) {
			s, ok := a.(Send)
			if !ok {
				continue
			}
			m, err := wire.Parse(s.Data)
			if err != nil {
				c.t.Fatal(err)
			}
			got, err := wire.Collect(m.Payloads)
			if err != nil {
				c.t.Fatal(err)
			}
			cookie = nil
			switch {
			case got.SA != nil:
				v.contents, v.spiR = got, m.SPIr
			case got.Notify(wire.InvalidKEPayload) != nil:
				v.regroup = binary.BigEndian.Uint16(got.Notify(wire.InvalidKEPayload).Data)
			case got.Notify(wire.Cookie) != nil:
				cookie = got.Notify(wire.Cookie).Data
			}
		}
		if cookie == nil {
			break
		}
	}
	return v
}

// half is the responder's SA with a visitor, nil when it is gone.
func (c *crowd) half(v *visitor) *ikeSA {
	if v.contents == nil {
		return nil
	}
	return c.e.sas[v.spiR]
}

// send sends a protected message of a visitor in fragments of the lengths given.
func (c *crowd) fragments(v *visitor, total, octets int, numbers ...int) {
	c.t.Helper()
	s := c.half(v)
	if s == nil {
		return
	}
	if s.keys == nil && !c.e.deriveHalf(s) {
		c.t.Fatal("no keys")
	}
	h := wire.Header{SPIi: s.SPIi, SPIr: s.SPIr, Exchange: wire.IKEAuth, Flags: wire.FlagInitiator, MessageID: 1}
	all, err := wire.SealFragments(h, wire.TypeVendor, make([]byte, total*octets), s.keys.In.(keymat.Sealer), octets+61, total)
	if err != nil || len(all) != total {
		c.t.Fatalf("%d fragments, %v", len(all), err)
	}
	for _, n := range numbers {
		c.e.Receive(c.now, Datagram{s.local, v.from, all[n-1]})
	}
}

// refused sends an IKE_AUTH request that nobody can accept.
func (c *crowd) refused(v *visitor) {
	c.t.Helper()
	s := c.half(v)
	if s == nil {
		return
	}
	if s.keys == nil && !c.e.deriveHalf(s) {
		c.t.Fatal("no keys")
	}
	h := wire.Header{SPIi: s.SPIi, SPIr: s.SPIr, Exchange: wire.IKEAuth, Flags: wire.FlagInitiator, MessageID: 1}
	ps := []wire.Payload{&wire.ID{Of: wire.TypeIDi, Kind: 2, Data: []byte("mallory.example")}, &wire.Auth{Method: wire.AuthSharedKey, Data: make([]byte, 32)}}
	data, err := wire.AppendSealed(nil, h, ps, s.keys.In.(keymat.Sealer))
	if err != nil {
		c.t.Fatal(err)
	}
	c.e.Receive(c.now, Datagram{s.local, v.from, data})
}

// finish is what becomes of a visitor who authenticates itself.
func (c *crowd) finish(v *visitor) bool {
	s := c.half(v)
	if s == nil {
		return false
	}
	c.e.half.refund(&s.handshake.standing)
	c.e.drop(s, nil, false)
	return true
}

// bot is the address number i of a botnet, each in a network of its own.
func bot(i int) string { return fmt.Sprintf("10.%d.%d.7", i>>8, i&255) }

// accounted fails unless the budget is what is counted again, within its bounds.
func (c *crowd) accounted() {
	c.t.Helper()
	h := &c.e.half
	held, foreign := 0, 0
	for _, s := range h.waiting {
		if s.octets() != s.handshake.standing.held {
			c.t.Fatalf("an SA of %d octets is counted for %d", s.octets(), s.handshake.standing.held)
		}
		held += s.octets()
		if !s.handshake.standing.known {
			foreign += s.octets()
		}
	}
	open, nets := 0, 0
	for n, o := range h.origins {
		open += o.open
		nets++
		if o.open < 0 || o.held < 0 || o.open == 0 && o.held != 0 {
			c.t.Fatalf("%s has %d SAs of %d octets", n, o.open, o.held)
		}
	}
	if held != h.held || foreign != h.foreign || len(h.sas) != len(h.waiting) {
		c.t.Fatalf("%d and %d octets are %d and %d; %d SAs of %d requests", h.held, h.foreign, held, foreign, len(h.waiting), len(h.sas))
	}
	if h.held > h.limit || float64(h.foreign) > float64(h.limit)*foreignShare || nets > mostOrigins*9/8+3 {
		c.t.Fatalf("%d octets, %d of strangers, with a limit of %d; %d networks", h.held, h.foreign, h.limit, nets)
	}
	if len(c.e.responses) > maxRefused || len(c.e.sas) != len(h.waiting) {
		c.t.Fatalf("%d refused and %d SAs are kept, %d wait", len(c.e.responses), len(c.e.sas), len(h.waiting))
	}
}

// However a flood is spread over addresses that answer, a peer that comes from
// elsewhere is let in within a second of tries, and is left in peace until its
// IKE_AUTH comes.
func TestFloodLocksNobodyOut(t *testing.T) {
	type flood struct {
		name    string
		address func(i int) string
	}
	floods := []flood{
		{"one address", func(int) string { return bot(1) }},
		{"100 addresses", func(i int) string { return bot(i % 100) }},
		{"1,000 addresses", func(i int) string { return bot(i % 1000) }},
		{"5,000 addresses", func(i int) string { return bot(i % 5000) }},
		{"one /24", func(i int) string { return fmt.Sprintf("198.51.100.%d", 1+i%199) }},
		{"one /64", func(i int) string { return fmt.Sprintf("2001:db8::%x", 1+i) }},
		{"one /56", func(i int) string { return fmt.Sprintf("2001:db8:0:%x::1", i%256) }},
		{"one /48", func(i int) string { return fmt.Sprintf("2001:db8:0:%x::1", i%65536) }},
	}
	sizes, ends := []int{0, 4000}, []string{"silent", "refused", "in fragments"}
	if testing.Short() {
		floods, sizes, ends = floods[1:2], sizes[:1], ends[2:]
	}
	for _, f := range floods {
		for _, octets := range sizes {
			for _, end := range ends {
				t.Run(fmt.Sprintf("%s, %d octets, %s", f.name, octets, end), func(t *testing.T) {
					c := newCrowd(t, nil)
					shut, late, lost := 0, 0, 0
					var honest []*visitor
					for i := range 5_000 { // 1,000 a second
						c.now += time.Millisecond
						v := c.visit(f.address(i), func(v *visitor) { v.octets = octets })
						switch {
						case end == "refused":
							c.refused(v)
						case end == "in fragments" && i%4 == 0:
							c.fragments(v, 12, 1200, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12)
						}
						if i%200 == 99 {
							for _, v := range honest { // what came a tenth of a second ago
								if !c.finish(v) {
									lost++
								}
							}
							honest = honest[:0]
						}
						if i%200 != 199 {
							continue
						}
						c.e.Tick(c.now)
						c.accounted()
						for _, from := range []string{"203.0.%d.77", "2001:db8:7%03d::1", "198.51.100.%d", "192.0.%d.99"} {
							if v := c.visit(fmt.Sprintf(from, 200+i/200), nil); v.contents == nil {
								if shut++; c.now > leastLife+500*time.Millisecond {
									late++
								}
							} else {
								honest = append(honest, v)
							}
						}
					}
					// Two seconds may pass until a flood shows itself as one.
					if shut > 40 || lost > 8 || late > 0 {
						t.Errorf("of 100 peers %d were turned away, %d of them after 2 s, and %d lost what they had begun: %+v", shut, late, lost, c.e.Stats())
					}
				})
			}
		}
	}
}

// Who is configured by its address, or was authenticated before, finds room and
// computing whatever strangers do.
func TestKnownAddressesHaveTheirPart(t *testing.T) {
	c := newCrowd(t, func(_ *Config, p *Peer) { p.IKE = []suite.Proposal{ike("aes128gcm16-prfsha256-x25519-modp3072")} })
	named := testPeer("named")
	named.Remotes, named.IKE = []netip.Addr{addr("203.0.113.5")}, []suite.Proposal{ike("aes128gcm16-prfsha256-x25519-modp3072")}
	c.e.SetPeer(0, named)
	c.e.half.hear(addr("203.0.113.6"))
	slowly := func(v *visitor) { v.ike, v.method = "aes128gcm16-prfsha256-modp3072", suite.KE_MODP_3072 }
	for i := range 20_000 {
		c.now += time.Millisecond / 10
		c.visit(bot(i), slowly)
	}
	c.accounted()
	for _, from := range []string{"203.0.113.5", "203.0.113.6"} {
		if c.half(c.visit(from, slowly)) == nil {
			t.Errorf("%s is turned away", from)
		}
	}
}

// Hundreds of branches behind one address come back at once when their hub was
// started again: they cost each other at most a repetition.
func TestCrowdBehindOneAddressComesBack(t *testing.T) {
	for _, octets := range []int{strangersOctets, 640 << 10} {
		n := newNetwork(7)
		n.fault, n.cheap = t.Fatalf, true
		n.delayMin, n.delayMax = 40*time.Millisecond, 90*time.Millisecond
		any := testPeer("any")
		hub := n.add("hub", "192.0.2.2", "192.0.2.1", any)
		hub.e.half.limit = octets
		const branches = 200
		var all []*node
		for i := range branches {
			id := fmt.Sprintf("b%d.example", i)
			p := testPeer(id)
			p.RemoteID, p.GRERemote = pattern(id), addr(fmt.Sprintf("10.1.%d.%d", i>>8, i&255))
			p.GRELocal = addr("10.0.0.1")
			p.IKE = []suite.Proposal{ike("aes128gcm16-prfsha256-x25519-mlkem768"), ike("aes128gcm16-prfsha256-x25519")}
			hub.do(hub.e.SetPeer(0, p))
			q := testPeer("hub")
			q.LocalID, q.GRELocal, q.GRERemote = ident(id), p.GRERemote, p.GRELocal
			q.IKE = p.IKE
			b := n.add(id, fmt.Sprintf("10.2.%d.%d", i>>8, i&255), "192.0.2.2", q)
			n.nats = append(n.nats, &natBox{b.local.Addr(), addr("192.0.2.1"), uint16(1000 + 2*i)})
			all = append(all, b)
		}
		for _, b := range all {
			b.initiate()
		}
		n.run(4 * time.Second)
		up := 0
		for _, b := range all {
			if len(b.e.Children("hub")) > 0 {
				up++
			}
		}
		if up != branches {
			t.Errorf("with %d octets %d of %d branches are up after 4 s: %+v", octets, up, branches, hub.e.Stats())
		}
	}
}

// Of an IKE_AUTH that was refused the answer is left, for a few of them; from
// then on its network is asked for cookies.
func TestRefusedAuthLeavesNothing(t *testing.T) {
	c := newCrowd(t, nil)
	for range 4000 {
		c.now += 5 * time.Millisecond / 2
		c.refused(c.visit("198.51.100.7", nil))
	}
	c.accounted()
	if s := c.e.Stats(); len(c.e.ids) != 0 || s.Cookies < 3900 || len(c.e.half.done) != 0 {
		t.Errorf("%d IKE SAs and %d requests are kept; %+v", len(c.e.ids), len(c.e.half.done), s)
	}
	c.e.Tick(c.now + responseLife + time.Second)
	if len(c.e.responses)+len(c.e.refusals) != 0 {
		t.Errorf("%d answers are kept", len(c.e.responses))
	}
}

// A repetition of a refused IKE_AUTH request gets the same answer.
func TestRefusedAuthIsAnsweredAgain(t *testing.T) {
	c := newCrowd(t, nil)
	v := c.visit("198.51.100.7", nil)
	c.refused(v)
	if c.half(v) != nil || len(c.e.responses) != 1 {
		t.Fatal("the IKE SA stands, or no answer is kept")
	}
}

// Computing for strangers is bounded by the second, whichever method they choose
// and whatever they do then.
func TestComputingForStrangersIsBounded(t *testing.T) {
	for method, word := range map[uint16]string{
		suite.KE_CURVE25519: "x25519", suite.KE_ECP_384: "ecp384", suite.KE_MODP_2048: "modp2048", suite.KE_MODP_3072: "modp3072",
	} {
		proposal := "aes128gcm16-prfsha256-" + word
		c := newCrowd(t, func(_ *Config, p *Peer) { p.IKE = []suite.Proposal{ike(proposal)} })
		exchanges := 0
		c.e.kex.start = countStarts(&exchanges, c.e.kex.start)
		seconds := 20
		if testing.Short() {
			seconds = 2
		}
		for i := range 1000 * seconds {
			c.now += time.Millisecond
			v := c.visit(bot(i%3000), func(v *visitor) { v.ike, v.method = proposal, method })
			if i%2 == 0 {
				c.refused(v)
			}
		}
		cost := handshakeCost + exchangeCosts[method]
		most := defaultComputing * (computingBurst.Seconds() + float64(seconds)) / cost
		if float64(exchanges) > most+1 {
			t.Errorf("%s: %d key exchanges in %d s, at most %.0f are to be had", word, exchanges, seconds, most)
		}
	}
}

// Under load strangers are asked for a quick method where both sides have one,
// and before anybody computes with a slow one twice at a time its address is
// asked to show itself.
func TestSlowMethodsUnderLoad(t *testing.T) {
	both := func(v *visitor) {
		v.ike, v.method = "aes128gcm16-prfsha256-x25519-modp3072", suite.KE_MODP_3072
	}
	c := newCrowd(t, func(_ *Config, p *Peer) { p.IKE = []suite.Proposal{ike("aes128gcm16-prfsha256-modp3072-x25519")} })
	if v := c.visit("203.0.113.1", both); v.contents == nil || c.e.Stats().Cookies != 0 {
		t.Error("who asks first and alone is put off")
	}
	if v := c.visit("203.0.113.2", both); v.contents == nil || c.e.Stats().Cookies != 1 {
		t.Errorf("the second: %+v", c.e.Stats())
	}
	for i := range 2000 {
		c.visit(bot(i), func(v *visitor) { v.ike, v.method = "aes128gcm16-prfsha256-modp3072", suite.KE_MODP_3072 })
	}
	if v := c.visit("203.0.113.3", both); v.regroup != suite.KE_CURVE25519 {
		t.Errorf("under load: %+v", v)
	}
	if v := c.visit("203.0.113.3", nil); c.half(v) == nil {
		t.Error("with the quick method it is turned away")
	}
}

// Nobody who is not authenticated can have more than 16 kB of fragments, and an
// IKE SA for which more come goes; a forged fragment ends nothing.
func TestFragmentsOfStrangersAreBounded(t *testing.T) {
	c := newCrowd(t, nil)
	v := c.visit("198.51.100.7", nil)
	c.fragments(v, 13, 1200, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
	if s := c.half(v); s == nil || s.parts.Request == nil || s.parts.Request.Held() < 14_400 {
		t.Fatal("fragments of 14 kB are not held")
	}
	c.accounted()
	v = c.visit("198.51.100.8", nil)
	c.fragments(v, 16, 1200, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
	if c.half(v) != nil {
		t.Error("an IKE SA with 18 kB of fragments stands")
	}
	c.accounted()

	v = c.visit("198.51.100.9", nil)
	s := c.half(v)
	h := wire.Header{SPIi: s.SPIi, SPIr: s.SPIr, Exchange: wire.IKEAuth, Flags: wire.FlagInitiator, MessageID: 1}
	m := wire.Message{Header: h, Payloads: []wire.Payload{&wire.SKF{Number: 1, Total: 60000, Sealed: make([]byte, 100)}}}
	data, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	c.e.Receive(c.now, Datagram{s.local, v.from, data})
	if c.half(v) == nil {
		t.Error("a forged fragment ends an IKE SA")
	}
}

// The budget is what is really taken.
func TestStrangersTakeWhatIsCounted(t *testing.T) {
	heap := func() int {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	type way struct {
		name    string
		octets  int
		parts   int
		refused bool
	}
	ways := []way{{"fragments", 0, 11, false}, {"small", 0, 0, false}, {"long requests", 4000, 0, false}, {"refused", 0, 0, true}}
	if testing.Short() {
		ways = ways[:1]
	}
	for _, way := range ways {
		c := newCrowd(t, nil)
		c.e.kex = New(Config{}).kex
		before := heap()
		for i := range 3000 {
			c.now += 5 * time.Millisecond
			v := c.visit(bot(i), func(v *visitor) { v.octets = way.octets })
			if way.parts > 0 {
				c.fragments(v, way.parts+1, 1200, slices.Collect(func(yield func(int) bool) {
					for n := 1; n <= way.parts && yield(n); n++ {
					}
				})...)
			}
			if way.refused {
				c.refused(v)
			}
		}
		c.accounted()
		const beside = 700 << 10 // the flight recorder, networks and answers
		if grown := heap() - before; grown > c.e.half.limit+beside {
			t.Errorf("%s: %d octets are taken, %d counted for %d half-open SAs", way.name, grown, c.e.half.held, len(c.e.half.waiting))
		} else {
			t.Logf("%s: %d octets are taken, %d counted for %d half-open SAs", way.name, grown, c.e.half.held, len(c.e.half.waiting))
		}
		runtime.KeepAlive(c)
	}
}

// What goes to all alike is made once, not for each request.
func TestAnswersAreMadeOnce(t *testing.T) {
	c := newCrowd(t, nil)
	first := c.e.audience(c.local.Addr(), addr("203.0.113.1"))
	if again := c.e.audience(c.local.Addr(), addr("203.0.113.2")); again != first {
		t.Error("what strangers are answered is made again for each")
	}
	p := testPeer("any")
	p.IKE = []suite.Proposal{ike("aes256gcm16-prfsha384-x25519")}
	c.e.SetPeer(0, p)
	if again := c.e.audience(c.local.Addr(), addr("203.0.113.1")); again == first || len(again.offers) != 1 || !strings.Contains(proposalsText(again.offers), "256") {
		t.Error("new settings are not answered with")
	}
	for i := range 2 * mostAudiences {
		c.e.audience(addr(fmt.Sprintf("2001:db8::%x", i+1)), addr("2001:db8:1::1"))
	}
	if len(c.e.audiences) > mostAudiences {
		t.Errorf("%d are kept", len(c.e.audiences))
	}
}

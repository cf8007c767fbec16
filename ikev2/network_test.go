package ikev2

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"greseal/crypto/esp"
	"greseal/crypto/suite"
	"greseal/ikev2/keymat"
	"greseal/ikev2/wire"
)

// network is a deterministic network of engines in virtual time: no sockets, no
// goroutines, no clock. What is lost, doubled, delayed or held is decided by a
// seeded generator, or by the test.
type network struct {
	now   Time
	rand  *rand.Rand
	seq   int
	queue []*flight
	nodes []*node

	loss, double float64 // probabilities
	delayMin     time.Duration
	delayMax     time.Duration
	filter       func(*flight) bool // false: the datagram is lost
	nats         []*natBox
	tamper       func(from *node, h wire.Header, inner []wire.Payload) []wire.Payload
	meant        bool // by its sender, whose AUTH covers it: what tamper makes of IKE_SA_INIT
	hold         bool
	held         []*flight
	silent       bool // nodes do not describe what they do
	cheap        bool // key exchanges are not real
	late         Time // packets under way may find no SA until then
	outages      int  // seen by checkWindow
	excused      bool // one side has declared the other dead, or was restarted, and it is not mended yet
	log          func(format string, a ...any)
	fault        func(format string, a ...any)
}

// natBox translates one node's address, and shifts its ports.
type natBox struct {
	inside, outside netip.Addr
	shift           uint16
}

// flight is a datagram or ESP packet under way.
type flight struct {
	at       Time
	seq      int
	from     *node
	src, dst netip.AddrPort
	data     []byte
	text     string
	spi      uint32 // ESP when not 0
	boots    int    // of the sender
	forged   bool   // sent by somebody else
	df       bool
	split    bool
}

// node is one machine: an engine and the datapath that carries out its actions.
type node struct {
	net    *network
	name   string
	e      *Engine
	peer   Peer
	local  netip.AddrPort
	remote netip.AddrPort
	more   []netip.Addr // further own addresses
	public netip.Addr   // behind a NAT: the address others see
	wake   Time

	in      map[uint32]*installed
	out     map[uint32]*installed
	carrier uint32          // SPI of the outbound SA that carries the traffic, 0: none
	outs    []uint32        // those installed, in that order: the last carries the traffic
	gone    map[uint32]SAID // inbound SAs that were removed, with their IKE SA
	dead    map[SAID]bool   // IKE SAs that were given up because the peer seemed dead

	texts     map[*byte]string
	seen      map[*byte]bool
	ups       int
	downs     []IKEDown
	failed    []Failed
	noted     []Noted
	live      []Liveness
	moved     []Moved
	kept      int
	sent      int
	outages   int
	failIn    int // InstallIn to fail
	reconnect bool
	retryAt   Time
	quiet     bool

	boots  int           // times it was started
	skew   time.Duration // its clock is ahead of the network's by so much
	frozen Time          // the process does not run before
}

type installed struct {
	child  *Child
	params esp.Params
	watch  bool
	used   bool
	mapped netip.AddrPort // last reported
}

func newNetwork(seed uint64) *network {
	return &network{
		rand:     rand.New(rand.NewPCG(seed, 1)),
		delayMin: time.Millisecond, delayMax: time.Millisecond,
		log:   func(string, ...any) {},
		fault: func(f string, a ...any) { panic(fmt.Sprintf(f, a...)) },
	}
}

// reader is seeded randomness for an engine.
type reader struct{ *rand.ChaCha8 }

func seeded(seed uint64) reader {
	var s [32]byte
	copy(s[:], fmt.Sprintf("greseal test %d", seed))
	return reader{rand.NewChaCha8(s)}
}

// testPeer is a peer with everything a test seldom cares about.
func testPeer(id string) Peer {
	return Peer{
		ID: PeerID(id), PSK: []byte("correct horse battery staple"),
		IKE: []suite.Proposal{ike("aes128gcm16-prfsha256-x25519")},
		ESP: []suite.Proposal{espProposal("aes128gcm16")},
		PFS: true, DPD: 10 * time.Second, Suspect: 15 * time.Second, Dead: 120 * time.Second,
	}
}

func ike(s string) suite.Proposal {
	p, err := suite.ParseIKE(s)
	if err != nil {
		panic(err)
	}
	return p
}

func espProposal(s string) suite.Proposal {
	p, err := suite.ParseESP(s)
	if err != nil {
		panic(err)
	}
	return p
}

// add makes a node. local and remote are its own and its peer's address.
func (n *network) add(name, local, remote string, p Peer) *node {
	x := &node{
		net: n, name: name, peer: p,
		local:  netip.AddrPortFrom(netip.MustParseAddr(local), 500),
		remote: netip.AddrPortFrom(netip.MustParseAddr(remote), 500),
	}
	n.nodes = append(n.nodes, x)
	x.boot()
	return x
}

// boot starts a node's engine again, with nothing in the datapath.
func (x *node) boot() {
	x.net.seq++
	seed := x.net.rand.Uint64()
	x.e = New(Config{Rand: seeded(seed)})
	x.in, x.out, x.gone = map[uint32]*installed{}, map[uint32]*installed{}, map[uint32]SAID{}
	x.dead = map[SAID]bool{}
	x.e.SetWall(x.time(), testTime.Add(x.net.now))
	x.texts, x.seen = map[*byte]string{}, map[*byte]bool{}
	x.carrier, x.outs, x.wake, x.frozen = 0, nil, 0, 0
	if x.boots++; x.boots > 1 {
		x.net.excuse(true)
	}
	if x.net.cheap {
		x.e.kex = keyExchanges{cheapStart, cheapRespond}
	}
	x.quiet = x.net.silent
	if !x.quiet {
		x.e.onMessage = x.describe
	}
	x.do(x.e.SetPeer(x.time(), x.peer))
}

// time is a node's own.
func (x *node) time() Time { return max(x.net.now+x.skew, 0) }

func (x *node) describe(data []byte, h wire.Header, outer, inner []wire.Payload) {
	x.texts[&data[0]] = wire.Describe(h, outer, inner)
}

// moves gives a node another address instead of the one it has.
func (x *node) moves(to string) {
	x.local = netip.AddrPortFrom(netip.MustParseAddr(to), x.local.Port())
	x.do(x.e.Move(x.time(), x.peer.ID, x.local.Addr()))
}

func (x *node) initiate() { x.do(x.e.Initiate(x.time(), x.peer.ID, x.local, x.remote)) }

// do carries out actions as the tunnel loop does.
func (x *node) do(actions []Action) {
	type failure struct {
		id  ChildID
		err error
	}
	var failures []failure
	wakes := 0
	for _, a := range actions {
		switch a := a.(type) {
		case WakeAt:
			wakes++
			if a.At < x.time() {
				x.net.fault("%s: WakeAt %v in the past of %v", x.name, a.At, x.time())
			}
			x.wake = a.At
		case Send:
			x.sent++
			x.net.send(x, a)
		case SendKeepalive:
			x.kept++
			x.say("keepalive to %s", a.Remote)
		case InstallIn:
			if x.failIn > 0 {
				x.failIn--
				x.say("InstallIn %s fails", childSA(a.Child))
				failures = append(failures, failure{a.Child.ID, fmt.Errorf("file exists")})
				continue
			}
			if x.in[a.Child.SPIIn] != nil {
				x.net.fault("%s: InstallIn of %08x twice", x.name, a.Child.SPIIn)
			}
			x.in[a.Child.SPIIn] = &installed{child: a.Child, params: a.Params, watch: a.WatchFirstUse}
			x.say("InstallIn %s", childSA(a.Child))
		case InstallOut:
			if slices.ContainsFunc(failures, func(f failure) bool { return f.id == a.Child.ID }) {
				continue
			}
			if x.out[a.Child.SPIOut] != nil {
				x.net.fault("%s: InstallOut of %08x twice", x.name, a.Child.SPIOut)
			}
			if x.in[a.Child.SPIIn] == nil {
				x.net.fault("%s: InstallOut of %s before InstallIn", x.name, childSA(a.Child))
			}
			x.out[a.Child.SPIOut] = &installed{child: a.Child, params: a.Params}
			x.outs = append(x.outs, a.Child.SPIOut)
			x.carrier = a.Child.SPIOut
			x.say("InstallOut %s", childSA(a.Child))
			x.checkKeys(a)
		case RemoveIn:
			if x.in[a.Child.SPIIn] != nil {
				x.say("RemoveIn %s", childSA(a.Child))
			}
			delete(x.in, a.Child.SPIIn)
			x.gone[a.Child.SPIIn] = a.Child.IKE
		case RemoveOut:
			if x.out[a.Child.SPIOut] != nil {
				x.say("RemoveOut %s", childSA(a.Child))
			}
			delete(x.out, a.Child.SPIOut)
			x.outs = slices.DeleteFunc(x.outs, func(spi uint32) bool { return spi == a.Child.SPIOut })
			x.carrier = 0
			if n := len(x.outs); n > 0 {
				x.carrier = x.outs[n-1]
			}
		case IKEUp:
			x.ups++
			role := "responder"
			if a.Initiator {
				role = "initiator"
			}
			how := ""
			if a.Replaces != 0 {
				how = fmt.Sprintf(", replaces %d", a.Replaces)
			}
			x.say("IKE SA %d up as %s%s: %s, peer is %s at %s%s", a.ID, role, how, a.Suite, a.RemoteID, a.Remote, nat(a.IKEInfo))
		case IKEDown:
			x.downs = append(x.downs, a)
			if a.Reason != nil && a.Reason.Kind == FailDead {
				x.dead[a.ID] = true
				x.net.excuse(true)
			}
			if a.Reason != nil {
				x.say("IKE SA %d down: %v", a.ID, a.Reason)
			} else {
				x.say("IKE SA %d down", a.ID)
			}
			x.lost()
		case Failed:
			x.failed = append(x.failed, a)
			x.say("failed: %v", a.Reason)
			x.lost()
		case Noted:
			x.noted = append(x.noted, a)
			x.say("noted: %v", a.Reason)
		case Liveness:
			x.live = append(x.live, a)
			x.say("peer is %s", []string{"alive", "suspect"}[a.State])
		case Contended:
			x.say("turned away: %v", a.Reason)
		case PeerMTU:
			x.say("the peer's interface takes %d bytes", a.MTU)
		case Probed:
			what := "did not reach"
			if a.Arrived {
				what = "reached"
			}
			if a.Hopeless {
				what = "was not risked on the way to"
			}
			x.say("a packet of %d octets %s the peer (probe %d)", a.Size, what, a.Token)
		case Moved:
			x.moved = append(x.moved, a)
			if a.OldLocal != a.Local {
				x.say("we moved from %s to %s, %d Child SAs", a.OldLocal, a.Local, len(a.Children))
			}
			if a.OldRemote != a.Remote || a.OldLocal == a.Local {
				x.say("peer moved from %s to %s, %d Child SAs", a.OldRemote, a.Remote, len(a.Children))
			}
			for _, c := range a.Children {
				if i := x.in[c.SPIIn]; i != nil {
					i.child = c
				}
				if o := x.out[c.SPIOut]; o != nil {
					o.child = c
				}
			}
		}
	}
	if wakes > 1 {
		x.net.fault("%s: %d WakeAt in one list", x.name, wakes)
	}
	for _, f := range failures {
		x.do(x.e.InstallFailed(x.time(), f.id, f.err))
	}
}

// givesUp notes the IKE SAs that are being deleted and whose peer has said nothing
// for the dead threshold: it is dead then, which nothing more is reported of.
func (x *node) givesUp() {
	for id, s := range x.e.ids {
		if s.state == stateDeleting && s.req != nil && max(s.req.first, s.LastHeard)+s.peer.cfg.Dead <= x.time() {
			x.dead[id] = true
		}
	}
}

// lost plans another attempt, for nodes that keep a tunnel up.
func (x *node) lost() {
	if x.reconnect && len(x.e.SAs(x.peer.ID)) == 0 {
		x.retryAt = x.net.now + time.Second + time.Duration(x.net.rand.Int64N(int64(2*time.Second)))
	}
}

func nat(i IKEInfo) string {
	var s string
	if i.NATLocal {
		s += ", we are behind a NAT"
	}
	switch {
	case i.PeerBehindNAT():
		s += ", it is behind a NAT"
	case i.EncapForcedByPeer:
		s += ", it forces UDP encapsulation"
	}
	if i.EncapForced {
		s += ", UDP encapsulation forced by us"
	}
	if i.PPK {
		s += ", with a PPK"
	}
	return s
}

func childSA(c *Child) string {
	s := fmt.Sprintf("%08x/%08x %s", c.SPIIn, c.SPIOut, c.Suite)
	if c.Transport {
		s += " transport"
	} else {
		s += " tunnel"
	}
	if c.Encap {
		s += " in UDP"
	}
	return s + fmt.Sprintf(" %s to %s", c.GRELocal, c.GRERemote)
}

func (x *node) say(format string, a ...any) {
	if !x.quiet {
		x.net.log("%s: %s", x.name, fmt.Sprintf(format, a...))
	}
}

// checkKeys compares a new outbound SA with the peer's inbound one.
func (x *node) checkKeys(a InstallOut) {
	for _, y := range x.net.nodes {
		if y == x || y.in[a.Child.SPIOut] == nil {
			continue
		}
		p := y.in[a.Child.SPIOut].params
		if p.SPI != a.Params.SPI || p.ESN != a.Params.ESN || p.Encr != a.Params.Encr || !bytes.Equal(p.Key, a.Params.Key) || !bytes.Equal(p.AuthKey, a.Params.AuthKey) {
			x.net.fault("%s: keys of %08x differ from the peer's", x.name, a.Child.SPIOut)
		}
		return
	}
}

// send puts a datagram on its way.
func (n *network) send(x *node, a Send) {
	text := x.texts[&a.Data[0]]
	if x.seen[&a.Data[0]] {
		text += " (again)"
	}
	x.seen[&a.Data[0]] = true
	if a.DF {
		text += fmt.Sprintf(" DF, %d octets", x.packetLen(a.Datagram))
	}
	if a.Split {
		text += " split"
	}
	n.put(&flight{df: a.DF, split: a.Split, from: x, src: a.Local, dst: a.Remote, data: n.tampered(x, bytes.Clone(a.Data)), text: text})
}

// packetLen is the length of the IP packet that a datagram goes out in.
func (x *node) packetLen(d Datagram) int {
	n := 20 + 8 + len(d.Data)
	if d.Local.Addr().Is6() {
		n += 20
	}
	if d.Local.Port() == 4500 {
		n += 4
	}
	return n
}

// tampered lets the test change what a protected message says, as a hostile or
// broken peer could: sealed again with the sender's own keys.
func (n *network) tampered(x *node, data []byte) []byte {
	if n.tamper == nil {
		return data
	}
	m, err := wire.Parse(data)
	if err != nil {
		n.fault("%s sends what cannot be parsed: %v", x.name, err)
		return data
	}
	own := m.SPIr
	if m.Initiator() {
		own = m.SPIi
	}
	s := x.e.sas[own]
	if m.SK() == nil {
		m.Payloads = n.tamper(x, m.Header, m.Payloads)
		if data, err = m.Append(nil); err != nil {
			panic(err)
		}
		if n.meant && s != nil && s.handshake != nil && m.Response() {
			s.handshake.message2 = data
		} else if n.meant && s != nil && s.handshake != nil {
			s.handshake.message1 = data
		}
		return data
	}
	if s == nil || s.keys == nil {
		return data
	}
	inner, err := m.Open(s.keys.Out.(keymat.Sealer))
	if err != nil && m.Exchange == wire.IKEIntermediate && m.Response() {
		return data // its keys are gone
	}
	if err != nil {
		n.fault("%s cannot read its own message: %v", x.name, err)
		return data
	}
	data, err = wire.AppendSealed(nil, m.Header, n.tamper(x, m.Header, inner), s.keys.Out)
	if err != nil {
		panic(err)
	}
	return data
}

func (n *network) put(f *flight) {
	if !f.forged && f.src.Addr() != f.from.local.Addr() && !slices.Contains(f.from.more, f.src.Addr()) {
		if f.spi == 0 && !f.from.quiet {
			n.log("%s cannot send from %s any more", f.from.name, f.src.Addr())
		}
		return
	}
	for _, b := range n.nats {
		if f.src.Addr() == b.inside {
			f.src = netip.AddrPortFrom(b.outside, f.src.Port()+b.shift)
		}
	}
	f.boots = f.from.boots
	if f.spi == 0 && !f.from.quiet {
		port := ""
		if f.dst.Port() != 500 || f.src.Port() != 500 && f.src.Port() != 4500 {
			port = fmt.Sprintf(":%d", f.dst.Port())
		}
		n.log("%s -> %s%s %s", f.from.name, n.nameOf(f.dst.Addr()), port, f.text)
	}
	copies := 1
	if n.rand.Float64() < n.double {
		copies++
	}
	for range copies {
		g := *f
		if n.filter != nil && !n.filter(&g) {
			if f.spi == 0 && !f.from.quiet {
				n.log("  lost")
			}
			continue
		}
		if n.loss > 0 && n.rand.Float64() < n.loss {
			continue
		}
		n.seq++
		g.seq = n.seq
		g.at = n.now + n.delayMin
		if n.delayMax > n.delayMin {
			g.at += time.Duration(n.rand.Int64N(int64(n.delayMax - n.delayMin)))
		}
		if n.hold {
			n.held = append(n.held, &g)
			continue
		}
		n.queue = append(n.queue, &g)
	}
}

func (n *network) nameOf(a netip.Addr) string {
	if x := n.at(a); x != nil {
		return x.name
	}
	return a.String()
}

// at finds the node that owns an address.
func (n *network) at(a netip.Addr) *node {
	for _, x := range n.nodes {
		if x.local.Addr() == a || x.public == a || slices.Contains(x.more, a) {
			return x
		}
	}
	return nil
}

// next is the time of the next event, never: none.
func (n *network) next() Time {
	at := never
	for _, f := range n.queue {
		at = min(at, f.at)
	}
	for _, x := range n.nodes {
		if x.wake != 0 {
			at = min(at, max(x.wake-x.skew, x.frozen))
		}
		if x.retryAt != 0 {
			at = min(at, max(x.retryAt, x.frozen))
		}
	}
	return at
}

// step handles the next event.
func (n *network) step() {
	at := n.next()
	n.now = max(n.now, at)
	best := -1
	for i, f := range n.queue {
		if f.at <= n.now && (best < 0 || f.at < n.queue[best].at || f.at == n.queue[best].at && f.seq < n.queue[best].seq) {
			best = i
		}
	}
	if best >= 0 {
		f := n.queue[best]
		n.queue = slices.Delete(n.queue, best, best+1)
		n.deliver(f)
		return
	}
	for _, x := range n.nodes {
		if x.frozen > n.now {
			continue
		}
		if x.retryAt != 0 && x.retryAt <= n.now {
			x.retryAt = 0
			x.initiate()
			return
		}
		if x.wake != 0 && x.wake-x.skew <= n.now {
			x.wake = 0
			x.givesUp()
			x.do(x.e.Tick(x.time()))
			return
		}
	}
}

func (n *network) deliver(f *flight) {
	src, dst := f.src, f.dst
	translated, mapped := false, false
	for _, b := range n.nats {
		if f.dst.Addr() == b.outside {
			translated = true
			if p := f.dst.Port() - b.shift; p == 500 || p == 4500 {
				dst, mapped = netip.AddrPortFrom(b.inside, p), true
			}
		}
	}
	if translated && !mapped {
		return
	}
	x := n.at(dst.Addr())
	if x == nil {
		return
	}
	if f.spi != 0 {
		x.arrive(f)
		return
	}
	if x.frozen > n.now {
		f.at = x.frozen // it waits in the socket
		n.queue = append(n.queue, f)
		return
	}
	x.do(x.e.Receive(x.time(), Datagram{Local: dst, Remote: src, Data: f.data}))
}

// run handles events until t.
func (n *network) run(until Time) {
	for steps := 0; n.next() <= until; steps++ {
		if steps > 2_000_000 {
			n.fault("the network does not come to rest")
			return
		}
		n.step()
	}
	n.now = max(n.now, until)
}

// packet sends one ESP packet over the SA that carries x's traffic.
func (x *node) packet() {
	if o := x.out[x.carrier]; o != nil {
		x.net.put(&flight{from: x, src: o.child.Local, dst: o.child.Remote, spi: x.carrier})
	}
}

func (x *node) arrive(f *flight) {
	i := x.in[f.spi]
	if i == nil {
		if of, was := x.gone[f.spi]; was && !x.dead[of] && f.from.boots == f.boots {
			x.outages++
			x.say("a packet on %08x finds no inbound SA", f.spi)
		}
		return
	}
	if x.frozen > x.net.now {
		return // the datapath takes it, but nobody hears of it
	}
	if i.child.Encap && f.src != i.child.Remote && f.src != i.mapped {
		i.mapped = f.src
		x.do(x.e.Mapped(x.time(), f.spi, f.src))
	}
	if i.watch && !i.used {
		i.used = true
		x.do(x.e.ChildUsed(x.time(), f.spi))
	}
}

// quiet keeps nodes from describing what they do.
func (n *network) quiet() {
	for _, x := range n.nodes {
		x.quiet = true
		x.e.onMessage = nil
	}
}

package ikev2

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"greseal/crypto/suite"
	"greseal/ikev2/wire"
)

// commands are the first words of a scenario's commands.
//
//	new NAME ADDRESS to ADDRESS [KEY=VALUE …]   a node with the other one as its peer
//	set NAME KEY=VALUE …                        change its peer's settings
//	new-nat INSIDE OUTSIDE [SHIFT]              a NAT in front of an address
//	nat NAME ADDRESS [SHIFT]                    put it behind a NAT, or change its mapping
//	reboot NAME                                 it forgets everything
//	NAME initiates|closes|checks|removes|rekeys child|rekeys IKE|loses its SA|sends a packet
//	NAME sends EXCHANGE from ADDRESS:PORT PAYLOAD …  the same from elsewhere
//	NAME sends EXCHANGE PAYLOAD …               an authentic request of the test's own making
//	NAME runs out of randomness, finds randomness   what its engine draws from fails
//	NAME fails to install                       the next InstallIn
//	NAME moves to ADDRESS                       its own address is another one now
//	NAME has ADDRESS, too                       a further address of its own
//	NAME sees the peer's ESP from ADDRESS:PORT  an authentic packet from elsewhere
//	NAME initiates to ADDRESS                   an attempt to another of its peer's addresses
//	NAME lies in EXCHANGE about PAYLOAD         its messages of that kind are changed; "nothing" ends it
//	flood NAME N [returning cookies]            IKE_SA_INIT requests from N addresses
//	IKEv1 to NAME, IKEv3 to NAME                a packet of that version from its peer
//	forge to NAME EXCHANGE PAYLOAD …            an unprotected answer from nowhere
//	hint to NAME [SPI]                          an unprotected INVALID_SPI from its peer's address (default: what it sends on)
//	run [DURATION]                              deliver and wake until nothing happens within it (default 100ms)
//	lose to ADDRESS                             all that goes there
//	lose N|all|none                             the next N datagrams, all from now on, none more
//	lose above N                                IKE messages of more than N octets, from now on
//	lose DF above N [and fragments] [and split] those with DF, or in fragments of IKE, or of IP
//	NAME runs as N                              how it names its run of the program to the peer
//	NAME tells N                                the MTU of its interface to the peer
//	NAME probes N                               the path to its peer with a packet of N octets
//	NAME has no fragmentation                   of IKE messages with its peer
//	NAME cannot send its probe                  as it is too large for its own interface
//	hold, release [reversed|twice]                  keep datagrams back; let them go
//	agree                                       both have the same IKE SA and Child SA
//	show NAME                                   what it has
//	recorder NAME                               what its flight recorder holds of its peer
//
// The commands of simulations are in scenario_weather_test.go.
func (s *scene) command(where string, w []string) {
	defer func() {
		if r := recover(); r != nil {
			if isFault(r) {
				panic(r)
			}
			s.t.Fatalf("%s: %v", where, r)
		}
	}()
	switch w[0] {
	case "new":
		s.cmdNew(w[1:])
	case "set":
		s.cmdSet(s.node(w[1]), w[2:])
	case "nat":
		s.cmdNAT(s.node(w[1]), w[2:])
	case "reboot":
		s.node(w[1]).boot()
	case "new-nat":
		s.addNAT(netip.MustParseAddr(w[1]), w[2:])
	case "forge":
		s.cmdForge(s.node(w[2]), w[3:])
	case "run":
		s.cmdRun(w[1:])
	case "lose":
		if w[1] == "to" {
			s.net.filter = func(f *flight) bool { return f.dst.Addr() != netip.MustParseAddr(w[2]) }
			return
		}
		s.cmdLose(w[1:]...)
	case "hold":
		s.net.hold = true
	case "release":
		s.cmdRelease(strings.Join(w[1:], " "))
	case "agree":
		s.cmdAgree()
	case "flood":
		s.cmdFlood(s.node(w[1]), w[2], strings.Join(w[3:], " ") == "returning cookies")
	case "hint":
		s.cmdHint(s.node(w[2]), w[3:])
	case "IKEv1":
		s.cmdVersion(s.node(w[2]), 0x10)
	case "IKEv3":
		s.cmdVersion(s.node(w[2]), 0x30)
	case "show":
		s.cmdShow(s.node(w[1]))
	case "recorder":
		s.cmdRecorder(s.node(w[1]))
	case "network":
		s.cmdNetwork(w[1:])
	case "weather":
		s.cmdWeather(w[1:])
	case "traffic":
		s.cmdTraffic(w[1:])
	case "freeze":
		x := s.node(w[1])
		x.frozen = max(x.frozen, s.net.now+duration(w[2]))
	case "clock":
		s.node(w[1]).skew += duration(w[2])
		s.net.late = s.net.now + time.Second // what lingers may be gone at once
	default:
		s.cmdNode(s.node(w[0]), w[1:])
	}
}

func (s *scene) node(name string) *node {
	i := slices.IndexFunc(s.net.nodes, func(x *node) bool { return x.name == name })
	if i < 0 {
		panic("no node " + name)
	}
	return s.net.nodes[i]
}

func (s *scene) cmdNew(w []string) {
	p := testPeer("tunnel")
	settings(&p, w[4:])
	s.net.add(w[0], w[1], w[3], p)
}

func (s *scene) cmdSet(x *node, w []string) {
	settings(&x.peer, w)
	x.do(x.e.SetPeer(x.time(), x.peer))
}

// settings changes a peer as KEY=VALUE says.
func settings(p *Peer, w []string) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	for _, kv := range w {
		k, v, _ := strings.Cut(kv, "=")
		var err error
		switch k {
		case "psk":
			p.PSK = []byte(v)
		case "cert":
			p.PSK, p.Certificates = nil, certificatesOf(v)
		case "ca":
			p.Certificates.Anchors = testAnchors(v)
		case "crl":
			p.Certificates.CRLs = revoking(v)
		case "raw":
			own, peer, _ := strings.Cut(v, "/")
			p.PSK, p.RawKeys = nil, &RawKeys{edKey(own), edKey(peer).Public()}
		case "id":
			p.LocalID, err = ParseIdentity(v)
		case "remote_id":
			v = strings.ReplaceAll(v, "_", " ")
			p.RemoteID, err = ParsePattern(v)
		case "remotes":
			p.Remotes = nil
			for a := range strings.SplitSeq(v, ",") {
				p.Remotes = append(p.Remotes, netip.MustParseAddr(a))
			}
		case "ike", "esp":
			var ps []suite.Proposal
			for one := range strings.SplitSeq(v, ",") {
				switch {
				case one == "default" && k == "ike":
					ps = append(ps, suite.DefaultIKE()...)
					continue
				case one == "default":
					ps = append(ps, suite.DefaultESP(true)...)
					continue
				}
				if k == "ike" {
					ps = append(ps, ike(one))
				} else {
					ps = append(ps, espProposal(one))
				}
			}
			if k == "ike" {
				p.IKE = ps
			} else {
				p.ESP = ps
			}
		case "ppk_id":
			p.PPKID = v
		case "ppk":
			p.PPK = []byte(v)
		case "ppk_required":
			p.PPKRequired = v == "true"
		case "pfs":
			p.PFS = v == "true"
		case "mode":
			p.Transport = v == "transport"
		case "encap":
			p.Encap = map[string]EncapMode{"auto": EncapAuto, "always": EncapForce, "never": EncapNever}[v]
		case "elsewhere":
			p.Elsewhere = nil
			if v != "" {
				var spi uint64
				spi, err = strconv.ParseUint(v, 16, 32)
				p.Elsewhere = []uint32{uint32(spi)}
			}
		case "gre_local":
			p.GRELocal = netip.MustParseAddr(v)
		case "gre_remote":
			p.GRERemote = netip.MustParseAddr(v)
			if p.GRERemote.IsUnspecified() {
				p.GRERemote, p.GRERemoteAny = netip.Addr{}, true
			}
		case "ike_lifetime":
			p.IKELifetime, err = time.ParseDuration(v)
		case "child_lifetime":
			p.ChildLifetime, err = time.ParseDuration(v)
		case "reauth":
			p.Reauth, err = time.ParseDuration(v)
		case "mtu":
			p.PathMTU, err = strconv.Atoi(v)
		case "dpd":
			p.DPD, err = time.ParseDuration(v)
		case "dead":
			p.Dead, err = time.ParseDuration(v)
		default:
			panic("no setting " + k)
		}
		must(err)
	}
}

func (s *scene) cmdNAT(x *node, w []string) {
	x.public = s.addNAT(x.local.Addr(), w)
}

func (s *scene) addNAT(inside netip.Addr, w []string) netip.Addr {
	outside := netip.MustParseAddr(w[0])
	b := &natBox{inside: inside, outside: outside}
	if len(w) > 1 {
		n, err := strconv.Atoi(w[1])
		if err != nil {
			panic(err)
		}
		b.shift = uint16(n)
	}
	s.net.nats = append(slices.DeleteFunc(s.net.nats, func(o *natBox) bool { return o.inside == b.inside }), b)
	return outside
}

// cmdNode is what a node does.
func (s *scene) cmdNode(x *node, w []string) {
	now := x.time()
	if x.frozen > s.net.now {
		s.out = append(s.out, x.name+" is frozen")
		return
	}
	switch strings.Join(w, " ") {
	case "initiates":
		x.initiate()
	case "closes":
		x.do(x.e.Close(now, x.peer.ID))
	case "removes":
		x.do(x.e.RemovePeer(now, x.peer.ID))
	case "checks":
		x.do(x.e.Check(now, x.peer.ID))
	case "rekeys child":
		x.rekeyChildren()
	case "rekeys IKE":
		x.rekeyIKE()
	case "reauthenticates":
		x.reauthenticate()
	case "forgets its inbound SAs":
		for spi := range x.in {
			x.gone[spi] = 0
		}
		clear(x.in)
	case "keeps up":
		x.reconnect = true
	case "loses its SA":
		x.do(x.e.ChildLost(now, x.out[x.carrier].child.ID))
	case "sends a packet":
		x.packet()
	case "has no fragmentation":
		for _, sa := range x.e.peers[x.peer.ID].sas {
			sa.Fragmentation = false
		}
	case "cannot send its probe":
		x.do(x.e.ProbeRefused(now, x.peer.ID))
	case "runs out of randomness":
		x.e.rnd.r, x.e.cfg.Rand = strings.NewReader(""), strings.NewReader("")
	case "finds randomness":
		x.e.cfg.Rand = seeded(9)
		x.e.rnd.r = x.e.cfg.Rand
	case "fails to install":
		x.failIn++
	default:
		switch {
		case w[0] == "probes":
			size, err := strconv.Atoi(w[1])
			if err != nil {
				panic(err)
			}
			s.probes++
			x.do(x.e.Probe(now, x.peer.ID, size, s.probes))
		case w[0] == "tells":
			mtu, err := strconv.Atoi(w[1])
			if err != nil {
				panic(err)
			}
			x.do(x.e.TellMTU(now, x.peer.ID, mtu))
		case w[0] == "runs" && w[1] == "as":
			run, err := strconv.ParseUint(w[2], 10, 64)
			if err != nil {
				panic(err)
			}
			x.e.cfg.Run = run
		case w[0] == "sends":
			s.cmdSends(x, w[1], w[2:])
		case w[0] == "lies":
			s.cmdLies(x, w[2], strings.Join(w[4:], " "))
		case w[0] == "moves":
			x.moves(w[2])
		case w[0] == "has":
			x.more = append(x.more, netip.MustParseAddr(strings.TrimSuffix(w[1], ",")))
		case w[0] == "sees":
			x.do(x.e.Mapped(now, x.e.Children(x.peer.ID)[0].SPIIn, netip.MustParseAddrPort(w[5])))
		case w[0] == "initiates":
			x.remote = netip.AddrPortFrom(netip.MustParseAddr(w[2]), 500)
			x.initiate()
		default:
			panic("it does not know how to do that")
		}
	}
}

var exchanges = map[string]wire.ExchangeType{
	"IKE_SA_INIT": wire.IKESAInit, "IKE_AUTH": wire.IKEAuth, "CREATE_CHILD_SA": wire.CreateChildSA,
	"INFORMATIONAL": wire.Informational, "IKE_INTERMEDIATE": wire.IKEIntermediate, "IKE_FOLLOWUP_KE": wire.IKEFollowupKE, "IKE_SESSION_RESUME": wire.IKESessionResume,
}

// payload makes one from its short form: N(TYPE[,hex data]), D(ESP), D(AH),
// D(ESP,several), unknown, critical, broken.
func (x *node) payload(w string) wire.Payload {
	switch {
	case w == "unknown":
		return &wire.Unknown{Kind: 200, Body: []byte("from the future")}
	case w == "critical":
		return &wire.Unknown{Kind: 200, Critical: true, Body: []byte("from the future")}
	case w == "broken":
		return &wire.Unknown{Kind: wire.TypeDelete, Body: []byte{3, 4, 0, 9}}
	case w == "D(ESP,several)":
		spi := x.e.Children(x.peer.ID)[0].SPIIn
		return &wire.Delete{Protocol: suite.ESP, SPIs: []uint32{0x01020304, spi, spi}}
	case w == "D(AH)":
		return &wire.Delete{Protocol: suite.AH, SPIs: []uint32{x.e.Children(x.peer.ID)[0].SPIIn}}
	case w == "D(ESP)":
		return &wire.Delete{Protocol: suite.ESP, SPIs: []uint32{x.e.Children(x.peer.ID)[0].SPIIn}}
	}
	name, data, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(w, "N("), ")"), ",")
	for n := range wire.NotifyType(0xffff) {
		if n.String() == name {
			return wire.NewNotify(n, fromHex(data))
		}
	}
	panic("no payload " + w)
}

func fromHex(s string) []byte {
	var b []byte
	for i := 0; i+1 < len(s); i += 2 {
		n, err := strconv.ParseUint(s[i:i+2], 16, 8)
		if err != nil {
			panic(err)
		}
		b = append(b, byte(n))
	}
	return b
}

// cmdSends has a node send an authentic request that its engine would not make.
func (s *scene) cmdSends(x *node, exchange string, w []string) {
	from := netip.AddrPort{}
	if len(w) > 1 && w[0] == "from" {
		from, w = netip.MustParseAddrPort(w[1]), w[2:]
	}
	var ps []wire.Payload
	for _, p := range w {
		ps = append(ps, x.payload(p))
	}
	sas := x.e.peers[x.peer.ID].established()
	sa := sas[len(sas)-1]
	h := sa.header(exchanges[exchange], sa.nextOut, false)
	data, err := wire.AppendSealed(nil, h, ps, sa.keys.Out)
	if err != nil {
		panic(err)
	}
	sa.nextOut++
	if !from.IsValid() {
		from = sa.local
	}
	s.net.put(&flight{from: x, forged: from != sa.local, src: from, dst: sa.remote, data: data, text: wire.Describe(h, sealedOnly, ps)})
}

// cmdForge has somebody answer what a node has asked.
func (s *scene) cmdForge(x *node, w []string) {
	var sa *ikeSA
	for _, o := range x.e.peers[x.peer.ID].sas {
		sa = o
	}
	h := wire.Header{SPIi: sa.SPIi, SPIr: sa.SPIr, Exchange: exchanges[w[0]], Flags: wire.FlagResponse}
	if !sa.Initiator {
		h.Flags |= wire.FlagInitiator
	}
	if sa.req != nil {
		h.MessageID = sa.req.id
	}
	m := wire.Message{Header: h}
	for _, p := range w[1:] {
		m.Payloads = append(m.Payloads, x.payload(p))
	}
	data, err := m.Append(nil)
	if err != nil {
		panic(err)
	}
	s.out = append(s.out, fmt.Sprintf("forged -> %s %s", x.name, m.String()))
	x.do(x.e.Receive(s.net.now, Datagram{Local: sa.local, Remote: sa.remote, Data: data}))
}

func (s *scene) cmdRun(w []string) {
	d := 100 * time.Millisecond
	if len(w) > 0 {
		var err error
		if d, err = time.ParseDuration(w[0]); err != nil {
			panic(err)
		}
	}
	s.net.run(s.net.now + d)
}

func (s *scene) cmdLose(w ...string) {
	n := -1
	switch w[0] {
	case "DF":
		size, err := strconv.Atoi(w[2])
		if err != nil {
			panic(err)
		}
		fragments, split := slices.Contains(w, "fragments"), slices.Contains(w, "split")
		s.net.filter = func(f *flight) bool {
			return !(f.df && len(f.data) > size || fragments && strings.Contains(f.text, "SKF") || split && f.split)
		}
		return
	case "above":
		size, err := strconv.Atoi(w[1])
		if err != nil {
			panic(err)
		}
		s.net.filter = func(f *flight) bool { return len(f.data) <= size }
		return
	case "all":
	case "none":
		n = 0
	default:
		var err error
		if n, err = strconv.Atoi(w[0]); err != nil {
			panic(err)
		}
	}
	s.net.filter = func(*flight) bool {
		if n == 0 {
			return true
		}
		n--
		return false
	}
}

func (s *scene) cmdRelease(how string) {
	held := s.net.held
	s.net.hold, s.net.held = false, nil
	switch how {
	case "reversed":
		slices.Reverse(held)
	case "twice":
		held = append(held, held...)
	}
	for _, f := range held {
		g := *f
		s.net.seq++
		g.seq, g.at = s.net.seq, s.net.now
		s.net.queue = append(s.net.queue, &g)
	}
}

func (s *scene) cmdAgree() {
	if d := disagreement(s.net.nodes[0], s.net.nodes[1]); d != "" {
		s.out = append(s.out, "FAULT: "+d)
		return
	}
	s.out = append(s.out, "agreed")
}

func (s *scene) cmdShow(x *node) {
	children, of := x.e.Children(x.peer.ID), map[SAID]int{}
	for _, c := range children {
		of[c.IKE]++
	}
	for _, i := range x.e.SAs(x.peer.ID) {
		s.out = append(s.out, fmt.Sprintf("%s: IKE SA %d with %s, %d Child SAs", x.name, i.ID, i.Remote, of[i.ID]))
	}
	for _, c := range children {
		carries := ""
		if x.carrier == c.SPIOut {
			carries = ", carries the traffic"
		}
		s.out = append(s.out, fmt.Sprintf("%s: Child SA %s over %s and %s%s", x.name, childSA(c), c.Local, c.Remote, carries))
	}
	if len(s.out) == 0 {
		s.out = append(s.out, x.name+": nothing")
	}
}

func (s *scene) cmdRecorder(x *node) {
	for _, t := range x.e.Handshakes(x.peer.ID) {
		dir := "="
		switch {
		case t.Sent:
			dir = "->"
		case t.Received:
			dir = "<-"
		}
		if dir == "=" {
			s.out = append(s.out, fmt.Sprintf("%.3f IKE SA %d = %s", t.At.Seconds(), t.IKE, t.Text))
			continue
		}
		h := wire.Header{Exchange: exchanges[t.Exchange], MessageID: t.MessageID}
		if t.Response {
			h.Flags = wire.FlagResponse
		}
		s.out = append(s.out, fmt.Sprintf("%.3f IKE SA %d %s %s, %d octets in %d", t.At.Seconds(), t.IKE, dir, h, t.Octets, t.Fragments))
		for _, p := range t.Payloads {
			s.out = append(s.out, "    "+p)
		}
	}
}

var (
	falseAuth = each(func(p *wire.Auth) { p.Data[0] ^= 1 })
	restart   = plus(notify(wire.InitialContact))
)

// lies are changes to a node's protected messages.
var lies = map[string]func([]wire.Payload) []wire.Payload{
	"AUTH":                falseAuth,
	"AUTH method":         each(func(p *wire.Auth) { p.Method = wire.AuthNull }),
	"no AUTH":             drop(wire.TypeAuth),
	"selectors":           each(func(p *wire.TS) { p.Selectors = []wire.Selector{rng("0.0.0.0", "255.255.255.255", 0)} }),
	"mode":                plus(notify(wire.UseTransportMode)),
	"SA":                  each(func(p *wire.SA) { p.Proposals[0].Transforms[0].KeyLen = 192 }),
	"SPI":                 each(func(p *wire.SA) { clear(p.Proposals[0].SPI) }),
	"KE":                  each(func(p *wire.KE) { clear(p.Data) }),
	"no KE":               drop(wire.TypeKE),
	"a second SA":         func(ps []wire.Payload) []wire.Payload { return append(ps, ps[0]) },
	"a short KE":          each(func(p *wire.KE) { p.Data = p.Data[:len(p.Data)-1] }),
	"no IKE_INTERMEDIATE": dropNotify(wire.IntermediateExchangeSupported),
	"no update":           dropNotify(wire.UpdateSAAddresses),
	"no PPK":              dropNotify(wire.PPKIdentity),
	"no link":             dropNotify(wire.AdditionalKeyExchange),
	"AUTH_LIFETIME":       dropNotify(wire.AuthLifetime),
	"no nonce":            drop(wire.TypeNonce),
	"COOKIE2":             changeNotify(wire.Cookie2),
	"no COOKIE2":          dropNotify(wire.Cookie2),
	"no MOBIKE":           dropNotify(wire.MOBIKESupported),
	"addresses":           instead(wire.UnacceptableAddresses),
	"a NAT":               instead(wire.UnexpectedNATDetected),
	"NATs":                plus(wire.NewNotify(wire.NoNATsAllowed, make([]byte, 12))),
	"identity":            each(func(p *wire.ID) { p.Kind, p.Data = wire.IDFQDN, []byte("mallory.example") }),
	"EAP":                 drop(wire.TypeAuth),
	"everything":          func([]wire.Payload) []wire.Payload { return []wire.Payload{notify(wire.TemporaryFailure)} },
	"more Child SAs":      func([]wire.Payload) []wire.Payload { return []wire.Payload{notify(wire.NoAdditionalSAs)} },
	"a critical one":      plus(&wire.Unknown{Kind: 200, Critical: true}),
	"a restart":           restart,
	"a restart and AUTH":  func(ps []wire.Payload) []wire.Payload { return falseAuth(restart(ps)) },
	"the order":           reversed,
	"transforms":          each(futureTransforms),
	"a group":             each(offerGroup),
	"what is reserved":    reservedBits,
	"an error of its own": plus(wire.NewNotify(8191, nil)),
	"more selectors": each(func(p *wire.TS) {
		p.Selectors = append(p.Selectors, rng("10.0.0.0", "10.255.255.255", 0), rng("2001:db8::", "2001:db8::ffff", 6))
	}),
	"strange notifies": strangeNotifies,
	"another Child SA": func([]wire.Payload) []wire.Payload { return harmless },
	"the Child SA":     func([]wire.Payload) []wire.Payload { return []wire.Payload{notify(wire.ChildSANotFound)} },
	"syntax":           func([]wire.Payload) []wire.Payload { return []wire.Payload{notify(wire.InvalidSyntax)} },
	"a broken delete":  plus(&wire.Unknown{Kind: wire.TypeDelete, Body: []byte{3, 4, 0, 9}}),
}

func (s *scene) cmdLies(x *node, exchange, about string) {
	if about == "nothing" {
		s.net.tamper = nil
		return
	}
	change := lies[about]
	if change == nil {
		panic("no lie about " + about)
	}
	other := s.net.tamper // both may lie
	s.net.tamper = func(from *node, h wire.Header, ps []wire.Payload) []wire.Payload {
		switch {
		case from == x && h.Exchange == exchanges[exchange]:
			return change(ps)
		case from != x && other != nil:
			return other(from, h, ps)
		}
		return ps
	}
}

func (s *scene) cmdFlood(x *node, count string, returning bool) {
	n, err := strconv.Atoi(count)
	if err != nil {
		panic(err)
	}
	cookies := 0
	for i := range uint64(n) {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 99, byte(i >> 8), byte(i)}), 500)
		for _, a := range x.e.Receive(s.net.now, Datagram{x.local, from, initRequest(i+1, nil)}) {
			if send, ok := a.(Send); ok {
				if m, err := wire.Parse(send.Data); err == nil && m.Payloads[0].String() == "N(COOKIE)" {
					cookies++
					if returning {
						x.e.Receive(s.net.now, Datagram{x.local, from, initRequest(i+1, m.Payloads[0].(*wire.Notify).Data)})
					}
				}
			}
		}
	}
	s.out = append(s.out, fmt.Sprintf("%s: %d half-open, %d answered with a cookie", x.name, x.e.Stats().HalfOpen, cookies))
}

func (s *scene) cmdVersion(x *node, version uint8) {
	h := wire.Header{SPIi: 1, Version: version, Exchange: 2, Length: wire.HeaderLen}
	x.do(x.e.Receive(x.time(), Datagram{x.local, x.remote, h.Append(nil)}))
}

func (s *scene) cmdHint(x *node, w []string) {
	spi := binary.BigEndian.AppendUint32(nil, x.carrier)
	if len(w) > 0 {
		spi = fromHex(w[0])
	}
	m := wire.Message{
		Header:   wire.Header{Exchange: wire.Informational, Flags: wire.FlagInitiator},
		Payloads: []wire.Payload{wire.NewNotify(wire.InvalidSPI, spi)},
	}
	data, err := m.Append(nil)
	if err != nil {
		panic(err)
	}
	s.out = append(s.out, fmt.Sprintf("hint -> %s %s", x.name, m.String()))
	x.do(x.e.Receive(x.time(), Datagram{Local: x.local, Remote: x.remote, Data: data}))
}

package tunnel

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"time"

	"greseal/crypto/suite"
	"greseal/ikev2"
	"greseal/tunnel/attempt"
	"greseal/tunnel/cause"
	"greseal/tunnel/status"
)

// snapshot is everything known now of the daemon and of the tunnels named, without
// secrets.
func (l *loop) snapshot(names []string) *status.Snapshot {
	s := &status.Snapshot{
		Version: status.Version,
		Time:    time.Now().Unix(),
		Daemon:  l.describeDaemon(),
	}
	for _, name := range names {
		s.Tunnels = append(s.Tunnels, l.describe(l.tunnels[name]))
	}
	s.Ages()
	return s
}

func (l *loop) describeDaemon() status.Daemon {
	return status.Daemon{
		Version:         l.opt.Version,
		Platform:        runtime.GOOS + "/" + runtime.GOARCH,
		PID:             os.Getpid(),
		Started:         unix(l.started),
		Datapath:        l.dp.Kind(),
		DatapathWhy:     l.dpWhy,
		Notes:           l.notes(),
		Listen:          l.dp.Listening(),
		Socket:          l.opt.Socket,
		ConfigFile:      l.opt.ConfigPath,
		ConfigLoaded:    unix(l.loadedAt),
		ConfigProblems:  l.refused.problems,
		ConfigRefusedAt: unix(l.refused.at),
		ConfigInstead:   l.cfg.Instead,
		Crashes:         l.crashes,
		IKE:             l.describeTotals(),
		XFRM:            l.xfrmErrors(),
		Pending:         l.describeTrial(),
		RolledBack:      l.rolled.why,
		RolledAt:        unix(l.rolled.at),
	}
}

// describeTotals adds the IKE counters of the loop, the engine and the sockets.
func (l *loop) describeTotals() status.IKETotals {
	t, e := l.ike, l.engine.Stats()
	t.Malformed, t.HalfOpen, t.Retransmits = e.Malformed, e.HalfOpen, e.Repeated
	t.Dropped = l.dp.IKEDropped() + e.UnknownSPI + e.Unauthentic + e.Refused
	return t
}

// notes are the datapath's, and one about the clock where it matters.
func (l *loop) notes() []string {
	notes := l.dp.Notes()
	for _, d := range l.standing.differs {
		notes = append(notes, d.String())
	}
	for i := range l.cfg.Tunnels {
		if l.cfg.Tunnels[i].Credentials.Own != nil {
			if n := l.clock.note(time.Now()); n != "" {
				return append(slices.Clone(notes), n)
			}
			break
		}
	}
	return notes
}

func (l *loop) describe(t *tunnel) status.Tunnel {
	p := t.shown()
	s := l.describeState(p)
	ike, known := l.freshIKE(p)
	s.Peer = l.describePeer(p, ike, known)
	s.Contention = p.contention.describe(l, p)
	if known {
		s.IKE = l.describeIKE(p, ike)
	}
	s.In, s.Out, s.Drops = l.describeTraffic(p)
	if sas := p.current(); sas != nil {
		s.Child = l.describeChild(p, sas)
	}
	s.Outside = l.describeOutside(p, ike.NAT)
	s.Interface = l.describeInterface(t)
	s.MTU = l.describeMTU(p)
	s.Keepalives = l.describeKeepalives(t)
	s.Addresses, s.Routes, s.Guards = l.describePlaced(t, s.Interface.Up)
	l.describeDiffering(t, &s)
	return s
}

// describeState says what is wanted, what the state is, and why.
func (l *loop) describeState(p *peer) status.Tunnel {
	t, c := p.tunnel, p.cfg
	s := status.Tunnel{
		Name:     t.name,
		Source:   c.Source.String(),
		Netifd:   c.Netifd,
		Enabled:  c.Enabled,
		Desired:  status.DesiredDown,
		State:    p.word(),
		Since:    unix(p.since),
		Attempts: uint64(p.attempt.Failures()),
		UpCount:  p.ups,
		Events:   t.events.Last(tunnelEvents, ""),
	}
	if t.wanted || t.wrong() && c.Enabled {
		s.Desired = status.DesiredUp
	}
	tell(l.why(p), &s)
	if p.phase == phaseWaiting {
		s.WaitingFor = p.wait.word
	}
	if p.phase == phaseConnecting || p.phase == phaseDown {
		s.Evidence = append(slices.Clip(s.Evidence), p.passed...)
	}
	if at := p.wait.until; at != 0 && t.wanted && !p.settled() && p.attempt.State() != attempt.UnderWay {
		s.NextAttempt = endOf(at - l.now())
	}
	return s
}

// examinedHolds is how long is told what an examination found of a tunnel that is up,
// since nothing tells when it was mended.
const examinedHolds = 10 * time.Minute

// why is the cause that is told. That nothing comes through a tunnel that is up holds
// until something does; what some packets suffer, they don't disprove.
func (l *loop) why(p *peer) *cause.Cause {
	c := p.cause.Is()
	if p.established() && c != p.cause.Known() && (time.Since(c.Confirmed) > examinedHolds || c.Side != status.SideHere && c.Code != status.CodeNoPath && l.cameIn(p) > p.examined) {
		p.cause.Find(time.Now(), cause.Cause{})
	}
	return p.cause.Is()
}

// cameIn counts the packets that came in through ESP with the right GRE header.
func (l *loop) cameIn(p *peer) uint64 {
	in, _ := l.totals(p)
	d, _ := l.dp.LinkDrops(p.tunnel.name) // none without an interface
	return in.Packets - min(in.Packets, d.Key+d.GRE)
}

// tell shows a cause.
func tell(c *cause.Cause, s *status.Tunnel) {
	s.Code, s.Side, s.Reason, s.Remedy = c.Code, c.Side, c.Text, c.Remedy
	s.Evidence, s.Commands = c.Evidence, c.Commands
	s.Found, s.Confirmed = unix(c.Found), unix(c.Confirmed)
}

// describeTraffic counts what was carried, and what was dropped.
func (l *loop) describeTraffic(p *peer) (in, out status.Traffic, drops status.Drops) {
	i, o := l.totals(p)
	in = status.Traffic{Packets: i.Packets, Bytes: i.Bytes}
	out = status.Traffic{Packets: o.Packets, Bytes: o.Bytes}
	drops = status.Drops{Replay: i.Replay, Integrity: i.Integrity, Selector: i.Selector, Malformed: i.Malformed}
	if p.tunnel.index != 0 {
		if d, err := l.dp.LinkDrops(p.tunnel.name); err == nil {
			drops.NoSA, drops.TooBig, drops.Queue = d.NoSA, d.TooBig, d.Queue
			drops.Key, drops.GRE = d.Key, d.GRE
		}
	}
	return in, out, drops
}

// word is the schema's word for the phase.
func (p *peer) word() string {
	switch p.phase {
	case phaseDisabled, phaseClosed:
		return status.StateDisabled
	case phaseWaiting:
		if p.cfg.RemoteAny {
			return status.StateListening
		}
		return status.StateWaiting
	case phaseConnecting:
		return status.StateConnecting
	case phaseUp:
		return status.StateUp
	case phaseSuspect:
		return status.StateSuspect
	}
	return status.StateDown
}

// freshIKE is the current IKE SA as the engine knows it now. Its addresses are those
// that the last event named, where the Child SAs go: those of the engine's messages
// are ahead until the peer has answered there, or behind until it has told.
func (l *loop) freshIKE(p *peer) (ikev2.IKEInfo, bool) {
	i, ok := p.currentIKE()
	for _, now := range l.engine.SAs(p.id) {
		if now.ID == i.ID {
			now.Local, now.Remote = i.Local, i.Remote
			i = now
		}
	}
	return i, ok
}

func (l *loop) describePeer(p *peer, i ikev2.IKEInfo, known bool) status.Peer {
	c := p.cfg
	s := status.Peer{
		Configured: c.Remotes,
		LocalID:    c.LocalID,
		RemoteID:   c.RemoteID,
		Auth:       authWord(c),
	}
	if c.RemoteAny {
		s.Configured = []string{"any"}
	}
	if s.RemoteID == "" {
		s.RemoteID = "any"
	}
	if r := p.remote(); r.IsValid() {
		s.Address = netip.AddrPortFrom(r, c.RemotePort).String()
	}
	if p.underlay.Local().IsValid() {
		s.LocalAddr = p.underlay.Local().String()
		if s.LocalID == "" {
			s.LocalID = p.underlay.Local().String()
		}
	}
	if !known {
		return s
	}
	s.Address, s.LocalAddr = i.Remote.String(), i.Local.String()
	s.LocalID, s.RemoteID, s.Proved = i.LocalID.String(), i.RemoteID.String(), true
	s.AuthDetail = authDetail(i.Auth)
	s.LastHeard = l.wall(i.LastHeard).Unix()
	s.Liveness = "alive"
	if p.phase == phaseSuspect {
		s.Liveness = "suspect"
	}
	return s
}

func (l *loop) describeIKE(p *peer, i ikev2.IKEInfo) *status.IKESA {
	children := 0
	for _, sas := range p.children {
		if sas.IKE == i.ID {
			children++
		}
	}
	return &status.IKESA{
		Role:        role(i.Initiator),
		SPIi:        fmt.Sprintf("%016x", i.SPIi),
		SPIr:        fmt.Sprintf("%016x", i.SPIr),
		Suite:       i.Suite.String(),
		SuiteIANA:   iana(i.Suite),
		PPK:         i.PPK,
		Established: l.wall(i.Established).Unix(),
		Rekey:       unix(l.wall(i.RekeyAt)),
		Rekeys:      p.ikeRekeys,
		NATLocal:    i.NATLocal,
		NATRemote:   i.PeerBehindNAT(),
		EncapForced: i.EncapForced,
		Retransmits: i.Retransmits,
		MOBIKE:      i.MOBIKE,
		Children:    children,
	}
}

func (l *loop) describeChild(p *peer, sas *childSA) *status.ChildSA {
	return &status.ChildSA{
		SPIIn:       fmt.Sprintf("%08x", sas.SPIIn),
		SPIOut:      fmt.Sprintf("%08x", sas.SPIOut),
		Suite:       sas.Suite.String(),
		SuiteIANA:   iana(sas.Suite),
		ESN:         sas.Suite.ESN,
		Established: l.wall(sas.Created).Unix(),
		Rekey:       unix(l.wall(sas.RekeyAt)),
		Rekeys:      p.childRekeys,
		ReplayWin:   p.cfg.ReplayWindow,
		BytesIn:     sas.in.count.Bytes,
		BytesOut:    sas.out.count.Bytes,
		PacketsIn:   sas.in.count.Packets,
		PacketsOut:  sas.out.count.Packets,
		SelectorIn:  selector(sas.GRELocal),
		SelectorOut: selector(sas.GRERemote),
	}
}

func selector(a netip.Addr) string {
	return netip.PrefixFrom(a, a.BitLen()).String() + " proto 47"
}

func (l *loop) describeOutside(p *peer, nat ikev2.NAT) status.Outside {
	c := p.cfg
	o := status.Outside{EncapAsked: c.Encap, ModeAsked: c.Mode}
	if p.tunnel.link.Local.IsValid() {
		o.GRELocal = p.tunnel.link.Local.String()
	}
	if p.tunnel.link.Remote.IsValid() {
		o.GRERemote = p.tunnel.link.Remote.String()
	}
	if c.GRE.HasKey {
		o.GREKey = strconv.FormatUint(uint64(c.GRE.Key), 10)
	}
	sas := p.current()
	if sas == nil {
		if r := p.remote(); r.IsValid() {
			o.Family = family(r)
		}
		return o
	}
	o.Family = family(sas.Remote.Addr())
	o.Mode = mode(sas.Transport)
	o.Encap = "esp"
	if sas.Encap {
		o.Encap = "udp"
	}
	o.EncapWhy = encapWhy(p, nat, sas.Encap, l.dp.Kind())
	o.OverheadBytes = p.tunnel.sizing.overhead
	return o
}

// iana are a suite's transforms with IANA's names.
func iana(s suite.Suite) string {
	out := ""
	for _, t := range append([]suite.Transform{s.Encr, s.PRF, s.Integ, s.KE}, s.AddKE[:]...) {
		if t.Type == 0 {
			continue
		}
		if out != "" {
			out += " "
		}
		out += t.String()
	}
	return out
}

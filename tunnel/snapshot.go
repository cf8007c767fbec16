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
	"greseal/platform"
	"greseal/tunnel/attempt"
	"greseal/tunnel/status"
)

// snapshot is everything known at this moment of the daemon and of the tunnels
// named, without any secret.
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
		IKE:             l.describeTotals(),
		XFRM:            l.xfrmErrors(),
		Pending:         l.describeTrial(),
		RolledBack:      l.rolled.why,
		RolledAt:        unix(l.rolled.at),
	}
}

// describeTotals joins the loop's own counts of IKE with the engine's and those of
// the sockets.
func (l *loop) describeTotals() status.IKETotals {
	t, e := l.ike, l.engine.Stats()
	t.Malformed, t.HalfOpen, t.Retransmits = e.Malformed, e.HalfOpen, e.Repeated
	t.Dropped = l.dp.IKEDropped() + e.UnknownSPI + e.Unauthentic + e.Refused
	return t
}

// notes are the datapath's, and that of the clock where it matters.
func (l *loop) notes() []string {
	notes := l.dp.Notes()
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

func (l *loop) describe(of *tunnel) status.Tunnel {
	t, c := of.shown(), of.cfg
	s := status.Tunnel{
		Name:       t.name,
		Source:     c.Source.String(),
		Netifd:     c.Netifd,
		Enabled:    c.Enabled,
		Desired:    status.DesiredDown,
		State:      t.word(),
		WaitingFor: t.wait.word,
		Since:      unix(t.since),
		Reason:     t.reason.text,
		Remedy:     t.reason.remedy,
		Attempts:   uint64(t.attempt.Failures()),
		UpCount:    t.ups,
		Events:     t.events.Last(tunnelEvents, ""),
	}
	if t.wanted || t.wrong() && c.Enabled {
		s.Desired = status.DesiredUp
	}
	if t.phase != phaseWaiting {
		s.WaitingFor = ""
	}
	if t.failure != nil && t.wanted {
		s.Code = failureCode(t.failure.Kind)
	}
	if t.wrong() {
		s.Code = status.CodeConfig
	}
	if (t.phase == phaseConnecting || t.phase == phaseWaiting) && t.note.text != "" {
		s.Reason, s.Remedy = t.note.text, t.note.remedy
	}
	if (t.phase == phaseConnecting || t.phase == phaseDown) && len(t.passed) > 0 {
		s.Reason += "; " + sentence(t.passed)
	}
	if at := t.wait.until; at != 0 && t.wanted && !t.established() && t.attempt.State() != attempt.UnderWay {
		s.NextAttempt = endOf(at - l.now())
	}
	s.Peer = l.describePeer(t)
	s.Contention = t.contention.describe(l, t)
	if i, ok := l.freshIKE(t); ok {
		s.IKE = l.describeIKE(t, i)
	}
	var in, out platform.Counters
	if p := t.current(); p != nil {
		s.Child = l.describeChild(t, p)
	}
	in, out = l.totals(t)
	s.In = status.Traffic{Packets: in.Packets, Bytes: in.Bytes}
	s.Out = status.Traffic{Packets: out.Packets, Bytes: out.Bytes}
	s.Drops = status.Drops{Replay: in.Replay, Integrity: in.Integrity, Selector: in.Selector, Malformed: in.Malformed}
	if t.index != 0 {
		if d, err := l.dp.LinkDrops(t.name); err == nil {
			s.Drops.NoSA, s.Drops.TooBig, s.Drops.Queue = d.NoSA, d.TooBig, d.Queue
			s.Drops.Key, s.Drops.GRE = d.Key, d.GRE
		}
	}
	s.Outside = l.describeOutside(t)
	s.Interface = status.Interface{
		Name: c.Name, Index: t.index, Kind: l.linkKind(t.tunnel), Running: t.running, Bridge: c.GRE.Bridge,
	}
	s.MTU = l.describeMTU(t)
	s.Keepalives = l.describeKeepalives(t.tunnel)
	s.Addresses, s.Routes, s.Guards = l.describePlaced(t.tunnel)
	return s
}

// failureCode is a kind of failure in the schema's words.
func failureCode(k ikev2.FailureKind) string {
	switch k {
	case ikev2.FailTimeout, ikev2.FailDead:
		return status.CodeNoAnswer
	case ikev2.FailAuthentication, ikev2.FailIdentity, ikev2.FailCertificate:
		return status.CodeAuth
	case ikev2.FailNoProposal, ikev2.FailInvalidKE, ikev2.FailMode:
		return status.CodeNoProposal
	case ikev2.FailSelectors:
		return status.CodeSelectors
	case ikev2.FailInstall:
		return status.CodeUnavailable
	}
	return status.CodeRefused
}

// word is the phase in the schema's words.
func (t *peer) word() string {
	switch t.phase {
	case phaseDisabled, phaseClosed:
		return status.StateDisabled
	case phaseWaiting:
		if t.cfg.RemoteAny {
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

// freshIKE is the current IKE SA as the engine knows it now.
func (l *loop) freshIKE(t *peer) (ikev2.IKEInfo, bool) {
	i, ok := t.currentIKE()
	if !ok {
		return i, false
	}
	for _, f := range l.engine.SAs(t.id) {
		if f.ID == i.ID {
			return f, true
		}
	}
	return i, true
}

func (l *loop) describePeer(t *peer) status.Peer {
	c := t.cfg
	p := status.Peer{
		Configured: c.Remotes,
		LocalID:    c.LocalID,
		RemoteID:   c.RemoteID,
		Auth:       authWord(c),
	}
	if c.RemoteAny {
		p.Configured = []string{"any"}
	}
	if p.RemoteID == "" {
		p.RemoteID = "any"
	}
	if r := t.remote(); r.IsValid() {
		p.Address = netip.AddrPortFrom(r, c.RemotePort).String()
	}
	if t.underlay.Local().IsValid() {
		p.LocalAddr = t.underlay.Local().String()
		if p.LocalID == "" {
			p.LocalID = t.underlay.Local().String()
		}
	}
	i, ok := l.freshIKE(t)
	if !ok {
		return p
	}
	p.Address, p.LocalAddr = i.Remote.String(), i.Local.String()
	p.LocalID, p.RemoteID, p.Proved = i.LocalID.String(), i.RemoteID.String(), true
	p.AuthDetail = authDetail(i.Auth)
	p.LastHeard = l.wall(i.LastHeard).Unix()
	p.Liveness = "alive"
	if t.phase == phaseSuspect {
		p.Liveness = "suspect"
	}
	return p
}

func (l *loop) describeIKE(t *peer, i ikev2.IKEInfo) *status.IKESA {
	children := 0
	for _, p := range t.pairs {
		if p.IKE == i.ID {
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
		Rekeys:      t.ikeRekeys,
		NATLocal:    i.NATLocal,
		NATRemote:   natRemote(i),
		EncapForced: i.EncapForced,
		Retransmits: i.Retransmits,
		MOBIKE:      i.MOBIKE,
		Children:    children,
	}
}

func (l *loop) describeChild(t *peer, p *pair) *status.ChildSA {
	l.count(t, p)
	return &status.ChildSA{
		SPIIn:       fmt.Sprintf("%08x", p.SPIIn),
		SPIOut:      fmt.Sprintf("%08x", p.SPIOut),
		Suite:       p.Suite.String(),
		SuiteIANA:   iana(p.Suite),
		ESN:         p.Suite.ESN,
		Established: l.wall(p.Created).Unix(),
		Rekey:       unix(l.wall(p.RekeyAt)),
		Rekeys:      t.childRekeys,
		ReplayWin:   t.cfg.ReplayWindow,
		BytesIn:     p.countIn.Bytes,
		BytesOut:    p.countOut.Bytes,
		PacketsIn:   p.countIn.Packets,
		PacketsOut:  p.countOut.Packets,
		SelectorIn:  selector(p.GRELocal),
		SelectorOut: selector(p.GRERemote),
	}
}

func selector(a netip.Addr) string {
	return netip.PrefixFrom(a, a.BitLen()).String() + " proto 47"
}

// count reads a pair's counters from the datapath.
func (l *loop) count(t *peer, p *pair) {
	if p.in {
		if n, err := l.dp.SACounters(platform.SAKey{Link: t.name, SPI: p.SPIIn}); err == nil {
			p.countIn = n
		}
	}
	if p.out {
		if n, err := l.dp.SACounters(platform.SAKey{Link: t.name, Out: true, SPI: p.SPIOut}); err == nil {
			p.countOut = n
		}
	}
}

// totals are the counters of all pairs, gone and standing.
func (l *loop) totals(t *peer) (in, out platform.Counters) {
	in, out = t.total.in, t.total.out
	for _, p := range t.pairs {
		l.count(t, p)
		if p.in {
			in.Add(p.countIn)
		}
		if p.out {
			out.Add(p.countOut)
		}
	}
	return in, out
}

func (l *loop) describeOutside(t *peer) status.Outside {
	c := t.cfg
	o := status.Outside{EncapAsked: c.Encap, ModeAsked: c.Mode}
	if t.link.Local.IsValid() {
		o.GRELocal = t.link.Local.String()
	}
	if t.link.Remote.IsValid() {
		o.GRERemote = t.link.Remote.String()
	}
	if c.GRE.HasKey {
		o.GREKey = strconv.FormatUint(uint64(c.GRE.Key), 10)
	}
	p := t.current()
	if p == nil {
		if r := t.remote(); r.IsValid() {
			o.Family = family(r)
		}
		return o
	}
	o.Family = family(p.Remote.Addr())
	o.Mode = mode(p.Transport)
	o.Encap = "esp"
	if p.Encap {
		o.Encap = "udp"
	}
	i, _ := t.currentIKE()
	o.EncapWhy = encapWhy(t, i, p.Encap, l.dp.Kind())
	o.OverheadBytes = t.sizing.overhead
	return o
}

func family(a netip.Addr) int {
	if a.Is4() {
		return 4
	}
	return 6
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

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// endOf is the moment at the end of a time that is left. It counts in whole seconds
// from now, as whoever subtracts now from it will.
func endOf(left time.Duration) int64 { return time.Now().Unix() + seconds(max(left, 0)) }

// unix is a moment by the clock as it stands now, which may have been set since.
func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	now := time.Now()
	return now.Add(t.Sub(now)).Unix()
}

package tunnel

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"greseal/crypto/esp"
	"greseal/ikev2"
	"greseal/ikev2/wire"
	"greseal/platform"
	"greseal/tunnel/cause"
	"greseal/tunnel/resolve"
	"greseal/tunnel/status"
)

// A daemon that was killed leaves its interfaces, and in the kernel its SAs, which go on
// carrying packets. The next one takes them over, as Child SAs of no IKE SA: link state and
// routes stay, while the handshake begins that makes others. When these carry the traffic
// the inherited ones go, the inbound ones once nothing comes in through them any more.
//
// Nobody checks whether a peer lives that has no IKE SA with us: packets that come in show
// it. Without any the tunnel is suspect after dpd_suspect, and after dpd_dead the SAs go.

const (
	inheritedID   = ikev2.ChildID(math.MaxUint64)       // of the newest; the engine counts from 1
	inheritedLast = ikev2.ChildID(math.MaxUint64 - 255) // of the oldest possible

	inheritedLook   = 3 * time.Second
	inheritedLinger = 5 * time.Second // as contract 11 has it
)

// inheritance is what a peer has of an earlier daemon. The zero value is nothing.
type inheritance struct {
	at       ikev2.Time     // next look, 0: nothing was inherited
	limit    ikev2.Time     // the SAs go then, whatever comes in
	heard    ikev2.Time     // when packets last came in through them
	packets  uint64         // that had come in by then
	mtu      int            // of the interface
	called   bool           // the peer was called
	from, to netip.AddrPort // between which
	replaced bool           // a Child SA of this life carries the traffic
}

func (c *childSA) inherited() bool { return c.ID >= inheritedLast }

// inherits reports whether inherited SAs carry the traffic.
func (p *peer) inherits() bool { return p.carrying >= inheritedLast }

// settled reports whether a Child SA carries packets, and of this life, so that no
// handshake is needed.
func (p *peer) settled() bool { return p.established() && !p.inherits() }

// inheritedSAs are the inherited ones, newest first.
func (p *peer) inheritedSAs() (all []*childSA) {
	for id := inheritedID; p.inherited.at != 0 && id >= inheritedLast; id-- {
		if c := p.children[id]; c != nil {
			all = append(all, c)
		}
	}
	return all
}

// elsewhere are the inbound SPIs of inherited SAs.
func (p *peer) elsewhere() (spis []uint32) {
	for _, c := range p.inheritedSAs() {
		if c.in.installed() {
			spis = append(spis, c.SPIIn)
		}
	}
	return spis
}

// takeOver goes on with what a daemon that was killed has left, as far as the configuration
// is the same.
func (l *loop) takeOver() {
	left, err := l.dp.Leftovers()
	if err != nil {
		l.log.Warn("finding what an earlier run left", "error", err)
	}
	was := l.whereWere()
	l.net.Batch()
	for i := range left {
		t := l.tunnels[left[i].Link.Name]
		if t == nil || !t.wanted {
			continue
		}
		if err := l.inherit(t.shown(), &left[i], was[t.shown().id]); err != nil {
			l.event(t, slog.LevelInfo, "takeover", "the SAs of a daemon that was killed are not taken over: "+err.Error())
		}
	}
	l.laid(l.net.Commit())
}

// inherit takes over a tunnel, whose peer was between the addresses was when the daemon was killed.
func (l *loop) inherit(p *peer, left *platform.Leftover, was [2]netip.AddrPort) error {
	t, now := p.tunnel, l.now()
	if t.cfg.GRE.Ethernet != left.Link.Ethernet || len(left.SAs) == 0 && !left.Running {
		return nil // there is nothing to go on with
	}
	var child *ikev2.Child
	if len(left.SAs) > 0 {
		c := left.SAs[0]
		child = &ikev2.Child{ChildSA: c, ID: inheritedID, Peer: p.id}
		if err := l.mayInherit(p, left, child); err != nil {
			return err
		}
	}
	p.inherited = inheritance{at: now + inheritedLook, heard: now, limit: math.MaxInt64, mtu: left.Link.MTU}
	if t.cfg.RemoteAny && child == nil {
		p.inherited.from, p.inherited.to = was[0], was[1]
	}
	want := l.wantLink(p, child)
	if err := l.dp.Inherit(want); err != nil {
		p.inherited = inheritance{}
		return err
	}
	p.keep(left, now)
	if err := l.putLink(t, want); err != nil {
		return err
	}
	t.running = left.Running
	l.layRoutes(t)
	text := "took over the interface of a daemon that was killed; its keys are gone with it"
	if child != nil {
		text = fmt.Sprintf("took over the SAs of a daemon that was killed: %s, %s", child.Remote.Addr(), child.Suite)
		if left.Running {
			p.set(phaseUp, cause.Progress("took over the SAs of a daemon that was killed; making new ones"))
		} else {
			p.inherited.heard = now - p.cfg.DPDSuspect
			p.set(phaseSuspect, l.silence(p))
		}
	}
	l.event(t, slog.LevelWarn, "takeover", text)
	return nil
}

// keep notes the SAs of a leftover.
func (p *peer) keep(left *platform.Leftover, now ikev2.Time) {
	age := max(time.Since(left.Since), 0)
	if life := p.cfg.ChildLifetime; life != 0 {
		p.inherited.limit = now + life - age
	}
	for i, c := range left.SAs[:min(len(left.SAs), int(inheritedID-inheritedLast)+1)] {
		id := inheritedID - ikev2.ChildID(i)
		sas := p.child(&ikev2.Child{ChildSA: c, ID: id, Peer: p.id, Created: now - age})
		if c.SPIIn != 0 {
			sas.in.key = platform.SAKey{Link: p.tunnel.name, SPI: c.SPIIn}
		}
		if c.SPIOut != 0 {
			sas.out.key = platform.SAKey{Link: p.tunnel.name, Out: true, SPI: c.SPIOut}
		}
	}
	if len(left.SAs) > 0 {
		p.carrying = inheritedID
	}
}

// mayInherit refuses SAs that the configuration of now would not make.
func (l *loop) mayInherit(p *peer, left *platform.Leftover, child *ikev2.Child) error {
	here, err := l.lookAtMachine()
	if err != nil {
		return err
	}
	c, local := p.cfg, child.Local.Addr()
	remotes, literal := resolve.Literals(c.Remotes)
	own, _ := netip.ParseAddr(c.Local)
	differs := func(configured, is netip.Addr) bool { return configured.IsValid() && configured.Unmap() != is }
	age := time.Since(left.Since).Round(time.Second)
	for _, x := range []struct {
		refused bool
		why     string
	}{
		{left.Link.HasKey != c.GRE.HasKey || left.Link.Key != c.GRE.Key, "they are for another gre.key"},
		{differs(c.GRELocal, child.GRELocal) || differs(c.GRERemote, child.GRERemote), "their GRE endpoints are others"},
		{!c.RemoteAny && literal && !slices.Contains(remotes, child.Remote.Addr()), "they lead to " + child.Remote.Addr().String()},
		{differs(own, local) || !here.Own[local], "their own address is " + local.String()},
		{child.Transport != c.Transport(), "they are in " + mode(child.Transport) + " mode"},
		{c.ChildLifetime != 0 && age > c.ChildLifetime, "they are " + age.String() + " old"},
	} {
		if x.refused {
			return errors.New(x.why)
		}
	}
	if err := l.admit(p, child); err != nil {
		return err
	}
	if err := l.guard(p.tunnel, child.GRERemote); err != nil {
		return err
	}
	return l.guardOuter(p, child.Remote.Addr())
}

// lookAtInherited follows the truth: whether the peer lives, and whether the SAs are still
// needed.
func (l *loop) lookAtInherited(p *peer, now ikev2.Time) {
	i := &p.inherited
	all, in := p.inheritedSAs(), uint64(0)
	for _, c := range all {
		l.count(c)
		in += c.in.count.Packets
	}
	if in > i.packets {
		i.packets, i.heard = in, now
	}
	silent := now - i.heard
	i.at = now + inheritedLook
	switch {
	case i.replaced:
		if silent >= inheritedLinger || now >= i.limit {
			l.disinherit(p)
		}
	case len(all) == 0:
		if silent >= p.cfg.DPDSuspect {
			p.inherited = inheritance{}
			l.setRunning(p.tunnel, false)
		}
	case silent >= p.cfg.DPDDead || now >= i.limit:
		l.event(p.tunnel, slog.LevelWarn, "takeover", "the SAs of the daemon that was killed are removed: no new ones were made in time")
		l.disinherit(p)
	case silent >= p.cfg.DPDSuspect && p.phase == phaseUp:
		p.set(phaseSuspect, unheard(p))
		l.event(p.tunnel, slog.LevelWarn, "suspect", p.cause.Is().Text)
		l.setRunning(p.tunnel, false)
	case silent < p.cfg.DPDSuspect && p.phase == phaseSuspect:
		p.set(phaseUp, *p.cause.Known())
		l.event(p.tunnel, slog.LevelInfo, "alive", "packets of the peer come in again")
		l.setRunning(p.tunnel, true)
	}
}

// unheard is why a peer is suspect that has no IKE SA with this daemon.
func unheard(p *peer) cause.Cause {
	if known := p.cause.Known(); known.Failure != nil {
		return *known // why the handshake failed says more
	}
	return cause.Cause{
		Code: status.CodeNoAnswer, Side: status.SideUnknown,
		Text:   "nothing was heard of the peer for " + p.cfg.DPDSuspect.String() + " since the daemon was killed",
		Remedy: "check the path to the peer; the tunnel continues by itself when it answers",
	}
}

// replaceInherited is called when a Child SA of this life begins to carry the traffic.
func (l *loop) replaceInherited(p *peer) {
	i := &p.inherited
	if i.at == 0 || i.replaced || p.inherits() {
		return
	}
	for _, c := range p.inheritedSAs() {
		l.remove(p, c.Child, true)
	}
	i.replaced, i.heard, i.at = true, l.now(), l.now()+inheritedLinger
	if len(p.inheritedSAs()) == 0 {
		p.inherited = inheritance{}
	}
	p.phase = phaseConnecting // what follows is that the tunnel comes up
}

// disinherit removes what is left of inherited SAs.
func (l *loop) disinherit(p *peer) {
	if p.inherited.at == 0 {
		return
	}
	all := p.inheritedSAs()
	p.inherited = inheritance{}
	for _, c := range all {
		l.remove(p, c.Child, true)
		l.remove(p, c.Child, false)
	}
	if len(all) > 0 {
		l.register(p) // their SPIs are free
	}
}

// lostInherited takes that the kernel has an inherited SA no longer.
func (l *loop) lostInherited(p *peer, c *childSA) {
	if c.ID == inheritedID {
		l.event(p.tunnel, slog.LevelWarn, "limit", "an SA of the daemon that was killed is gone")
		l.disinherit(p)
		return
	}
	l.remove(p, c.Child, true)
	l.remove(p, c.Child, false)
}

// callBack begins a handshake with the peer of a remote = "any" tunnel, where it was before
// the daemon was killed: the peer knows nothing of that before its next liveness check.
// Where it chose its GRE endpoint it has to ask for it again.
func (l *loop) callBack(p *peer) {
	i := &p.inherited
	if i.at == 0 || i.called || i.replaced {
		return
	}
	i.called = true
	if c := p.current(); c != nil && (p.cfg.GRERemote.IsValid() || c.GRERemote == c.Remote.Addr()) {
		i.from, i.to = outerPorts(&c.ChildSA)
	}
	if i.to.IsValid() {
		l.tellTime()
		l.do(l.engine.Initiate(l.now(), p.id, i.from, i.to))
	}
}

// outerPorts are the addresses and ports of IKE between the ends of a Child SA.
func outerPorts(c *esp.ChildSA) (local, remote netip.AddrPort) {
	if c.Encap {
		return netip.AddrPortFrom(c.Local.Addr(), wire.PortNAT), c.Remote
	}
	return netip.AddrPortFrom(c.Local.Addr(), wire.PortIKE), netip.AddrPortFrom(c.Remote.Addr(), wire.PortIKE)
}

// peersFile tells where the peers of remote = "any" tunnels were last, whose SAs do not
// tell it with the userspace datapath: the name of the peer, our end and its own, a line.
const peersFile = ".peers"

// notePeers keeps it up to date.
func (l *loop) notePeers() {
	var b bytes.Buffer
	for _, name := range l.order {
		for _, p := range l.tunnels[name].peers {
			if i, known := p.currentIKE(); known && p.cfg.RemoteAny {
				fmt.Fprintln(&b, p.id, i.Local, i.Remote)
			}
		}
	}
	if l.whereabouts == b.String() || l.opt.Socket == "" {
		return
	}
	l.whereabouts = b.String()
	if err := status.WriteBeside(l.opt.Socket, peersFile, b.Bytes()); err != nil {
		l.log.Warn("where peers are cannot be kept for a daemon after this one", "error", err)
	}
}

// whereWere is where peers were when the daemon was killed: our end and theirs.
func (l *loop) whereWere() map[ikev2.PeerID][2]netip.AddrPort {
	data, _ := status.ReadBeside(l.opt.Socket, peersFile) // nobody was there
	were := map[ikev2.PeerID][2]netip.AddrPort{}
	for line := range strings.Lines(string(data)) {
		if w := strings.Fields(line); len(w) == 3 {
			from, _ := netip.ParseAddrPort(w[1])
			to, _ := netip.ParseAddrPort(w[2])
			were[ikev2.PeerID(w[0])] = [2]netip.AddrPort{from, to}
		}
	}
	return were
}

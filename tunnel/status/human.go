package status

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Human writes a snapshot for people: the daemon, one line a tunnel with the
// reason under those that are not up, and with details, or when there is only one
// tunnel, everything about each.
func Human(w io.Writer, s *Snapshot, details bool, style Style) error {
	p := &page{Style: style, now: s.Time}
	p.daemon(s)
	if len(s.Tunnels) == 0 {
		p.fill("", "", "no tunnel is configured; add a [[tunnel]] to "+s.Daemon.ConfigFile+", then run: greseal apply")
		return p.flush(w)
	}
	p.table(s.Tunnels)
	if details || len(s.Tunnels) == 1 {
		for i := range s.Tunnels {
			p.WriteByte('\n')
			p.tunnel(&s.Tunnels[i])
		}
	}
	return p.flush(w)
}

// since is how long ago a moment was when the snapshot was made.
func (p *page) since(at int64) string { return Span(Seconds(at, p.now)) }

// until is how long it was from then to a moment.
func (p *page) until(at int64) string { return Span(Seconds(p.now, at)) }

// HumanEvent writes one event as one line, or more where it does not fit.
func HumanEvent(w io.Writer, e Event, style Style) error {
	p := &page{Style: style}
	p.event("", e)
	return p.flush(w)
}

// Line says in one line how a tunnel is, without what changes every second.
func Line(t *Tunnel) string {
	line := t.Name + " " + t.State
	if t.Peer.Address != "" {
		line += ", peer " + t.Peer.Address
	}
	if why := sentence(t, ""); why != "" {
		line += ": " + why
	}
	return Clean(line)
}

func (p *page) daemon(s *Snapshot) {
	d := &s.Daemon
	p.fill("", "", fmt.Sprintf("greseal %s, pid %d, running %s, %s datapath", d.Version, d.PID, p.since(d.Started), d.Datapath))
	if d.DatapathWhy != "" {
		p.fill("  datapath  ", colDim, d.DatapathWhy)
	}
	for _, n := range d.Notes {
		p.fill("  note      ", colDim, n)
	}
	p.stoppedByKernel(d.XFRM)
	if d.ConfigInstead != "" {
		p.fill("  config    ", colBad, "the file was refused when the daemon started ("+moment(d.Started)+"); "+d.ConfigInstead)
	}
	if len(d.ConfigProblems) > 0 && d.ConfigInstead != "" {
		p.fill("            ", colBad, "change what follows, then run: greseal apply")
	} else if len(d.ConfigProblems) > 0 {
		p.fill("  config    ", colBad, "the last reload ("+moment(d.ConfigRefusedAt)+") was refused, the config before it is in use; change what follows, then run: greseal apply")
	}
	for _, line := range d.ConfigProblems {
		p.fill("            ", colBad, line)
	}
	p.trial(d)
	p.WriteByte('\n')
}

// trial shows a config that waits to be confirmed, or that was taken back
// within the last hour.
func (p *page) trial(d *Daemon) {
	switch t := d.Pending; {
	case t != nil:
		p.fill("  config    ", colWarn, "a change is on trial: greseal confirm keeps it, greseal rollback takes it back; left alone, it is taken back in "+p.until(t.Until))
		for _, w := range t.Waiting {
			p.fill("            ", colWarn, fmt.Sprintf("%s; taken back in %s if that lasts", w, p.until(min(t.Patient, t.Until))))
		}
	case d.RolledBack != "" && p.now-d.RolledAt < 3600:
		p.fill("  config    ", colWarn, "the last change ("+moment(d.RolledAt)+") was taken back, because "+d.RolledBack)
	}
}

// table writes one line a tunnel.
func (p *page) table(ts []Tunnel) {
	name := len("TUNNEL")
	for _, t := range ts {
		name = max(name, min(len(t.Name), 15))
	}
	const state, since, size = 11, 8, 8
	peer := p.width() - name - state - since - 2*size - 5
	p.WriteString(p.paint(colDim, strings.TrimRight(strings.Join([]string{
		pad("TUNNEL", name), pad("STATE", state), pad("SINCE", since), pad("PEER", peer),
		fmt.Sprintf("%*s", size, "IN"), fmt.Sprintf("%*s", size, "OUT")}, " "), " ")))
	p.WriteByte('\n')
	for _, t := range ts {
		who := t.Peer.Address
		if who == "" {
			who = strings.Join(t.Peer.Configured, " ")
		}
		p.WriteString(pad(t.Name, name) + " " + p.paint(stateColor(t.State), pad(t.State, state)) + " " +
			pad(p.since(t.Since), since) + " " + pad(who, peer) + " " +
			fmt.Sprintf("%*s %*s\n", size, Size(t.In.Bytes), size, Size(t.Out.Bytes)))
		if why := sentence(&t, p.age(&t)); why != "" {
			p.fill(strings.Repeat(" ", name+1), reasonColor(t.State), why)
		}
		if c := t.Contention; c != nil {
			p.fill(strings.Repeat(" ", name+1), colWarn, p.turnedAway(c))
		}
	}
}

// age says when a fault was last met, when that was more than a minute ago.
func (p *page) age(t *Tunnel) string {
	if t.Code == "" || Seconds(t.Confirmed, p.now) <= 60 {
		return ""
	}
	return " (" + p.since(t.Confirmed) + " ago)"
}

// sentence joins what is wrong, its age and what to do, empty when nothing is.
func sentence(t *Tunnel, age string) string {
	why := t.Reason
	if why == "" && t.State == StateWaiting && t.WaitingFor != "" {
		why = waitingFor(t)
	}
	if t.Remedy != "" && !strings.HasSuffix(why, t.Remedy) {
		why = strings.TrimSuffix(why, ".") + age + "; " + t.Remedy
	}
	for _, command := range t.Commands {
		why += ": " + command
	}
	return why
}

const labelWidth = 13

// field writes a labelled fact; further ones of the same label go without it.
func (p *page) field(label, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if text == "" {
		return
	}
	p.fill("  "+pad(label, labelWidth), "", text)
}

func (p *page) tunnel(t *Tunnel) {
	head := fmt.Sprintf("%s is %s", t.Name, t.State)
	if t.Since > 0 {
		head += fmt.Sprintf(" for %s, since %s", p.since(t.Since), moment(t.Since))
	}
	if t.Desired == DesiredDown {
		head += ", wanted down"
	}
	p.fill("", colBold, head)
	if why := sentence(t, p.age(t)); why != "" {
		p.fill("  "+pad("because", labelWidth), reasonColor(t.State), why)
	}
	for _, e := range t.Evidence {
		p.field("", "%s", e)
	}
	if t.State != StateUp && t.Attempts > 0 {
		next := ""
		if t.NextAttempt > 0 {
			next = ", next in " + p.until(t.NextAttempt)
		}
		p.field("attempts", "%d since it was last up%s", t.Attempts, next)
	}
	p.peer(t)
	p.contention(t)
	p.sas(t)
	p.outside(t)
	p.inside(t)
	for i, e := range t.Events {
		label := ""
		if i == 0 {
			label = "events"
		}
		p.event("  "+pad(label, labelWidth), e)
	}
}

func (p *page) peer(t *Tunnel) {
	pe := &t.Peer
	conf := strings.Join(pe.Configured, ", ")
	switch {
	case pe.Address == "":
		p.field("peer", "%s, address not known yet", conf)
	case slices.Contains(pe.Configured, strings.Split(pe.Address, ":")[0]):
		p.field("peer", "%s%s", pe.Address, p.heard(pe))
	default:
		p.field("peer", "%s (configured: %s)%s", pe.Address, conf, p.heard(pe))
	}
	if pe.LocalAddr != "" {
		p.field("from", "%s", pe.LocalAddr)
	}
	if pe.RemoteID != "" {
		how := "required"
		if pe.Proved {
			how = "authenticated by " + pe.Auth
		} else if pe.Auth != "" {
			how = "not authenticated yet (" + pe.Auth + ")"
		}
		p.field("identities", "peer %s, %s; own %s", pe.RemoteID, how, orDash(pe.LocalID))
		if pe.AuthDetail != "" {
			p.field("signed by", "%s", pe.AuthDetail)
		}
	}
}

// contention shows a second peer for the tunnel.
func (p *page) contention(t *Tunnel) {
	if c := t.Contention; c != nil {
		p.fill("  "+pad("two peers", labelWidth), colWarn, p.turnedAway(c))
	}
}

// turnedAway is one sentence and the remedy.
func (p *page) turnedAway(c *Contention) string {
	return fmt.Sprintf("%s at %s was turned away %s, last %s ago: the tunnel has %s at %s, which answers; %s",
		c.Newcomer, c.NewcomerAddress, times(c.Times), p.since(c.Last), c.Holder, c.HolderAddress, c.Remedy)
}

func (p *page) heard(pe *Peer) string {
	if pe.LastHeard == 0 {
		return ""
	}
	s := ", heard " + p.since(pe.LastHeard) + " ago"
	if pe.Liveness != "" {
		s += ", " + pe.Liveness
	}
	return s
}

func (p *page) sas(t *Tunnel) {
	if k := t.IKE; k != nil {
		ppk := ""
		if k.PPK {
			ppk = ", with a post-quantum pre-shared key"
		}
		p.field("IKE SA", "%s%s, %s", k.Suite, ppk, k.Role)
		p.field("", "SPIs %s %s, made %s ago, %s, rekeyed %s, %s", k.SPIi, k.SPIr, p.since(k.Established), p.rekey(k.Rekey), times(k.Rekeys), Plural(k.Retransmits, "retransmit"))
	}
	if c := t.Child; c != nil {
		esn := ""
		if c.ESN && !strings.Contains(c.Suite, "esn") {
			esn = ", ESN"
		}
		p.field("Child SA", "%s%s, %s mode, replay window %d", c.Suite, esn, orDash(t.Outside.Mode), c.ReplayWin)
		p.field("", "SPIs in %s out %s, made %s ago, %s, rekeyed %s", c.SPIIn, c.SPIOut, p.since(c.Established), p.rekey(c.Rekey), times(c.Rekeys))
		if c.SelectorIn != "" {
			p.field("", "selectors %s to %s", c.SelectorIn, c.SelectorOut)
		}
	}
}

func (p *page) outside(t *Tunnel) {
	o := &t.Outside
	switch o.Encap {
	case "udp":
		p.field("outside", "ESP in UDP, port 4500%s", because(o.EncapWhy))
	case "esp":
		p.field("outside", "ESP, IP protocol 50%s", because(o.EncapWhy))
	}
	if k := t.IKE; k != nil {
		nat := "none found"
		switch {
		case k.NATLocal && k.NATRemote:
			nat = "in front of both sides"
		case k.NATLocal:
			nat = "in front of this side"
		case k.NATRemote:
			nat = "in front of the peer"
		}
		if k.EncapForced {
			nat += "; UDP encapsulation forced by this side"
		}
		p.field("NAT", "%s", nat)
	}
	if o.Mode != "" && o.Mode != o.ModeAsked {
		p.field("mode", "%s; %s was asked for and not agreed to", o.Mode, o.ModeAsked)
	}
	if o.GRELocal != "" {
		key := ""
		if o.GREKey != "" {
			key = ", key " + o.GREKey
		}
		p.field("GRE", "%s to %s%s", o.GRELocal, orDash(o.GRERemote), key)
	}
}

func (p *page) inside(t *Tunnel) {
	if i := &t.Interface; i.Index > 0 {
		link := "link not running"
		if i.Running {
			link = "link running"
		}
		bridge := ""
		if i.Bridge != "" {
			bridge = ", port of " + i.Bridge
		}
		p.field("interface", "%s, %s, index %d, %s%s", i.Name, i.Kind, i.Index, link, bridge)
	}
	if m := &t.MTU; m.Bytes > 0 {
		p.field("MTU", "%d, %s: %s", m.Bytes, orDash(m.How), m.Why)
		switch {
		case m.Differs != "":
			p.fill("  "+pad("", labelWidth), colWarn, fmt.Sprintf("the peer's is %d, and OSPF needs the same: %s", m.Peer, m.Differs))
		case m.Peer > 0:
			p.field("", "the same on both sides: %d here alone, %d at the peer", m.Own, m.Peer)
		}
		if m.MSS4 > 0 || m.MSS6 > 0 {
			p.field("", "TCP MSS clamped to %d (IPv4), %d (IPv6)", m.MSS4, m.MSS6)
		} else if m.Unclamped != "" {
			p.field("", "TCP MSS not clamped: %s", m.Unclamped)
		}
	}
	p.field("traffic", "in %s, %s; out %s, %s", Plural(t.In.Packets, "packet"), Size(t.In.Bytes), Plural(t.Out.Packets, "packet"), Size(t.Out.Bytes))
	p.field("drops", "%s", drops(&t.Drops))
	if k := &t.Keepalives; k.IntervalS > 0 || k.Answered > 0 {
		own := "none sent"
		if k.IntervalS > 0 {
			own = fmt.Sprintf("every %s, %d of %d came back", Span(k.IntervalS), k.Returned, k.Sent)
		}
		p.field("keepalives", "%s; %d of the peer's answered", own, k.Answered)
	}
	p.placed("addresses", t.Addresses)
	p.placed("routes", t.Routes)
	var g []string
	for _, x := range t.Guards {
		s := x.What + " " + x.Target
		if x.How != "" {
			s += " (" + x.How + ")"
		}
		if !x.InPlace {
			s += " NOT IN PLACE"
		}
		g = append(g, s)
	}
	p.field("guards", "%s", strings.Join(g, ", "))
	for _, d := range t.Differs {
		p.field("differs", "%s", d)
	}
}

func (p *page) placed(label string, list []Placed) {
	var out []string
	for _, x := range list {
		s := x.Prefix
		if !x.InPlace {
			s += " (not in place" + because(x.Why) + ")"
		}
		out = append(out, s)
	}
	p.field(label, "%s", strings.Join(out, ", "))
}

func (p *page) event(lead string, e Event) {
	color := ""
	switch e.Level {
	case LevelWarn:
		color = colWarn
	case LevelError:
		color = colBad
	}
	at := time.Unix(e.Time, int64(e.Millis)*1e6).Format("15:04:05.000")
	name := ""
	if lead == "" && e.Tunnel != "" {
		name = Clean(e.Tunnel) + ": "
	}
	p.fill(lead+at+" "+name, color, e.Text)
}

func moment(unix int64) string {
	if unix == 0 {
		return "never"
	}
	return time.Unix(unix, 0).Format("2006-01-02 15:04:05")
}

func (p *page) rekey(at int64) string {
	if at == 0 {
		return "no rekey by time"
	}
	return "rekey in " + p.until(at)
}

func times(n uint64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// drops names replay and integrity always, the others when there were any.
func drops(d *Drops) string {
	var out []string
	for i, r := range d.reasons() {
		if i < 2 || r.n > 0 {
			out = append(out, fmt.Sprintf("%s %d", r.text, r.n))
		}
	}
	return strings.Join(out, ", ")
}

// waitingFor says what a Wait word means for this tunnel.
func waitingFor(t *Tunnel) string {
	remote := strings.Join(t.Peer.Configured, ", ")
	switch t.WaitingFor {
	case WaitAddress:
		return "there is no local address yet"
	case WaitRoute:
		return "no route to " + remote + " yet"
	case WaitName:
		return "the name " + remote + " does not resolve yet"
	case WaitInterface:
		return "the local interface does not exist yet"
	}
	return "waiting for: " + t.WaitingFor
}

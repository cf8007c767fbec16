package doctor

import (
	"fmt"
	"slices"
	"strconv"

	"greseal/tunnel/config"
	"greseal/tunnel/status"
)

// noTarget is the evidence of steps that need an address to ping.
func (x *exam) noTarget() Step {
	return skip("no address of the other side inside the tunnel is known; give one: greseal doctor --ping ADDRESS " + x.name())
}

// checkXfrmErrors: which of the kernel's error counters rose while packets were
// sent through the tunnel and did not come back.
func checkXfrmErrors(x *exam) Step {
	e := x.ping()
	says, remedy := e.rose.explain()
	switch {
	case len(says) == 0:
		more := readCounters().since(x.trouble)
		if other, _ := more.explain(); len(other) > 0 {
			return fine(append([]string{"none increased while the tunnel was pinged; since the examination began:"}, other...)...)
		}
		return fine("none increased")
	case e.untaken() && len(says) == e.rose.blocked():
		// Other programs' policies are judged before: the guards block what has another key,
		// and the kernel's errors about what no GRE interface takes.
		return warn(remedy, says...)
	case e.target.IsValid() && !e.passes() && !x.userspace():
		return fault(remedy, says...)
	}
	if e.passes() {
		says = append(says, "the tunnel carries packets anyway")
	}
	return warn(remedy, says...)
}

// checkGREKey: packets come out of ESP and are dropped because of their GRE
// header.
func checkGREKey(x *exam) Step {
	e := x.ping()
	if x.now.DropsErr != nil {
		return skip(x.now.DropsErr.Error())
	}
	d := x.now.Drops
	key := "without a key"
	if x.Tunnel.GRE.HasKey {
		key = "with key " + strconv.FormatUint(uint64(x.Tunnel.GRE.Key), 10)
	}
	switch {
	case e.refused > 0 && !e.passes():
		return fault("set the same gre.key and gre.type on both sides, and check that the peer has a GRE interface between the tunnel's endpoints; a Linux peer keeps such errors to itself by the policies that greseal peer-config writes",
			fmt.Sprintf("ESP passes, but the peer has no GRE interface for what comes out of it: its kernel answered %s with ICMP errors outside ESP that quote them, readable by anyone on the way; this side is %s", status.Plural(e.refused, "packet"), key))
	case d.Key > 0 && !e.passes():
		return fault("set the same gre.key on both sides, or leave it out on both",
			fmt.Sprintf("%s came out of ESP with a different, missing or unexpected GRE key; this side is %s", status.Plural(d.Key, "packet"), key))
	case d.GRE > 0 && !e.passes():
		return fault("set gre.type, gre.checksum and gre.sequence the same on both sides",
			fmt.Sprintf("%s came out of ESP with a wrong GRE checksum, out of sequence, or of an unknown protocol type", status.Plural(d.GRE, "packet")))
	case !x.userspace() && e.untaken():
		// The kernel counts nowhere what fits none of its GRE interfaces.
		return fault("set the same gre.key on both sides, or leave it out on both; and the same gre.type, gre.checksum and gre.sequence",
			fmt.Sprintf("%s came out of ESP, and the interface took none of them: their GRE key differs from ours, or is missing or unexpected; this side is %s", status.Plural(max(e.inSAs, e.inEver), "packet"), key))
	case d.Key > 0 || d.GRE > 0:
		return warn("", fmt.Sprintf("%s had another key and %d a bad GRE header since the interface was made; others pass", status.Plural(d.Key, "packet"), d.GRE))
	}
	return fine("this side is " + key + "; no packet came with a different one")
}

// checkESP concludes from echo requests that fail while IKE answers, never from
// counters alone, that ESP does not pass.
func checkESP(x *exam) Step {
	e := x.ping()
	switch {
	case !e.target.IsValid():
		return x.noTarget()
	case e.passes():
		return fine(fmt.Sprintf("%s answers echo requests", e.target)).and(x.form())
	case e.sent == 0:
		return fault("check the firewall's output rules and the routes", fmt.Sprintf("the kernel did not send to %s: %v", e.target, e.err))
	}
	how := "ESP (IP protocol 50)"
	if x.udp() {
		how = "ESP in UDP 4500"
	}
	asked := fmt.Sprintf("%d echo requests to %s got no answer, while the peer answers on the IKE SA", e.sent, e.target)
	if e.integrity > 0 || e.replay > 0 || e.selector > 0 {
		return fault("something on the way changes or repeats packets; try another esp algorithm, and a larger replay_window",
			asked, fmt.Sprintf("dropped meanwhile: %d for their integrity, %d as replayed, %d for other inner addresses", e.integrity, e.replay, e.selector))
	}
	const there = "the other side's packets in (greseal status there; strongSwan: swanctl --list-sas)"
	if e.inSAs > 0 {
		return fault(fmt.Sprintf("ping %s again and watch %s. If they do not rise, let %s pass on the way there. If they do, see whether a firewall drops ICMP inside the tunnel and whether %s is the peer's address, not this side's own; to ping another: greseal doctor --ping ADDRESS %s",
			e.target, there, how, e.target, x.name()),
			asked, fmt.Sprintf("the peer's ESP arrives: %s came out of the tunnel meanwhile; whether this side's arrives there cannot be seen from here", status.Plural(int(e.inSAs), "packet")))
	}
	if e.silent {
		return fault("check the path to the peer, and run doctor again when it answers",
			fmt.Sprintf("%d echo requests to %s got no answer, and the peer no longer answers on the IKE SA either", e.sent, e.target))
	}
	before := "and none has ever come in on this SA"
	if e.inEver > 0 {
		before = fmt.Sprintf("and none came in meanwhile; earlier %d did on this SA, so it passed then", e.inEver)
	}
	s := fault("", asked, fmt.Sprintf("%s left as %s, %s: it is dropped on the way there or back, or the peer drops what comes out of it (its own doctor tells; GRE keys, for example)", status.Plural(int(e.outSAs), "packet"), how, before)).
		and("if " + there + " rise while it is pinged, it is dropped on the way back").and(x.form())
	switch {
	case e.outSAs == 0:
		s.Evidence = []string{asked, "no packet has left on the SA: " + x.dropsOut()}
		s.Remedy = "see the interface's own drops in: greseal status " + x.name()
	case x.udp():
		nat := x.now.Tunnel.IKE != nil && (x.now.Tunnel.IKE.NATLocal || x.now.Tunnel.IKE.NATRemote)
		s.Remedy = InsteadOfUDP(&x.Tunnel, nat)
		if s.Remedy == "" {
			s.Remedy = udpAsAWhole + "; bare ESP was tried or will be, by the tunnel itself (its log tells): let IP protocol 50 pass as well"
		}
	case x.behindNAT():
		s.Remedy = `set encap = "auto" and let UDP 4500 pass on the way: a NAT is in front of this side, which bare ESP does not get by`
	case x.Tunnel.Encap == config.EncapNever:
		s.Remedy = `set encap = "always" instead of "never": ESP then travels in UDP 4500, as IKE does; or let IP protocol 50 pass on the way`
	case x.Tunnel.RemoteAny || x.now.Tunnel.IKE != nil && x.now.Tunnel.IKE.Role == "responder":
		s.Remedy = `set encap = "always" at the peer, which begins this tunnel: ESP then travels in UDP 4500, as IKE does; or let IP protocol 50 pass on the way`
	default:
		s.Remedy = `set encap = "always": ESP then travels in UDP 4500, as IKE does; or let IP protocol 50 pass on the way`
	}
	if e.outSAs > 0 {
		s.Remedy += fmt.Sprintf("; and check that %s is the peer's address inside the tunnel, not this side's own", e.target)
	}
	return s
}

const udpAsAWhole = "let UDP 4500 pass as a whole on the way: a filter there passes IKE but not ESP in the same flow, or the peer does not accept ESP in UDP"

// InsteadOfUDP is what the owner can do where ESP in UDP carries nothing, "" where
// the tunnel tries bare ESP automatically.
func InsteadOfUDP(c *config.Tunnel, nat bool) string {
	switch {
	case nat:
		return udpAsAWhole + "; bare ESP does not pass the NAT that was found"
	case c.Encap == config.EncapAlways:
		return udpAsAWhole + `; or set encap = "auto", which tries bare ESP`
	case c.RemoteAny:
		return udpAsAWhole + `; or set encap = "never" on the side that initiates`
	}
	return ""
}

// form says how ESP travels and why.
func (x *exam) form() string {
	o := &x.now.Tunnel.Outside
	if !x.now.up() || o.EncapWhy == "" {
		return ""
	}
	how := "bare ESP"
	if o.Encap == "udp" {
		how = "ESP in UDP"
	}
	return fmt.Sprintf("%s is used: %s", how, o.EncapWhy)
}

func (x *exam) dropsOut() string {
	d := &x.now.Tunnel.Drops
	return fmt.Sprintf("%d without an SA, %d too big, %d refused by the kernel or a full queue", d.NoSA, d.TooBig, d.Queue)
}

// checkMTU pings with packets as large as the interface takes. Where those do
// not come back, it searches the size that does.
func checkMTU(x *exam) Step {
	e := x.ping()
	if !e.target.IsValid() {
		return x.noTarget()
	}
	m := &x.now.Tunnel.MTU
	size := m.Bytes
	p, err := newPinger(x.name(), e.target)
	if err != nil {
		return skip(err.Error())
	}
	defer p.Close()
	if x.comesBack(p, []int{size, size, size}) == size {
		come := fmt.Sprintf("%d bytes come back unfragmented (%s: %s)", size, m.How, m.Why)
		switch {
		case m.Differs != "":
			return warn(m.Differs, come, fmt.Sprintf("the peer's interface has MTU %d: a routing protocol that compares them, as OSPF does, will not come up", m.Peer))
		case m.Peer == 0:
			return fine(come, fmt.Sprintf("the peer does not tell the MTU of its interface; OSPF needs the same on both sides: set it to %d there, or mtu here to the peer's", size))
		}
		return fine(come, fmt.Sprintf("both sides have the same MTU: %d here alone, %d at the peer", m.Own, m.Peer))
	}
	fits := x.largest(p, p.Overhead(), size)
	says := fmt.Sprintf("echo requests of %d bytes, the interface's MTU, do not come back", size)
	if x.comesBack(p, []int{size, size, size}) == size {
		return fine(fmt.Sprintf("%d bytes come back unfragmented, on the second try (%s: %s)", size, m.How, m.Why))
	}
	if fits <= p.Overhead() {
		return fault("check the path for packet loss", says, "smaller ones come back too rarely to find a size that works")
	}
	remedy := fmt.Sprintf("set mtu = %d here and on the peer", fits)
	if m.Differs != "" && m.Peer <= fits {
		remedy = m.Differs
	}
	return fault(remedy, says, fmt.Sprintf("up to %d bytes do: something on the way drops larger packets, and its ICMP messages do not arrive", fits),
		fmt.Sprintf("the MTU is %s: %s", m.How, m.Why))
}

// comesBack sends requests of these sizes at once and returns the largest that
// was answered, 0 for none.
func (x *exam) comesBack(p *pinger, sizes []int) int {
	for _, s := range sizes {
		_ = p.ask(s) // one that cannot be sent does not come back
	}
	got := p.answers(900 * 1e6)
	if len(got) == 0 {
		return 0
	}
	return slices.Max(got)
}

// largest searches between fits, which is known to come back, and fails, which
// is not: in rounds of several sizes at once.
func (x *exam) largest(p *pinger, fits, fails int) int {
	for rounds := 0; fails-fits > 1 && rounds < 8 && x.ctx.Err() == nil; rounds++ {
		step := max((fails-fits)/8, 1)
		var sizes []int
		for s := fits + step; s < fails && len(sizes) < 32; s += step {
			sizes = append(sizes, s, s) // twice: one may be lost by chance
		}
		got := x.comesBack(p, sizes)
		if got == 0 {
			fails = fits + step
			continue
		}
		fits = got
		fails = min(fails, got+step)
	}
	return fits
}

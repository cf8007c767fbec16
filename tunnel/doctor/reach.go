package doctor

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"greseal/crypto/suite"
	"greseal/ikev2"
	"greseal/ikev2/wire"
	"greseal/tunnel/config"
)

// probeIKE asks the peer on its first port, once an examination.
func (x *exam) probeIKE() *answer {
	if x.ike == nil {
		before := readCounters()
		x.ike = x.ask(x.port(), 0, nil)
		x.ikeFiltered = readCounters().since(before)[pathFiltered]
	}
	return x.ike
}

// probeNAT asks on UDP 4500.
func (x *exam) probeNAT() *answer {
	if x.nat == nil {
		x.nat = x.ask(wire.PortNAT, 0, nil)
	}
	return x.nat
}

// ask sends an IKE_SA_INIT request that no state is kept for.
func (x *exam) ask(port uint16, fill int, pauses []time.Duration) *answer {
	offer := x.IKE
	if len(offer) == 0 {
		offer = suite.DefaultIKE()
	}
	data, spi := initRequest(offer, fill)
	return x.sendTo(port, data, spi, fill > 0, pauses)
}

func (x *exam) sendTo(port uint16, data []byte, spi uint64, fragmented bool, pauses []time.Duration) *answer {
	return probe{
		local: x.local(), to: netip.AddrPortFrom(x.remote, port), mark: x.Tunnel.FWMark,
		data: data, spi: spi, marker: port != wire.PortIKE, fragmented: fragmented, pauses: pauses,
	}.send(x.ctx)
}

// probeV1 sends the first message of IKEv1's Main Mode.
func (x *exam) probeV1() *answer {
	if x.v1 == nil {
		data, spi := mainMode()
		x.v1 = x.sendTo(x.port(), data, spi, false, patience[:3])
	}
	return x.v1
}

// checkUDP500 distinguishes why nothing sensible comes back from the peer's IKE
// port: silence, a refusal, no route, or another service there.
func checkUDP500(x *exam) Step {
	port := x.port()
	s := x.judgeUDP500()
	if port != wire.PortIKE {
		s.Title = fmt.Sprintf("the peer answers on UDP %d", port)
	}
	return s
}

func (x *exam) judgeUDP500() Step {
	switch {
	case x.now.up():
		return fine("an IKE SA is up with " + x.now.Remote.String())
	case !x.remote.IsValid() && x.now.Daemon.IKE.Received == 0:
		return fault("start the peer, with an address or name of this router as its remote: two sides that both have remote = \"any\" wait for each other. Let UDP 500 and 4500 in here and at every router in front of this one",
			"this side waits for the peer to begin (remote = \"any\")", "no IKE message has reached this daemon since it was started")
	case !x.remote.IsValid():
		return skip("the peer connects to us; no peer has identified itself yet")
	case !x.wanted() && x.passive():
		return skip("the tunnel only responds")
	}
	a := x.probeIKE()
	if s, ok := x.reached(a); ok {
		if f := x.now.Failure; f != nil && f.Exchange == "IKE_SA_INIT" && f.Attempts > 0 && !x.now.up() && x.attempt() == unanswered {
			return fault(fmt.Sprintf("look for a filter here or on the way that treats UDP source port %d differently, and for a second IKE daemon behind the same NAT", x.port())).
				and(s.Evidence...).and("but the daemon's own requests, from port " + portOf(f.Local) + ", get no answer")
		}
		return s
	}
	if a.kind == silent || a.kind == stranger {
		if v1 := x.probeV1(); v1.kind == v1Reply {
			return fine(fmt.Sprintf("%s answers, but not with IKEv2", a.to))
		}
	}
	return x.unreached(a)
}

func portOf(hostPort string) string {
	if a, err := netip.ParseAddrPort(hostPort); err == nil {
		return fmt.Sprint(a.Port())
	}
	return hostPort
}

// reached is the step of a probe that was answered by an IKE daemon.
func (x *exam) reached(a *answer) (Step, bool) {
	switch a.kind {
	case ikev2Reply:
		says := fmt.Sprintf("%s answered after %d ms", a.from, a.took.Milliseconds())
		if what := sayings(a.m); what != "" {
			says += " with " + what
		}
		s := fine(says)
		if a.from.Addr() != a.to.Addr() {
			s = warn("the peer must answer from the address it is reached at: look for a NAT or a second address there",
				fmt.Sprintf("reached at %s, answered from %s", a.to, a.from))
		}
		return s, true
	case v1Reply:
		return fine(fmt.Sprintf("%s answered after %d ms, as IKE version %d.%d", a.from, a.took.Milliseconds(), a.header.Version>>4, a.header.Version&15)), true
	}
	return Step{}, false
}

// sayings are the notifies of an answer.
func sayings(m *wire.Message) string {
	if m == nil {
		return "a message that cannot be read"
	}
	var words []string
	for _, p := range m.Payloads {
		switch n := p.(type) {
		case *wire.Notify:
			words = append(words, n.Kind.String())
		case *wire.SA:
			words = append(words, "a proposal")
		}
	}
	return strings.Join(words, ", ")
}

// unreached is the fault of a probe that no IKE daemon answered.
func (x *exam) unreached(a *answer) Step {
	to := fmt.Sprintf("UDP %d of %s", a.to.Port(), a.to.Addr())
	switch a.kind {
	case refused:
		if a.router.IsValid() && a.router != a.to.Addr() {
			return fault(fmt.Sprintf("let UDP 500 and 4500 pass in the firewall of %s", a.router),
				fmt.Sprintf("refused: %s, which is not the peer, answers for %s (ICMP port unreachable)", a.router, to))
		}
		return fault(fmt.Sprintf("start IKE on the peer, let UDP 500 and 4500 in through its firewall, and check that %s is its address", a.to.Addr()),
			fmt.Sprintf("refused: ICMP port unreachable from the peer for %s: nothing listens there, or a firewall there rejects it; both look the same from here", to))
	case prohibited:
		return fault(fmt.Sprintf("let UDP 500 and 4500 pass in the filter of %s", a.router),
			fmt.Sprintf("refused: the filter of %s forbids %s (ICMP administratively prohibited)", a.router, to))
	case unreachable:
		if !a.router.IsValid() || x.isLocal(a.router) {
			return fault("the next hop is off or on another link: check the cable, its address, and: ip neighbour",
				fmt.Sprintf("the next hop to %s does not answer (ARP or neighbour discovery)", a.to.Addr()))
		}
		return fault("check the peer's address, and the route of that router",
			fmt.Sprintf("unreachable: %s has no route to %s (ICMP unreachable)", a.router, a.to.Addr()))
	case unsendable:
		return fault("check the firewall's output rules, the route and the local address", fmt.Sprintf("the kernel did not send to %s: %v", to, a.err))
	case stranger:
		return fault(fmt.Sprintf("check that %s is the peer's address and that IKE runs on that port there", a.to.Addr()),
			fmt.Sprintf("answered by something else: %s sent %d bytes that are not an IKE message for us, beginning % x", a.from, len(a.raw), a.raw))
	}
	return fault(fmt.Sprintf("check that %s is the peer's address and that IKE runs there, and let UDP 500 and 4500 pass: in the peer's firewall first, then on the way", a.to.Addr()),
		fmt.Sprintf("no answer: %d IKE_SA_INIT requests to %s got none within %.1f s", a.tries, to, a.took.Seconds()))
}

// checkUDP4500: behind a NAT, with forced encapsulation, and by default in
// userspace, IKE moves to UDP 4500 in its second exchange.
func checkUDP4500(x *exam) Step {
	switch {
	case x.now.up() && x.now.Tunnel.Outside.Encap == "udp":
		return fine("ESP and IKE use it")
	case x.now.up():
		return skip("not in use: the tunnel uses bare ESP")
	case x.now.Failure != nil && x.now.Failure.Kind == ikev2.FailUnfinished:
		return x.told()
	case !x.remote.IsValid():
		return skip("the peer connects to us")
	case x.port() != wire.PortIKE:
		return skip(fmt.Sprintf("remote_port is %d", x.port()))
	case x.Tunnel.Encap == config.EncapNever:
		return skip(`not in use with encap = "never"`)
	}
	a := x.probeNAT()
	if s, ok := x.reached(a); ok {
		return s
	}
	if a.kind == silent && x.ask(wire.PortIKE, 0, nil).kind == silent {
		return skip("no answer on UDP 4500, and none on UDP 500 any more: this says nothing about UDP 4500 alone; run doctor again")
	}
	s := x.unreached(a)
	s = s.and("UDP 500 of the same address answers")
	switch {
	case a.kind != silent:
	case x.now.Failure != nil && x.now.Failure.NAT:
		s.Remedy = x.now.Failure.Remedy
		s = s.and("the peer sees this side behind a NAT")
	case x.behindNAT():
		s.Remedy = "let UDP 4500 pass wherever UDP 500 does: a NAT is in front of this side, so neither IKE nor ESP gets by without it"
		s = s.and(fmt.Sprintf("this side's address %s is private and the peer's is not", x.local()))
	default:
		s.Remedy = `let UDP 4500 pass wherever UDP 500 does; or, only if there is no NAT on the way, set encap = "never" here`
	}
	if !x.udp() && x.local().IsGlobalUnicast() && !x.local().IsPrivate() {
		s.Verdict = Warning // needed only if the peer is behind a NAT
		if x.attempt() == unanswered {
			s.Verdict = Fault
		}
	}
	return s
}

// behindNAT tells that a NAT must be in front of this side, from the addresses alone.
func (x *exam) behindNAT() bool {
	return x.local().Is4() && x.local().IsPrivate() && x.remote.IsGlobalUnicast() && !x.remote.IsPrivate()
}

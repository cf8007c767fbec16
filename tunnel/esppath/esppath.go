// Package esppath finds out whether ESP passes where IKE does, and in which form.
//
// Some networks drop ESP (IP protocol 50) and let IKE pass: the tunnel comes up
// and carries nothing. Others, and peers without UDP encapsulation, do so with ESP
// in UDP and no NAT in sight. Counters only raise the suspicion, since traffic may
// well go one way. What speaks for it is that echo requests to the other end of the
// tunnel are not answered for patience, nothing else comes out of it meanwhile,
// and the peer does answer on the IKE SA. It may still be the peer that has no GRE
// interface yet. Then its kernel answers what came out of ESP with ICMP errors, and
// nothing is concluded.
//
//	                 lost for patience, and
//	                 the other form is ours to try
//	+-> USUAL FORM -----------------------------> OTHER FORM
//	|    |      ^                                   |     |
//	|    |      | lost there too: nothing helps     |     | packets come back:
//	|    |      +-----------------------------------+     | it helps
//	|    |                                                v
//	|    |      the tunnel is restarted for another    KEPT
//	|    |      reason, the first time                    |
//	|    +<-----------------------------------------------+
//	|    |
//	|    | lost again: kept for good
//	|    +------------> OTHER FORM, as before
//	|
//	+-- Forget (any)
//
// When packets come back in the other form, it was perhaps only the time that
// helped. So the usual one is tried once more.
package esppath

import (
	"fmt"
	"time"
)

const (
	first   = 3 * time.Second // after a Child SA stands: the peer has installed it too
	pause   = 10 * time.Second
	longest = 5 * time.Minute // pause, while echo requests are answered
	between = time.Hour       // between two attempts with the other form

	patience = 20 * time.Second // with a peer whose GRE interface comes after the SAs
	again    = 4 * time.Second  // between two rounds of echo requests meanwhile
)

// Form is how ESP travels outside. Networks and peers there are that take one
// form and not the other: filters that drop IP protocol 50, or ESP in the flow that
// IKE passes in; kernels without UDP encapsulation over IPv6.
type Form uint8

// Forms.
const (
	Usual Form = iota // as encap, the datapath and NAT detection make it
	Bare              // IP protocol 50
	UDP               // UDP port 4500
)

// FormOf is the form of a Child SA.
func FormOf(udp bool) Form {
	if udp {
		return UDP
	}
	return Bare
}

func (f Form) other() Form { return FormOf(f == Bare) }

func (f Form) String() string {
	if f == Bare {
		return "ESP (IP protocol 50)"
	}
	return "UDP"
}

// short is the form's name where there is no doubt.
func (f Form) short() string {
	if f == Bare {
		return "ESP"
	}
	return f.String()
}

// dropped is the suspicion against a form in which nothing comes back.
func (f Form) dropped() string {
	if f == Bare {
		return f.String() + " seems to be dropped on the way"
	}
	return "ESP in UDP 4500 seems to be dropped on the way, or the peer does not take it"
}

// Path is what is known of how ESP fares on the way to one peer. The zero value
// knows nothing and asks for the usual form.
type Path struct {
	at      time.Duration // the next look, 0: none
	pause   time.Duration
	asking  bool // for an answer to echo requests
	silent  bool // nothing has come in since the tunnel came up
	child   uint64
	in, out uint64 // packets of the child at the last look

	form    Form          // the tunnel came up in
	asked   Form          // of the peer, because the usual one did not pass
	triedAt time.Duration // when it was asked for last, 0: never
	since   time.Duration // when the tunnel came up
	lostAt  time.Duration // the first round of echo requests without an answer, of those in a row
	helps   int           // times that packets came back in the other form, and not in the usual one before
	retried bool          // the usual form was tried once more since
	told    bool          // that the peer has no GRE interface
	useless bool          // the other form helped nothing, and no packet has come in since
}

// ChildSA is the Child SA that carries the traffic.
type ChildSA struct {
	ID      uint64
	Form    Form
	In, Out uint64 // packets
}

// Verdict is what follows from something seen.
type Verdict struct {
	Echo     bool   // find out whether echo requests are answered, and say so to Echoed
	Text     string // for the log, "": nothing
	Warn     bool   // it is a warning
	Peer     bool   // it is about the peer, not the path
	Register bool   // tell the engine which form is asked for now
	Doctor   bool   // the doctor can find out more
	Restart  string // why to make the tunnel anew, "": not
}

// Asked is the form to ask the peer for.
func (p *Path) Asked() Form { return p.asked }

// Retried tells whether the usual form was tried twice.
func (p *Path) Retried() bool { return p.retried }

// Forget begins again: the configuration or the operator did.
func (p *Path) Forget() { *p = Path{asking: p.asking} }

// Up takes that the tunnel has come up in a form.
func (p *Path) Up(now time.Duration, form Form, initiator bool) {
	if p.silent && p.form != form && p.asked == Usual {
		p.useless = true // the peer goes over to this one, as nothing came in the other
	}
	p.pause, p.silent, p.child = pause, true, 0
	p.since, p.lostAt, p.form = now, 0, form
	wait := first
	if !initiator {
		wait *= 4 // the initiator goes first
	}
	p.at = now + wait
}

// Wake is when to Check again, 0: not by the clock.
func (p *Path) Wake() time.Duration {
	if p.asking {
		return 0
	}
	return p.at
}

// Rest ends the looks until the tunnel comes up again.
func (p *Path) Rest() { p.at = 0 }

// Check takes the counters of the Child SA that carries the traffic. live: the peer
// answers.
func (p *Path) Check(now time.Duration, c ChildSA, live bool) Verdict {
	if c.Form == UDP && !p.silent && p.asked == Usual {
		p.Rest() // what has come in UDP goes on as IKE does, in one flow
		return Verdict{}
	}
	p.at = now + p.pause
	if p.child != c.ID {
		p.child, p.in, p.out = c.ID, 0, 0
	}
	comes, leaves := c.In > p.in, c.Out > p.out
	p.in, p.out = c.In, c.Out
	switch {
	case comes:
		p.pause = pause
		return p.Passes(c.Form)
	case (leaves || p.silent) && live:
		return Verdict{Echo: true}
	}
	return Verdict{}
}

// Asking notes that echo requests are sent.
func (p *Path) Asking() { p.asking = true }

// Unasked notes that no answer comes of the echo requests any more: nothing is
// known, or of another Child SA.
func (p *Path) Unasked() { p.asking = false }

// Echo is what came of echo requests.
type Echo struct {
	Answered bool
	Lost     bool // while the peer answered on the IKE SA
	Refused  bool // the peer's kernel has no GRE interface for them
}

// Echoed concludes from echo requests through a Child SA. remedy is what the owner can
// do where the other form is not for us to try, "" where it is.
func (p *Path) Echoed(now time.Duration, c ChildSA, e Echo, remedy string) Verdict {
	p.asking = false
	switch {
	case e.Answered || c.In > p.in:
		p.pause = min(p.pause*2, longest)
		return p.Passes(c.Form)
	case e.Refused:
		return p.refused(now)
	case e.Lost && now-p.lostSince(now) < patience:
		p.at = now + again
	case e.Lost:
		return p.Blocked(now, c.Form, remedy)
	}
	return Verdict{} // the peer is silent altogether: liveness deals with it
}

// lostSince is since when nothing comes back.
func (p *Path) lostSince(now time.Duration) time.Duration {
	if p.lostAt == 0 {
		p.lostAt = now
	}
	if p.silent {
		return p.since
	}
	return p.lostAt
}

// Passes notes that something came out of the tunnel.
func (p *Path) Passes(form Form) (v Verdict) {
	switch {
	case !p.silent:
	case p.asked == form:
		p.helps++
		v.Text = fmt.Sprintf("packets come back over %s: keeping it", form)
		if !p.retried {
			v.Text += fmt.Sprintf(" until the tunnel restarts; then %s is tried again, in case it passes by then", form.other().short())
		}
	case p.retried:
		v.Text = fmt.Sprintf("packets come back over %s, too: it was not dropped on the way, or no longer is", form)
		p.helps, p.retried = 0, false
	}
	p.silent, p.useless, p.told, p.lostAt = false, false, false, 0
	return v
}

// Down takes that the tunnel is to be restarted. It tells whether the usual form is
// tried once more.
func (p *Path) Down() (register bool) {
	if p.asked == Usual || p.helps == 0 || p.retried {
		return false
	}
	p.asked, p.retried = Usual, true
	return true
}

// refused notes that the peer answers what comes out of ESP with ICMP errors.
func (p *Path) refused(now time.Duration) (v Verdict) {
	p.at = now + again
	if !p.told && now-p.since >= patience {
		p.told = true
		v = Verdict{Warn: true, Peer: true, Text: "ESP passes, but the peer has no GRE interface for what comes out of it (its ICMP errors say so); make it there, with the same gre.key and endpoints as here"}
	}
	return v
}

// Blocked is the conclusion that packets are lost on the way.
func (p *Path) Blocked(now time.Duration, form Form, remedy string) Verdict {
	const seen = "echo requests through the tunnel get no answer while the peer answers on the IKE SA"
	switch {
	case p.asked != Usual:
		return p.inVain(form, seen)
	case p.useless || p.triedAt != 0 && now-p.triedAt < between && !p.retried:
		return Verdict{}
	case remedy != "":
		p.triedAt, p.useless = now, true
		return Verdict{Warn: true, Text: fmt.Sprintf("%s: %s; %s", seen, form.dropped(), remedy)}
	}
	p.asked, p.triedAt = form.other(), now
	how := "in UDP"
	if form == UDP {
		how = "without UDP (IP protocol 50)"
	}
	return Verdict{
		Warn: true, Text: fmt.Sprintf("%s: %s; trying it %s", seen, form.dropped(), how),
		Register: true, Restart: "trying ESP " + how,
	}
}

// inVain returns to the usual form when the other does not help either.
func (p *Path) inVain(form Form, seen string) Verdict {
	asked := p.asked
	p.asked, p.useless = Usual, true
	how := "with or without UDP"
	switch {
	case form != asked:
		how = "and the peer does not take part in NAT detection, which UDP needs"
	case asked == Bare:
		how = "with or without UDP; going back to UDP"
	}
	v := Verdict{Warn: true, Text: fmt.Sprintf("%s, %s", seen, how), Register: true, Doctor: true}
	if asked == Bare {
		v.Restart = "going back to ESP in UDP" // it passes more networks, and is faster in userspace
	}
	return v
}

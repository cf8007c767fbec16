// Package doctor works through one tunnel in order, from its host name to a
// packet that comes back through it, and names the first step that fails, what
// shows it, and what to change.
//
// It runs on a goroutine of its own beside the daemon's loop. It owns nothing
// of the loop and changes nothing of the machine: what it needs of the daemon
// it asks through the Daemon interface, everything else it reads from the
// kernel or finds out by sending harmless packets (an IKE_SA_INIT request that
// no responder keeps state for, ICMP echo requests through the tunnel). No
// secret reaches it and none leaves it.
//
// Run calls emit for each Step as it is known. A step that cannot be judged
// because an earlier one failed is skipped, so that each fault that is named
// is independent; faults that have nothing to do with each other are named
// side by side. A tunnel that is not up always has a fault: where no step finds
// one, the daemon's own sentence is it.
package doctor

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"greseal/crypto/suite"
	"greseal/ikev2"
	"greseal/platform"
	"greseal/tunnel/cause"
	"greseal/tunnel/config"
	"greseal/tunnel/status"
)

// Verdict is the outcome of a step: one of the Verdict words of package status.
type Verdict string

// Verdicts.
const (
	OK      Verdict = status.VerdictOK
	Fault   Verdict = status.VerdictFault
	Warning Verdict = status.VerdictWarning // not why the tunnel fails, but worth a look
	Skipped Verdict = status.VerdictSkipped // not judged; Evidence says why
)

// Step is what was found out about one link of the chain.
type Step struct {
	ID       string
	Title    string
	Verdict  Verdict
	Evidence []string // a sentence each
	Remedy   string   // of a fault or warning: what to change
	Commands []string // to run on this machine for the remedy
}

// Subject is what is examined, as the daemon knows it at the beginning.
type Subject struct {
	Tunnel config.Tunnel   // a copy without secrets
	Others []config.Tunnel // the other tunnels, without secrets
	Odd    config.Problems // warnings about what is written of it
	IKE    []suite.Proposal
	ESP    []suite.Proposal // those the datapath can carry out
	ESPWhy error            // why one or all others cannot be
	Target netip.Addr       // inside the tunnel, to ping; unset to choose by Tunnel.Address
	Daemon Daemon
}

// Moment is what the daemon knows of the tunnel at one moment.
type Moment struct {
	Time      int64     // Unix seconds
	Wall      time.Time // what certificates are judged by
	Daemon    status.Daemon
	Tunnel    status.Tunnel
	Local     netip.Addr     // own outer address, unset while unknown
	Remote    netip.AddrPort // the peer's outer address, unset while unknown
	ClockNote string         // why that is not this machine's clock, empty when it is
	Silence   time.Duration  // since the last authenticated message of the peer; -1 without an IKE SA

	// Cause is why the tunnel is not up, as far as the daemon knows.
	Cause cause.Cause
	// Failure is that of IKE among them, why the last attempt failed or the present one
	// gets nowhere, Age ago; nil when it is none.
	Failure *ikev2.Failure
	Age     time.Duration

	IKEv1    netip.AddrPort // who sent IKE version 1 last, to whichever tunnel; unset for none
	IKEv1Age time.Duration

	Drops     platform.Drops
	DropsErr  error // no interface, most likely
	Installed error // nil while both SAs of the carrying Child SA are in the datapath
}

// since are the seconds from a moment of the status until now.
func (m *Moment) since(at int64) int64 { return status.Seconds(at, m.Time) }

// up reports whether a Child SA carries packets.
func (m *Moment) up() bool {
	return m.Tunnel.State == status.StateUp || m.Tunnel.State == status.StateSuspect
}

// Daemon is what the daemon's loop does for an examination.
type Daemon interface {
	// Observe returns what is known now.
	Observe(context.Context) (Moment, error)
	// Retry begins the next attempt at once instead of after its pause.
	Retry(context.Context) error
	// CheckLiveness asks the peer for a sign of life on its IKE SA and reports whether
	// one came within 4 s.
	CheckLiveness(context.Context) (bool, error)
}

// check is one step: a file of its own.
type check struct {
	id, title string
	needs     []string // steps without which this one makes no sense
	run       func(*exam) Step
}

// chain is the order of the examination: a tunnel from its first
// host name to its last packet. What explains a failure comes before the
// failure it explains, so that the cause is named and not its effect.
var chain = []check{
	{"wanted", "the tunnel is meant to be up", nil, checkWanted},
	{"config", "the running configuration matches the file", nil, checkConfig},
	{"clock", "clock", nil, checkClock},
	{"datapath", "datapath, kernel modules and algorithms", nil, checkDatapath},
	{"name", "the peer's name resolves", nil, checkName},
	{"route", "route to the peer", []string{"name"}, checkRoute},
	{"local", "local address", nil, checkLocal},
	{"firewall", "firewall of this machine", []string{"local"}, checkFirewall},
	{"policies", "XFRM policies", []string{"route", "local"}, checkPolicies},
	{"rp-filter", "reverse path filter outside", []string{"route", "local"}, checkRPFilterOutside},
	{"udp-500", "the peer answers on UDP 500", []string{"route", "local", "firewall", "policies", "rp-filter"}, checkUDP500},
	{"ikev1", "the peer speaks IKEv2", []string{"udp-500"}, checkIKEv1},
	{"udp-4500", "the peer answers on UDP 4500", []string{"udp-500", "ikev1"}, checkUDP4500},
	{"fragments", "IP fragments reach the peer", []string{"udp-500", "ikev1"}, checkFragments},
	{"proposals", "proposals of the IKE SA", []string{"wanted", "udp-500", "ikev1"}, checkProposals},
	{"certificates", "certificates", []string{"proposals", "udp-4500"}, checkCertificates},
	{"identity", "identity and authentication", []string{"certificates", "fragments"}, checkIdentity},
	{"esp-proposals", "proposals of the Child SA", []string{"identity"}, checkESPProposals},
	{"selectors", "traffic selectors and mode", []string{"esp-proposals"}, checkSelectors},
	{"install", "SAs in the datapath", []string{"selectors"}, checkInstall},
	{"handshake", "the tunnel is up", []string{"datapath", "install"}, checkHandshake},
	{"one-peer", "only one peer wants the tunnel", nil, checkOnePeer},
	{"liveness", "the peer answers on the IKE SA", []string{"handshake"}, checkLiveness},
	{"interface", "the interface and its addresses", []string{"handshake"}, checkInterface},
	{"routes", "routes into the tunnel", []string{"handshake", "interface"}, checkOverlap},
	{"xfrm-errors", "XFRM error counters", []string{"liveness", "interface"}, checkXfrmErrors},
	{"gre-key", "GRE key, checksum and sequence numbers", []string{"liveness", "interface"}, checkGREKey},
	{"rp-filter-inside", "reverse path filter of the tunnel", []string{"liveness", "interface"}, checkRPFilterInside},
	{"firewall-inside", "firewall inside the tunnel", []string{"interface"}, checkFirewallInside},
	{StepESP, "packets come back through the tunnel", []string{"liveness", "interface", "firewall-inside", "xfrm-errors", "gre-key", "rp-filter-inside"}, checkESP},
	{"mtu", "packets of the full MTU come back", []string{"esp"}, checkMTU},
	{"forwarding", "networks behind this machine", []string{"interface", "routes"}, checkForwarding},
}

// Run examines the subject and calls emit for each step. It ends early when ctx
// does; the error says so, or that the daemon did not answer.
func Run(ctx context.Context, s Subject, emit func(Step)) error {
	x, err := newExam(ctx, s)
	if err != nil {
		return err
	}
	defer x.close()
	failed := make(map[string]string) // step → the fault it hangs on
	for _, c := range chain {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("examination aborted: %w", err)
		}
		if err := x.refresh(); err != nil {
			return err
		}
		var step Step
		if on := because(failed, c.needs); on != "" {
			failed[c.id] = on
			step = skip(NotChecked + on + " is fixed")
		} else {
			step = c.run(x)
			if step.Verdict == Fault {
				failed[c.id] = c.id
				step.Remedy = cmp.Or(step.Remedy, "mend what is named, then run doctor again")
			}
		}
		step.ID = c.id
		if step.Title == "" {
			step.Title = c.title
		}
		emit(step)
	}
	return nil
}

func because(failed map[string]string, needs []string) string {
	for _, n := range needs {
		if f := failed[n]; f != "" {
			return f
		}
	}
	return ""
}

// Finding is the step as clients are told it.
func (s Step) Finding() status.Finding {
	return status.Finding{ID: s.ID, Title: s.Title, Verdict: string(s.Verdict), Evidence: s.Evidence, Remedy: s.Remedy, Commands: s.Commands}
}

// StepESP is the step that tells whether the tunnel carries packets.
const StepESP = "esp"

// NotChecked begins the evidence of a step that rests on one with a fault.
const NotChecked = "not checked until "

// Constructors of a step; evidence is a sentence each.

func fine(evidence ...string) Step { return Step{Verdict: OK, Evidence: evidence} }

func skip(evidence ...string) Step { return Step{Verdict: Skipped, Evidence: evidence} }

func fault(remedy string, evidence ...string) Step {
	return Step{Verdict: Fault, Remedy: remedy, Evidence: evidence}
}

func warn(remedy string, evidence ...string) Step {
	return Step{Verdict: Warning, Remedy: remedy, Evidence: evidence}
}

// with adds commands to run on this machine.
func (s Step) with(commands ...string) Step {
	s.Commands = append(s.Commands, commands...)
	return s
}

// and adds evidence.
func (s Step) and(evidence ...string) Step {
	for _, e := range evidence {
		if strings.TrimSpace(e) != "" {
			s.Evidence = append(s.Evidence, e)
		}
	}
	return s
}

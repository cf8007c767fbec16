// Package cause is why a tunnel is not up, or carries nothing, as one value: whoever
// tells it (events, log, status, metrics, doctor) prints it and has no words of its
// own. It decides nothing about tunnels and knows no clock.
//
// A tunnel Holds one. What the tunnel's own machine knows is Set, and goes when
// something else is. What an examination found is a Finding; it stands before that
// until the state, the settings or another failure of IKE say otherwise.
package cause

import (
	"strings"
	"time"

	"greseal/ikev2"
	"greseal/tunnel/status"
)

// Cause is one sentence with all that belongs to it. The zero value is none.
type Cause struct {
	Code     string         // one of the Code words of status; empty for what is no fault, such as a handshake that is under way
	Side     string         // one of the Side words of status; empty without a code
	Text     string         // one sentence
	Evidence []string       // what else shows it, a sentence each
	Remedy   string         // what to change, one sentence
	Commands []string       // to run on this machine for the remedy
	Failure  *ikev2.Failure // of IKE, where it is one

	Found, Confirmed time.Time // for the first time, and the last in a row
}

// Here is a cause that lies on this machine.
func Here(code, text, remedy string, commands ...string) Cause {
	return Cause{Code: code, Side: status.SideHere, Text: text, Remedy: remedy, Commands: commands}
}

// Progress is what a tunnel does that has no fault.
func Progress(text string) Cause { return Cause{Text: text} }

// Of is the cause that a failure of IKE is.
func Of(f *ikev2.Failure) Cause {
	code, side := status.CodeRefused, status.SidePeer
	switch f.Kind {
	case ikev2.FailTimeout, ikev2.FailDead, ikev2.FailUnfinished:
		code, side = status.CodeNoAnswer, status.SideUnknown
	case ikev2.FailAuthentication, ikev2.FailIdentity, ikev2.FailCertificate:
		code, side = status.CodeAuth, status.SideUnknown
	case ikev2.FailNoProposal, ikev2.FailInvalidKE, ikev2.FailMode:
		code, side = status.CodeNoProposal, status.SideUnknown
	case ikev2.FailSelectors:
		code, side = status.CodeSelectors, status.SideUnknown
	case ikev2.FailInstall:
		code, side = status.CodeUnavailable, status.SideHere
	}
	c := Cause{Code: code, Side: side, Text: f.What(), Remedy: f.Remedy, Failure: f}
	if c.Remedy == "" {
		c.Remedy = remedies[code]
	}
	return c
}

// remedies are for failures that name none.
var remedies = map[string]string{
	status.CodeNoAnswer:    "check the path to the peer and whether it is running",
	status.CodeAuth:        "compare the keys and identities of both sides; the log of the side that refused says which differs",
	status.CodeNoProposal:  "set the same algorithms and mode on both sides",
	status.CodeSelectors:   "set the GRE endpoints of each side to what the other expects",
	status.CodeRefused:     "look into the peer's log; it is tried again by itself",
	status.CodeUnavailable: `install the missing kernel module or package, or set datapath = "userspace"`,
}

// What is what to do about it: the remedy and the commands in one line.
func (c *Cause) What() string {
	return strings.TrimPrefix(strings.TrimSuffix(c.Remedy+": "+strings.Join(c.Commands, "; "), ": "), ": ")
}

// String is the sentence and what to do.
func (c *Cause) String() string {
	if what := c.What(); what != "" {
		return c.Text + "; " + what
	}
	return c.Text
}

// same tells whether it is what was known before. How often a request was repeated
// makes no difference.
func (c *Cause) same(as *Cause) bool {
	if f, g := c.Failure, as.Failure; f != nil && g != nil {
		return f.Kind == g.Kind && f.Exchange == g.Exchange && f.ByPeer == g.ByPeer && f.Remote == g.Remote &&
			f.Detail == g.Detail && f.Ours == g.Ours && f.Theirs == g.Theirs
	}
	return c.Code == as.Code && c.Text == as.Text
}

// seen dates c, which was seen now, and before it before.
func (c *Cause) seen(now time.Time, before *Cause) {
	c.Found, c.Confirmed = now, now
	if before.same(c) && !before.Found.IsZero() {
		c.Found = before.Found
	}
}

// silent tells a failure that nobody said anything about.
func (c *Cause) silent() bool {
	return c.Failure != nil && c.Failure.Kind.Silent()
}

// Held is the cause of a tunnel. The zero value holds none.
type Held struct {
	known   Cause
	finding Cause
}

// Is the cause that is told.
func (h *Held) Is() *Cause {
	if h.finding.Text != "" {
		return &h.finding
	}
	return &h.known
}

// Known is what the tunnel itself knows, whatever an examination found.
func (h *Held) Known() *Cause { return &h.known }

// Set takes what the tunnel itself knows now; what Known returned keeps its dates. A failure that is not the one of
// before supersedes a finding; silence and progress are what a finding explains.
func (h *Held) Set(now time.Time, c Cause) {
	news := c.Code != "" && !c.silent() && !c.same(&h.known)
	if c.Text == "" || news {
		h.finding = Cause{}
	}
	if c.Text != "" && c.Found.IsZero() {
		c.seen(now, &h.known)
	}
	h.known = c
}

// Find takes what an examination found; without a text it found nothing, and what
// one found before counts no more.
func (h *Held) Find(now time.Time, c Cause) {
	if c.Text != "" {
		c.seen(now, &h.finding)
	}
	h.finding = c
}

package esppath

import (
	"strings"
	"testing"
	"time"
)

// A path to a peer, and what its owner is told and what is done, second by second.
type played struct {
	at   int // seconds after the tunnel came up
	do   func(p *Path, now time.Duration) Verdict
	want Verdict // Text: a part of it
	wake int     // when it is looked at next, 0: not
}

const up = time.Hour

func look(c ChildSA) func(*Path, time.Duration) Verdict {
	return func(p *Path, now time.Duration) Verdict { return p.Check(now, c, true) }
}

func silentLook(p *Path, now time.Duration) Verdict {
	return p.Check(now, ChildSA{ID: 1, Form: Bare}, false)
}

func echoed(c ChildSA, e Echo, remedy string) func(*Path, time.Duration) Verdict {
	return func(p *Path, now time.Duration) Verdict {
		p.Asking()
		return p.Echoed(now, c, e, remedy)
	}
}

func TestAPathIsJudgedByCountersAndEchoRequests(t *testing.T) {
	bare, udp := ChildSA{ID: 1, Form: Bare}, ChildSA{ID: 1, Form: UDP}
	came := ChildSA{ID: 1, Form: Bare, In: 5}
	lost := Echo{Lost: true}
	for name, steps := range map[string][]played{
		"packets come": {
			{3, look(came), Verdict{}, 13},
			{13, look(came), Verdict{}, 23}, // nothing leaves either
			{23, look(ChildSA{ID: 1, Form: Bare, In: 5, Out: 1}), Verdict{Echo: true}, 33},
		},
		"packets come in UDP": {
			{3, look(ChildSA{ID: 1, Form: UDP, In: 5}), Verdict{}, 13},
			{13, look(udp), Verdict{}, 0},
		},
		"the peer is silent altogether": {
			{3, silentLook, Verdict{}, 13},
		},
		"echo requests are answered": {
			{3, look(bare), Verdict{Echo: true}, 13},
			{4, echoed(bare, Echo{Answered: true}, ""), Verdict{}, 13},
			{13, look(ChildSA{ID: 1, Form: Bare, Out: 9}), Verdict{Echo: true}, 33},
		},
		"they are answered by packets that come meanwhile": {
			{3, look(bare), Verdict{Echo: true}, 13},
			{4, echoed(came, lost, ""), Verdict{}, 13},
		},
		"they are lost": {
			{3, look(bare), Verdict{Echo: true}, 13},
			{5, echoed(bare, lost, ""), Verdict{}, 9},
			{9, look(bare), Verdict{Echo: true}, 19},
			{21, echoed(bare, lost, ""), Verdict{Warn: true, Text: "trying it in UDP", Register: true, Restart: "trying ESP in UDP"}, 19},
		},
		"they are lost in UDP": {
			{3, look(udp), Verdict{Echo: true}, 13},
			{21, echoed(udp, lost, ""), Verdict{Warn: true, Text: "trying it without UDP", Register: true, Restart: "trying ESP without UDP (IP protocol 50)"}, 13},
		},
		"they are lost, and it is not for us": {
			{21, echoed(bare, lost, "set this"), Verdict{Warn: true, Text: "dropped on the way; set this"}, 3},
			{31, echoed(bare, lost, "set this"), Verdict{}, 3},
		},
		"the peer has no GRE interface": {
			{5, echoed(bare, Echo{Refused: true, Lost: true}, ""), Verdict{}, 9},
			{21, echoed(bare, Echo{Refused: true, Lost: true}, ""), Verdict{Warn: true, Peer: true, Text: "no GRE interface"}, 25},
			{26, echoed(bare, Echo{Refused: true, Lost: true}, ""), Verdict{}, 30},
		},
		"nothing is known of the peer": {
			{5, echoed(bare, Echo{}, ""), Verdict{}, 3},
		},
	} {
		var p Path
		p.Up(up, bare.Form, true)
		for _, s := range steps {
			v := s.do(&p, up+time.Duration(s.at)*time.Second)
			text := v.Text
			v.Text = s.want.Text
			if v != s.want || !strings.Contains(text, s.want.Text) || (text == "") != (s.want.Text == "") {
				t.Errorf("%s: at %d s %+v, %q; want %+v", name, s.at, v, text, s.want)
			}
			wake := 0
			if w := p.Wake(); w != 0 {
				wake = int((w - up) / time.Second)
			}
			if wake != s.wake {
				t.Errorf("%s: at %d s it is looked at next at %d s, want %d", name, s.at, wake, s.wake)
			}
		}
	}
}

// What form is asked for, through tunnels that come up and go.
func TestTheFormThatIsAskedForFollowsWhatWasSeen(t *testing.T) {
	p := &Path{}
	now := up
	blocked := func(f Form) Verdict { return p.Blocked(now, f, "") }
	comesUp := func(f Form) { p.Up(now, f, true) }
	check := func(what string, asked Form) {
		t.Helper()
		if p.Asked() != asked {
			t.Errorf("%s: asked for %v, want %v", what, p.Asked(), asked)
		}
		now += time.Minute
	}
	comesUp(Bare)
	if p.Down() {
		t.Error("the usual form is asked for already")
	}
	blocked(Bare)
	check("bare ESP is lost", UDP)
	comesUp(UDP)
	p.Passes(UDP)
	if !p.Down() {
		t.Error("the usual form is not tried once more")
	}
	check("made anew", Usual)
	comesUp(Bare)
	if v := blocked(Bare); v.Restart == "" {
		t.Error("the second time within an hour is refused")
	}
	check("lost again", UDP)
	comesUp(UDP)
	p.Passes(UDP)
	if p.Down() || !p.Retried() {
		t.Error("the usual form is tried a third time")
	}
	check("kept for good", UDP)
	p.Forget()
	check("forgotten", Usual)

	comesUp(Bare)
	blocked(Bare)
	comesUp(UDP)
	if v := blocked(UDP); v.Restart != "" || !v.Register || !v.Doctor {
		t.Errorf("nothing helps: %+v", v)
	}
	check("nothing helps", Usual)
	if v := blocked(Bare); v != (Verdict{}) {
		t.Errorf("tried again at once: %+v", v)
	}

	// The peer goes over to UDP by itself.
	p.Forget()
	now += 2 * between
	comesUp(Bare)
	comesUp(UDP)
	if v := blocked(UDP); v != (Verdict{}) {
		t.Errorf("the peer has tried the other form, and we do too: %+v", v)
	}
}

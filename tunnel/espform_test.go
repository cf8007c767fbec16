package tunnel

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"greseal/ikev2"
	"greseal/platform"
	"greseal/tunnel/config"
	"greseal/tunnel/esppath"
	"greseal/tunnel/status"
)

// The other form is for us to try only where it was us, or another greseal, who
// asked for the first; else the owner is told what to do.
func TestTheOtherFormIsTriedOnlyWhereItMayPass(t *testing.T) {
	none := ikev2.NAT{}
	forced := ikev2.NAT{NATRemote: true, EncapForcedByPeer: true, EncapForced: true}
	for _, c := range []struct {
		what, encap string
		any         bool
		form        esppath.Form
		ike         ikev2.NAT
		remedy      string // "": it is tried
	}{
		{"ESP", config.EncapAuto, false, esppath.Bare, none, ""},
		{"ESP, never", config.EncapNever, false, esppath.Bare, none, `set encap = "always"`},
		{"ESP, always", config.EncapAlways, false, esppath.Bare, none, "turn on NAT traversal at the peer"},
		{"ESP, any peer", config.EncapAuto, true, esppath.Bare, none, "on the side that initiates"},
		{"UDP", config.EncapAuto, false, esppath.UDP, ikev2.NAT{EncapForced: true}, ""},
		{"UDP, forced on both sides", config.EncapAuto, false, esppath.UDP, forced, ""},
		{"UDP, always", config.EncapAlways, false, esppath.UDP, forced, `set encap = "auto"`},
		{"UDP, any peer", config.EncapAuto, true, esppath.UDP, forced, `"never" on the side that initiates`},
		{"UDP, a NAT here", config.EncapAuto, false, esppath.UDP, ikev2.NAT{NATLocal: true, EncapForced: true}, "does not pass the NAT"},
		{"UDP, a NAT there", config.EncapAuto, false, esppath.UDP, ikev2.NAT{NATRemote: true, EncapForced: true}, "does not pass the NAT"},
		{"UDP, a NAT and always", config.EncapAlways, false, esppath.UDP, ikev2.NAT{NATLocal: true}, "does not pass the NAT"},
	} {
		s := &peer{cfg: &config.Tunnel{Encap: c.encap, RemoteAny: c.any}}
		got := s.remedy(c.form, c.ike)
		if c.remedy == "" && got != "" || !strings.Contains(got, c.remedy) {
			t.Errorf("%s: remedy %q, want %q", c.what, got, c.remedy)
		}
	}
}

func TestTheEngineIsAskedForTheFormThatIsTried(t *testing.T) {
	for _, c := range []struct {
		encap string
		asked esppath.Form
		kind  string
		want  ikev2.EncapMode
	}{
		{config.EncapAuto, esppath.Usual, platform.KindKernel, ikev2.EncapAuto},
		{config.EncapAuto, esppath.Usual, platform.KindUserspace, ikev2.EncapForce},
		{config.EncapAuto, esppath.UDP, platform.KindKernel, ikev2.EncapForce},
		{config.EncapAuto, esppath.Bare, platform.KindKernel, ikev2.EncapNever},
		{config.EncapAuto, esppath.Bare, platform.KindUserspace, ikev2.EncapNever},
		{config.EncapAlways, esppath.Usual, platform.KindKernel, ikev2.EncapForce},
		{config.EncapNever, esppath.Usual, platform.KindUserspace, ikev2.EncapNever},
	} {
		s := &peer{cfg: &config.Tunnel{Encap: c.encap}}
		if c.asked != esppath.Usual { // what the other one leads to
			s.esp.Blocked(time.Hour, esppath.FormOf(c.asked == esppath.Bare), "")
		}
		if got := s.encapMode(c.kind); got != c.want {
			t.Errorf("encap %s, asked for %s, %s: %v, want %v", c.encap, c.asked, c.kind, got, c.want)
		}
	}
}

// step is one look at ESP, and where it leads.
type step struct {
	what  string
	do    func(*loop, *peer)
	encap string // in use then
	why   string // in the status
	says  string // in the last event about it
}

// In userspace, where UDP is usual: every conclusion leads to the other form and
// back, and is taken back when it was wrong.
func TestESPGoesFromFormToForm(t *testing.T) {
	blocked := func(l *loop, p *peer) {
		c := p.current()
		form := esppath.FormOf(c.Encap)
		l.conclude(p, p.esp.Blocked(l.now(), form, p.remedy(form, p.ike[c.IKE].NAT)))
	}
	passes := func(l *loop, p *peer) { l.conclude(p, p.esp.Passes(esppath.FormOf(p.current().Encap))) }
	anew := func(l *loop, p *peer) { l.restart(p, "for another reason") }
	for name, steps := range map[string][]step{
		"ESP helps": {
			{"UDP carries nothing", blocked, "esp", "ESP in UDP does not pass", "trying it without UDP"},
			{"ESP does", passes, "esp", "tried once more when the tunnel restarts", "then UDP is tried again"},
			{"made anew", anew, "udp", "three times faster", "then UDP"},
			{"still nothing", blocked, "esp", "twice", "trying it without UDP"},
			{"ESP again", passes, "esp", "twice", "packets come back over ESP (IP protocol 50): keeping it"},
			{"made anew again", anew, "esp", "twice", "keeping it"},
			{"ESP is dropped by now", blocked, "udp", "three times faster", "going back to UDP"},
			{"UDP passes by now", passes, "udp", "three times faster", "packets come back over UDP, too"},
		},
		"it was the time that helped": {
			{"UDP carries nothing", blocked, "esp", "ESP in UDP does not pass", "trying it without UDP"},
			{"ESP does", passes, "esp", "tried once more", "then UDP is tried again"},
			{"made anew", anew, "udp", "three times faster", "then UDP"},
			{"UDP passes", passes, "udp", "three times faster", "packets come back over UDP, too"},
			{"made anew again", anew, "udp", "three times faster", "too"},
		},
		"nothing helps": {
			{"UDP carries nothing", blocked, "esp", "ESP in UDP does not pass", "trying it without UDP"},
			{"nor does ESP", blocked, "udp", "three times faster", "with or without UDP"},
			{"and it is left there", blocked, "udp", "three times faster", "going back to UDP"},
			{"made anew", anew, "udp", "three times faster", ""},
			{"still", blocked, "udp", "three times faster", ""},
		},
	} {
		t.Run(name, func(t *testing.T) { playForms(t, steps) })
	}
}

func playForms(t *testing.T, steps []step) {
	synctest.Test(t, func(t *testing.T) {
		play(t, hq(`remote = "192.0.2.1"`), nil, func(w *world) {
			time.Sleep(time.Minute)
			for _, s := range steps {
				w.do(func() { s.do(w.l, w.l.peers["hq"]) })
				time.Sleep(time.Minute)
				look, said := w.look(), w.said("encap")
				if look.State != status.StateUp || look.Outside.Encap != s.encap || !strings.Contains(look.Outside.EncapWhy, s.why) || !strings.Contains(said, s.says) {
					t.Errorf("%s: %s in %s because %s; it said %q; want %s, %q, %q", s.what, look.State, look.Outside.Encap, look.Outside.EncapWhy, said, s.encap, s.why, s.says)
					return
				}
			}
		})
	})
}

// said is the tunnel's last event of a kind.
func (w *world) said(kind string) (text string) {
	w.do(func() {
		for _, e := range w.l.tunnels["hq"].events.Last(100, "hq") {
			if e.Kind == kind {
				text = e.Text
			}
		}
	})
	return text
}

// Nothing is said of a NAT where UDP is only forced, and nothing of the userspace
// datapath where the kernel carries the packets.
func TestForcedEncapsulationIsToldAsForced(t *testing.T) {
	for _, c := range []struct {
		kind string
		nat  ikev2.NAT
		want string
	}{
		{platform.KindUserspace, ikev2.NAT{EncapForced: true}, "forced by this side, whose userspace datapath"},
		{platform.KindUserspace, ikev2.NAT{EncapForced: true, NATRemote: true, EncapForcedByPeer: true}, "forced by this side, whose userspace datapath"},
		{platform.KindKernel, ikev2.NAT{NATRemote: true, EncapForcedByPeer: true}, "forced by the peer"},
		{platform.KindKernel, ikev2.NAT{EncapForced: true}, "bare ESP does not pass"},
		{platform.KindKernel, ikev2.NAT{NATRemote: true}, "the peer is behind a NAT"},
		{platform.KindUserspace, ikev2.NAT{NATLocal: true}, "this side is behind a NAT"},
	} {
		p := &peer{cfg: &config.Tunnel{Encap: config.EncapAuto}}
		why := encapWhy(p, c.nat, true, c.kind)
		if !strings.Contains(why, c.want) || c.nat.Found() != strings.Contains(why, "NAT") ||
			c.kind == platform.KindKernel && strings.Contains(why, "this side, whose userspace") {
			t.Errorf("%s %+v: %s", c.kind, c.nat, why)
		}
	}
}

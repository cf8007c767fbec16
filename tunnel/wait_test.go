package tunnel

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"greseal/ikev2"
)

// hq is the config of the tunnel hq.
func hq(lines ...string) string {
	return strings.Join(append([]string{
		"[[tunnel]]", `name = "hq"`, `psk = "` + worldKey + `"`, `address = ["10.255.0.2/30"]`,
		`ike = "aes128gcm16-prfsha256-x25519"`, `esp = "aes128gcm16"`,
	}, lines...), "\n") + "\n"
}

func upWithin(t *testing.T, w *world, most time.Duration) {
	t.Helper()
	for begun := time.Now(); time.Since(begun) < most; time.Sleep(100 * time.Millisecond) {
		if w.look().State == "up" {
			return
		}
	}
	s := w.look()
	t.Errorf("not up after %v: %s, waiting for %q: %s", most, s.State, s.WaitingFor, s.Reason)
}

// A peer that completes each handshake and deletes the IKE SA at once is not asked
// every second either.
func TestThePauseGrowsWhereATunnelComesUpForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		play(t, hq(`remote = "192.0.2.1"`), func(w *world) { w.throwsOut = true }, func(w *world) {
			time.Sleep(5 * time.Minute)
			if s := w.look(); s.UpCount < 5 || s.UpCount > 30 { // three times an IKE SA
				t.Errorf("came up %d times in five minutes", s.UpCount)
			}
			w.do(func() { w.throwsOut = false })
			upWithin(t, w, 90*time.Second)
			time.Sleep(time.Minute)
			w.do(func() { w.l.do(w.l.engine.Close(w.l.now(), "hq")) })
			upWithin(t, w, 2*time.Second)
		})
	})
}

// The daemon starts before there is a WAN, as its systemd unit has it; the name is
// known a while after the WAN is there.
func TestATunnelToANameComesUpWhenTheNetworkIsLate(t *testing.T) {
	for _, gap := range []time.Duration{0, time.Second, 3 * time.Second, 4900 * time.Millisecond, 8 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			play(t, hq(`remote = "`+worldName+`"`), func(w *world) {
				w.wan4, w.wan6, w.route4, w.route6 = netip.Addr{}, netip.Addr{}, false, false
				w.answerErr = &net.DNSError{Err: "server misbehaving", Name: worldName}
			}, func(w *world) {
				time.Sleep(12 * time.Second)
				w.do(func() { w.wan4, w.route4 = netip.MustParseAddr("198.51.100.2"), true })
				w.changed()
				time.Sleep(time.Second)
				if s := w.look(); !strings.Contains(s.Reason, "does not resolve") {
					t.Errorf("the reason is %q", s.Reason)
				}
				time.Sleep(gap)
				w.do(func() { w.answerErr = nil })
				upWithin(t, w, 10*time.Second)
			})
		})
	}
}

// Where no attempt can be made to a remote, the next one has its turn at once, and
// while none can, one sentence names them all.
func TestARemoteThatCannotBeTriedDoesNotKeepTheOthersBack(t *testing.T) {
	for remote, passed := range map[string]string{
		`["198.51.100.77", "2001:db8::1"]`:    "no route to 198.51.100.77",
		`["2001:db8::1", "192.0.2.1"]`:        "",
		`["gone.example.net", "2001:db8::1"]`: "",
		`["` + worldName + `"]`:               "no route to 192.0.2.1",
	} {
		synctest.Test(t, func(t *testing.T) {
			play(t, hq("remote = "+remote), func(w *world) {
				w.route4, w.silent = false, true
				w.answer = []netip.Addr{peer4, peer6}
				if strings.Contains(remote, "gone") {
					w.answerErr, w.answerTime = &net.DNSError{IsNotFound: true}, 4*time.Second
				}
			}, func(w *world) {
				time.Sleep(4 * time.Second)
				if s := w.look(); s.State != "connecting" || !strings.Contains(s.Reason, "2001:db8::1") || !strings.Contains(strings.Join(s.Evidence, "; "), passed) {
					t.Errorf("%s: %s: %s", remote, s.State, s.Reason)
				}
				w.do(func() { w.silent = false })
				upWithin(t, w, 40*time.Second)
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		play(t, hq(`remote = ["192.0.2.1", "2001:db8::1"]`), func(w *world) { w.route4, w.route6 = false, false }, func(w *world) {
			time.Sleep(time.Second)
			if s := w.look(); s.Reason != "no route to 192.0.2.1; no route to 2001:db8::1: wait for the WAN or add one" {
				t.Errorf("%s: %s", s.State, s.Reason)
			}
		})
	})
}

// A peer that refuses at once is not asked every second because another remote
// cannot be tried at all.
func TestThePauseGrowsWhereOnlyOneOfSeveralRemotesCanBeTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		play(t, hq(`remote = ["2001:db8::1", "192.0.2.1"]`), func(w *world) {
			w.route4, w.wrongKey = false, true
			w.setPeer()
		}, func(w *world) {
			time.Sleep(5 * time.Minute)
			if s := w.look(); s.Attempts < 5 || s.Attempts > 15 {
				t.Errorf("%d attempts in five minutes", s.Attempts)
			}
		})
	})
}

// While the peer is silent its name is asked for every five seconds, and what
// cannot be a peer's address is no answer.
func TestANameIsAskedForAgainWhileThePeerIsSilent(t *testing.T) {
	for _, first := range []string{"192.0.2.9", "0.0.0.0", "::", "127.0.0.1", "224.0.0.1", "255.255.255.255", "198.51.100.2", "0.1.2.3"} {
		synctest.Test(t, func(t *testing.T) {
			play(t, hq(`remote = "`+worldName+`"`), func(w *world) { w.answer = []netip.Addr{netip.MustParseAddr(first)} }, func(w *world) {
				time.Sleep(time.Minute)
				w.do(func() {
					if n := len(w.asked); n < 11 || n > 14 {
						t.Errorf("%s: %d questions in a minute", first, n)
					}
					w.answer, w.asked = []netip.Addr{peer4}, nil
				})
				upWithin(t, w, 17*time.Second)
				time.Sleep(time.Hour)
				w.do(func() {
					if n := len(w.asked); n < 10 || n > 20 {
						t.Errorf("%s: %d questions in an hour of being up", first, n)
					}
				})
			})
		})
	}
}

// A name server that changes the order of its answers with each breaks no attempt off.
func TestTheOrderOfAnAnswerIsNoChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		play(t, hq(`remote = "`+worldName+`"`), func(w *world) { w.silent = true }, func(w *world) {
			for i := range 20 {
				w.do(func() {
					w.answer = []netip.Addr{peer4, nobody}
					if i%2 == 0 {
						w.answer = []netip.Addr{nobody, peer4}
					}
				})
				time.Sleep(3 * time.Second)
			}
			w.do(func() {
				if c := w.l.peers["hq"].attempt.Candidates(); len(c) != 2 || c[0] != peer4 && c[0] != nobody {
					t.Errorf("candidates: %v", c)
				}
				w.silent = false
			})
			upWithin(t, w, 80*time.Second)
		})
	})
}

// An address or a route that the kernel refuses leaves the rest of the tunnel up.
func TestWhatCannotBeLaidLeavesTheTunnelUp(t *testing.T) {
	for _, bad := range []string{"fd00:255::2/64", "10.9.0.0/16"} {
		synctest.Test(t, func(t *testing.T) {
			text := strings.Replace(hq(`remote = "192.0.2.1"`, `routes = ["10.2.0.0/16", "10.9.0.0/16"]`), `/30"]`, `/30", "fd00:255::2/64"]`, 1)
			play(t, text, func(w *world) { w.refuse = netip.MustParsePrefix(bad) }, func(w *world) {
				upWithin(t, w, 5*time.Second)
				s := w.look()
				for _, p := range append(s.Addresses, s.Routes...) {
					if p.InPlace == (p.Prefix == bad) || (p.Why != "") != (p.Prefix == bad) {
						t.Errorf("%s refused: %+v", bad, p)
					}
				}
				w.do(func() { w.refuse = netip.Prefix{} }) // of which nobody tells
				time.Sleep(6 * time.Second)
				s = w.look()
				for _, p := range append(s.Addresses, s.Routes...) {
					if !p.InPlace || p.Why != "" {
						t.Errorf("no longer refused: %+v", p)
					}
				}
			})
		})
	}
}

// Where a peer is silent because there is no way to it any more, that is what is
// said, however long the tunnel has been waiting for an answer.
func TestATunnelWithoutAWayToItsPeerSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		play(t, hq(`remote = "192.0.2.1"`), nil, func(w *world) {
			upWithin(t, w, 5*time.Second)
			for _, wayBefore := range []bool{false, true} {
				w.do(func() { w.silent, w.route4 = true, wayBefore })
				w.changed()
				time.Sleep(time.Minute)
				if s := w.look(); s.State != "suspect" || strings.Contains(s.Reason, "no route to 192.0.2.1") == wayBefore {
					t.Errorf("%s: %s", s.State, s.Reason)
				}
				w.do(func() { w.route4 = !wayBefore })
				w.changed()
				time.Sleep(time.Second)
				if s := w.look(); s.State != "suspect" || strings.Contains(s.Reason, "no route to 192.0.2.1") != wayBefore {
					t.Errorf("the way has changed, %s: %s", s.State, s.Reason)
				}
				w.do(func() { w.silent, w.route4 = true, false })
				w.changed()
				time.Sleep(time.Second)
				w.do(func() { w.silent, w.route4 = false, true })
				w.changed()
				upWithin(t, w, time.Second)
			}
		})
	})
}

// Where local names an interface without an address, or one that is not there,
// nobody is let in; when the address comes, peers are.
func TestLocalThatIsNotThereLetsNobodyIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		play(t, hq(`remote = "any"`, `local = "wan"`), func(w *world) { w.wan4, w.wan6 = netip.Addr{}, netip.Addr{} }, func(w *world) {
			own := netip.MustParseAddr("198.51.100.2")
			knock := func() {
				w.do(func() {
					w.peer.SetPeer(time.Hour, ikev2.Peer{ID: "hub", Remotes: []netip.Addr{own}, PSK: []byte(worldKey), IKE: cheapIKE(), ESP: cheapESP()})
					for _, a := range w.peer.Initiate(w.l.now()+time.Hour, "hub", netip.AddrPortFrom(peer4, 500), netip.AddrPortFrom(own, 500)) {
						if m, ok := a.(ikev2.Send); ok {
							w.l.do(w.l.engine.Receive(w.l.now(), ikev2.Datagram{Local: m.Remote, Remote: m.Local, Data: m.Data}))
						}
					}
				})
				time.Sleep(time.Second)
			}
			knock()
			w.do(func() {
				if n := len(w.l.engine.SAs("hq")); n != 0 {
					t.Errorf("%d IKE SAs", n)
				}
			})
			if s := w.look(); s.WaitingFor != waitAddress || !strings.Contains(s.Reason, `local = "wan"`) {
				t.Errorf("%s, %q: %s", s.State, s.WaitingFor, s.Reason)
			}
			w.do(func() { w.wan4 = own })
			w.changed()
			time.Sleep(time.Second)
			w.do(func() { w.setPeer() })
			knock()
			upWithin(t, w, time.Second)
			w.do(func() { w.wan4, w.wan6 = netip.Addr{}, netip.Addr{} })
			w.changed()
			time.Sleep(time.Second)
			w.do(func() {
				if h := w.l.peers["hq"]; len(h.locals) != 0 || !h.localOnly {
					t.Errorf("peers are let in at %v", h.locals)
				}
			})
		})
	})
}

// A tunnel whose settings were mended tries at once, whatever the pause.
func TestMendedSettingsEndThePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		play(t, hq(`remote = "192.0.2.1"`), func(w *world) { w.wrongKey = true; w.setPeer() }, func(w *world) {
			time.Sleep(5 * time.Minute)
			for pause := false; !pause; time.Sleep(time.Second) {
				w.do(func() { pause = w.l.peers["hq"].attempt.Wake() > w.l.now()+20*time.Second })
			}
			w.do(func() {
				w.wrongKey = false
				w.setPeer()
				w.l.take(w.config(hq(`remote = "192.0.2.1"`, `dpd = "20s"`)))
			})
			upWithin(t, w, 2*time.Second)
		})
	})
}

// Whatever happens in whatever order: a tunnel that is not up has a time at which it
// is looked at again or an event that is bound to come, says why, and comes up by
// itself when nothing stands in its way any more.
func TestNoTunnelIsForgotten(t *testing.T) {
	rounds := uint64(400)
	if testing.Short() {
		rounds = 20
	}
	for seed := range rounds {
		synctest.Test(t, func(t *testing.T) { forgetNot(t, seed) })
		if t.Failed() {
			return
		}
	}
}

var remotes = []string{
	`remote = "` + worldName + `"`,
	`remote = "192.0.2.1"`,
	`remote = ["192.0.2.9", "` + worldName + `"]`,
	`remote = ["` + worldName + `", "2001:db8::1"]`,
	"remote = \"" + worldName + "\"\nlocal = \"wan\"",
	"remote = [\"2001:db8::1\", \"192.0.2.1\"]\nlocal = \"198.51.100.2\"",
}

func forgetNot(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	remote := func() string { return hq(remotes[r.IntN(len(remotes))]) }
	var told []string
	down := r.IntN(2) == 0
	play(t, remote(), func(w *world) {
		if down {
			w.wan4, w.wan6, w.route4, w.route6 = netip.Addr{}, netip.Addr{}, false, false
			w.answerErr = errors.New("no name server")
		}
	}, func(w *world) {
		wan4, wan6 := netip.MustParseAddr("198.51.100.2"), netip.MustParseAddr("2001:db8:f::2")
		for range 40 {
			what := ""
			note := func(format string, args ...any) { what = fmt.Sprintf(format, args...) }
			w.do(func() {
				switch r.IntN(12) {
				case 0:
					if w.wan4 = wan4; r.IntN(2) == 0 {
						w.wan4 = netip.Addr{}
					}
					w.changed()
					note("address %v", w.wan4)
				case 1:
					if w.wan6 = wan6; r.IntN(2) == 0 {
						w.wan6 = netip.Addr{}
					}
					w.changed()
					note("address %v", w.wan6)
				case 2:
					w.route4, w.route6 = r.IntN(2) == 0, r.IntN(2) == 0
					w.changed()
					note("routes %v %v", w.route4, w.route6)
				case 3:
					w.answer, w.answerErr = [][]netip.Addr{{peer4}, {nobody}, {peer6, peer4}, {netip.IPv4Unspecified()}}[r.IntN(4)], nil
					note("answer %v", w.answer)
				case 4:
					w.answerErr = &net.DNSError{IsNotFound: true}
					note("no answer")
				case 5:
					w.answerTime = []time.Duration{0, time.Second, 9 * time.Second, time.Minute}[r.IntN(4)]
					note("answers take %v", w.answerTime)
				case 6:
					w.silent = r.IntN(2) == 0
					note("silent %v", w.silent)
				case 7:
					w.wrongKey = r.IntN(2) == 0
					w.setPeer()
					note("wrong key %v", w.wrongKey)
				case 8:
					if w.linkErr = nil; r.IntN(2) == 0 {
						w.linkErr = errors.New("no room")
					}
					note("link %v", w.linkErr)
				case 9:
					h := w.l.peers["hq"]
					switch r.IntN(4) {
					case 0:
						w.l.down(h.tunnel, false, byRequest)
					case 1:
						if h.tunnel.wanted {
							w.l.restart(h, "asked for")
						}
					default:
						w.l.up(h.tunnel, byRequest)
					}
					note("command")
				case 10:
					w.l.take(w.config(remote()))
					note("reload")
				case 11:
					w.changed()
					note("something changed")
				}
			})
			pause := []time.Duration{0, 60 * time.Millisecond, time.Second, 3 * time.Second, 7 * time.Second, 30 * time.Second, 3 * time.Minute}[r.IntN(7)]
			time.Sleep(pause)
			told = append(told, fmt.Sprintf("%s, %v", what, pause))
			w.mustWait(told)
		}
		w.do(func() {
			if w.wan4 != wan4 || w.wan6 != wan6 || !w.route4 || !w.route6 {
				w.wan4, w.wan6, w.route4, w.route6 = wan4, wan6, true, true
				w.changed()
			}
			w.answer, w.answerErr, w.answerTime, w.silent, w.linkErr = []netip.Addr{peer4}, nil, 0, false, nil
			if w.wrongKey {
				w.wrongKey = false
				w.setPeer()
			}
			if !w.l.tunnels["hq"].wanted {
				w.l.up(w.l.tunnels["hq"], byRequest)
			}
		})
		upWithin(t, w, 4*time.Minute)
		if t.Failed() {
			t.Errorf("seed %d: %s", seed, strings.Join(told, "\n"))
		}
	})
}

// mustWait checks what a tunnel that is not up waits for.
func (w *world) mustWait(told []string) {
	w.t.Helper()
	w.do(func() {
		h := w.l.peers["hq"]
		if !h.tunnel.wanted || h.established() || w.l.dirty["hq"] {
			return
		}
		asking := false
		unknown := ""
		for _, name := range h.cfg.Remotes {
			lack := w.l.names.Lacks(w.l.now(), []string{name}, 1, false)
			asking = asking || lack.Asking
			if addrs, _ := w.l.names.Candidates([]string{name}); len(addrs) == 0 && len(lack.Failed) > 0 {
				unknown = lack.Failed[0]
			}
		}
		v := h.wait
		ok := v.until >= w.l.now() || v.event == eventHandshake && w.l.wake != 0 || v.event == eventName && asking
		if due := w.l.due(h, w.l.now()); v.event != eventName && due >= w.l.now()+time.Hour {
			ok = false
		}
		if !ok {
			w.t.Errorf("at %v %s waits for nothing: %+v", w.l.now(), h.phase, v)
		}
		if h.cause.Is().Text == "" || v.word == waitName && h.phase == phaseWaiting && !strings.Contains(h.cause.Is().Text, unknown) {
			w.t.Errorf("the reason is %q, known is %v", h.cause.Is().Text, unknown)
		}
		if w.t.Failed() {
			w.t.Errorf("after %s", strings.Join(told, "\n"))
		}
	})
}

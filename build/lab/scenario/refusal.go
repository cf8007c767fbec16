package scenario

import (
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"greseal/build/lab/labnet"
	"greseal/tunnel/status"
)

// What two sides cannot agree on is said in words, and nothing leaks meanwhile:
// a wrong PSK, no common IKE or ESP proposal, other traffic selectors, with
// greseal in either role. Seen: the tunnel's reason names the thing; pings get
// no answer; the wire shows neither ESP nor GRE; and once the mistake is
// corrected, on whichever side, the tunnel comes up without a restart.
const noProposal = "no common IKE proposal"

func init() {
	wrong := []refusal{
		{"wrong PSK", func(c *labnet.Swan) { c.PSK = "another-Tq4nVw7PzLc2RkXs9J" }, []string{"psk", "pre-shared key", "authentic"}},
		{noProposal, func(c *labnet.Swan) { c.IKE = "aes256-sha1-modp2048" }, []string{"proposal"}},
		{"no common ESP proposal", func(c *labnet.Swan) { c.ESP = "aes128-sha1" }, []string{"proposal"}},
		{"other traffic selectors", func(c *labnet.Swan) { c.LocalTS, c.RemoteTS = "10.77.0.0/24", "10.78.0.0/24" }, []string{"selector"}},
	}
	for _, r := range wrong {
		for _, role := range []string{"initiator", "responder"} {
			addOnce(Scenario{Name: r.name + ", " + role, Peer: StrongSwan, Paths: both, Run: func(l *labnet.Lab) { r.run(l, role) }})
		}
	}
}

// strangers send what cannot be agreed on from one address after the other, and
// something that is no IKE message. It is counted, and does not fill the log.
func strangers(w *world) {
	request := firstRequest(w, labnet.AddrB)
	var strangers []string
	for i := range 12 {
		strangers = append(strangers, fmt.Sprintf("198.51.100.%d", 100+i))
		w.net.B.Addr("wan", strangers[i]+"/24")
	}
	for _, from := range strangers {
		rand.Read(request[:8])
		labnet.SendUDP(w.net.B, from, labnet.AddrA, 500, request)
	}
	labnet.SendUDP(w.net.B, labnet.AddrB, labnet.AddrA, 500, request[:27])
	var ike status.IKETotals
	w.Wait(5*time.Second, "that the datagrams of strangers are counted", func() bool {
		ike = w.greseal.Status().Daemon.IKE
		return ike.Malformed > 0 && ike.Unlogged > 0
	})
}

type refusal struct {
	name  string
	spoil func(*labnet.Swan)
	words []string // one of which the reason must have
}

func (r refusal) run(l *labnet.Lab, role string) {
	good := labnet.Swan{}
	w := newWorld(l, func(w *world) {
		w.responder = role == "responder"
		w.swanConfig.PSK = psk
		good = w.swanConfig
		r.spoil(&w.swanConfig)
	})
	w.swan = newSwan(l, w.net.B, w.swanConfig, innerB)
	w.greseal = w.net.A.Greseal(w.config())
	if w.responder {
		w.greseal.WaitState("t0", "listening", 10*time.Second)
		try := w.swan.TryInitiate()
		l.Check(try.Code != 0, "strongSwan thinks it is up: %s", try.Out())
	}
	var t status.Tunnel
	l.Wait(20*time.Second, "a reason that names the mistake", func() bool {
		t = w.greseal.Tunnel("t0")
		for _, word := range r.words {
			if strings.Contains(strings.ToLower(t.Reason), word) {
				return true
			}
		}
		return false
	})
	l.Logf("reason: %s; remedy: %s", t.Reason, t.Remedy)
	l.Check(t.State != "up", "the tunnel is up")
	l.Check(t.Remedy != "", "no remedy beside the reason %q", t.Reason)
	for _, secret := range []string{psk, w.swanConfig.PSK} {
		l.Check(!strings.Contains(w.greseal.Log()+t.Reason+t.Remedy, secret), "a PSK stands in the log or the status")
	}
	w.net.A.MustNotPing(innerB, 5)
	w.net.Wire.MustHideGRE()
	l.Check(w.net.Wire.Count(labnet.ESP)+w.net.Wire.Count(labnet.ESPinUDP) == 0, "there is ESP: %s", w.net.Wire.Summary())

	if r.name == noProposal && w.responder {
		strangers(w)
	}

	good.Libipsec = w.swan.config.Libipsec
	w.swan.config = good
	w.swan.Load(good)
	if w.responder {
		w.swan.Initiate()
	}
	w.greseal.WaitUp("t0", 90*time.Second) // the next attempt may be some way off
	w.swan.WaitUp(5 * time.Second)
	w.swan.raiseGRE()
	w.pings()
	l.Check(w.greseal.Tunnel("t0").Reason == "", "the reason is still there")
	w.net.Wire.MustBeSealed()
}

package scenario

import (
	"fmt"
	"time"

	"greseal/build/lab/labnet"
)

// What strongSwan 6.1 can and 5.9.8 cannot: several key exchanges (RFC 9370),
// ML-KEM among them, in the first handshake and in each rekeying; and on both
// post-quantum pre-shared keys (RFC 8784), required, optional, and only with one
// side. Seen: the agreed suite on both SAs, also after strongSwan and after
// greseal has rekeyed them, or that the key is in use; pings; a sealed wire.
func init() {
	const ppk = "lab-Zp8rWn3KdQ6tYv1Hs4Lm9Bc7"
	for _, o := range []struct {
		name, role string
		peer       string
		ike, esp   string // strongSwan's words; none: its ordinary ones
		lines      []string
		suite, pfs string // greseal's words for what is agreed on in the end
		ppk        string // strongSwan's ppk_required, or "-" for no key there
		inUse      bool
		quick      bool
	}{
		{name: "ML-KEM-768", role: "initiator", peer: NewSwan, ike: "aes256gcm16-prfsha384-x25519-ke1_mlkem768", esp: "aes128gcm16-x25519-ke1_mlkem768",
			suite: "aes256gcm16-prfsha384-x25519-mlkem768", pfs: "aes128gcm16-x25519-mlkem768"},
		{name: "ML-KEM-768", role: "responder", peer: NewSwan, ike: "aes256gcm16-prfsha384-x25519-ke1_mlkem768", esp: "aes128gcm16-x25519-ke1_mlkem768",
			suite: "aes256gcm16-prfsha384-x25519-mlkem768", pfs: "aes128gcm16-x25519-mlkem768"},
		{name: "ecp384 in addition", role: "initiator", peer: NewSwan, ike: "aes256gcm16-prfsha384-x25519-ke1_ecp384", esp: "aes128gcm16-x25519-ke1_ecp384",
			lines: []string{`ike = "aes256gcm16-prfsha384-x25519-ke1_ecp384"`},
			suite: "aes256gcm16-prfsha384-x25519-ke1_ecp384", pfs: "aes128gcm16-x25519-ke1_ecp384"},
		{name: "two additional: ML-KEM-1024, ecp521", role: "responder", peer: NewSwan, ike: "aes256gcm16-prfsha384-ecp384-ke1_mlkem1024-ke2_ecp521", esp: "aes128gcm16-ecp384-ke1_mlkem1024-ke2_ecp521",
			lines: []string{`ike = "aes256gcm16-prfsha384-ecp384-ke1_mlkem1024-ke2_ecp521"`},
			suite: "aes256gcm16-prfsha384-ecp384-mlkem1024-ke2_ecp521", pfs: "aes128gcm16-ecp384-mlkem1024-ke2_ecp521"},
		{name: "PPK required", role: "initiator", peer: NewSwan, lines: []string{`ppk_required = true`}, ppk: "yes", inUse: true},
		{name: "PPK required", role: "responder", peer: StrongSwan, lines: []string{`ppk_required = true`}, ppk: "yes", inUse: true, quick: true},
		{name: "PPK optional", role: "responder", peer: NewSwan, ppk: "no", inUse: true},
		{name: "PPK optional, the peer has none", role: "initiator", peer: StrongSwan, ppk: "-"},
	} {
		add(Scenario{Name: o.name + ", " + o.role, Peer: o.peer, Paths: userspace, Where: Host, Interop: true, Quick: o.quick, Run: func(l *labnet.Lab) {
			w := newWorld(l, func(w *world) {
				w.responder = o.role == "responder"
				c := &w.swanConfig
				if o.peer == NewSwan {
					newest(l, c)
				}
				c.IKE, c.ESP = o.ike, o.esp
				w.lines = o.lines
				if o.ppk != "" {
					w.lines = append(w.lines, `ppk_id = "lab"`, fmt.Sprintf("ppk = %q", ppk))
				}
				if o.ppk == "yes" || o.ppk == "no" {
					c.Conn = "ppk_id = lab\n  ppk_required = " + o.ppk
					c.Secrets = fmt.Sprintf("ppk-lab { id = lab\n  secret = %q\n }", ppk)
				}
			})
			first := w.up()
			w.pings()
			l.Check(first.IKE.PPK == o.inUse, "a post-quantum pre-shared key is in use: %v", first.IKE.PPK)
			l.Check(o.suite == "" || first.IKE.Suite == o.suite, "IKE suite is %s", first.IKE.Suite)
			ping := w.net.A.StartPing(innerB, 10*time.Millisecond)
			suites := func(who string) {
				t := w.greseal.Tunnel("t0")
				l.Check(o.suite == "" || t.IKE.Suite == o.suite && t.Child.Suite == o.pfs, "after the rekeying by %s the suites are %s and %s", who, t.IKE.Suite, t.Child.Suite)
			}
			// For what is made from now on: greseal's turn comes behind the peer's.
			life := l.Stretch(8 * time.Second)
			w.lines = append(w.lines, fmt.Sprintf("child_lifetime = %q", life), fmt.Sprintf("ike_lifetime = %q", life))
			w.greseal.Write(w.config())
			w.greseal.Must("apply", "-c", w.greseal.Config)
			for _, rekey := range []func(){w.swan.RekeyChild, w.swan.RekeyIKE, w.swan.RekeyChild} {
				old := w.swan.List()
				time.Sleep(200 * time.Millisecond)
				rekey()
				w.Wait(10*time.Second, "the new SA", func() bool {
					now := w.swan.List()
					return now.IKE == 1 && now.Children == 1 && (now.IKESPIs[0] != old.IKESPIs[0] || now.ESPSPIs[0] != old.ESPSPIs[0])
				})
			}
			suites("the peer")
			before := w.greseal.Tunnel("t0")
			w.Wait(2*l.Stretch(20*time.Second), "new SAs by greseal", func() bool {
				t := w.greseal.Tunnel("t0")
				return t.State == "up" && t.Child != nil && t.IKE != nil && t.Child.Rekeys > before.Child.Rekeys && t.IKE.Rekeys > before.IKE.Rekeys
			})
			suites("greseal")
			got := ping.Stop()
			l.Check(got.Received == got.Sent, "rekeying lost pings: %v", got)
			w.net.Wire.MustBeSealed()
			l.Fact("%s, %s; %d pings during rekeys, none lost", before.IKE.Suite, before.Child.Suite, got.Sent)
		}})
	}
}

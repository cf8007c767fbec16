package doctor_test

import (
	"fmt"
	"strings"
	"time"

	"greseal/build/lab/labnet"
)

const month = 30 * 24 * time.Hour

// setupsBeyond have something wrong on the way to the peer, at the peer, or between what
// the two sides are told.
var setupsBeyond = []broken{
	{
		what:  "the answers from UDP 500 are dropped",
		fault: func(w *world) { w.drop("ip saddr "+labnet.AddrB+" udp sport 500", "drop"); w.start() },
		step:  "udp-500", says: "no answer",
		mend: passAgain,
	}, {
		what: "the peer's firewall rejects UDP 4500 alone",
		fault: func(w *world) {
			nft(w.net.B, "add table inet fw; add chain inet fw in { type filter hook input priority 0; }; add rule inet fw in udp dport 4500 reject")
			w.b = w.net.B.Greseal(w.sideB(`remote = "any"`, fmt.Sprintf("remote_id = %q", labnet.AddrA)))
			w.a = w.net.A.Greseal(w.sideA())
		},
		step: "udp-4500", says: "refused",
		mend: func(w *world, _ finding) { nft(w.net.B, "delete table inet fw") },
	}, {
		what: "a NAT that lets UDP 500 pass and not 4500",
		fault: func(w *world) {
			nft(w.net.Router, `add table ip nat; add chain ip nat post { type nat hook postrouting priority 100; }; add rule ip nat post oifname "to-b" ip saddr 192.0.2.0/24 masquerade`)
			w.drop("udp dport 4500", "drop")
			w.b = w.net.B.Greseal(w.sideB(`remote = "any"`, fmt.Sprintf("remote_id = %q", labnet.AddrA)))
			w.a = w.net.A.Greseal(w.sideA())
			w.reason(w.a, 30*time.Second, "behind a NAT")
		},
		step: "udp-4500", says: "the peer sees this side behind a NAT",
		mend: passAgain,
	}, {
		what: "large datagrams are dropped on the way",
		fault: func(w *world) {
			for _, n := range []*labnet.NS{w.net.A, w.net.B} {
				n.NoSegmentation("wan") // the rule sees packets, not trains of them
			}
			w.drop("udp length > 1200", "drop")
			w.start()
			w.a.WaitUp("t0", 20*time.Second)
		},
		step: "mtu", says: "something on the way drops larger packets",
		mend: mtuOnBoth,
	}, {
		what: "the peer waits for another identity of ours",
		fault: func(w *world) {
			w.b = w.net.B.Greseal(w.sideB(`remote_id = "branch.example.test"`))
			w.a = w.net.A.Greseal(w.sideA())
		},
		step: "identity", says: "AUTHENTICATION_FAILED",
		mend: right(`local_id = "branch.example.test"`),
	}, {
		what: "the peer began with another pre-shared key",
		fault: func(w *world) {
			w.a = w.net.A.Greseal(w.sideA(`remote = "any"`, fmt.Sprintf("remote_id = %q", labnet.AddrB)))
			w.b = w.net.B.Greseal(w.sideB(`psk = "another-Tq4nVw7PzLc2RkXs9"`))
			w.Wait(20*time.Second, "the refusal", func() bool { return strings.Contains(w.a.Log(), "AUTH") })
		},
		step: "identity", says: "pre-shared key",
		mend: func(w *world, _ finding) { w.b.Write(w.sideB()); w.b.Must("apply", "-c", w.b.Config) },
	}, {
		what: "a pre-shared key here and certificates there",
		fault: func(w *world) {
			ca := w.authority("lab-ca")
			w.b = w.net.B.Greseal(w.sideB(append(ca.issue("b", "b.example.test", month), `remote_id = "a.example.test"`)...))
			w.right = append(ca.issue("a", "a.example.test", month), `remote_id = "b.example.test"`)
			w.a = w.net.A.Greseal(w.sideA(`local_id = "a.example.test"`, `remote_id = "b.example.test"`))
		},
		step: "identity", says: "AUTHENTICATION_FAILED",
		mend: rightAgain,
	}, {
		what: "the own certificate is not valid yet",
		fault: func(w *world) {
			w.certified(func(ca *authority, right []string) []string {
				return append(ca.issueFrom("early", "a.example.test", 24*time.Hour, month), right[4])
			})
		},
		step: "certificates", says: "not valid before",
		mend: rightAgain,
	}, {
		what: "the peer's certificate has expired",
		fault: func(w *world) {
			ca := w.authority("lab-ca")
			w.b = w.net.B.Greseal(w.sideB(append(ca.issue("b", "b.example.test", -time.Hour), `remote_id = "a.example.test"`)...))
			w.right = append(ca.issue("a", "a.example.test", month), `remote_id = "b.example.test"`)
			w.a = w.net.A.Greseal(w.sideA(w.right...))
		},
		step: "certificates", says: "has been expired since",
		mend: func(w *world, _ finding) {
			ca := w.authority("new-ca")
			w.b.Write(w.sideB(append(ca.issue("b", "b.example.test", month), `remote_id = "a.example.test"`)...))
			w.b.Must("apply", "-c", w.b.Config)
			w.set(append(ca.issue("a", "a.example.test", month), `remote_id = "b.example.test"`)...)
		},
	}, {
		what: "the peer does not know our authority",
		fault: func(w *world) {
			w.certified(func(_ *authority, right []string) []string {
				other := w.authority("own-ca").issue("stray", "a.example.test", month)
				return append(append(other[:2:2], right[2]), right[3:]...)
			})
		},
		step: "identity", says: "with a certificate of CN=own-ca",
		mend: rightAgain,
	}, {
		what: "ML-KEM wanted by one side alone",
		fault: func(w *world) {
			w.a = w.net.A.Greseal(w.sideA(`ike = ["aes256gcm16-prfsha384-x25519-ke1_mlkem768"]`))
			w.b = w.net.B.Greseal(w.sideB(`ike = ["aes256gcm16-prfsha384-x25519"]`))
		},
		step: "proposals", says: "the peer offers none",
		mend: right(`ike = ["aes256gcm16-prfsha384-x25519"]`),
	}, {
		what: "the peer has another GRE endpoint of its own",
		fault: func(w *world) {
			w.net.B.MustRun("ip", "address", "add", "10.2.2.2/32", "dev", "lo")
			w.b = w.net.B.Greseal(w.sideB(`gre_local = "10.2.2.2"`))
			w.a = w.net.A.Greseal(w.sideA())
		},
		step: "selectors", says: "no common traffic selectors", turns: true,
		mend: right(`gre_remote = "10.2.2.2"`),
	}, {
		what: "GRE checksums demanded by one side", kernel: true,
		fault: func(w *world) { w.startPinged("gre.checksum = true") },
		step:  "gre-key", says: "came out of ESP with a wrong GRE checksum, out of sequence",
		mend: right(),
	}, {
		what: "GRE sequence numbers demanded by one side", kernel: true,
		fault: func(w *world) { w.startPinged("gre.sequence = true") },
		step:  "gre-key", says: "came out of ESP with a wrong GRE checksum, out of sequence",
		mend: right(),
	}, {
		what: "Ethernet here and IP there", either: true,
		fault: func(w *world) { w.startPinged(`gre.type = "ethernet"`) },
		step:  "gre-key", says: "came out of ESP",
		mend: right(),
	}, {
		what: "the peer answers no pings and has no routes",
		fault: func(w *world) {
			nft(w.net.B, `add table inet fw; add chain inet fw in { type filter hook input priority 0; }; add rule inet fw in iifname "t0" drop`)
			w.start()
			w.a.WaitUp("t0", 20*time.Second)
		},
		step: "esp", says: "the peer drops what comes out of it",
		mend: func(w *world, _ finding) { nft(w.net.B, "delete table inet fw") },
	}, {
		what: "the peer has another mask and address inside",
		fault: func(w *world) {
			w.b = w.net.B.Greseal(w.sideB(`address = ["10.255.7.1/30"]`))
			w.a = w.net.A.Greseal(w.sideA())
			w.a.WaitUp("t0", 20*time.Second)
		},
		step: "esp", says: "drops what comes out of it",
		mend: func(w *world, _ finding) { w.mendB(w.sideB()) },
	}, {
		what: "the peer is taken down",
		fault: func(w *world) {
			w.start()
			w.a.WaitUp("t0", 20*time.Second)
			w.b.Must("down", "t0")
			w.Wait(10*time.Second, "the end", func() bool { return w.a.Tunnel("t0").State != "up" })
		},
		step: "proposals", says: "the proposals are not the problem",
		mend: func(w *world, _ finding) { w.b.Must("up", "t0") },
	},
}

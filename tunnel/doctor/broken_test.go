package doctor_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"greseal/build/lab/labnet"
	"greseal/uci/rpcd"
)

// broken is one set-up with exactly one thing wrong, seen from A.
type broken struct {
	what string
	// fault breaks it: it builds both daemons, unless it leaves them nil, which
	// stands for two that fit each other.
	fault func(*world)
	// step must be named first, and its evidence must hold says.
	step, says string
	// mend does what the remedy says. nil: run the commands it prints.
	mend func(*world, finding)
	also string // another step that is a fault in its own right
	// turns: something else may take the place of what doctor found, such as the alarm of
	// an open guard, the peer's own attempt, or packets that come in.
	turns bool

	// kernel: only with GRE and ESP in the kernel; either: on both datapaths.
	// The others have nothing to do with the datapath.
	kernel, either bool
}

// write has mend write the lines that the remedy names, by their keys, and
// apply them.
func write(keys ...string) func(*world, finding) {
	return func(w *world, f finding) {
		var lines []string
		for _, k := range keys {
			lines = append(lines, w.quoted(f, k))
		}
		w.set(lines...)
	}
}

// right is for remedies that only A's owner can fill in: A's file as it should
// have been.
func right(lines ...string) func(*world, finding) {
	return func(w *world, _ finding) { w.set(lines...) }
}

// mtuOnBoth writes the MTU that the remedy names on both sides.
func mtuOnBoth(w *world, f finding) {
	line := w.quoted(f, "mtu")
	w.b.Write(w.sideB(line))
	w.b.Must("apply", "-c", w.b.Config)
	w.set(line)
}

func passAgain(w *world, _ finding) { w.pass() }

var setups = []broken{
	{
		what:  "taken down by hand",
		fault: func(w *world) { w.start(); w.a.WaitUp("t0", 20*time.Second); w.a.Must("down", "t0") },
		step:  "wanted", says: "taken down",
	}, {
		what:  "not enabled",
		fault: func(w *world) { w.start("enabled = false") },
		step:  "wanted", says: "enabled = false",
	}, {
		what: "edited and not applied",
		fault: func(w *world) {
			w.start(`psk = "another-Tq4nVw7PzLc2RkXs9"`)
			time.Sleep(1100 * time.Millisecond) // the file's time counts seconds
			w.a.Write(w.sideA())
		},
		step: "config", says: "was changed", also: "identity",
	}, {
		what: "edited with a mistake",
		fault: func(w *world) {
			w.start(`psk = "another-Tq4nVw7PzLc2RkXs9"`)
			w.a.Write(w.sideA("modus = 7"))
			w.a.Reload()
			w.Wait(5*time.Second, "the refusal", func() bool { return len(w.a.Status().Daemon.ConfigProblems) > 0 })
		},
		step: "config", says: "modus", also: "identity",
		mend: func(w *world, f finding) { w.a.Write(w.sideA()); w.run(f) },
	}, {
		what: "a host name that does not resolve",
		fault: func(w *world) {
			w.name = "vpn.example.test"
			w.start()
		},
		step: "name", says: "vpn.example.test",
		mend: func(w *world, _ finding) { w.name = labnet.AddrB; w.set() },
	}, {
		what:  "no route to the peer",
		fault: func(w *world) { w.net.A.MustRun("ip", "route", "del", "default"); w.start() },
		step:  "route", says: "no route to " + labnet.AddrB,
		mend: func(w *world, _ finding) { w.net.A.Route("", labnet.RouterA, "wan") },
	}, {
		what:  "the cable is out",
		fault: func(w *world) { w.start(); w.net.Router.LinkDown("to-a"); time.Sleep(100 * time.Millisecond) },
		step:  "route", says: "no carrier",
		mend: func(w *world, _ finding) { w.net.Router.LinkUp("to-a") },
	}, {
		what:  "a local address of another machine",
		fault: func(w *world) { w.start(`local = "192.0.2.99"`) },
		step:  "local", says: "192.0.2.99",
		mend: right(),
	}, {
		what:  "a local interface that is not there",
		fault: func(w *world) { w.start(`local = "wan9"`) },
		step:  "local", says: "no such interface",
		mend: right(`local = "wan"`),
	}, {
		what: "the own firewall drops what comes in", either: true,
		fault: func(w *world) {
			nft(w.net.A, `add table inet fw; add chain inet fw input { type filter hook input priority 0; policy drop; }; add rule inet fw input iifname "lo" accept; add rule inet fw input tcp dport 22 accept; add rule inet fw input iifname "t0" accept`)
			w.start()
		},
		step: "firewall", says: "policy drop",
	}, {
		what: "the own firewall drops UDP 4500 on its way out",
		fault: func(w *world) {
			nft(w.net.A, `add table ip fw; add chain ip fw out { type filter hook output priority 0; }; add chain ip fw odd; add rule ip fw out ip daddr 198.51.100.0/24 jump odd; add rule ip fw odd udp dport { 4500, 1701 } counter drop`)
			w.start()
		},
		step: "firewall", says: "chain odd",
	}, {
		what: "iptables of nftables drops what comes in",
		fault: func(w *world) {
			w.iptables("iptables-nft", "-P INPUT DROP", "-A INPUT -i lo -j ACCEPT", "-A INPUT -p tcp -m multiport --dports 22,80 -m comment --comment 'the admin' -j ACCEPT", "-A INPUT -i t0 -j ACCEPT")
			w.start()
		},
		step: "firewall", says: "chain INPUT (policy drop)",
	}, {
		what: "the old packet filter drops what comes in",
		fault: func(w *world) {
			w.iptables("iptables-legacy", "-P INPUT DROP", "-A INPUT -i lo -j ACCEPT", "-A INPUT -p tcp -m multiport --dports 22,80 -m comment --comment 'the admin' -j ACCEPT", "-A INPUT -i t0 -j ACCEPT")
			w.start()
		},
		step: "firewall", says: "chain INPUT (policy drop)",
	}, {
		what: "another program's XFRM policy blocks IKE",
		fault: func(w *world) {
			w.net.A.MustRun("ip", "xfrm", "policy", "add", "dir", "in", "src", labnet.AddrB+"/32", "dst", labnet.AddrA+"/32", "proto", "udp", "action", "block")
			w.start()
		},
		step: "policies", says: "blocks in UDP 500",
	}, {
		what:  "the reverse path filter takes the answers",
		fault: twoUplinks,
		step:  "rp-filter", says: "dropped by the reverse path filter",
	}, {
		what:  "UDP 500 is dropped on the way",
		fault: func(w *world) { w.drop("udp dport 500", "drop"); w.start() },
		step:  "udp-500", says: "no answer",
		mend: passAgain,
	}, {
		what: "a filter on the way says no",
		fault: func(w *world) {
			w.drop("udp dport { 500, 4500 }", "reject with icmpx type admin-prohibited")
			w.start()
		},
		step: "udp-500", says: labnet.RouterA,
		mend: passAgain,
	}, {
		what:  "a firewall on the way rejects",
		fault: func(w *world) { w.drop("udp dport { 500, 4500 }", "reject"); w.start() },
		step:  "udp-500", says: "refused: " + labnet.RouterA + ", which is not the peer",
		mend: passAgain,
	}, {
		what: "the peer's firewall rejects",
		fault: func(w *world) {
			nft(w.net.B, "add table inet fw; add chain inet fw in { type filter hook input priority 0; }; add rule inet fw in udp dport { 500, 4500 } reject")
			nft(w.net.B, "add chain inet fw out { type filter hook output priority 0; }; add rule inet fw out udp dport { 500, 4500 } drop")
			w.start()
		},
		step: "udp-500", says: "nothing listens there, or a firewall there rejects it",
		mend: func(w *world, _ finding) { nft(w.net.B, "delete table inet fw") },
	}, {
		what: "both sides wait for each other",
		fault: func(w *world) {
			w.b = w.net.B.Greseal(w.sideB(`remote = "any"`))
			w.a = w.net.A.Greseal(w.sideA(`remote = "any"`, `address = ["10.255.0.2/30"]`))
		},
		step: "udp-500", says: "this side waits for the peer to begin",
		mend: right(),
	}, {
		what:  "nothing listens at the peer",
		fault: func(w *world) { w.a = w.net.A.Greseal(w.sideA()) },
		step:  "udp-500", says: "nothing listens there, or a firewall there rejects it",
		mend: func(w *world, _ finding) { w.b = w.net.B.Greseal(w.sideB()) },
	}, {
		what: "something else listens at the peer",
		fault: func(w *world) {
			w.a = w.net.A.Greseal(w.sideA())
			w.answer(500, func([]byte) []byte { return []byte("HTTP/1.1 400 Bad Request\r\n") })
		},
		step: "udp-500", says: "answered by something else",
		mend: func(w *world, _ finding) { w.answering.Close(); w.b = w.net.B.Greseal(w.sideB()) },
	}, {
		what: "the next hop is not there",
		fault: func(w *world) {
			w.net.A.MustRun("ip", "route", "replace", "default", "via", "192.0.2.253")
			w.start()
		},
		step: "udp-500", says: "next hop",
		mend: func(w *world, _ finding) { w.net.A.MustRun("ip", "route", "replace", "default", "via", labnet.RouterA) },
	}, {
		what:  "remote = any, and nobody comes",
		fault: func(w *world) { w.a = w.net.A.Greseal(w.sideA(`remote = "any"`)) },
		step:  "udp-500", says: "no IKE message has reached this daemon",
		mend: func(w *world, _ finding) { w.b = w.net.B.Greseal(w.sideB()) },
	}, {
		what: "the peer answers IKEv1 only",
		fault: func(w *world) {
			w.a = w.net.A.Greseal(w.sideA())
			w.answer(500, mainModeAnswer)
		},
		step: "ikev1", says: "answers an IKEv1 Main Mode request",
		mend: func(w *world, _ finding) { w.answering.Close(); w.b = w.net.B.Greseal(w.sideB()) },
	}, {
		what:  "UDP 4500 is dropped on the way",
		fault: func(w *world) { w.drop("udp dport 4500", "drop"); w.start() },
		step:  "udp-4500", says: "no answer",
		mend: write("encap"),
	}, {
		what: "UDP 4500 does not get to a side that waits",
		fault: func(w *world) {
			w.drop("ip saddr "+labnet.AddrB+" udp dport 4500", "drop")
			w.b = w.net.B.Greseal(w.sideB())
			w.a = w.net.A.Greseal(w.sideA(`remote = "any"`, fmt.Sprintf("remote_id = %q", labnet.AddrB)))
			w.reason(w.b, 30*time.Second, "nothing has come back from UDP 4500")
			w.reason(w.a, 60*time.Second, "IKE_SA_INIT with "+labnet.AddrB+":500: answered, and nothing followed")
		},
		step: "udp-4500", says: "answered, and nothing followed",
		mend: func(w *world, _ finding) { w.pass(); w.b.Must("restart", "t0") },
	}, {
		what: "no IKE proposal in common",
		fault: func(w *world) {
			w.b = w.net.B.Greseal(w.sideB(`remote = "any"`, `ike = ["aes128-sha256-modp2048"]`))
			w.a = w.net.A.Greseal(w.sideA(`ike = ["aes256gcm16-prfsha384-x25519"]`))
		},
		step: "proposals", says: "the peer accepts aes128-sha256-modp2048",
		mend: write("ike"),
	}, {
		what: "no IKE proposal in common, and the peer began",
		fault: func(w *world) {
			w.a = w.net.A.Greseal(w.sideA(`remote = "any"`, `ike = ["aes256gcm16-prfsha384-x25519"]`))
			w.b = w.net.B.Greseal(w.sideB(`ike = ["aes128-sha256-modp2048"]`))
			w.Wait(10*time.Second, "the refusal", func() bool { return strings.Contains(w.a.Log(), "NO_PROPOSAL_CHOSEN") })
		},
		step: "proposals", says: "no match for",
		mend: right(`remote = "any"`, `ike = ["aes128-sha256-modp2048"]`),
	}, {
		what:  "another pre-shared key",
		fault: func(w *world) { w.start(`psk = "another-Tq4nVw7PzLc2RkXs9"`) },
		step:  "identity", says: "AUTHENTICATION_FAILED",
		mend: right(),
	}, {
		what:  "another identity than the peer's",
		fault: func(w *world) { w.start(`remote_id = "hq.example.test"`) },
		step:  "identity", says: "hq.example.test",
		mend: right(fmt.Sprintf("remote_id = %q", labnet.AddrB)),
	}, {
		what: "the tunnel is disabled at the peer",
		fault: func(w *world) {
			w.b = w.net.B.Greseal(w.sideB("enabled = false"))
			w.a = w.net.A.Greseal(w.sideA())
		},
		step: "proposals", says: "the proposals are not the problem",
		mend: func(w *world, _ finding) { w.mendB(w.sideB()) },
	}, {
		what: "the peer expects another address",
		fault: func(w *world) {
			w.b = w.net.B.Greseal(w.sideB(`remote = "203.0.113.7"`))
			w.a = w.net.A.Greseal(w.sideA())
		},
		step: "proposals", says: "it has no IKEv2 connection for this address",
		mend: func(w *world, _ finding) { w.mendB(w.sideB()) },
	}, {
		what: "the own certificate has expired",
		fault: func(w *world) {
			w.certified(func(ca *authority, right []string) []string {
				return append(ca.issue("old", "a.example.test", -time.Hour), right[4])
			})
		},
		step: "certificates", says: "expired",
		mend: rightAgain,
	}, {
		what: "the peer's certificate is of another authority",
		fault: func(w *world) {
			w.certified(func(_ *authority, right []string) []string {
				w.authority("other-ca")
				return append([]string{strings.Replace(right[2], "lab-ca", "other-ca", 1)}, append(right[:2:2], right[3:]...)...)
			})
		},
		step: "certificates", says: "b",
		mend: rightAgain,
	}, {
		what: "the own certificate as authority",
		fault: func(w *world) {
			w.certified(func(_ *authority, right []string) []string {
				return append([]string{right[0], right[1], strings.Replace(right[2], "lab-ca", "a", 1)}, right[3:]...)
			})
		},
		step: "certificates", says: "which is no authority's: it vouches for nothing but itself",
		mend: rightAgain,
	}, {
		what: "a key that ends with a blank",
		fault: func(w *world) {
			w.start(fmt.Sprintf("psk = %q", secret+" "))
		},
		step: "identity", says: "psk has white space at its beginning or end, which is part of the key",
		mend: right(),
	}, {
		what: "the peer's certificate has another name",
		fault: func(w *world) {
			w.certified(func(_ *authority, right []string) []string {
				return append(right[:4:4], `remote_id = "c.example.test"`)
			})
		},
		step: "identity", says: "c.example.test",
		mend: rightAgain,
	}, {
		what: "no ESP proposal in common",
		fault: func(w *world) {
			w.a = w.net.A.Greseal(w.sideA(`esp = ["aes256gcm16"]`))
			w.b = w.net.B.Greseal(w.sideB(`esp = ["chacha20poly1305"]`))
		},
		step: "esp-proposals", says: "aes256gcm16",
		mend: right(`esp = ["chacha20poly1305"]`),
	}, {
		what: "another GRE endpoint than the peer expects", turns: true,
		fault: func(w *world) { w.start(`gre_remote = "203.0.113.7"`) },
		step:  "selectors", says: "203.0.113.7",
		mend: right(),
	}, {
		what: "the peer died",
		fault: func(w *world) {
			w.start()
			w.a.WaitUp("t0", 20*time.Second)
			w.b.Kill()
		},
		step: "liveness", says: "no answer to a liveness check",
		mend: func(w *world, _ finding) { w.b.Start() },
	}, {
		what: "somebody set the interface down",
		fault: func(w *world) {
			w.start()
			w.a.WaitUp("t0", 20*time.Second)
			w.net.A.LinkDown("t0")
		},
		step: "interface", says: "set the interface t0 down",
	}, {
		what: "another route to the same network",
		fault: func(w *world) {
			w.start(`routes = ["10.9.0.0/16"]`, "metric = 100")
			w.a.WaitUp("t0", 20*time.Second)
			w.net.A.MustRun("ip", "route", "add", "10.9.0.0/16", "via", labnet.RouterA, "metric", "50")
		},
		step: "routes", says: "goes to wan",
	}, {
		what: "the own LAN among the routes",
		fault: func(w *world) {
			w.lan("192.168.1.1/24")
			w.start(`routes = ["192.168.1.0/24", "10.9.0.0/16"]`)
			w.a.WaitUp("t0", 20*time.Second)
		},
		step: "routes", says: "192.168.1.0/24 is the network of this machine's own interface lan",
		mend: right(`routes = ["10.9.0.0/16"]`),
	}, {
		what: "the WAN's network among the routes",
		fault: func(w *world) {
			w.start(`routes = ["192.0.2.0/24"]`)
			w.a.WaitUp("t0", 20*time.Second)
		},
		step: "routes", says: "this machine's own interface wan",
		mend: right(),
	}, {
		what: "a blackhole for the same network",
		fault: func(w *world) {
			w.start(`routes = ["10.9.0.0/16"]`, "metric = 100")
			w.a.WaitUp("t0", 20*time.Second)
			w.net.A.MustRun("ip", "route", "add", "blackhole", "10.9.0.0/16")
		},
		step: "routes", says: "the route 10.9.0.0/16 to blackhole",
	}, {
		what: "somebody's route to the peer leads into the tunnel",
		fault: func(w *world) {
			w.start()
			w.a.WaitUp("t0", 20*time.Second)
			w.net.A.MustRun("ip", "route", "add", labnet.AddrB+"/32", "dev", "t0")
		},
		step: "route", says: "leads into t0, the tunnel itself",
	}, {
		what: "the own firewall forwards nothing into the tunnel",
		fault: func(w *world) {
			w.lan("192.168.1.1/24")
			w.net.A.Sysctl("net.ipv4.ip_forward", "1")
			nft(w.net.A, `add table inet fw; add chain inet fw forward { type filter hook forward priority 0; policy drop; }; add rule inet fw forward oifname "wan" accept`)
			w.start(`routes = ["10.9.0.0/16"]`)
			w.a.WaitUp("t0", 20*time.Second)
		},
		step: "forwarding", says: "from 192.168.1.0/24 (lan) to 10.9.0.0/16: dropped at hook forward",
	}, {
		what: "the own firewall drops what the tunnel is asked",
		fault: func(w *world) {
			nft(w.net.A, `add table inet fw; add chain inet fw out { type filter hook output priority 0; }; add rule inet fw out oifname "t0" icmp type echo-request drop`)
			w.start()
			w.a.WaitUp("t0", 20*time.Second)
		},
		step: "firewall-inside", says: "outgoing echo requests to the peer: dropped at hook output",
	}, {
		what: "an interface of no firewall zone",
		fault: func(w *world) {
			w.lan("192.168.1.1/24")
			w.net.A.Sysctl("net.ipv4.ip_forward", "1")
			for _, hook := range []string{"input", "forward"} {
				nft(w.net.A, `add table inet fw4; add chain inet fw4 `+hook+` { type filter hook `+hook+` priority 0; policy drop; }; add rule inet fw4 `+hook+` ct state established accept; add rule inet fw4 `+hook+` iifname { "lan", "wan", "lo" } accept`)
			}
			w.start(`routes = ["10.9.0.0/16"]`)
			w.a.WaitUp("t0", 20*time.Second)
			nft(w.net.A, `insert rule inet fw4 forward oifname != "wan" drop`)
		},
		step: "forwarding", says: "t0 belongs to no firewall zone",
		mend: func(w *world, f finding) {
			w.File("bin/uci", `#!/bin/sh
[ "$1" = show ] && printf "firewall.@zone[0].name='wan'\nfirewall.@zone[1].name='lan'\nfirewall.@rule[0].name='lan'\n" || echo "$@"
`)
			bin := filepath.Join(w.Dir, "bin")
			w.Must(os.Chmod(filepath.Join(bin, "uci"), 0o755), "make uci executable")
			did := w.net.A.MustRun("sh", "-c", "PATH="+bin+":$PATH; "+f.Commands[0])
			w.Check(did == "add_list firewall.@zone[1].device=t0\n", "the first command does: uci %s", did)
			nft(w.net.A, `insert rule inet fw4 input iifname "t0" accept; insert rule inet fw4 forward iifname "t0" accept; insert rule inet fw4 forward oifname "t0" accept`)
		},
	}, {
		what: "another GRE key", either: true,
		fault: func(w *world) { w.startPinged("gre.key = 7") },
		step:  "gre-key", says: "with key 7",
		mend: right(),
	}, {
		what: "policy routing and a strict filter inside", either: true,
		fault: func(w *world) {
			w.start()
			w.a.WaitUp("t0", 20*time.Second)
			w.net.A.MustRun("ip", "route", "add", "default", "via", labnet.RouterA, "table", "77")
			w.net.A.MustRun("ip", "rule", "add", "from", innerA, "to", innerB, "lookup", "77")
			w.net.A.Sysctl("net.ipv4.conf.t0.rp_filter", "1")
		},
		step: "rp-filter-inside", says: "dropped by the reverse path filter",
		mend: func(w *world, f finding) { w.run(f); w.net.A.MustRun("ip", "rule", "del", "lookup", "77") },
	}, {
		what: "ESP is dropped while IKE passes", either: true,
		fault: func(w *world) {
			w.drop("meta l4proto esp", "drop")
			w.start(`encap = "never"`)
			w.a.WaitUp("t0", 20*time.Second)
		},
		step: "esp", says: "none has ever come in on this SA",
		mend: write("encap"),
	}, {
		what: "ESP is dropped after it had passed",
		fault: func(w *world) {
			w.start(`encap = "never"`)
			w.a.WaitUp("t0", 20*time.Second)
			w.net.A.WaitPing(innerB, 10*time.Second)
			w.drop("meta l4proto esp", "drop")
		},
		step: "esp", says: "so it passed then",
		mend: passAgain,
	}, {
		what: "ESP is dropped on the way there alone", either: true, turns: true,
		fault: func(w *world) {
			w.start(`encap = "never"`)
			w.a.WaitUp("t0", 20*time.Second)
			w.net.A.WaitPing(innerB, 10*time.Second)
			w.drop("ip saddr "+labnet.AddrA+" meta l4proto esp", "drop")
			w.net.B.StartPing(innerA, 100*time.Millisecond)
		},
		step: "esp", says: "the peer's ESP arrives",
		mend: passAgain,
	}, {
		what: "both sides have the same address inside",
		fault: func(w *world) {
			w.b = w.net.B.Greseal(w.sideB(fmt.Sprintf("address = [\"%s/30\"]", innerA)))
			w.a = w.net.A.Greseal(w.sideA())
			w.a.WaitUp("t0", 20*time.Second)
		},
		step: "esp", says: "it is dropped on the way there or back, or the peer drops what comes out of it",
		mend: func(w *world, f finding) {
			w.Check(strings.Contains(f.Remedy, "check that "+innerB+" is the peer's address inside the tunnel"), "the remedy says nothing of the addresses: %s", f.Remedy)
			w.mendB(w.sideB())
		},
	}, {
		what: "the peer was restarted with another key",
		fault: func(w *world) {
			w.start(`dpd = "1s"`, `dpd_suspect = "3s"`)
			w.a.WaitUp("t0", 20*time.Second)
			w.b.Kill()
			w.b.Write(w.sideB(`psk = "another-Tq4nVw7PzLc2RkXs9"`))
			w.b.Start()
			w.a.WaitState("t0", "suspect", 20*time.Second)
			w.reason(w.a, 20*time.Second, "authentication failed")
			w.reason(w.b, 20*time.Second, "pre-shared key")
		},
		step: "liveness", says: "authentication failed",
		mend: func(w *world, _ finding) { w.mendB(w.sideB()) },
	}, {
		what: "another program's policy stands where ours must", kernel: true,
		fault: func(w *world) {
			w.net.A.MustRun("ip", "xfrm", "policy", "add", "dir", "out", "src", labnet.AddrA+"/32", "dst", labnet.AddrB+"/32", "proto", "47", "priority", "5",
				"tmpl", "src", labnet.AddrA, "dst", labnet.AddrB, "proto", "esp", "reqid", "77", "mode", "tunnel")
			w.start()
		},
		step: "install", says: "policy is in the way",
		mend: func(w *world, _ finding) {
			w.net.A.MustRun("ip", "xfrm", "policy", "delete", "dir", "out", "src", labnet.AddrA+"/32", "dst", labnet.AddrB+"/32", "proto", "47")
		},
	}, {
		// One that comes later the daemon replaces by itself.
		what: "another program's policy lets GRE leave in the clear", kernel: true, turns: true,
		fault: func(w *world) {
			w.net.A.MustRun("ip", "xfrm", "policy", "add", "dir", "out", "src", "0.0.0.0/0", "dst", labnet.AddrB+"/32", "proto", "47", "priority", "5", "action", "allow")
			w.start()
		},
		step: "install", says: "another program's policy lets it pass",
		mend: func(w *world, _ finding) {
			w.net.A.MustRun("ip", "xfrm", "policy", "delete", "dir", "out", "src", "0.0.0.0/0", "dst", labnet.AddrB+"/32", "proto", "47")
		},
	}, {
		what: "the own firewall drops ESP", kernel: true,
		fault: func(w *world) {
			nft(w.net.A, `add table inet fw; add chain inet fw in { type filter hook input priority 0; }; add rule inet fw in meta l4proto esp drop`)
			w.start()
			w.a.WaitUp("t0", 20*time.Second)
		},
		step: "firewall", says: "ESP: dropped at hook input",
	}, {
		what: "the own firewall drops what comes out of ESP", kernel: true,
		fault: func(w *world) {
			nft(w.net.A, `add table inet fw; add chain inet fw in { type filter hook input priority 0; }; add rule inet fw in meta l4proto gre counter drop`)
			w.start()
			w.a.WaitUp("t0", 20*time.Second)
		},
		step: "firewall", says: "GRE out of ESP: dropped at hook input",
	}, {
		what: "an mtu in the config that the way does not carry, and no ICMP", either: true,
		fault: func(w *world) {
			w.net.Router.MTU("to-b", 1400)
			nft(w.net.Router, "add table ip quiet; add chain ip quiet output { type filter hook output priority 0; }; add rule ip quiet output icmp type destination-unreachable drop")
			w.b = w.net.B.Greseal(w.sideB("mtu = 1410"))
			w.a = w.net.A.Greseal(w.sideA("mtu = 1410"))
			w.a.WaitUp("t0", 20*time.Second)
		},
		step: "mtu", says: "do not come back",
		mend: mtuOnBoth,
	},
}

// start starts both daemons, A's with more lines.
func (w *world) start(lines ...string) {
	w.b = w.net.B.Greseal(w.sideB())
	w.a = w.net.A.Greseal(w.sideA(lines...))
}

// startPinged is start, and B has pinged A through the tunnel.
func (w *world) startPinged(lines ...string) {
	w.start(lines...)
	w.a.WaitUp("t0", 20*time.Second)
	ping := w.net.B.StartPing(innerA, 50*time.Millisecond)
	time.Sleep(300 * time.Millisecond)
	ping.Stop()
}

// TestEachBrokenSetUpIsNamedAndItsRemedyWorks is the doctor's whole promise: one
// thing is broken, the doctor names it first, what it prints is done, and the
// tunnel is up with nothing left to find.
func TestEachBrokenSetUpIsNamedAndItsRemedyWorks(t *testing.T) {
	var table rows
	t.Cleanup(func() { table.print(t) })
	for _, s := range slices.Concat(setups, setupsHere, setupsBeyond) {
		t.Run(strings.ReplaceAll(s.what, " ", "-"), func(t *testing.T) {
			t.Parallel()
			switch {
			case s.kernel && !labnet.KernelESP():
				t.Skip("this kernel has no GRE and ESP")
			case emulated() && !s.kernel && !s.either:
				t.Skip("has nothing to do with the datapath")
			}
			play(t, func(w *world) {
				begin := time.Now()
				s.fault(w)
				r, steps := w.doctor(w.a)
				first := r.Tunnels[0].First
				w.Check(first == s.step, "the doctor names %q first and not %q:\n%s", first, s.step, summary(r))
				for id, f := range steps {
					w.Check(f.Verdict != "fault" || id == s.step || id == s.also, "the consequence %s is called a fault as well:\n%s", id, summary(r))
				}
				f := steps[s.step]
				w.Check(strings.Contains(strings.Join(f.Evidence, "\n"), s.says), "the evidence does not say %q:\n%s", s.says, f.text())
				w.Fact("%s", f.text())
				if !s.turns {
					w.oneCause(f)
				}
				said := w.a.Tunnel("t0")
				line := []string{s.what, f.ID, said.Side, said.Reason, f.Remedy}
				if s.mend == nil {
					w.run(f)
				} else {
					s.mend(w, f)
				}
				w.works()
				table.add(append(line, fmt.Sprintf("%.0f s", time.Since(begin).Seconds())))
			})
		})
	}
}

// rows are the set-ups with what was said of them, in log, status, doctor and LuCI alike.
type rows struct {
	sync.Mutex
	lines [][]string
}

func (r *rows) add(line []string) {
	r.Lock()
	defer r.Unlock()
	r.lines = append(r.lines, line)
}

func (r *rows) print(t *testing.T) {
	sort.Slice(r.lines, func(i, j int) bool { return r.lines[i][0] < r.lines[j][0] })
	for _, l := range r.lines {
		t.Log(strings.Join(l, " | "))
	}
	t.Logf("%d set-ups", len(r.lines))
}

// oneCause: what doctor found is what status, metrics, log and LuCI say. A tunnel that was
// taken down says itself by whom.
func (w *world) oneCause(f finding) {
	if f.ID == "wanted" {
		return
	}
	t, text := w.a.Tunnel("t0"), f.Evidence[0]
	w.Check(strings.Contains(t.Reason, text), "status says %q and doctor %q", t.Reason, text)
	w.Check(t.Remedy == f.Remedy && slices.Equal(t.Commands, f.Commands), "status advises %q, %q and doctor %q, %q", t.Remedy, t.Commands, f.Remedy, f.Commands)
	w.Check(t.Code != "" && strings.Contains(w.a.Must("status", "--prometheus"), fmt.Sprintf("greseal_tunnel_cause_info{tunnel=%q,code=%q,side=%q} 1", "t0", t.Code, t.Side)), "the metrics do not say %s, %s", t.Code, t.Side)
	w.Check(logged(w.a.Log(), text), "the log does not say %q:\n%s", text, w.a.Log())
	row := w.listed()
	w.Check(row.Reason == t.Reason && row.Remedy == t.Remedy && row.Code == t.Code && slices.Equal(row.Commands, t.Commands), "LuCI is told %+v and status %s, %s, %s, %q", row, t.Code, t.Reason, t.Remedy, t.Commands)
}

// logged reports whether a log in slog's text form has a text.
func logged(log, text string) bool {
	quoted := strconv.Quote(text)
	return strings.Contains(log, text) || strings.Contains(log, quoted[1:len(quoted)-1])
}

// row is what LuCI's list shows of a tunnel.
type row struct {
	Reason, Remedy, Code string
	Commands             []string
}

// listed asks as LuCI does: by the program's other name, as rpcd calls it.
func (w *world) listed() row {
	plugin := filepath.Join(w.Dir, rpcd.Name)
	if err := os.Symlink(w.Binary, plugin); err != nil && !errors.Is(err, fs.ErrExist) {
		w.Failf("link the plugin: %v", err)
	}
	out := w.net.A.MustRun("env", "GRESEAL_CONFIG="+w.a.Config, "GRESEAL_SOCKET="+w.a.Socket, "sh", "-c", "echo '{}' | "+plugin+" call list")
	var list struct{ Tunnels []row }
	w.Must(json.Unmarshal([]byte(out), &list), "read what rpcd is told: "+out)
	w.Check(len(list.Tunnels) == 1, "rpcd is told %s", out)
	return list.Tunnels[0]
}

// TestAHealthyTunnelHasNoFault asks both sides, with each shape of tunnel.
func TestAHealthyTunnelHasNoFault(t *testing.T) {
	for what, lines := range map[string][]string{
		"by default":     nil,
		"transport mode": {`mode = "transport"`},
		"bare ESP":       {`encap = "never"`},
		"GRE options":    {"gre.key = 5", "gre.sequence = true", "gre.checksum = true"},
	} {
		t.Run(strings.ReplaceAll(what, " ", "-"), func(t *testing.T) {
			t.Parallel()
			play(t, func(w *world) {
				w.b = w.net.B.Greseal(w.sideB(lines...))
				w.a = w.net.A.Greseal(w.sideA(lines...))
				w.works()
				r, _ := w.doctor(w.b)
				w.Check(r.Faults == 0, "the other side finds:\n%s", summary(r))
			})
		})
	}
}

// TestANeighbourInAWideNetworkIsPinged: of many hosts the first other one is asked, and
// where it is silent nobody is blamed.
func TestANeighbourInAWideNetworkIsPinged(t *testing.T) {
	notEmulated(t)
	t.Parallel()
	for address, verdict := range map[string]string{"10.255.0.1/24": "ok", "10.255.0.77/24": "skipped"} {
		play(t, func(w *world) {
			w.b = w.net.B.Greseal(w.sideB(fmt.Sprintf("address = [%q]", address)))
			w.a = w.net.A.Greseal(w.sideA(`address = ["10.255.0.2/24"]`))
			w.a.WaitUp("t0", 20*time.Second)
			r, steps := w.doctor(w.a)
			w.Check(r.Faults == 0 && steps["esp"].Verdict == verdict, "with a peer at %s: %s\n%s", address, steps["esp"].text(), summary(r))
		})
	}
}

// TestFragmentsLostAreSeenBesideTheFault: a pre-shared key does without
// fragments, so their loss is a remark and the real fault stays the first.
func TestFragmentsLostAreSeenBesideTheFault(t *testing.T) {
	notEmulated(t)
	t.Parallel()
	play(t, func(w *world) {
		nft(w.net.Router, "add table ip fault; add chain ip fault pre { type filter hook prerouting priority -500; }; add rule ip fault pre ip frag-off & 0x3fff != 0 drop")
		w.start(`psk = "another-Tq4nVw7PzLc2RkXs9"`)
		r, steps := w.doctor(w.a)
		w.Check(r.Tunnels[0].First == "identity", "the doctor names %q first:\n%s", r.Tunnels[0].First, summary(r))
		w.Check(steps["fragments"].Verdict == "warning", "the loss of fragments is not seen: %s", steps["fragments"].text())
		nft(w.net.Router, "delete table ip fault")
		_, steps = w.doctor(w.a)
		w.Check(steps["fragments"].Verdict == "ok", "fragments pass and are not seen to: %s", steps["fragments"].text())
	})
}

// TestStrongSwanWithIKEv1OnlyIsSeenThrough: charon refuses every IKEv2 request
// when its only connection is of version 1.
func TestStrongSwanWithIKEv1OnlyIsSeenThrough(t *testing.T) {
	notEmulated(t)
	t.Parallel()
	play(t, func(w *world) {
		w.net.B.StrongSwan(labnet.Swan{Local: labnet.AddrB, Remote: labnet.AddrA, PSK: secret, Libipsec: true,
			IKE: "aes256-sha256-modp2048", ESP: "aes256-sha256", Conn: "version = 1"})
		w.a = w.net.A.Greseal(w.sideA())
		r, steps := w.doctor(w.a)
		w.Check(r.Tunnels[0].First == "ikev1", "the doctor names %q first:\n%s", r.Tunnels[0].First, summary(r))
		w.Fact("%s", steps["ikev1"].text())
	})
}

// TestTheLeakTestSaysWhatStopsClearGRE: with the block policy the kernel does,
// and the wire shows nothing; without it nothing is sent, and it says so.
func TestTheLeakTestSaysWhatStopsClearGRE(t *testing.T) {
	t.Parallel()
	play(t, func(w *world) {
		w.start()
		w.a.WaitUp("t0", 20*time.Second)
		_, steps := w.doctor(w.a, "--leak-test")
		f := steps["outside"]
		if f.Verdict == "warning" {
			w.Check(strings.Contains(f.text(), "none was sent"), "a probe was sent with nothing to stop it: %s", f.text())
			w.run(f)
			_, steps = w.doctor(w.a, "--leak-test")
			f = steps["outside"]
		}
		w.Check(f.Verdict == "ok" && strings.Contains(f.text(), "0 packets of protocol 47"), "the block does not show: %s", f.text())
		w.Check(steps["inside"].Verdict == "ok", "inside: %s", steps["inside"].text())
		w.net.Wire.MustBeSealed()
	})
}

// TestExaminationsAreBoundedAndEndWithTheDaemon: three at a time, and none keeps
// the daemon from stopping.
func TestExaminationsAreBoundedAndEndWithTheDaemon(t *testing.T) {
	notEmulated(t)
	t.Parallel()
	play(t, func(w *world) {
		w.drop("udp dport 500", "drop") // an examination takes some seconds
		w.a = w.net.A.Greseal(w.sideA())
		results := make(chan labnet.Result, 3)
		for range 3 {
			go func() { results <- w.a.Do("doctor", "t0") }()
		}
		time.Sleep(700 * time.Millisecond)
		r := w.a.Do("doctor", "t0")
		w.Check(r.Code == 1 && strings.Contains(r.Stderr, "3 examinations are running"), "a fourth examination got %d: %s", r.Code, r.Out())
		w.a.Stop()
		for range 3 {
			if r := <-results; r.Code != 1 || !strings.Contains(r.Stderr, "greseal doctor:") {
				w.Failf("an examination that the daemon left alone ended with %d: %s", r.Code, r.Out())
			}
		}
	})
}

// TestBadRequestsForAnExaminationAreExplained.
func TestBadRequestsForAnExaminationAreExplained(t *testing.T) {
	notEmulated(t)
	t.Parallel()
	play(t, func(w *world) {
		w.a = w.net.A.Greseal(w.sideA("enabled = false"))
		for _, c := range []struct {
			args []string
			code int
			says string
		}{
			{[]string{"nosuch"}, 1, "the tunnels are: t0"},
			{[]string{"t0", "--ping", "here"}, 1, "no IP address"},
			{[]string{"--leak-test"}, 2, "needs a tunnel's name"},
			{[]string{"--ping", "192.0.2.1"}, 2, "needs a tunnel's name"},
		} {
			r := w.a.Do("doctor", c.args...)
			w.Check(r.Code == c.code && strings.Contains(r.Stderr, c.says), "doctor %v ended with %d: %s", c.args, r.Code, r.Out())
		}
		r := w.a.Do("doctor")
		w.Check(r.Code == 1 && strings.Contains(r.Stdout, "the first failing step is wanted"), "doctor without a name ended with %d: %s", r.Code, r.Out())
	})
}

// twoUplinks gives A a second way to the peer: packets leave by it, with the
// first one's address, and the answers come back by the first, which filters
// strictly.
func twoUplinks(w *world) {
	a, r := w.net.A, w.net.Router
	w.Veth(a, "wan2", r, "to-a2")
	a.Addr("wan2", "203.0.113.1/24")
	r.Addr("to-a2", "203.0.113.254/24")
	a.MustRun("ip", "route", "add", labnet.AddrB+"/32", "via", "203.0.113.254", "dev", "wan2", "src", labnet.AddrA)
	for key, value := range map[string]string{"all": "0", "wan": "1", "wan2": "0"} {
		a.Sysctl("net.ipv4.conf."+key+".rp_filter", value)
	}
	for _, key := range []string{"all", "to-a2"} {
		r.Sysctl("net.ipv4.conf."+key+".rp_filter", "0")
	}
	w.start(fmt.Sprintf("local = %q", labnet.AddrA))
}

// answer has B answer datagrams on a UDP port with what reply makes of them.
func (w *world) answer(port int, reply func([]byte) []byte) {
	var c net.PacketConn
	w.net.B.Must("listen", func() (err error) {
		c, err = net.ListenPacket("udp4", fmt.Sprintf("%s:%d", labnet.AddrB, port))
		return err
	})
	w.answering = c
	go func() {
		b := make([]byte, 4096)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			if r := reply(b[:n]); r != nil {
				c.WriteTo(r, from)
			}
		}
	}()
	w.Defer(func() { c.Close() })
}

// mainModeAnswer is an old device: it answers IKEv1's first message with its SA
// payload and is silent on IKEv2.
func mainModeAnswer(b []byte) []byte {
	if len(b) < 28 || b[17] != 0x10 {
		return nil
	}
	r := append([]byte(nil), b...)
	copy(r[8:16], "response")
	return r
}

package doctor_test

import (
	"fmt"
	"strings"
	"time"

	"greseal/build/lab/labnet"
)

// strayTable gives A another way out in table 77, as policy routing of several uplinks has it.
func strayTable(w *world, rule ...string) {
	w.net.A.MustRun("ip", "route", "add", "default", "via", labnet.RouterA, "table", "77")
	w.net.A.MustRun(append([]string{"ip", "rule", "add"}, rule...)...)
}

// setupsHere have something wrong on A's own machine.
var setupsHere = []broken{
	{
		what:  "the WAN was set down",
		fault: func(w *world) { w.net.A.LinkDown("wan"); w.start(); w.reason(w.a, 10*time.Second, "no route") },
		step:  "route", says: "wan is set down",
		mend: func(w *world, _ finding) { w.net.A.LinkUp("wan"); w.net.A.Route("", labnet.RouterA, "wan") },
	}, {
		what: "the WAN has lost its address",
		fault: func(w *world) {
			w.net.A.DelAddr("wan", labnet.AddrA+"/24")
			w.start()
			w.reason(w.a, 10*time.Second, "no route")
		},
		step: "route", says: "no route to " + labnet.AddrB,
		mend: func(w *world, _ finding) {
			w.net.A.Addr("wan", labnet.AddrA+"/24")
			w.net.A.Route("", labnet.RouterA, "wan")
		},
	}, {
		what: "an unreachable route to the peer",
		fault: func(w *world) {
			w.net.A.MustRun("ip", "route", "add", "unreachable", labnet.AddrB+"/32")
			w.start()
		},
		step: "route", says: "unreachable",
		mend: func(w *world, _ finding) { w.net.A.MustRun("ip", "route", "del", "unreachable", labnet.AddrB+"/32") },
	}, {
		what: "the WAN's route is gone, and the tunnel takes all traffic",
		fault: func(w *world) {
			w.net.A.MustRun("ip", "route", "del", "default")
			w.start(`routes = ["0.0.0.0/0"]`)
			w.reason(w.a, 10*time.Second, "no route")
		},
		step: "route", says: "no route to " + labnet.AddrB,
		mend: func(w *world, f finding) {
			w.Check(!strings.Contains(f.text(), "unreachable"), "the tunnel's own route is blamed: %s", f.text())
			w.net.A.Route("", labnet.RouterA, "wan")
		},
	}, {
		what: "a rule that forbids the way to the peer",
		fault: func(w *world) {
			w.net.A.MustRun("ip", "rule", "add", "to", labnet.AddrB, "prohibit")
			w.start()
		},
		step: "route", says: "prohibit",
		mend: func(w *world, _ finding) { w.net.A.MustRun("ip", "rule", "del", "to", labnet.AddrB, "prohibit") },
	}, {
		what: "a mask so wide that the peer seems to be next door",
		fault: func(w *world) {
			w.net.A.MustRun("ip", "route", "add", "198.51.100.0/24", "dev", "wan")
			w.start()
		},
		step: "udp-500", says: "next hop",
		mend: func(w *world, _ finding) { w.net.A.MustRun("ip", "route", "del", "198.51.100.0/24", "dev", "wan") },
	}, {
		what: "an IPv6 address as remote where IPv6 is off",
		fault: func(w *world) {
			w.net.A.Sysctl("net.ipv6.conf.all.disable_ipv6", "1")
			w.name = "2001:db8:2::1"
			w.start()
		},
		step: "route", says: "IPv6 is off",
		mend: func(w *world, _ finding) { w.name = labnet.AddrB; w.set() },
	}, {
		what: "an IPv6 address as remote without a route",
		fault: func(w *world) {
			w.name = "2001:db8:2::1"
			w.start()
		},
		step: "udp-500", says: "has no route to 2001:db8:2::1",
		mend: func(w *world, _ finding) { w.name = labnet.AddrB; w.set() },
	}, {
		what: "an own address as remote",
		fault: func(w *world) {
			w.net.A.Addr("wan", "192.0.2.77/24")
			w.name = "192.0.2.77"
			w.start()
		},
		step: "route", says: "192.0.2.77 is an address of this machine",
		mend: func(w *world, _ finding) { w.name = labnet.AddrB; w.set() },
	}, {
		what: "a filter at the device drops what comes in",
		fault: func(w *world) {
			nft(w.net.A, `add table netdev fw; add chain netdev fw wan { type filter hook ingress device "wan" priority 0; }; add rule netdev fw wan udp sport { 500, 4500 } drop`)
			w.start()
		},
		step: "firewall", says: "hook ingress",
	}, {
		what: "a verdict map drops what comes in",
		fault: func(w *world) {
			nft(w.net.A, `add table inet fw; add chain inet fw in { type filter hook input priority 0; }; add rule inet fw in udp dport vmap { 53 : accept, 500 : drop, 4500 : drop }`)
			w.start()
		},
		step: "firewall", says: "hook input",
	}, {
		what: "a named set of ports drops what goes out",
		fault: func(w *world) {
			nft(w.net.A, `add table inet fw; add set inet fw vpn { type inet_service; }; add element inet fw vpn { 500, 1701, 4500 }; add chain inet fw out { type filter hook output priority 0; }; add rule inet fw out udp dport @vpn drop`)
			w.start()
		},
		step: "firewall", says: "hook output",
	}, {
		what: "port 4500 is redirected to another machine",
		fault: func(w *world) {
			nft(w.net.A, `add table ip fw; add chain ip fw pre { type nat hook prerouting priority -100; }; add rule ip fw pre iifname "wan" udp dport { 500, 4500 } dnat to 192.168.1.9`)
			w.b = w.net.B.Greseal(w.sideB())
			w.a = w.net.A.Greseal(w.sideA(`remote = "any"`, fmt.Sprintf("remote_id = %q", labnet.AddrB)))
			w.reason(w.b, 30*time.Second, "no answer")
		},
		step: "firewall", says: "hook prerouting",
		mend: func(w *world, _ finding) { nft(w.net.A, "delete table ip fw"); w.b.Must("restart", "t0") },
	}, {
		what: "a rule of policy routing takes what is for the tunnel",
		fault: func(w *world) {
			w.start(`routes = ["10.9.0.0/16"]`)
			w.a.WaitUp("t0", 20*time.Second)
			strayTable(w, "to", "10.9.0.0/16", "lookup", "77")
		},
		step: "routes", says: "goes to wan",
		mend: func(w *world, _ finding) { w.net.A.MustRun("ip", "rule", "del", "lookup", "77") },
	}, {
		what: "policy routing that sends all to one uplink",
		fault: func(w *world) {
			w.start(`routes = ["10.9.0.0/16"]`)
			w.a.WaitUp("t0", 20*time.Second)
			strayTable(w, "lookup", "77", "pref", "1000")
		},
		step: "routes", says: "goes to wan",
		mend: func(w *world, _ finding) { w.net.A.MustRun("ip", "rule", "del", "lookup", "77") },
	}, {
		what: "the interface's name is taken",
		fault: func(w *world) {
			w.net.A.MustRun("ip", "link", "add", "t0", "type", "veth", "peer", "name", "t0-other")
			w.start()
		},
		step: "install", says: "t0",
		mend: func(w *world, _ finding) { w.net.A.MustRun("ip", "link", "del", "t0") },
	}, {
		what: "the inside address is within the own LAN",
		fault: func(w *world) {
			w.lan("10.255.0.1/24")
			w.start()
			w.a.WaitUp("t0", 20*time.Second)
		},
		step: "interface", says: "10.255.0.1, the peer's address inside the tunnel, is an address of this machine",
		mend: func(w *world, _ finding) { w.net.A.MustRun("ip", "link", "del", "lan") },
	}, {
		what: "a filter drops what comes out of the tunnel",
		fault: func(w *world) {
			nft(w.net.A, `add table inet fw; add chain inet fw in { type filter hook input priority 0; policy drop; }; add rule inet fw in iifname { "wan", "lo" } accept`)
			w.start()
			w.a.WaitUp("t0", 20*time.Second)
		},
		step: "firewall-inside", says: "hook input",
	},
}

package doctor

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// rules builds what nft prints: a base chain, and rules as JSON.
func rules(t *testing.T, policy string, expr ...string) *ruleset {
	t.Helper()
	objects := []string{
		`{"metainfo":{"json_schema_version":1}}`,
		`{"table":{"family":"inet","name":"t","handle":1}}`,
		fmt.Sprintf(`{"chain":{"family":"inet","table":"t","name":"in","handle":1,"type":"filter","hook":"input","prio":0,"policy":%q}}`, policy),
		`{"chain":{"family":"inet","table":"t","name":"more","handle":2}}`,
		`{"set":{"family":"inet","name":"peers","table":"t","type":"ipv4_addr","handle":9,"flags":["interval"],"elem":["203.0.113.9",{"prefix":{"addr":"198.51.100.0","len":24}}]}}`,
	}
	for _, e := range expr {
		chain := "in"
		if rest, ok := strings.CutPrefix(e, "more:"); ok {
			chain, e = "more", rest
		}
		objects = append(objects, fmt.Sprintf(`{"rule":{"family":"inet","table":"t","chain":%q,"handle":7,"expr":[%s]}}`, chain, e))
	}
	r, err := parseRules([]byte(`{"nftables":[` + strings.Join(objects, ",") + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var ikePacket = packet{
	what: "UDP 500", proto: "udp", protoNumber: 17, src: netip.MustParseAddr("198.51.100.1"), dst: netip.MustParseAddr("192.0.2.1"),
	sport: 500, dport: 500, in: "wan", state: "new",
}

const (
	dport500  = `{"match":{"op":"==","left":{"payload":{"protocol":"udp","field":"dport"}},"right":{"set":[500,4500]}}}`
	ofAnswers = `{"match":{"op":"in","left":{"ct":{"key":"state"}},"right":["established","related"]}}`
	fromPeers = `{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"saddr"}},"right":"@peers"}}`
	accept    = `{"accept":null}`
	drop      = `{"drop":null}`
)

func TestRulesAreFollowedAsTheKernelDoes(t *testing.T) {
	for _, c := range []struct {
		what   string
		policy string
		rules  []string
		want   fate
	}{
		{"nothing there", "accept", nil, passes},
		{"policy drop", "drop", nil, dropped},
		{"accepted before the policy", "drop", []string{dport500 + "," + accept}, passes},
		{"dropped by port", "accept", []string{dport500 + "," + drop}, dropped},
		{"rejected by port", "accept", []string{dport500 + `,{"reject":{"type":"icmpx","expr":"port-unreachable"}}`}, dropped},
		{"the first rule wins", "accept", []string{dport500 + "," + accept, dport500 + "," + drop}, passes},
		{"another port", "accept", []string{strings.Replace(dport500, "500,4500", "53,1194", 1) + "," + drop}, passes},
		{"another protocol", "accept", []string{`{"match":{"op":"==","left":{"meta":{"key":"l4proto"}},"right":"esp"}},` + drop}, passes},
		{"protocol by number", "accept", []string{`{"match":{"op":"==","left":{"meta":{"key":"l4proto"}},"right":17}},` + drop}, dropped},
		{"not this protocol", "accept", []string{`{"match":{"op":"!=","left":{"payload":{"protocol":"ip","field":"protocol"}},"right":"tcp"}},` + drop}, dropped},
		{"of TCP", "accept", []string{`{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":500}},` + drop}, passes},
		{"of IPv6", "accept", []string{`{"match":{"op":"==","left":{"payload":{"protocol":"ip6","field":"saddr"}},"right":"2001:db8::1"}},` + drop}, passes},
		{"a new packet is not established", "drop", []string{ofAnswers + "," + accept}, dropped},
		{"in a named set", "accept", []string{fromPeers + "," + drop}, dropped},
		{"in a range", "accept", []string{`{"match":{"op":"==","left":{"payload":{"protocol":"udp","field":"dport"}},"right":{"range":[400,600]}}},` + drop}, dropped},
		{"in a prefix", "accept", []string{`{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"saddr"}},"right":{"prefix":{"addr":"198.51.100.0","len":25}}}},` + drop}, dropped},
		{"by another interface", "accept", []string{`{"match":{"op":"==","left":{"meta":{"key":"iifname"}},"right":"lan*"}},` + drop}, passes},
		{"by interface pattern", "accept", []string{`{"match":{"op":"==","left":{"meta":{"key":"iifname"}},"right":"wa*"}},` + drop}, dropped},
		{"by jump", "accept", []string{`{"jump":{"target":"more"}}`, "more:" + dport500 + "," + drop}, dropped},
		{"back from a jump", "drop", []string{`{"jump":{"target":"more"}}`, dport500 + "," + accept, "more:" + dport500 + `,{"return":null}`, "more:" + drop}, passes},
		{"by verdict map", "accept", []string{`{"vmap":{"key":{"ct":{"key":"state"}},"data":{"set":[["established",{"accept":null}],["new",{"drop":null}]]}}}`}, dropped},
		{"counted on the way", "accept", []string{dport500 + `,{"counter":{"packets":0,"bytes":0}},{"log":null},` + drop}, dropped},
		{"limited, so only perhaps", "accept", []string{`{"limit":{"rate":3,"burst":5,"per":"second"}},` + drop}, unclear},
		{"a limit before the accept, so only perhaps", "drop", []string{dport500 + `,{"limit":{"rate":3,"per":"second"}},` + accept}, unclear},
		{"a match that is not understood", "accept", []string{`{"match":{"op":"==","left":{"osf":{"key":"name"}},"right":"Linux"}},` + drop}, unclear},
		{"jumping in circles", "accept", []string{`{"jump":{"target":"more"}}`, `more:{"jump":{"target":"more"}}`}, unclear},
	} {
		if got, at := rules(t, c.policy, c.rules...).judge("input", ikePacket); got != c.want {
			t.Errorf("%s: fate %d at %v, want %d", c.what, got, at, c.want)
		}
	}
}

func TestAnEstablishedAnswerPassesWhereANewPacketDoesNot(t *testing.T) {
	r := rules(t, "drop", ofAnswers+","+accept)
	answer := ikePacket
	answer.state = "established"
	if got, _ := r.judge("input", answer); got != passes {
		t.Errorf("fate of an answer: %d", got)
	}
	needed := trial{"input", answer, true, "udp dport { 500, 4500 }"}
	first := trial{"input", ikePacket, false, "udp dport { 500, 4500 }"}
	s := judgeFirewall(r, []trial{needed, first}, false)
	if s.Verdict != Warning || len(s.Commands) != 1 || s.Commands[0] != "nft insert rule inet t in udp dport { 500, 4500 } accept" {
		t.Errorf("verdict %s with commands %q", s.Verdict, s.Commands)
	}
	first.needed = true
	if s := judgeFirewall(r, []trial{first}, false); s.Verdict != Fault {
		t.Errorf("a responder whose firewall keeps everybody out: %s", s.Verdict)
	}
	if s := judgeFirewall(r, []trial{first}, true); s.Verdict != Warning {
		t.Errorf("while packets do come in: %s", s.Verdict)
	}
}

func TestOtherFamiliesAndHooksDoNotSeeThePacket(t *testing.T) {
	r := rules(t, "drop")
	if got, _ := r.judge("output", ikePacket); got != passes {
		t.Errorf("the output hook has no chain, but the fate is %d", got)
	}
	r.chains[0].Family = "ip6"
	if got, _ := r.judge("input", ikePacket); got != passes {
		t.Errorf("a chain of family ip6 decided about IPv4: %d", got)
	}
}

func TestBrokenListsOfRulesAreErrors(t *testing.T) {
	for _, text := range []string{"", "x", `{"nftables":3}`, `{"nftables":[3]}`} {
		if _, err := parseRules([]byte(text)); err == nil {
			t.Errorf("%q was taken for a list of rules", text)
		}
	}
	// Objects of unexpected shapes are left out, not believed.
	r, err := parseRules([]byte(`{"nftables":[{"chain":[1]},{"rule":"x"},{"set":{"elem":3}},{"flowtable":{}}]}`))
	if err != nil || len(r.chains)+len(r.rules) != 0 {
		t.Errorf("odd objects: %v, %+v", err, r)
	}
}

// forward builds a router's forward chain.
func forward(t *testing.T, policy string, expr ...string) *ruleset {
	r := rules(t, policy, expr...)
	r.chains[0].Hook = "forward"
	return r
}

func TestWhoMayUseTheTunnel(t *testing.T) {
	const (
		fromLAN  = `{"match":{"op":"==","left":{"meta":{"key":"iifname"}},"right":"br-lan"}},`
		toTunnel = `{"match":{"op":"==","left":{"meta":{"key":"oifname"}},"right":"t0"}},`
		ofTunnel = `{"match":{"op":"==","left":{"meta":{"key":"iifname"}},"right":{"set":["t0","t1"]}}},`
		web      = `{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":443}},`
	)
	own := lan{netip.MustParsePrefix("192.168.1.0/24"), "br-lan"}
	guests := lan{netip.MustParsePrefix("192.168.9.0/24"), "guest"}
	routes := []netip.Prefix{netip.MustParsePrefix("10.2.0.0/24")}
	for _, c := range []struct {
		what string
		*ruleset
		lans []lan
		want Verdict
	}{
		{"no chain", rules(t, "drop"), []lan{own}, OK},
		{"policy accept", forward(t, "accept"), []lan{own}, OK},
		{"policy drop", forward(t, "drop"), []lan{own}, Fault},
		{"answers alone", forward(t, "drop", ofAnswers+","+accept), []lan{own}, Fault},
		{"out, and answers", forward(t, "drop", ofAnswers+","+accept, fromLAN+toTunnel+accept), []lan{own}, Warning},
		{"both ways", forward(t, "drop", fromLAN+toTunnel+accept, ofTunnel+accept), []lan{own}, OK},
		{"in alone", forward(t, "drop", ofTunnel+accept), []lan{own}, Fault},
		{"the guests may not", forward(t, "drop", fromLAN+toTunnel+accept, ofTunnel+accept), []lan{own, guests}, OK},
		{"one port, so only perhaps", forward(t, "drop", fromLAN+web+accept, ofTunnel+accept), []lan{own}, OK},
		{"IPv6 behind, IPv4 routed", forward(t, "accept"), []lan{own, {netip.MustParsePrefix("fd00:1::/64"), "br-lan"}}, OK},
	} {
		s := judgeForwarding(c.ruleset, "t0", c.lans, routes)
		if s.Verdict != c.want || s.Verdict != OK && (s.Remedy == "" || len(s.Commands) == 0) {
			t.Errorf("%s: %+v, want %s", c.what, s, c.want)
		}
	}
	s := notForwarded([]lan{own, guests}, "t0", func(ifname string, v6 bool) bool { return ifname == "guest" })
	if s.Verdict != Warning || len(s.Evidence) != 2 || len(s.Commands) != 1 {
		t.Errorf("forwarding is off: %+v", s)
	}
	if s := notForwarded([]lan{own}, "t0", func(string, bool) bool { return true }); s.Verdict != OK {
		t.Errorf("forwarding is on: %+v", s)
	}
}

func TestAnInterfaceOfNoZoneIsSeen(t *testing.T) {
	const ofTunnel = `{"match":{"op":"==","left":{"meta":{"key":"iifname"}},"right":{"set":["t0","vpn*"]}}},{"jump":{"target":"input_vpn"}}`
	r := rules(t, "drop", ofTunnel)
	for name, want := range map[string]bool{"t0": true, "vpn3": true, "t1": false} {
		if r.names("inet", "t", name) != want || r.names("inet", "fw4", name) {
			t.Errorf("%s: not %v", name, want)
		}
	}
}

func TestRulesOfIPTablesAreFollowed(t *testing.T) {
	for _, c := range []struct {
		what, rules string
		want        fate
	}{
		{"the policy", "", dropped},
		{"ports and a comment", `-A INPUT -p udp -m multiport --dports 500,4500 -m comment --comment "let \"IKE\" in -j" -j ACCEPT`, passes},
		{"other ports", `-A INPUT -p udp -m multiport --dports 53,4500:4510 -j ACCEPT`, dropped},
		{"not these ports", `-A INPUT -p udp -m multiport ! --dports 53 -j ACCEPT`, passes},
		{"the state", `-A INPUT -m conntrack --ctstate NEW,RELATED -j ACCEPT`, passes},
		{"another state", `-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT`, dropped},
		{"addresses and an interface", `-A INPUT -s 198.51.100.0/24 -d 192.0.2.1/32 -i wa+ -j ACCEPT`, passes},
		{"another source", `-A INPUT -s 203.0.113.0/24 -j ACCEPT`, dropped},
		{"a chain of its own", "-A INPUT -j ufw-user-input\n-A ufw-user-input -p udp -m udp --dport 500 -j ACCEPT", passes},
		{"back from a chain", "-A INPUT -j ufw-user-input\n-A ufw-user-input -p udp -j RETURN\n-A ufw-user-input -j ACCEPT", dropped},
		{"logged first", "-A INPUT -j LOG --log-prefix \"all of it: \" --log-level 4\n-A INPUT -p 17 -j ACCEPT", passes},
		{"protocol by number", `-A INPUT -p 50 -j ACCEPT`, dropped},
		{"out of ESP only", `-A INPUT -m policy --dir in --pol ipsec -j ACCEPT`, dropped},
		{"a match that is not understood", `-A INPUT -m geoip --source-country DE,FR -j ACCEPT`, unclear},
		{"a target that is not understood", `-A INPUT -p udp -j NFQUEUE --queue-num 0`, unclear},
		{"a limit", `-A INPUT -m limit --limit 3/sec --limit-burst 5 -j ACCEPT`, unclear},
	} {
		r := rules(t, "accept")
		r.add("ip", "iptables-nft", "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:ufw-user-input - [0:0]\n"+c.rules+"\nCOMMIT\n")
		got, at := r.judge("input", ikePacket)
		if got != c.want {
			t.Errorf("%s: fate %d at %v, want %d", c.what, got, at, c.want)
		}
		if got == dropped && at[0].chain.accept("udp dport { 500, 4500 }") != "iptables-nft -I INPUT -p udp -m multiport --dports 500,4500 -j ACCEPT" {
			t.Errorf("%s: %s", c.what, at[0].chain.accept("udp dport { 500, 4500 }"))
		}
	}
	r, err := parseRules([]byte(`{"nftables":[{"chain":{"family":"ip","table":"filter","name":"INPUT","type":"filter","hook":"input","prio":0,"policy":"drop"}},
		{"rule":{"family":"ip","table":"filter","chain":"INPUT","expr":[{"xt":{"name":"multiport"}},{"accept":null}]}}]}`))
	if err != nil || !r.hasXT("ip") || r.hasXT("ip6") {
		t.Fatalf("%v, %+v", err, r)
	}
	if got, _ := r.judge("input", ikePacket); got != unclear {
		t.Errorf("what nft does not print was judged: %d", got)
	}
	r.replace("ip", "iptables", "*filter\n:INPUT DROP [0:0]\n-A INPUT -p udp -m multiport --dports 500 -j ACCEPT\nCOMMIT\n")
	if got, _ := r.judge("input", ikePacket); got != passes || len(r.chains) != 1 {
		t.Errorf("iptables' own words were not taken instead: %d, %+v", got, r.chains)
	}
}

// Docker lets its own networks out and has everything else dropped.
func TestDockerKeepsTheLANOut(t *testing.T) {
	r := &ruleset{sets: map[string][]any{}}
	r.add("ip", "iptables-nft", `*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
`)
	lans := []lan{{netip.MustParsePrefix("192.168.1.0/24"), "eth1"}}
	s := judgeForwarding(r, "t0", lans, []netip.Prefix{netip.MustParsePrefix("10.2.0.0/24")})
	if s.Verdict != Fault || s.Commands[0] != `iptables-nft -I FORWARD -i "eth1" -o "t0" -j ACCEPT` {
		t.Errorf("%+v", s)
	}
	for name, want := range map[string]bool{"docker0": true, "br-3f2a9b1c0d4e": true, "virbr0": true, "br-lan": false, "eth1": false, "br-guestnetwork": false} {
		if virtual(name) != want {
			t.Errorf("%s: not %v", name, want)
		}
	}
}

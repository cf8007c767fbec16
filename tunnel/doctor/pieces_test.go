package doctor

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"greseal/crypto/suite"
	"greseal/ikev2"
	"greseal/ikev2/wire"
	"greseal/platform"
	"greseal/platform/rtnl"
	"greseal/tunnel/cause"
	"greseal/tunnel/config"
	"greseal/tunnel/status"
)

func TestEveryStepNeedsOnlyEarlierOnes(t *testing.T) {
	seen := make(map[string]bool)
	for _, c := range chain {
		for _, n := range c.needs {
			if !seen[n] {
				t.Errorf("step %s needs %s, which does not come before it", c.id, n)
			}
		}
		if seen[c.id] || c.title == "" || c.run == nil {
			t.Errorf("step %q is not complete, or there twice", c.id)
		}
		seen[c.id] = true
	}
}

func TestAClockThatWasNeverSetIsNoFaultByItself(t *testing.T) {
	x := examOf(status.StateDown)
	if s := checkClock(x); s.Verdict != OK {
		t.Errorf("a clock that is right: %+v", s)
	}
	x.now.ClockNote = "the clock has never been set"
	if s := checkClock(x); s.Verdict != Warning || s.Remedy == "" {
		t.Errorf("a clock in 1970: %+v", s)
	}
}

// examOf is an examination of a tunnel in a state, without a machine.
func examOf(state string) *exam {
	x := &exam{hurried: true}
	x.Tunnel.Name = "hq"
	x.ESP = suite.DefaultESP(true)
	x.now.Tunnel.State, x.now.Tunnel.Desired = state, status.DesiredUp
	x.now.Daemon.Datapath = platform.KindKernel
	x.now.Daemon.DatapathWhy = "the kernel has GRE and ESP"
	return x
}

func TestMissingModulesAreNamed(t *testing.T) {
	x := examOf(status.StateDown)
	if s := checkDatapath(x); s.Verdict != OK {
		t.Errorf("a kernel that can do all: %+v", s)
	}
	x.ESP, x.ESPWhy = nil, errors.New("ESP algorithm aes128gcm16: the kernel has no aes128gcm16 (modules gcm, ctr, ghash; OpenWrt: kmod-crypto-gcm)")
	s := checkDatapath(x)
	if s.Verdict != Fault || !strings.Contains(strings.Join(s.Evidence, " "), "kmod-crypto-gcm") || s.Remedy == "" {
		t.Errorf("a kernel without the algorithm: %+v", s)
	}
	x = examOf(status.StateUp)
	x.now.Daemon.Datapath, x.now.Daemon.DatapathWhy = platform.KindUserspace, "the kernel cannot carry GRE in ESP: gre: the kernel has no GRE (module ip_gre; OpenWrt: kmod-gre)"
	if s := checkDatapath(x); s.Verdict != Warning || !strings.Contains(s.Evidence[0], "kmod-gre") {
		t.Errorf("userspace for want of a module: %+v", s)
	}
}

func TestTheFileLookedAtIsTheTunnelsOwn(t *testing.T) {
	x := examOf(status.StateUp)
	dir := t.TempDir()
	uci := filepath.Join(dir, "network")
	if err := os.WriteFile(uci, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	x.now.Daemon.ConfigFile = filepath.Join(dir, "greseal.toml") // not there, as on a router with UCI alone
	x.now.Daemon.ConfigLoaded = time.Now().Unix() + 60
	x.Tunnel.Source.File = uci
	if s := checkConfig(x); s.Verdict != OK || !strings.Contains(s.Evidence[0], uci) {
		t.Errorf("a tunnel of a file of UCI: %+v", s)
	}
	x.now.Daemon.ConfigLoaded = 1
	if s := checkConfig(x); s.Verdict != Warning || !strings.Contains(s.Evidence[0], "was changed") {
		t.Errorf("a file that changed since: %+v", s)
	}
	x.Tunnel.Source.File = ""
	if s := checkConfig(x); s.Verdict != Warning || !strings.Contains(s.Evidence[0], "greseal.toml") {
		t.Errorf("the daemon's own file: %+v", s)
	}
}

func TestSAsThatSomebodyDeletedAreMissed(t *testing.T) {
	x := examOf(status.StateUp)
	if s := checkInstall(x); s.Verdict != OK {
		t.Errorf("SAs that stand: %+v", s)
	}
	x.now.Installed = errors.New("no SA with SPI 0a0b0c0d")
	if s := checkInstall(x); s.Verdict != Fault || len(s.Commands) != 1 || s.Commands[0] != "greseal restart hq" {
		t.Errorf("an SA that is gone: %+v", s)
	}
	x = examOf(status.StateDown)
	x.now.Failure = &ikev2.Failure{Kind: ikev2.FailInstall, Detail: "the kernel has no ESP (modules esp4 and esp6; OpenWrt: kmod-ipsec4, kmod-ipsec6)"}
	if s := checkInstall(x); s.Verdict != Fault || !strings.Contains(s.Evidence[0], "kmod-ipsec4") || s.Remedy == "" {
		t.Errorf("an SA that could not be installed: %+v", s)
	}
}

// Each typed failure is one step's, and the steps before it in the handshake
// are judged well.
func TestEachFailureBelongsToOneStep(t *testing.T) {
	steps := []struct {
		id  string
		run func(*exam) Step
	}{
		{"certificates", checkCertificates}, {"identity", checkIdentity}, {"esp-proposals", checkESPProposals}, {"selectors", checkSelectors}, {"install", checkInstall},
	}
	for kind, want := range map[ikev2.FailureKind]string{
		ikev2.FailCertificate: "certificates", ikev2.FailIdentity: "identity", ikev2.FailAuthentication: "identity", ikev2.FailInUse: "identity", ikev2.FailTimeout: "identity",
		ikev2.FailNoProposal: "esp-proposals", ikev2.FailSelectors: "selectors", ikev2.FailMode: "selectors", ikev2.FailInstall: "install",
	} {
		x := examOf(status.StateDown)
		x.now.Failure = &ikev2.Failure{Kind: kind, Exchange: "IKE_AUTH", ByPeer: true, Remedy: "do this"}
		for _, s := range steps {
			got := s.run(x)
			if (got.Verdict == Fault) != (s.id == want) {
				t.Errorf("failure %q makes step %s a %s, want it at %s", x.now.Failure.What(), s.id, got.Verdict, want)
			}
		}
		if s := checkProposals(x); s.Verdict != OK {
			t.Errorf("a failure in IKE_AUTH after the IKE proposals were agreed on: %+v", s)
		}
	}
}

func TestATunnelThatIsNotUpAlwaysHasAFault(t *testing.T) {
	x := examOf(status.StateDown)
	x.now.Cause = cause.Here(status.CodeUnavailable, "interface hq: the name is taken", "rename it")
	if s := checkHandshake(x); s.Verdict != Fault || s.Remedy != "rename it" || !strings.Contains(s.Evidence[0], "the name is taken") {
		t.Errorf("a reason nobody else named: %+v", s)
	}
	x.now.Failure = &ikev2.Failure{Kind: ikev2.FailCritical, Remedy: "update the peer's software"}
	if s := checkHandshake(x); s.Verdict != Fault || s.Remedy != "update the peer's software" {
		t.Errorf("a failure nobody else named: %+v", s)
	}
}

func TestCertificatesAreJudgedByTheirOwnCheck(t *testing.T) {
	x := examOf(status.StateDown)
	if s := checkCertificates(x); s.Verdict != Skipped {
		t.Errorf("a tunnel without: %+v", s)
	}
	x.now.Failure = &ikev2.Failure{Kind: ikev2.FailCertificate, Detail: "the key is another", Remedy: "compare it"}
	if s := checkCertificates(x); s.Verdict != Fault || s.Remedy != "compare it" {
		t.Errorf("a raw public key that was not accepted: %+v", s)
	}
}

func TestProbesAreWellFormedAndOfferTheGroupOfTheirKeyExchange(t *testing.T) {
	for _, fill := range []int{0, 2200} {
		data, spi := initRequest(suite.DefaultIKE(), fill)
		m, err := wire.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		c, err := wire.Collect(m.Payloads)
		if err != nil || c.SA == nil || c.KE == nil || c.Nonce == nil || m.SPIi != spi || len(data) < fill {
			t.Fatalf("not a whole IKE_SA_INIT request: %v, %+v", err, c)
		}
		if c.KE.Method != modp768 || len(c.KE.Data) != 96 {
			t.Errorf("KE of group %d with %d octets", c.KE.Method, len(c.KE.Data))
		}
		for i, p := range c.SA.Offers() {
			groups := p.Of(suite.TypeKE)
			if last := groups[len(groups)-1]; len(groups) < 2 || last.ID != modp768 {
				t.Errorf("proposal %d offers the groups %v, the probe's must be last among others", i, groups)
			}
			if p.NeedsAddKE() {
				t.Errorf("proposal %d needs additional key exchanges", i)
			}
		}
	}
	for _, group := range []uint16{31, 19, 14, 2} {
		if data, _ := fullRequest(everything(), group); data == nil {
			t.Errorf("no request with group %d", group)
		} else if _, err := wire.Parse(data); err != nil {
			t.Errorf("group %d: %v", group, err)
		}
	}
}

func TestTheMainModeProbeAddsUp(t *testing.T) {
	b, spi := mainMode()
	h, err := wire.ParseHeader(b)
	if err != nil || h.SPIi != spi || h.Major() != 1 || h.Exchange != 2 || int(h.Length) != len(b) || h.Next != 1 {
		t.Fatalf("header %+v, %v", h, err)
	}
	p := b[wire.HeaderLen:]
	if int(binary.BigEndian.Uint16(p[2:])) != len(p) {
		t.Fatalf("SA payload says %d octets, there are %d", binary.BigEndian.Uint16(p[2:]), len(p))
	}
	p = p[12:] // generic header, DOI, situation
	n := int(p[7])
	p = p[8:]
	for i := range n {
		size := int(binary.BigEndian.Uint16(p[2:]))
		if more := p[0] == 3; more != (i < n-1) || size > len(p) || int(p[4]) != i+1 {
			t.Fatalf("transform %d of %d: % x", i+1, n, p[:8])
		}
		p = p[size:]
	}
	if len(p) != 0 {
		t.Errorf("%d octets are left", len(p))
	}
}

func TestTheOtherHostOfALittleNetwork(t *testing.T) {
	for in, want := range map[string]string{
		"10.255.0.1/30": "10.255.0.2", "10.255.0.2/30": "10.255.0.1", "10.255.0.0/30": "", "10.255.0.3/30": "",
		"10.255.0.4/31": "10.255.0.5", "10.255.0.5/31": "10.255.0.4", "10.255.0.1/24": "", "10.255.0.1/32": "",
		"fd00::1/126": "fd00::2", "fd00::1/127": "fd00::", "fd00::1/64": "",
	} {
		got := ""
		if a := other(netip.MustParsePrefix(in)); a.IsValid() {
			got = a.String()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestASampleOfANetworkIsNotOurOwnAddress(t *testing.T) {
	own := []netip.Addr{netip.MustParseAddr("10.255.0.1"), netip.MustParseAddr("192.168.1.1")}
	for in, want := range map[string]string{"10.255.0.0/30": "10.255.0.2", "10.9.0.0/16": "10.9.0.1", "10.255.0.1/32": "", "10.255.0.0/31": "10.255.0.0", "192.168.1.0/24": "192.168.1.2"} {
		got := ""
		if a := sample(netip.MustParsePrefix(in), own); a.IsValid() {
			got = a.String()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestWhoseRouteKeepsPacketsOutOfTheTunnel(t *testing.T) {
	route := func(dst, ifname string, protocol uint8) hop {
		return hop{Route: rtnl.Route{Dst: netip.MustParsePrefix(dst), Type: unix.RTN_UNICAST, Metric: 5, Protocol: protocol}, ifname: ifname}
	}
	hand := func(dst, ifname string) hop { return route(dst, ifname, unix.RTPROT_STATIC) }
	const remove = "ip route delete 10.9.0.0/16 dev lan metric 5"
	lan := hand("10.9.0.0/16", "lan")
	nowhere := hop{Route: rtnl.Route{Dst: lan.Dst, Type: unix.RTN_BLACKHOLE, Metric: 5}}
	for _, c := range []struct {
		name   string
		inside bool
		to     hop
		beside []hop
		odd    int // parts that go elsewhere
		meant  bool
		says   string
		remove string
	}{
		{"no route of its own, such as a rule", false, lan, nil, 0, false, "", "greseal restart t0"},
		{"the same network", false, lan, []hop{lan}, 0, false, "not greseal's", remove},
		{"by another interface than the packets", false, lan, []hop{hand("10.9.0.0/16", "wan")}, 0, false, "", "greseal restart t0"},
		{"a larger network", false, lan, []hop{hand("10.0.0.0/8", "lan")}, 0, false, "", "greseal restart t0"},
		{"a part", false, lan, []hop{hand("10.9.0.0/24", "lan")}, 1, true, "", ""},
		{"another part", false, lan, []hop{hand("10.9.9.0/24", "lan")}, 1, false, "", "greseal restart t0"},
		{"a part of the tunnel's own network", true, lan, []hop{hand("10.9.0.0/24", "lan")}, 1, false, "", "ip route delete 10.9.0.0/24 dev lan metric 5"},
		{"a part and the network", false, lan, []hop{hand("10.9.0.0/24", "lan"), lan}, 1, true, "", ""},
		{"the own LAN", false, lan, []hop{route("10.9.0.0/16", "lan", unix.RTPROT_KERNEL)}, 0, false, "this machine's own interface lan", ""},
		{"the own LAN is a part", false, lan, []hop{route("10.9.0.0/24", "lan", unix.RTPROT_KERNEL)}, 0, true, "", ""},
		{"another tunnel", false, lan, []hop{route("10.9.0.0/16", "lan", rtnl.Protocol)}, 0, true, "", ""},
		{"the host route of a peer", false, lan, []hop{route("10.9.7.7/32", "wan", rtnl.Protocol)}, 0, false, "", "greseal restart t0"},
		{"a blackhole", false, hop{Route: rtnl.Route{Type: unix.RTN_BLACKHOLE}}, []hop{nowhere}, 0, false, "blackhole", "ip route delete blackhole 10.9.0.0/16 metric 5"},
	} {
		p := netip.MustParsePrefix("10.9.0.0/16")
		if odd := parts([]netip.Prefix{p}, c.beside); len(odd) != c.odd {
			t.Errorf("%s: %q", c.name, odd)
		}
		a := netip.MustParseAddr("10.9.0.1")
		by, meant := divertedBy(p, a, c.inside, c.to, c.beside)
		if meant != c.meant {
			t.Errorf("%s: meant %v", c.name, meant)
		}
		if meant {
			continue
		}
		s := blame("t0", p, a, c.to, by)
		if strings.Join(s.Commands, "\n") != c.remove || s.Remedy == "" || !strings.Contains(strings.Join(s.Evidence, "\n"), c.says) {
			t.Errorf("%s: %+v; want %q and %q", c.name, s, c.says, c.remove)
		}
	}
	for _, h := range []hop{hand("0.0.0.0/0", "wan"), route("10.9.0.0/16", "lan", unix.RTPROT_KERNEL), route("10.9.0.0/16", "t1", rtnl.Protocol)} {
		if h.remove() != "" {
			t.Errorf("%s: %s", h.Dst, h.remove())
		}
	}
}

func TestRoutesOfAnotherTunnelWithTheSameMetric(t *testing.T) {
	net := []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")}
	same := config.Tunnel{Name: "lab", Enabled: true, Routes: net}
	worse, off, elsewhere := same, same, same
	worse.Metric, off.Enabled, elsewhere.Table = 9, false, 100
	x := examOf(status.StateUp)
	x.Tunnel.Routes = net
	x.Others = []config.Tunnel{same, worse, off, elsewhere}
	if odd := x.sharedRoutes(); len(odd) != 1 || !strings.Contains(odd[0], `"lab" has the route 10.9.0.0/16`) {
		t.Errorf("%q", odd)
	}
}

func TestCountersAreReadAndTheirRiseExplained(t *testing.T) {
	c := make(counters)
	c.netstat("TcpExt: SyncookiesSent IPReversePathFilter Other\nTcpExt: 1 42 3\nIpExt: InNoRoutes\nIpExt: 0\n")
	if c[pathFiltered] != 42 {
		t.Errorf("the reverse path filter's counter is %d", c[pathFiltered])
	}
	rose := counters{"XfrmInStateProtoError": 9, "XfrmInNoStates": 5, "Other": 1}.since(counters{"XfrmInStateProtoError": 2, "XfrmInNoStates": 5})
	says, remedy := rose.explain()
	if len(says) != 1 || !strings.Contains(says[0], "increased by 7") || remedy == "" {
		t.Errorf("said %q, %q", says, remedy)
	}
	seen := make(map[string]bool)
	for _, m := range xfrmMeanings {
		if seen[m.counter] || m.sentence == "" {
			t.Errorf("%s is there twice, or means nothing", m.counter)
		}
		seen[m.counter] = true
	}
}

func TestXfrmErrorsAreAFaultOnlyWhereTheyExplainOne(t *testing.T) {
	x := examOf(status.StateUp)
	x.pinged = &echoes{target: netip.MustParseAddr("10.255.0.1"), sent: 5, rose: counters{"XfrmInStateProtoError": 5}}
	if s := checkXfrmErrors(x); s.Verdict != Fault || !strings.Contains(s.Evidence[0], "integrity") {
		t.Errorf("pings that fail: %+v", s)
	}
	x.pinged.answered = 2
	if s := checkXfrmErrors(x); s.Verdict != Warning {
		t.Errorf("pings that pass: %+v", s)
	}
}

func TestGREThatFitsNoInterfaceIsSeenWithoutACounterOfItsOwn(t *testing.T) {
	for _, c := range []struct {
		what string
		e    echoes
		want Verdict
	}{
		{"came out of ESP and got nowhere", echoes{sent: 5, inEver: 6}, Fault},
		{"got nowhere now", echoes{sent: 5, inSAs: 5, inEver: 9, inLinkEver: 4}, Fault},
		{"came to the interface", echoes{sent: 5, inSAs: 5, inEver: 5, inLink: 5, inLinkEver: 5}, OK},
		{"nothing came", echoes{sent: 5}, OK},
		{"answered", echoes{sent: 2, answered: 2, inSAs: 2, inEver: 2, inLink: 2, inLinkEver: 2}, OK},
	} {
		x := examOf(status.StateUp)
		x.pinged = &c.e
		if s := checkGREKey(x); s.Verdict != c.want {
			t.Errorf("%s: %+v, want %s", c.what, s, c.want)
		}
	}
}

func TestESPIsBlockedOnlyWhenNothingEverCameIn(t *testing.T) {
	for _, c := range []struct {
		what string
		e    echoes
		udp  bool
		want string // in the remedy, or the verdict
	}{
		{"answered", echoes{sent: 2, answered: 2}, false, "ok"},
		{"nothing ever came in", echoes{sent: 5, outSAs: 5}, false, `encap = "always"`},
		{"nothing ever came in by UDP", echoes{sent: 5, outSAs: 5}, true, "let UDP 4500 pass"},
		{"nothing ever came in by UDP, where ESP is tried", echoes{sent: 5, outSAs: 5}, true, "bare ESP was tried or will be"},
		{"something came in", echoes{sent: 5, outSAs: 5, inSAs: 1, inEver: 1}, false, "watch the other side's packets in"},
		{"damaged on the way", echoes{sent: 5, outSAs: 5, integrity: 3}, false, "changes or repeats"},
		{"nothing left", echoes{sent: 5}, false, "interface's own drops"},
		{"the peer is silent by now", echoes{sent: 5, outSAs: 5, silent: true}, false, "check the path"},
	} {
		x := examOf(status.StateUp)
		if c.udp {
			x.now.Tunnel.Outside.Encap = "udp"
		}
		c.e.target = netip.MustParseAddr("10.255.0.1")
		x.pinged = &c.e
		s := checkESP(x)
		if got := string(s.Verdict) + " " + s.Remedy; !strings.Contains(got, c.want) {
			t.Errorf("%s: %s, want %q in it", c.what, got, c.want)
		}
	}
}

func TestICMPErrorsMeanWhatTheirRFCsSay(t *testing.T) {
	for _, c := range []struct {
		origin, typ, code uint8
		want              kind
	}{
		{originICMP, 3, 3, refused}, {originICMP, 3, 2, refused}, {originICMP, 3, 13, prohibited}, {originICMP, 3, 10, prohibited},
		{originICMP, 3, 1, unreachable}, {originICMP, 3, 0, unreachable}, {originICMP, 3, 4, silent},
		{originICMP6, 1, 4, refused}, {originICMP6, 1, 1, prohibited}, {originICMP6, 1, 3, unreachable}, {originICMP6, 2, 0, silent},
	} {
		if got := meaning(extendedErr{Origin: c.origin, Type: c.typ, Code: c.code}); got != c.want {
			t.Errorf("origin %d type %d code %d: %d, want %d", c.origin, c.typ, c.code, got, c.want)
		}
	}
}

func TestTheFirstDifferenceIsThatOfTheBestProposal(t *testing.T) {
	parse := func(words ...string) (ps []suite.Proposal) {
		for _, w := range words {
			p, err := suite.ParseIKE(w)
			if err != nil {
				t.Fatal(err)
			}
			ps = append(ps, p)
		}
		return ps
	}
	got := firstDifference(parse("aes256gcm16-prfsha384-x25519", "aes128-sha256-x25519"), parse("aes128-sha256-modp2048")[0])
	if !strings.Contains(got, "the peer accepts modp2048, this side offers x25519") {
		t.Errorf("said %q", got)
	}
}

func TestForeignPoliciesThatCatchIKEAreNamed(t *testing.T) {
	local, remote := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.1")
	host := func(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
	guard := xfrmPolicy{dir: 1, src: netip.MustParsePrefix("0.0.0.0/0"), dst: host(remote), proto: 47, block: true}
	if s := judgePolicies([]xfrmPolicy{guard}, local, remote, false, false); s.Verdict != OK {
		t.Errorf("our own guard: %+v", s)
	}
	whole := xfrmPolicy{dir: 0, src: host(remote), dst: host(local), protects: true, priority: 100}
	s := judgePolicies([]xfrmPolicy{guard, whole}, local, remote, true, false)
	if s.Verdict != Fault || len(s.Commands) != 1 || s.Commands[0] != "ip xfrm policy delete dir in src 198.51.100.1/32 dst 192.0.2.1/32" {
		t.Errorf("another daemon's tunnel for all protocols: %+v", s)
	}
	bypass := xfrmPolicy{dir: 0, src: host(remote), dst: host(local), proto: 17, priority: 1}
	if s := judgePolicies([]xfrmPolicy{guard, whole, bypass}, local, remote, true, false); s.Verdict != OK {
		t.Errorf("the same with a bypass of a better priority: %+v", s)
	}
	if s := judgePolicies([]xfrmPolicy{whole}, local, remote, true, true); s.Verdict != Warning {
		t.Errorf("while packets come in all the same: %+v", s)
	}
}

func TestTheStepOfTheNameSaysWhatStatusSays(t *testing.T) {
	c := config.Tunnel{Remotes: []string{"hub.example.net"}, Routes: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}, Table: config.TableMain}
	if s := unresolved(&c, nil, []string{"hub.example.net: no name server answers"}); s.Verdict != Fault || s.Remedy != c.NameServerRemedy(nil) || s.Remedy == "" {
		t.Errorf("with no name server of another machine: %+v", s)
	}
	if s := unresolved(&c, []netip.Addr{netip.MustParseAddr("192.0.2.53")}, nil); !strings.Contains(s.Remedy, "check the name in remote") {
		t.Errorf("with one: %+v", s)
	}
}

func TestWhoSentIKEv1ToASideThatWaitsIsNamed(t *testing.T) {
	x := examOf(status.StateListening)
	x.Tunnel.RemoteAny = true
	if s := checkIKEv1(x); s.Verdict != Skipped {
		t.Errorf("nobody sent any: %+v", s)
	}
	x.now.IKEv1, x.now.IKEv1Age = netip.MustParseAddrPort("198.51.100.7:500"), 12*time.Second
	if s := checkIKEv1(x); s.Verdict != Warning || s.Evidence[0] != "198.51.100.7:500 sent a message of IKEv1 12 s ago" || !strings.Contains(s.Remedy, "IKEv2") {
		t.Errorf("an IKEv1 initiator: %+v", s)
	}
}

// With a NAT in front of this side neither remedy leads to the other: bare ESP does not
// get by it, so UDP 4500 must pass.
func TestANATIsSeenByTheAddresses(t *testing.T) {
	for _, c := range []struct {
		local, remote string
		want          bool
	}{
		{"192.168.1.2", "198.51.100.1", true}, {"10.1.1.1", "198.51.100.1", true}, {"192.168.1.2", "192.168.2.2", false},
		{"192.0.2.1", "198.51.100.1", false}, {"fd00::1", "2001:db8::1", false},
	} {
		x := examOf(status.StateUp)
		x.Tunnel.Encap = config.EncapNever
		x.now.Local, x.remote = netip.MustParseAddr(c.local), netip.MustParseAddr(c.remote)
		x.pinged = &echoes{target: netip.MustParseAddr("10.255.0.1"), sent: 5, outSAs: 5}
		s := checkESP(x)
		if x.behindNAT() != c.want || strings.Contains(s.Remedy, "let UDP 4500 pass on the way: a NAT is in front") != c.want {
			t.Errorf("from %s to %s: %v, %s", c.local, c.remote, x.behindNAT(), s.Remedy)
		}
	}
}

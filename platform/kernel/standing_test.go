package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"greseal/platform"
	"greseal/platform/netlink"
	"greseal/platform/rtnl"
	"greseal/platform/xfrm"
)

// openBare gives the node a datapath that writes netlink alone: policies need neither ESP
// nor GRE.
func (n *node) openBare() {
	n.t.Helper()
	var err error
	n.do(func() { n.dp, err = open(slog.New(slog.NewTextHandler(testLog{n.t}, nil))) })
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		n.t.Skipf("no XFRM: %v", err)
	}
	must(n.t, err)
	dp := n.dp
	n.t.Cleanup(func() { must(n.t, dp.Close()) })
}

func (n *node) audit() (found []platform.Deviation) {
	n.do(func() {
		there, err := platform.ReadInterfaces(n.dp.route)
		must(n.t, err)
		found = n.dp.Audit(there)
	})
	return found
}

// found fails when an audit does not tell of exactly these; each is a piece of a text,
// with an exclamation mark when it stays.
func (n *node) found(want ...string) []platform.Deviation {
	n.t.Helper()
	found := n.audit()
	ok := len(found) == len(want)
	for i := 0; ok && i < len(want); i++ {
		text, stays := strings.CutPrefix(want[i], "!")
		ok = strings.Contains(found[i].Text, text) && found[i].Fixed != stays
	}
	if !ok {
		n.t.Errorf("found %+v, want %q", found, want)
	}
	return found
}

// stands fails when an audit finds something, or does more than read.
func (n *node) stands() {
	n.t.Helper()
	asked := func(c *netlink.Conn) uint64 { return reflect.ValueOf(c).Elem().FieldByName("seq").Uint() }
	route, policies := asked(n.dp.route), asked(n.dp.xfrm)
	n.found()
	route, policies = asked(n.dp.route)-route, asked(n.dp.xfrm)-policies
	if route != 1 || policies != 2 {
		n.t.Errorf("an audit of what stands takes %d requests about interfaces and %d to XFRM, not one dump of each kind", route, policies)
	}
}

func (n *node) guard(link string, remotes ...string) error {
	var all []netip.Addr
	for _, r := range remotes {
		all = append(all, netip.MustParseAddr(r))
	}
	var err error
	n.do(func() { err = n.dp.Guard(link, all) })
	return err
}

func TestAuditLaysGuardsAgain(t *testing.T) {
	for _, c := range []struct{ name, command, text string }{
		{"flushed", "ip xfrm policy flush", "somebody removed it"},
		{"one deleted", "ip xfrm policy delete dir in src 203.0.113.1/32 dst 0.0.0.0/0 proto 47", "somebody removed it"},
		{"another action", "ip xfrm policy update dir out src 0.0.0.0/0 dst 203.0.113.1/32 proto 47 action allow priority 3047", "another policy stands in its place"},
		{"another priority", "ip xfrm policy update dir out src 0.0.0.0/0 dst 203.0.113.1/32 proto 47 action block priority 9", "another policy stands in its place"},
		{"an ICMP error lets pass", "ip xfrm policy delete dir out src 0.0.0.0/0 dst 203.0.113.1/32 proto icmp type 12", "somebody removed it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNode(t, "A")
			n.openBare()
			must(t, n.guard("hq", "203.0.113.1"))
			// Not ours, though alike: it has an interface id.
			n.sh("ip xfrm policy add dir out src 0.0.0.0/0 dst 203.0.113.1/32 proto 47 action allow priority 1 if_id 5")
			was := n.sh("ip xfrm policy")
			n.stands()
			n.sh(c.command)
			found := n.found(c.text)
			if found[0].Link != "hq" || found[0].Object != platform.ObjectGuard || found[0].Name != "203.0.113.1" {
				t.Errorf("%+v", found)
			}
			if now := n.sh("ip xfrm policy"); strings.Count(now, "action block") != strings.Count(was, "action block") {
				t.Errorf("now %s, was %s", now, was)
			}
			n.stands()
		})
	}
}

// Such a sysctl opens every guard on an interface, and changes no policy.
func TestAGuardThatTheKernelPassesOverIsTold(t *testing.T) {
	for _, sysctl := range []string{"net/ipv4/conf/wan/disable_xfrm", "net/ipv4/conf/wan/disable_policy", "net/ipv4/conf/all/disable_xfrm", "net/ipv4/conf/all/disable_policy", "net/ipv6/conf/wan/disable_policy", "net/ipv6/conf/all/disable_policy"} {
		t.Run(sysctl, func(t *testing.T) {
			n := newNode(t, "A")
			n.openBare()
			remote := "203.0.113.1"
			if strings.Contains(sysctl, "ipv6") {
				remote = "2001:db8::1"
			}
			must(t, n.guard("hq", remote))
			n.sh("ip link add wan type veth peer name other", "ip link set wan up")
			n.stands()
			n.sh("sysctl -q -w " + sysctl + "=1")
			var d platform.Deviation
			for range 2 {
				d = n.found("!no IPsec policy: the sysctl " + sysctl + " is set")[0]
			}
			if d.Link != "hq" || d.Object != platform.ObjectGuard || d.Name != remote {
				t.Errorf("%+v", d)
			}
			n.sh(d.Remedy)
			n.stands()
			// Of other IP versions, and of interfaces made for IPsec, it matters not.
			other := "net/ipv4"
			if strings.HasPrefix(sysctl, other) {
				other = "net/ipv6"
			}
			n.sh("sysctl -q -w " + other + "/conf/wan/disable_policy=1")
			n.stands()
		})
	}
}

// What can be changed of an SA in place, and what only by another in its place.
func TestAnSAIsComparedWithWhatItWas(t *testing.T) {
	d := &Datapath{}
	s := &installed{State: xfrm.State{Src: netip.MustParseAddr("198.18.1.2"), Reqid: 5, Mode: xfrm.ModeTunnel}}
	message := func(change func(p []byte)) *xfrm.Info {
		p := make([]byte, nl.SizeofXfrmUsersaInfo)
		copy(p[80:], s.Src.AsSlice())
		binary.NativeEndian.PutUint32(p[208:], s.Reqid)
		binary.NativeEndian.PutUint16(p[212:], unix.AF_INET)
		p[214] = s.Mode
		binary.NativeEndian.PutUint64(p[176:], 1_700_000_000)
		change(p)
		attrs := []byte{}
		for i, typ := range []int{nl.XFRMA_SET_MARK, nl.XFRMA_SET_MARK_MASK, nl.XFRMA_IF_ID} {
			if p[32+i] != 0 { // the selector's ports are a place to say which
				attrs = append(attrs, nl.NewRtAttr(typ, nl.Uint32Attr(uint32(p[32+i]))).Serialize()...)
				p[32+i] = 0
			}
		}
		info, err := xfrm.ParseState(append(p, attrs...))
		must(t, err)
		return &info
	}
	for _, c := range []struct {
		what   string
		change func(p []byte)
		text   string
	}{
		{"as it was read first", func([]byte) {}, ""},
		{"used", func(p []byte) { p[160], p[168], p[184], p[192], p[196], p[204] = 9, 9, 9, 9, 9, 9 }, ""},
		{"reqid", func(p []byte) { p[208]++ }, saChanged},
		{"mode", func(p []byte) { p[214]++ }, saChanged},
		{"source", func(p []byte) { p[80]++ }, saChanged},
		{"limit", func(p []byte) { p[96]++ }, saChanged},
		{"selector", func(p []byte) { p[43] = 32 }, saChanged},
		{"flags", func(p []byte) { p[216]++ }, saChanged},
		{"mark", func(p []byte) { p[32] = 1 }, saChanged},
		{"mask", func(p []byte) { p[33] = 1 }, saChanged},
		{"interface id", func(p []byte) { p[34] = 1 }, saChanged},
		{"another one", func(p []byte) { p[176]++ }, saReplaced},
	} {
		if got := d.deviates(s, message(c.change)); got != c.text {
			t.Errorf("%s: %q, want %q", c.what, got, c.text)
		}
	}
}

// A guard that is in use is laid by SetLink and others too, whatever they believe.
func TestAGuardIsReadAndNotBelieved(t *testing.T) {
	n := newNode(t, "A")
	n.openBare()
	must(t, n.guard("hq", "203.0.113.1", "2001:db8::1"))
	n.sh("ip xfrm policy flush")
	must(t, n.guard("hq", "203.0.113.1", "2001:db8::1"))
	n.stands()
}

func TestAGuardThatCannotBeLaidIsTold(t *testing.T) {
	n := newNode(t, "A")
	n.openBare()
	n.sh("ip xfrm policy add dir out src 0.0.0.0/0 dst 203.0.113.1/32 proto 47 action allow priority 9")
	if err := n.guard("hq", "203.0.113.1"); err == nil {
		t.Error("somebody else's policy was taken for the guard")
	}
	for range 7 { // more often than anything is put right
		n.found("!another program's policy lets it pass (ip xfrm policy: out 0.0.0.0/0 → 203.0.113.1/32 proto 47): remove that policy")
	}
	n.sh("ip xfrm policy delete dir out src 0.0.0.0/0 dst 203.0.113.1/32 proto 47")
	n.found("it is not laid")
	n.stands()
}

func TestAuditWithoutPrivilegesSaysThatNothingIsKnown(t *testing.T) {
	n := newNode(t, "A")
	n.openBare()
	must(t, n.guard("hq", "203.0.113.1"))
	var found []platform.Deviation
	must(t, withoutNetAdmin(func() { found = n.dp.Audit(nil) }))
	if len(found) == 0 || found[0].Fixed || found[0].Object != platform.ObjectGuard || found[0].Link != "hq" ||
		!strings.Contains(found[0].Text, "CAP_NET_ADMIN is needed: operation not permitted") || found[0].Remedy != platform.NeedAdmin {
		t.Errorf("%+v", found)
	}
}

// flowWithoutSAs gives the datapath a flow whose SAs are not in the kernel, and an interface that
// is no GRE.
func (n *node) flowWithoutSAs() {
	n.t.Helper()
	n.sh("ip link add hq type veth peer name other", "ip link set hq alias greseal:hq")
	local, remote := netip.MustParseAddr("198.18.1.2"), netip.MustParseAddr("203.0.113.1")
	var err error
	n.do(func() {
		var there *rtnl.Link
		if there, err = rtnl.LinkByName(n.dp.route, "hq"); err != nil {
			return
		}
		n.dp.links["hq"] = &device{want: platform.Link{Name: "hq", Local: local, Remote: remote}, remote: remote, index: there.Index}
		var p *flow
		if p, err = n.dp.flowFor(endpoints{"hq", local, remote}); err != nil {
			return
		}
		in, out := &installed{flow: p}, &installed{flow: p}
		in.Src, in.Dst, out.Src, out.Dst = remote, local, local, remote
		p.in, p.out = []*installed{in}, []*installed{out}
		err = n.dp.syncAllow(p)
	})
	must(n.t, err)
}

func TestAuditLaysAllowingPoliciesAgain(t *testing.T) {
	const selector = "dir out src 198.18.1.2/32 dst 203.0.113.1/32 proto gre key 0"
	for _, c := range []struct{ name, command, text string }{
		{"deleted", "ip xfrm policy delete " + selector, "somebody removed it"},
		{"another reqid", "ip xfrm policy update " + selector + " priority 1047 tmpl src 198.18.1.2 dst 203.0.113.1 proto esp reqid 5 mode transport", "a policy of reqid 0x5"},
		{"another mode", "ip xfrm policy update " + selector + " priority 1047 tmpl src 198.18.1.2 dst 203.0.113.1 proto esp reqid 1196556289 mode tunnel", "somebody changed its template"},
		{"blocks", "ip xfrm policy update " + selector + " action block priority 1047", "a policy that blocks"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNode(t, "A")
			n.openBare()
			n.flowWithoutSAs()
			was := n.sh("ip xfrm policy")
			n.stands()
			n.sh(c.command)
			if found := n.found(c.text); found[0].Link != "hq" || found[0].Object != platform.ObjectPolicy {
				t.Errorf("%+v", found)
			}
			if now := n.sh("ip xfrm policy"); strings.Count(now, "\n") != strings.Count(was, "\n") {
				t.Errorf("now %s, was %s", now, was)
			}
			n.stands()
		})
	}
}

func TestAFlushIsPutRightAsOften(t *testing.T) {
	n := newNode(t, "A")
	n.openBare()
	n.flowWithoutSAs()
	for range 5 {
		n.sh("ip xfrm policy flush")
		n.found("somebody removed it", "somebody removed it", "somebody removed it")
	}
	n.sh("ip xfrm policy flush")
	n.found("somebody removed it; another program keeps changing it", "!keeps changing it", "!keeps changing it")
	if out := n.sh("ip xfrm policy"); strings.Count(out, "action block") != guardBlocks || strings.Contains(out, "tmpl") {
		t.Errorf("the guard alone should stand: %s", out)
	}
}

func TestClampsAreWrittenAgain(t *testing.T) {
	for _, c := range []struct{ name, command, text string }{
		{"flushed", "nft flush ruleset", "somebody removed the table inet greseal"},
		{"deleted", "nft delete table inet greseal", "somebody removed the table inet greseal"},
		{"a chain flushed", "nft flush chain inet greseal postrouting", "somebody changed the table inet greseal"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNode(t, "A")
			needNFT(t, n)
			n.openBare()
			clamps := func(link string) (err error) {
				n.do(func() { err = n.dp.MSSClampError(link) })
				return err
			}
			written := func() {
				for done := false; !done; runtime.Gosched() {
					n.do(func() {
						n.dp.clamps.mu.Lock()
						done = n.dp.clamps.written == n.dp.clamps.ordered
						n.dp.clamps.mu.Unlock()
					})
				}
			}
			n.do(func() {
				n.dp.clamps = startClamps()
				n.dp.clamps.set("hq", sizes{mss4: 1300, mss6: 1280})
			})
			written()
			was := n.sh("nft list ruleset")
			n.found()
			must(t, clamps("hq"))
			n.sh("nft add table inet other", "nft delete table inet other")
			n.found()

			n.sh(c.command)
			if found := n.found("!" + c.text); found[0].Link != "hq" || found[0].Object != platform.ObjectClamp {
				t.Errorf("%+v", found)
			}
			written()
			n.found(c.text)
			n.found()
			must(t, clamps("hq"))
			if now := n.sh("nft list ruleset"); now != was {
				t.Errorf("now %s, was %s", now, was)
			}

			for range 4 {
				n.sh(c.command)
				n.found("!" + c.text)
				written()
				n.found(c.text)
			}
			n.sh(c.command)
			n.found("!another program keeps changing it")
			n.found("!another program keeps changing it")
			if err := clamps("hq"); err == nil || !strings.Contains(err.Error(), c.text) {
				t.Errorf("clamped, says %v", err)
			}
		})
	}
}

// Each kind of GRE interface, changed by hand in each way.
func TestAuditPutsGREInterfacesRight(t *testing.T) {
	needKernel(t)
	for _, s := range []setup{{name: "gre", key: 7}, {name: "gretap", ethernet: true}, {name: "ip6gre", v6: true}, {name: "ip6gretap", v6: true, ethernet: true, key: 1}} {
		t.Run(s.name, func(t *testing.T) {
			n := newNode(t, "A")
			n.sh("ip link add wan type veth peer name other", "ip link set wan up", "ip addr add 198.18.1.2/24 dev wan", "ip addr add 2001:db8:1::2/64 dev wan nodad", "ip link add lan type bridge")
			n.open()
			l := s.linkAt(true)
			if s.ethernet {
				l.Bridge = "lan"
			}
			n.setLink(l)
			n.stands()
			was := n.info("hq")
			change := func(text string, commands ...string) {
				t.Helper()
				n.sh(commands...)
				n.found(text)
				now := n.info("hq")
				if now.Index != was.Index || now.MTU != was.MTU || now.Master != was.Master || now.Alias != was.Alias || !bytes.Equal(now.Data, was.Data) || !now.Up() || now.Running() != was.Running() {
					t.Errorf("after %q: %+v, was %+v", commands, now, was)
				}
				n.stands()
			}
			change("its MTU is 1000 instead of", "ip link set hq mtu 1000")
			change("somebody renamed it to other9", "ip link set hq down", "ip link set hq name other9", "ip link set other9 up")
			change("its ifalias was changed", "ip link set hq alias mine")
			change("its link state does not show", "ip link set hq mode default")
			if s.ethernet {
				change("it is no port of bridge lan", "ip link set hq nomaster")
			}
			n.dp.repairs = platform.Repairs{}
			remote := "198.18.9.9"
			if s.v6 {
				remote = "2001:db8:9::9"
			}
			change("its GRE parameters were changed", "ip link change hq type "+s.name+" remote "+remote)
			change("its GRE parameters were changed", "ip link change hq type "+s.name+" ttl 7")
			change("its GRE parameters were changed", "ip link change hq type "+s.name+" key 99")

			n.do(func() { must(t, n.dp.SetRunning("hq", true)) })
			was = n.info("hq")
			n.stands()
			n.sh("ip link set hq down")
			n.found("!somebody set it down")
			n.sh("ip link set hq up")
			for range 2 { // the kernel may show it as dormant again, which is put right
				n.audit()
			}
			if now := n.info("hq"); !now.Running() {
				t.Errorf("after down and up: %+v", now)
			}
			n.stands()
			if out := n.sh("ip -4 -o xfrm policy") + n.sh("ip -6 -o xfrm policy"); !strings.Contains(out, "action block") {
				t.Errorf("guards: %s", out)
			}
		})
	}
}

// SetLink may be called before an audit: it knows its interface by the index.
func TestSetLinkKnowsItsInterfaceByIndex(t *testing.T) {
	needKernel(t)
	n := newNode(t, "A")
	n.sh("ip link add wan type veth peer name other", "ip link set wan up", "ip addr add 198.18.1.2/24 dev wan", "ip link add lan type bridge")
	n.open()
	l := setup{ethernet: true}.linkAt(true)
	was := n.setLink(l)
	n.sh("ip link set hq down", "ip link set hq name other9", "ip link set other9 master lan")
	if now := n.setLink(l); now != was {
		t.Errorf("renamed: index %d became %d", was, now)
	}
	n.sh("ip link set hq alias mine")
	l.MTU = 1300
	if now := n.setLink(l); now != was {
		t.Errorf("without its mark: index %d became %d", was, now)
	}
	// Without a bridge in the configuration whoever made it a port decides.
	if hq, lan := n.info("hq"), n.info("lan"); hq.Master != lan.Index {
		t.Errorf("its master is %d", hq.Master)
	}
	n.stands()
}

func TestAMovedGREInterfaceIsMadeAnewAndOnlyOnce(t *testing.T) {
	l := newLab(t)
	s := setup{transport: true, inner: 1}
	l.links(s)
	l.sas(s, 0x3000)
	l.a.sh(fmt.Sprintf("ip link set hq netns %d", l.w.thread()))
	if e, ok := l.a.event(platform.LinkLost); !ok || e.Link != "hq" {
		t.Errorf("%+v", e)
	}
	found := l.a.audit()
	if len(found) != 1 || found[0].Fixed || !strings.Contains(found[0].Text, "another network namespace") {
		t.Errorf("%+v", found)
	}
	l.a.setLink(s.linkAt(true))
	l.a.sh("ip addr add 10.1.0.1/24 dev hq")
	if out, err := l.w.try("ip link show hq"); err == nil {
		t.Errorf("there are two of them: %s", out)
	}
	if got := l.ping(s, 5); got != 5 {
		t.Errorf("%d of 5 pings", got)
	}
	l.a.stands()
	l.wire.noGRE(t, "all the while")
}

func TestAuditTellsOfSAsThatSomebodyDeleted(t *testing.T) {
	l := newLab(t)
	s := setup{transport: true, encap: true, inner: 1}
	l.links(s)
	l.sas(s, 0x3000)
	l.a.stands()
	l.a.sh("ip xfrm state delete src 198.18.1.2 dst 198.18.2.2 proto esp spi 0x3000")
	if e, ok := l.a.event(platform.HardExpire); !ok || !e.Out || e.SPI != 0x3000 {
		t.Errorf("%+v", e)
	}
	found := l.a.found("!somebody deleted it")
	if found[0].Name != "outbound 00003000" || found[0].Object != platform.ObjectSA {
		t.Errorf("%+v", found)
	}
	l.a.remove(platform.SAKey{Link: "hq", Out: true, SPI: 0x3000})
	l.a.stands()

	// The notification is lost: nobody listens.
	l.a.do(func() {
		for _, s := range l.a.dp.subs {
			s.Close()
		}
	})
	_, reqid, _ := strings.Cut(l.a.sh("ip -o xfrm state"), "reqid ")
	reqid = strings.Fields(reqid)[0]
	time.Sleep(1100 * time.Millisecond) // the kernel notes the second
	l.a.sh("ip xfrm state flush", "ip xfrm state add src 198.18.2.2 dst 198.18.1.2 proto esp spi 0x3001 reqid "+reqid+" mode transport encap espinudp 4500 4500 0.0.0.0 aead rfc4106(gcm(aes)) 0x"+strings.Repeat("11", 20)+" 128")
	l.a.found("another program's SA takes the tunnel's packets", "!somebody put another in its place")
	l.a.found("!somebody put another in its place")
	if e, ok := l.a.event(platform.HardExpire); !ok || e.Out || e.SPI != 0x3001 {
		t.Errorf("%+v", e)
	}
	l.a.remove(platform.SAKey{Link: "hq", SPI: 0x3001})
	l.a.stands()

	l.sas(s, 0x4000)
	l.a.sh("ip xfrm state flush")
	l.a.found("!somebody deleted it", "!somebody deleted it")
	l.wire.noGRE(t, "all the while")
}

// withoutNetAdmin runs f in a thread that the kernel refuses to change the network.
func withoutNetAdmin(f func()) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its capabilities
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		err := unix.Capget(&header, &data[0])
		if err == nil {
			data[0].Effective &^= 1 << unix.CAP_NET_ADMIN
			err = unix.Capset(&header, &data[0])
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	return <-done
}

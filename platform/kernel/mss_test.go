package kernel

import (
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// needNFT skips a test where there is no nft or the kernel does not take it.
func needNFT(t *testing.T, n *node) {
	t.Helper()
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("needs the program nft")
	}
	if out, err := n.try("nft list tables"); err != nil {
		t.Skipf("nft does not work here: %s", out)
	}
}

// segmentSizes opens a TCP connection and reads what both ends will send at most.
func (n *node) segmentSizes(peer *node, to string) (here, there int) {
	n.t.Helper()
	var ln net.Listener
	var c net.Conn
	var err error
	peer.do(func() { ln, err = net.Listen("tcp", net.JoinHostPort(to, "0")) })
	must(n.t, err)
	defer ln.Close()
	n.do(func() { c, err = net.Dial("tcp", ln.Addr().String()) })
	must(n.t, err)
	defer c.Close()
	s, err := ln.Accept()
	must(n.t, err)
	defer s.Close()
	size := func(c net.Conn) (n int, err error) {
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err == nil {
			err = errors.Join(raw.Control(func(fd uintptr) { n, err = syscall.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG) }), err)
		}
		return n, err
	}
	here, err = size(c)
	must(n.t, err)
	there, err = size(s)
	must(n.t, err)
	return here, there
}

// The clamp needs no GRE: it goes by the interface's name, here that of a router's
// veth. Both ends' segments become small, whichever opens the connection.
func TestClampsFollowTheLinks(t *testing.T) {
	a, b, w := newNode(t, "A"), newNode(t, "B"), newNode(t, "W")
	needNFT(t, w)
	for i, n := range []*node{a, b} {
		i := i + 1
		w.sh(fmt.Sprintf("ip link add w%d type veth peer name wan", i),
			fmt.Sprintf("ip link set wan netns %d", n.thread()),
			fmt.Sprintf("ip link set w%d up", i),
			fmt.Sprintf("ip addr add 198.18.%d.1/24 dev w%d", i, i),
			fmt.Sprintf("ip addr add 2001:db8:%d::1/64 dev w%d nodad", i, i))
		n.sh("ip link set wan up",
			fmt.Sprintf("ip addr add 198.18.%d.2/24 dev wan", i),
			fmt.Sprintf("ip addr add 2001:db8:%d::2/64 dev wan nodad", i),
			fmt.Sprintf("ip route add default via 198.18.%d.1", i),
			fmt.Sprintf("ip route add default via 2001:db8:%d::1", i))
	}
	w.sh("sysctl -q -w net.ipv4.ip_forward=1", "sysctl -q -w net.ipv6.conf.all.forwarding=1")

	// What a killed daemon left of another link, and a table of somebody else.
	w.sh("nft add table inet greseal", "nft add chain inet greseal old", "nft add table inet other")

	var c *clamps
	start := func() { w.do(func() { c = startClamps() }) }
	written := func() string {
		t.Helper()
		c.close()
		if c.err != nil {
			t.Fatal(c.err)
		}
		return w.sh("nft list ruleset")
	}
	start()
	c.set("w2", sizes{mss4: 1300, mss6: 1280})
	c.set("w2", sizes{mss4: 1200, mss6: 1180}) // overtakes
	out := written()
	if strings.Contains(out, "chain old") || !strings.Contains(out, "table inet other") {
		t.Errorf("the table was not replaced alone:\n%s", out)
	}
	for _, try := range []struct {
		from, to *node
		addr     string
		most     int
	}{{a, b, "198.18.2.2", 1200}, {b, a, "198.18.1.2", 1200}, {a, b, "2001:db8:2::2", 1180}, {b, a, "2001:db8:1::2", 1180}} {
		here, there := try.from.segmentSizes(try.to, try.addr)
		if here > try.most || there > try.most || here < try.most-40 || there < try.most-40 {
			t.Errorf("to %s: segments of %d and %d octets, wanted just below %d\n%s", try.addr, here, there, try.most, out)
		}
	}

	// One link more, one without IPv6; then the first goes, and then the table.
	want := c.want
	start()
	c.want = want
	c.set("hq", sizes{mss4: 1000})
	if out = written(); strings.Count(out, `"hq"`) != 2 || strings.Count(out, `"w2"`) != 4 {
		t.Errorf("two links:\n%s", out)
	}
	start()
	c.want = want
	c.set("w2", sizes{})
	if out = written(); strings.Contains(out, `"w2"`) || strings.Count(out, `"hq"`) != 2 {
		t.Errorf("one link:\n%s", out)
	}
	start()
	c.want = want
	c.set("hq", sizes{})
	if out = written(); strings.Contains(out, "greseal") || !strings.Contains(out, "table inet other") {
		t.Errorf("no link:\n%s", out)
	}
}

// What a bridge passes between its ports never meets the routed packets' table.
func TestClampsFollowLinksThatAreBridged(t *testing.T) {
	a, b, w := newNode(t, "A"), newNode(t, "B"), newNode(t, "W")
	needNFT(t, w)
	w.sh("ip link add lan type bridge", "ip link set lan up", "ip addr add 198.18.1.9/24 dev lan")
	if out, err := w.try("nft add table bridge greseal"); err != nil { // what a killed daemon left
		t.Skipf("no nftables for bridges here: %s", out)
	}
	w.sh("nft add chain bridge greseal old", "nft add table bridge other")
	vlans := true
	for i, n := range []*node{a, b} {
		i := i + 1
		w.sh(fmt.Sprintf("ip link add w%d type veth peer name wan", i),
			fmt.Sprintf("ip link set wan netns %d", n.thread()),
			fmt.Sprintf("ip link set w%d up master lan", i))
		n.sh("ip link set wan up",
			fmt.Sprintf("ip addr add 198.18.1.%d/24 dev wan", i),
			fmt.Sprintf("ip addr add 2001:db8:1::%d/64 dev wan nodad", i))
		if _, err := n.try("ip link add link wan name tagged type vlan id 7"); err != nil {
			vlans = false
			continue
		}
		n.sh("ip link set tagged up",
			fmt.Sprintf("ip addr add 198.18.7.%d/24 dev tagged", i),
			fmt.Sprintf("ip addr add 2001:db8:7::%d/64 dev tagged nodad", i))
	}
	var c *clamps
	w.do(func() { c = startClamps() })
	c.set("w2", sizes{mss4: 1200, mss6: 1180, ethernet: true})
	c.set("other", sizes{mss4: 1000})
	c.close()
	must(t, c.err)
	must(t, c.bridgeErr)
	out := w.sh("nft list table bridge greseal")
	if all := w.sh("nft list tables"); strings.Contains(out, "chain old") || strings.Contains(out, `"other"`) || !strings.Contains(all, "table bridge other") {
		t.Errorf("the bridge's table:\n%s%s", out, all)
	}
	for _, try := range []struct {
		from, to *node
		addr     string
		most     int
		vlan     bool
	}{
		{a, b, "198.18.1.2", 1200, false}, {b, a, "198.18.1.1", 1200, false},
		{a, b, "2001:db8:1::2", 1180, false}, {b, a, "2001:db8:1::1", 1180, false},
		{w, b, "198.18.1.2", 1200, false}, {b, w, "198.18.1.9", 1200, false}, // the bridge's own
		{a, b, "198.18.7.2", 1196, true}, {b, a, "198.18.7.1", 1196, true},
		{a, b, "2001:db8:7::2", 1176, true},
	} {
		if try.vlan && !vlans {
			continue
		}
		here, there := try.from.segmentSizes(try.to, try.addr)
		// Both announce timestamps, which take 12 bytes of a segment.
		if here != try.most-12 || there != try.most-12 {
			t.Errorf("to %s: segments of %d and %d octets, wanted %d with the timestamps\n%s", try.addr, here, there, try.most, out)
		}
	}
	w.do(func() { c = startClamps() })
	c.set("other", sizes{mss4: 1000})
	c.close()
	if all := w.sh("nft list tables"); strings.Contains(all, "bridge greseal") || !strings.Contains(all, "table bridge other") {
		t.Errorf("without Ethernet:\n%s", all)
	}
}

func TestWithoutNFTTheWordIsPlain(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	c := startClamps()
	c.set("hq", sizes{mss4: 1300, mss6: 1280})
	c.close()
	if !errors.Is(c.err, errNoNFT) {
		t.Errorf("%v", c.err)
	}
}

package demo

import (
	"context"
	"encoding/hex"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"greseal/platform/netlink"
	"greseal/platform/rtnl"
)

// frame builds an Ethernet frame around a hex dump.
func frame(t *testing.T, ether, hexdump string) []byte {
	t.Helper()
	b, err := hex.DecodeString("020000000001020000000002" + ether + strings.ReplaceAll(hexdump, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestObserverTellsPacketsApart(t *testing.T) {
	const v4 = "45000028 00010000 40%0000 c0000202 c6336402"
	ip := func(proto string) string { return strings.Replace(v4, "%", proto, 1) }
	const v6 = "60000000 0010%40 20010db8000000000000000000000001 20010db8000000000000000000000002"
	ip6 := func(next string) string { return strings.Replace(v6, "%", next, 1) }
	const esp = "c0ffee01 00000007 1111222233334444"
	for _, c := range []struct {
		what string
		b    []byte
		want kind
	}{
		{"GRE", frame(t, "0800", ip("2f")+"00000800"), kindGRE},
		{"GRE, later fragment", frame(t, "0800", strings.Replace(ip("2f"), "00010000", "000100b9", 1)+"ffffffff"), kindGRE},
		{"GRE with IP options", frame(t, "0800", "46000030 00010000 402f0000 c0000202 c6336402 01010101 00000800"), kindGRE},
		{"GRE in IPv6", frame(t, "86dd", ip6("2f")+"00000800"), kindGRE},
		{"GRE in IPv6 behind options", frame(t, "86dd", ip6("00")+"2f00000000000000 00000800"), kindGRE},
		{"GRE in IPv6, fragment", frame(t, "86dd", ip6("2c")+"2f00000100000001 00000800"), kindGRE},
		{"ESP", frame(t, "0800", ip("32")+esp), kindESP},
		{"ESP in UDP", frame(t, "0800", ip("11")+"11941194001c0000"+esp), kindESPUDP},
		{"IKE on 500", frame(t, "0800", ip("11")+"01f401f4001c0000"+esp), kindIKE},
		{"IKE on 4500", frame(t, "0800", ip("11")+"11941194001c0000 00000000"+esp), kindIKE},
		{"IKE behind a NAT", frame(t, "0800", ip("11")+"c3501194001c0000 00000000"+esp), kindIKE},
		{"NAT keepalive", frame(t, "0800", ip("11")+"1194119400090000 ff"), kindKeepalive},
		{"other UDP", frame(t, "0800", ip("11")+"003500350010 0000"+esp), kindOther},
		{"ICMP", frame(t, "0800", ip("01")+"0800"), kindICMP},
		{"ICMP error about GRE", frame(t, "0800", "45000038 00010000 40010000 c0000202 c6336402 0303 0000 00000000"+ip("2f")), kindQuote},
		{"ICMP error about ESP", frame(t, "0800", "45000038 00010000 40010000 c0000202 c6336402 0303 0000 00000000"+ip("32")), kindICMP},
		{"ICMP error cut short", frame(t, "0800", ip("01")+"0303 0000 00000000 45"), kindICMP},
		{"ICMPv6 error about GRE", frame(t, "86dd", strings.Replace(ip6("3a"), "0010", "0030", 1)+"0104 0000 00000000"+ip6("2f")), kindQuote},
		{"ICMPv6 echo", frame(t, "86dd", ip6("3a")+"8000 0000 00000000"+ip6("2f")), kindICMP},
		{"ARP", frame(t, "0806", "0001"), kindARP},
		{"cut IPv4 header", frame(t, "0800", "4500"), kindOther},
		{"IPv4 header longer than the packet", frame(t, "0800", strings.Replace(ip("2f"), "45", "4f", 1)), kindOther},
		{"IPv6 options that never end", frame(t, "86dd", ip6("00")+"00ff000000000000"), kindOther},
		{"nothing", nil, kindOther},
	} {
		if s := parseFrame(c.b); s.kind != c.want {
			t.Errorf("%s: taken for %s, want %s", c.what, s.kind, c.want)
		}
	}
	s := parseFrame(frame(t, "0800", ip("11")+"11941194001c0000"+esp))
	if s.spi != 0xc0ffee01 || s.seq != 7 || s.src != netip.MustParseAddr("192.0.2.2") || s.ipBytes != 20 || s.udpBytes != 8 || hex.EncodeToString(s.payload) != "11112222" {
		t.Errorf("read as %+v", s)
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	ns, err := newNamespace("a test")
	if err != nil {
		t.Skipf("needs network namespaces: %v", err)
	}
	ns.close()
}

func TestCaptureFindsAClearPingAndClearGRE(t *testing.T) {
	needRoot(t)
	ctx := context.Background()
	w, err := newWorld()
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	s := &show{report: &report{w: &strings.Builder{}, start: time.Now()}, world: w, text: []byte("a text that must be found")}
	inner := append(leftLAN.Addr().AsSlice(), rightLAN.Addr().AsSlice()...)
	s.capture, err = startCapture(w.wire, []needle{{needleText, s.text}, {needleInner, inner}, {needleGRE, greHeader()}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.capture.stop()
	if err := s.control(ctx); err != nil || len(s.failed) > 0 || s.proofs != 1 {
		t.Fatalf("%v, failed %q:\n%s", err, s.failed, s.w)
	}
	if n := s.capture.sum().packets; n != 0 {
		t.Errorf("%d frames were not forgotten", n)
	}
	s.ping, err = newPinger(w.left, leftOuter.Addr(), rightOuter.Addr(), s.text)
	if err != nil {
		t.Fatal(err)
	}
	defer s.ping.close()
	if _, ok := s.ping.answer(ctx, s.ping.send(), 5*time.Second); !ok {
		t.Fatal("a ping between the outer addresses was not answered")
	}
	// Request and answer, each on both links. The ICMP error about the control's GRE may be late.
	if tally := s.capture.sum(); tally.found[needleText] != 4 || tally.kinds[kindICMP] < 4 || tally.kinds[kindGRE] != 0 {
		t.Errorf("captured %+v", tally)
	}
	if sent, answered, refused := s.ping.count(0, s.ping.last()); sent != 1 || answered != 1 || refused != 0 {
		t.Errorf("counted %d, %d, %d", sent, answered, refused)
	}
}

func TestRefusedPingsAreNoAnswers(t *testing.T) {
	needRoot(t)
	w, err := newWorld()
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	p, err := newPinger(w.left, leftLAN.Addr(), netip.MustParseAddr("240.0.0.1"), []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if _, ok := p.answer(context.Background(), p.send(), time.Second); ok {
		t.Error("an address nobody has answered")
	}
	if _, answered, _ := p.count(0, 1); answered != 0 {
		t.Error("counted as answered")
	}
}

func TestNamespacesVanishWithTheirDescriptors(t *testing.T) {
	needRoot(t)
	w, err := newWorld()
	if err != nil {
		t.Fatal(err)
	}
	left := w.left
	if err := left.netlink(func(h *netlink.Conn) error { _, err := rtnl.LinkByName(h, wanName); return err }); err != nil {
		t.Error(err)
	}
	w.close()
	if err := left.do(func() error { return nil }); err == nil {
		t.Error("a closed namespace can still be entered")
	}
	// None of it ever was in the namespace of the test.
	h, err := netlink.Open(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if _, err := rtnl.LinkByName(h, toLeft); err == nil {
		t.Error("an interface of the demo stands outside of it")
	}
}

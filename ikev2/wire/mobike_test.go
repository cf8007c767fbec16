package wire

import (
	"bytes"
	"net/netip"
	"testing"
)

func TestNoNATsHasTheLayoutOfRFC4555(t *testing.T) {
	v4 := NoNATs(netip.MustParseAddrPort("192.0.2.1:4500"), netip.MustParseAddrPort("[::ffff:198.51.100.2]:500"))
	if want := []byte{192, 0, 2, 1, 198, 51, 100, 2, 0x11, 0x94, 0x01, 0xf4}; !bytes.Equal(v4, want) {
		t.Errorf("IPv4: % x, want % x", v4, want)
	}
	v6 := NoNATs(netip.MustParseAddrPort("[2001:db8::1]:4500"), netip.MustParseAddrPort("[2001:db8::2]:500"))
	if len(v6) != 36 || v6[15] != 1 || v6[31] != 2 || !bytes.Equal(v6[32:], []byte{0x11, 0x94, 0x01, 0xf4}) {
		t.Errorf("IPv6: % x", v6)
	}
}

func TestAdditionalAddressesGoThereAndBack(t *testing.T) {
	for a, kind := range map[string]NotifyType{"192.0.2.1": AdditionalIP4Address, "2001:db8::1": AdditionalIP6Address} {
		n := NewNotify(kind, netip.MustParseAddr(a).AsSlice())
		if got, ok := n.Address(); !ok || got.String() != a {
			t.Errorf("%s became %s, %t", a, got, ok)
		}
		n.Data = n.Data[1:]
		if got, ok := n.Address(); ok {
			t.Errorf("%d octets were taken as %s", len(n.Data), got)
		}
	}
	if _, ok := NewNotify(Cookie2, []byte{1, 2, 3, 4}).Address(); ok {
		t.Error("COOKIE2 was taken as an address")
	}
}

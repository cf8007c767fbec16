package ikev2

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"greseal/crypto/seal"
	"greseal/crypto/suite"
	"greseal/ikev2/keymat"
	"greseal/ikev2/wire"
)

// capture is one of Wireshark's captures with its keys.
type capture struct {
	File string `json:"file"`
	SPIi string `json:"spi_i"`
	SPIr string `json:"spi_r"`
	Encr uint16 `json:"encr_id"`
	Ei   string `json:"sk_ei"`
	Er   string `json:"sk_er"`
	Ai   string `json:"sk_ai"`
	Ar   string `json:"sk_ar"`
	Msgs []struct {
		Frame   int    `json:"frame"`
		Src     string `json:"src"`
		Dst     string `json:"dst"`
		Message string `json:"message"`
		Inner   string `json:"inner"`
	} `json:"messages"`
}

func captures(t *testing.T) []capture {
	dir := os.Getenv("GRESEAL_VECTORS")
	if dir == "" {
		t.Skip("GRESEAL_VECTORS is not set: Wireshark's captures are not read")
	}
	raw, err := os.ReadFile(filepath.Join(dir, "pcap", "ikev2_messages.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Captures []capture `json:"captures"`
	}
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	return all.Captures
}

func unhex(t *testing.T, s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The captures' encrypted messages come out as published, by the same way that
// the engine opens what it receives, and come in again when sealed.
func TestCapturedMessagesOpen(t *testing.T) {
	opened := 0
	for _, c := range captures(t) {
		encr := suite.Transform{Type: suite.TypeEncr, ID: c.Encr, KeyLen: 256}
		var integ suite.Transform
		switch c.Encr {
		case suite.ENCR_AES_CBC:
			integ = suite.Transform{Type: suite.TypeInteg, ID: suite.AUTH_HMAC_SHA2_256_128}
		case suite.ENCR_AES_GCM_16:
		default:
			continue // not implemented here
		}
		cipher := map[bool]keymat.Sealer{}
		for initiator, keys := range map[bool][2]string{true: {c.Ei, c.Ai}, false: {c.Er, c.Ar}} {
			s, err := seal.New(encr, integ, unhex(t, keys[0]), unhex(t, keys[1]), seeded(1))
			if err != nil {
				t.Fatal(err)
			}
			cipher[initiator] = keymat.NewSealer(s)
		}
		for _, msg := range c.Msgs {
			m, err := wire.Parse(unhex(t, msg.Message))
			if err != nil {
				t.Fatalf("%s frame %d: %v", c.File, msg.Frame, err)
			}
			if m.SK() == nil {
				continue
			}
			o := cipher[m.Initiator()]
			in, err := m.Decrypt(o)
			if err != nil || !bytes.Equal(in.Plain, unhex(t, msg.Inner)) {
				t.Fatalf("%s frame %d: %x, %v", c.File, msg.Frame, in.Plain, err)
			}
			opened++
			again, err := wire.AppendSealedBytes(nil, m.Header, in.First, in.Plain, o)
			if err != nil {
				t.Fatal(err)
			}
			n, err := wire.Parse(again)
			if err != nil {
				t.Fatal(err)
			}
			if back, err := n.Decrypt(o); err != nil || !bytes.Equal(back.Plain, in.Plain) {
				t.Fatalf("%s frame %d: sealed again it opens as %x, %v", c.File, msg.Frame, back.Plain, err)
			}
			spoiled := bytes.Clone(m.Raw)
			spoiled[len(spoiled)/2] ^= 1
			if n, err := wire.Parse(spoiled); err == nil {
				if _, err := n.Decrypt(o); err == nil {
					t.Fatalf("%s frame %d: a flipped bit passes", c.File, msg.Frame)
				}
			}
		}
	}
	if opened < 6 {
		t.Fatalf("only %d messages were opened", opened)
	}
}

// The captures' NAT detection hashes are those of their addresses: no NAT.
func TestCapturedNATDetection(t *testing.T) {
	checked := 0
	for _, c := range captures(t) {
		for _, msg := range c.Msgs {
			m, err := wire.Parse(unhex(t, msg.Message))
			if err != nil || m.Exchange != wire.IKESAInit {
				continue
			}
			k, err := wire.Collect(m.Payloads)
			if err != nil || k.Notify(wire.NATDetectionSourceIP) == nil {
				continue
			}
			spi, _ := strconv.ParseUint(c.SPIi, 16, 64)
			s := &ikeSA{IKESA: IKESA{SPIi: spi}}
			d := &Datagram{Local: netip.MustParseAddrPort(msg.Dst), Remote: netip.MustParseAddrPort(msg.Src)}
			s.natDetect(k, d, m.SPIr)
			if !s.natd || s.NATLocal || s.NATRemote {
				t.Errorf("%s frame %d: %+v", c.File, msg.Frame, s)
			}
			d.Remote = netip.AddrPortFrom(d.Remote.Addr(), d.Remote.Port()+1)
			if s.natDetect(k, d, m.SPIr); !s.NATRemote || s.NATLocal {
				t.Errorf("%s frame %d: a translated port is not noticed", c.File, msg.Frame)
			}
			checked++
		}
	}
	if checked == 0 {
		t.Fatal("no capture has NAT detection")
	}
}

// What is said to get UDP is no NAT, and does not hide one.
func TestForcedEncapsulationIsToldFromANAT(t *testing.T) {
	a, b := netip.MustParseAddrPort("192.0.2.1:500"), netip.MustParseAddrPort("198.51.100.1:500")
	translated := netip.MustParseAddrPort("203.0.113.9:31000")
	for _, c := range []struct {
		what           string
		mode           EncapMode
		seen           netip.AddrPort
		remote, forced bool
	}{
		{"no NAT", EncapAuto, a, false, false},
		{"forced", EncapForce, a, true, true},
		{"a NAT", EncapAuto, translated, true, false},
		{"forced behind a NAT", EncapForce, translated, true, false},
		{"forced behind one that translates ports alone", EncapForce, netip.AddrPortFrom(a.Addr(), 31000), true, true},
	} {
		from := &ikeSA{IKESA: IKESA{SPIi: 1}, ways: ways{local: a, remote: b}}
		from.setEncap(c.mode)
		k, err := wire.Collect(from.natPayloads())
		if err != nil {
			t.Fatal(err)
		}
		to := &ikeSA{IKESA: IKESA{SPIi: 1}}
		to.natDetect(k, &Datagram{Local: b, Remote: c.seen}, 0)
		if to.NATRemote != c.remote || to.EncapForcedByPeer != c.forced || to.info().EncapForcedByPeer != c.forced {
			t.Errorf("%s: NAT %v, forced %v", c.what, to.NATRemote, to.EncapForcedByPeer)
		}
	}
}

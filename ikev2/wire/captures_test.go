package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func vectors(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("GRESEAL_VECTORS")
	if dir == "" {
		t.Skip("GRESEAL_VECTORS is not set: it names the folder of reference vectors")
	}
	return dir
}

type capture struct {
	File     string `json:"file"`
	EncrID   int    `json:"encr_id"`
	SKei     string `json:"sk_ei"`
	SKer     string `json:"sk_er"`
	Messages []struct {
		Frame      int      `json:"frame"`
		SrcAddr    string   `json:"src"`
		DstAddr    string   `json:"dst"`
		Exchange   int      `json:"exchange_type"`
		Flags      string   `json:"flags"`
		MessageID  uint32   `json:"message_id"`
		Message    string   `json:"message"`
		InnerFirst *uint8   `json:"inner_first"`
		Inner      string   `json:"inner"`
		Payloads   []string `json:"payloads"`
		SA         []struct {
			Num        uint8  `json:"num"`
			Protocol   uint8  `json:"protocol"`
			SPI        string `json:"spi"`
			Transforms []struct {
				Type      uint8  `json:"type"`
				ID        uint16 `json:"id"`
				KeyLength uint16 `json:"key_length"`
			} `json:"transforms"`
		} `json:"sa"`
	} `json:"messages"`
}

// listed names payloads as the capture list does.
func listed(ps []Payload) []string {
	out := []string{}
	for _, p := range ps {
		switch p := p.(type) {
		case *Notify:
			out = append(out, fmt.Sprintf("N(%d)", p.Kind))
		case *Auth:
			out = append(out, fmt.Sprintf("AUTH(m%d)", p.Method))
		default:
			out = append(out, p.Type().String())
		}
	}
	return out
}

func TestCapturedMessagesParseAndReencodeToTheSameOctets(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(vectors(t), "pcap", "ikev2_messages.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Captures []capture `json:"captures"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	messages, opened, hashes := 0, 0, 0
	for _, c := range file.Captures {
		for _, v := range c.Messages {
			at := fmt.Sprintf("%s frame %d", c.File, v.Frame)
			raw, _ := hex.DecodeString(v.Message)
			m, err := Parse(raw)
			if err != nil {
				t.Fatalf("%s: %v", at, err)
			}
			messages++
			if int(m.Exchange) != v.Exchange || fmt.Sprintf("%02x", uint8(m.Flags)) != v.Flags || m.MessageID != v.MessageID {
				t.Errorf("%s: header %+v", at, m.Header)
			}
			again, err := m.Append(nil)
			if err != nil || !bytes.Equal(again, raw) {
				t.Errorf("%s: encoded as (%v) %x, want %x", at, err, again, raw)
			}
			ps := m.Payloads
			if v.InnerFirst != nil {
				inner, _ := hex.DecodeString(v.Inner)
				sk := m.SK()
				if sk == nil || uint8(sk.First) != *v.InnerFirst {
					t.Fatalf("%s: SK %v", at, sk)
				}
				if ps, err = ParsePayloadsOf(0, sk.First, inner); err != nil {
					t.Fatalf("%s: %v", at, err)
				}
				again, err := AppendPayloads(nil, ps)
				if err != nil || !bytes.Equal(again, inner) {
					t.Errorf("%s: encoded as (%v)\n%x, want\n%x", at, err, again, inner)
				}
				if c.EncrID == 20 {
					key := c.SKer
					if m.Initiator() {
						key = c.SKei
					}
					b, _ := hex.DecodeString(key)
					c, err := m.Decrypt(newGCM(t, b))
					if err != nil || !bytes.Equal(c.Plain, inner) {
						t.Errorf("%s: opened as (%v) %x, want %x", at, err, c.Plain, inner)
					}
					opened++
				}
			}
			if got := strings.Join(listed(ps), " "); got != strings.Join(v.Payloads, " ") {
				t.Errorf("%s: payloads %s, want %v", at, got, v.Payloads)
			}
			all, err := Collect(ps)
			if err != nil {
				t.Fatalf("%s: %v", at, err)
			}
			if (all.SA != nil) != (v.SA != nil) {
				t.Errorf("%s: SA payload %v", at, all.SA)
			}
			for i, want := range v.SA {
				got := all.SA.Proposals[i]
				if got.Number != want.Num || uint8(got.Protocol) != want.Protocol || hex.EncodeToString(got.SPI) != want.SPI || len(got.Transforms) != len(want.Transforms) {
					t.Errorf("%s: proposal %s, want %+v", at, &got, want)
					continue
				}
				for k, w := range want.Transforms {
					g := got.Transforms[k]
					if uint8(g.Type) != w.Type || g.ID != w.ID || g.KeyLen != w.KeyLength || g.Unusable {
						t.Errorf("%s: transform %+v, want %+v", at, g, w)
					}
				}
			}
			for kind, addr := range map[NotifyType]string{NATDetectionSourceIP: v.SrcAddr, NATDetectionDestinationIP: v.DstAddr} {
				n := all.Notify(kind)
				if n == nil || m.Exchange != IKESAInit {
					continue
				}
				if h := NATDetectionHash(m.SPIi, m.SPIr, netip.MustParseAddrPort(addr)); !bytes.Equal(h[:], n.Data) {
					t.Errorf("%s: %s of %s is %x, want %x", at, kind, addr, h, n.Data)
				}
				hashes++
			}
		}
	}
	if messages < 40 || opened < 4 || hashes < 20 {
		t.Fatalf("only %d messages, %d opened, %d NAT detection hashes", messages, opened, hashes)
	}
}

// TestForeignCapturesParseOrFail plays every UDP datagram on ports 500 and 4500
// of the capture folders, malformed ones included, and also each one cut short.
func TestForeignCapturesParseOrFail(t *testing.T) {
	dir := filepath.Join(vectors(t), "pcap")
	files, err := filepath.Glob(dir + "/*/*.pcap*")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d captures in %s, error %v", len(files), dir, err)
	}
	parsed, refused, v1 := 0, 0, 0
	for _, f := range files {
		frames, err := readCapture(f)
		if err != nil {
			t.Errorf("%s: %v", f, err)
		}
		for i, fr := range frames {
			b, ok := ikeDatagram(fr)
			if !ok {
				continue
			}
			m, err := Parse(b)
			switch {
			case err == nil:
				parsed++
				again, err := m.Append(nil)
				if err != nil {
					t.Errorf("%s frame %d: %v", f, i+1, err)
				}
				if _, err := Parse(again); err != nil {
					t.Errorf("%s frame %d: encoded again: %v", f, i+1, err)
				}
				t.Logf("%s frame %d: %s", filepath.Base(f), i+1, m)
			default:
				refused++
				if notifyFor(err) == InvalidMajorVersion {
					v1++
				}
				t.Logf("%s frame %d: %v", filepath.Base(f), i+1, err)
			}
			for n := range b {
				cut := append([]byte{}, b[:n]...)
				if n >= HeaderLen {
					binary.BigEndian.PutUint32(cut[24:], uint32(n))
				}
				if m, err := Parse(cut); err == nil {
					_ = m.String()
				}
			}
		}
	}
	t.Logf("%d parsed, %d refused, %d of another major version", parsed, refused, v1)
	if parsed < 60 || refused < 10 || v1 < 5 {
		t.Errorf("%d parsed, %d refused, %d of another major version: the captures hold more", parsed, refused, v1)
	}
}

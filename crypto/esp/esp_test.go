package esp

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"greseal/crypto/suite"
)

var algorithms = []string{
	"aes128gcm16", "aes192gcm16", "aes256gcm16", "chacha20poly1305",
	"aes128-sha256", "aes256-sha256", "aes256-sha384", "aes256-sha512", "aes128-sha1",
}

// params makes an SA with the algorithms written in configuration words.
func params(t testing.TB, words string, esn bool) Params {
	t.Helper()
	p, err := suite.ParseESP(words)
	if err != nil {
		t.Fatal(err)
	}
	out := Params{SPI: 0xc0ffee01, Encr: p.Of(suite.TypeEncr)[0], ESN: esn}
	if i := p.Of(suite.TypeInteg); len(i) > 0 {
		out.Integ = i[0]
	}
	out.Key, out.AuthKey = counting(out.Encr.KeyBytes(), 1), counting(out.Integ.KeyBytes(), 101)
	return out
}

func sa(t testing.TB, p Params) (*Sealer, *Opener) {
	t.Helper()
	s, err := NewSealer(p, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	o, err := NewOpener(p)
	if err != nil {
		t.Fatal(err)
	}
	return s, o
}

// packet seals payload under seq.
func packet(t testing.TB, s *Sealer, payload []byte, next uint8, seq uint64) []byte {
	t.Helper()
	buf := make([]byte, s.PacketLen(len(payload)))
	copy(buf[s.Headroom():], payload)
	n, err := s.Seal(buf, len(payload), next, seq)
	if err != nil || n != len(buf) {
		t.Fatalf("packet of %d octets, want %d (%v)", n, len(buf), err)
	}
	return buf
}

func TestWhatIsSealedOpens(t *testing.T) {
	for _, words := range algorithms {
		for _, esn := range []bool{false, true} {
			p := params(t, words, esn)
			s, o := sa(t, p)
			var w Window
			for n := range 130 {
				payload := counting(n, 0x30)
				seq, err := s.Reserve(1)
				if err != nil || seq != uint64(n+1) {
					t.Fatalf("sequence number %d (%v)", seq, err)
				}
				wire := packet(t, s, payload, NextGRE, seq)
				if len(wire) != s.PacketLen(n) {
					t.Fatalf("%s: %d octets become %d, PacketLen says %d", words, n, len(wire), s.PacketLen(n))
				}
				if n > 8 && bytes.Contains(wire, payload[:8]) {
					t.Fatalf("%s: payload in the clear", words)
				}
				if spi, low, ok := Header(wire); !ok || spi != p.SPI || low != uint32(seq) {
					t.Fatalf("%s: header %08x %d", words, spi, low)
				}
				got, err := o.Open(wire, &w)
				if err != nil || !bytes.Equal(got.Payload, payload) || got.Next != NextGRE || got.Seq != seq || got.TFC != 0 {
					t.Fatalf("%s, %d octets: %+v, %v", words, n, got, err)
				}
			}
		}
	}
}

func TestEveryChangedBitIsSeen(t *testing.T) {
	for _, words := range algorithms {
		for _, esn := range []bool{false, true} {
			s, o := sa(t, params(t, words, esn))
			wire := packet(t, s, counting(21, 1), NextIPv4, 7)
			var w Window
			for bit := range len(wire) * 8 {
				bad := bytes.Clone(wire)
				bad[bit/8] ^= 1 << (bit % 8)
				if _, err := o.Open(bad, &w); err == nil || w.Top() != 0 {
					t.Fatalf("%s: bit %d changed: %v, window at %d", words, bit, err, w.Top())
				}
			}
			for n := range len(wire) {
				if _, err := o.Open(bytes.Clone(wire[:n]), &w); err == nil || w.Top() != 0 {
					t.Fatalf("%s: cut to %d octets: %v", words, n, err)
				}
			}
			if _, err := o.Open(wire, &w); err != nil {
				t.Fatalf("%s: the packet itself: %v", words, err)
			}
		}
	}
}

func TestReplayedPacketsAreRefusedBeforeTheyAreOpened(t *testing.T) {
	for _, words := range algorithms {
		s, o := sa(t, params(t, words, false))
		w, err := NewWindow(64)
		if err != nil {
			t.Fatal(err)
		}
		wires := map[uint64][]byte{}
		for seq := uint64(1); seq <= 200; seq++ {
			wires[seq] = packet(t, s, counting(10, 1), NextIPv4, seq)
		}
		open := func(seq uint64) error {
			wire := bytes.Clone(wires[seq])
			_, err := o.Open(wire, w)
			if errors.Is(err, ErrReplay) && !bytes.Equal(wire, wires[seq]) {
				t.Fatalf("%s: the replayed packet %d was touched", words, seq)
			}
			return err
		}
		for _, c := range []struct {
			seq  uint64
			want error
		}{
			{5, nil}, {5, ErrReplay}, {3, nil}, {3, ErrReplay}, {100, nil}, {37, nil}, {37, ErrReplay},
			{36, ErrReplay}, {5, ErrReplay}, {101, nil}, {37, ErrReplay}, {38, nil}, {200, nil}, {100, ErrReplay}, {137, nil},
		} {
			if err := open(c.seq); !errors.Is(err, c.want) || (c.want == nil) != (err == nil) {
				t.Fatalf("%s: packet %d: %v, want %v", words, c.seq, err, c.want)
			}
		}
		// A forged packet far ahead does not move the window.
		forged := bytes.Clone(wires[150])
		binary.BigEndian.PutUint32(forged[4:], 1<<31)
		if _, err := o.Open(forged, w); !errors.Is(err, ErrIntegrity) || w.Top() != 200 {
			t.Fatalf("%s: forged: %v, window at %d", words, err, w.Top())
		}
	}
}

func TestExtendedSequenceNumbersCrossTheWrap(t *testing.T) {
	for _, words := range []string{"aes128gcm16", "chacha20poly1305", "aes256-sha256"} {
		s, o := sa(t, params(t, words, true))
		var w Window
		first := uint64(3)<<32 - 5
		w.Update(first - 1)
		for _, d := range []uint64{0, 1, 7, 4, 5, 6, 3, 2, 1000, 8} {
			wire := packet(t, s, []byte("payload"), NextGRE, first+d)
			got, err := o.Open(wire, &w)
			if err != nil || got.Seq != first+d {
				t.Errorf("%s: number %x: %x, %v", words, first+d, got.Seq, err)
			}
		}
		// The same low half in another subspace does not open.
		wire := packet(t, s, []byte("payload"), NextGRE, first+2000+1<<32)
		if _, err := o.Open(wire, &w); !errors.Is(err, ErrIntegrity) {
			t.Errorf("%s: a packet of the next subspace: %v", words, err)
		}
	}
}

func TestSequenceNumbersEndBeforeTheyWrap(t *testing.T) {
	s := newSequence(false)
	s.sent.Store(1<<32 - 4)
	if first, err := s.Reserve(2); err != nil || first != 1<<32-3 || s.Left() != 1 {
		t.Fatalf("%d, %v, %d left", first, err, s.Left())
	}
	if _, err := s.Reserve(2); !errors.Is(err, ErrExhausted) {
		t.Fatalf("reserved over the end: %v", err)
	}
	for range 3 {
		if n, err := s.Reserve(1); !errors.Is(err, ErrExhausted) {
			t.Fatalf("reserved %d after the end: %v", n, err)
		}
	}
	if s.Left() != 0 || s.Sent() != 1<<32-1 {
		t.Errorf("%d left of %d", s.Left(), s.Sent())
	}
	long := newSequence(true)
	long.sent.Store(1<<32 - 1)
	if first, err := long.Reserve(64); err != nil || first != 1<<32 {
		t.Errorf("extended numbers stop at %d: %v", first, err)
	}
	long.sent.Store(^uint64(0) - 1)
	if _, err := long.Reserve(5); !errors.Is(err, ErrExhausted) {
		t.Errorf("extended numbers wrap: %v", err)
	}
	for _, n := range []int{0, -1} {
		if _, err := newSequence(false).Reserve(n); err == nil {
			t.Errorf("reserved %d", n)
		}
	}
}

func TestIVsAreTheSequenceNumberOrUnpredictable(t *testing.T) {
	s, _ := sa(t, params(t, "aes128gcm16", false))
	if iv := packet(t, s, nil, 4, 0x0102)[8:16]; !bytes.Equal(iv, []byte{0, 0, 0, 0, 0, 0, 1, 2}) {
		t.Errorf("IV %x", iv)
	}
	a, _ := sa(t, params(t, "aes128-sha256", false))
	b, _ := sa(t, params(t, "aes128-sha256", false))
	seen := map[string]bool{}
	for seq := uint64(1); seq < 500; seq++ {
		for _, s := range []*Sealer{a, b} {
			iv := string(packet(t, s, nil, 4, seq)[8:24])
			if seen[iv] {
				t.Fatalf("IV %x twice", iv)
			}
			seen[iv] = true
		}
	}
	if _, err := NewSealer(params(t, "aes128-sha256", false), bytes.NewReader(nil)); !errors.Is(err, io.EOF) {
		t.Errorf("without randomness: %v", err)
	}
}

// sealText seals a plaintext that already has its trailer.
func sealText(t testing.TB, s *Sealer, text []byte, seq uint64) []byte {
	t.Helper()
	buf := append(make([]byte, s.Headroom()), text...)
	binary.BigEndian.PutUint32(buf, s.spi)
	binary.BigEndian.PutUint32(buf[4:], uint32(seq))
	return s.aead.Seal(buf[:s.Headroom()], append(s.nonce[:4:4], buf[8:16]...), text, associated(&s.aad, s.spi, seq, s.esn))
}

func TestPaddingIsVerified(t *testing.T) {
	s, o := sa(t, params(t, "aes128gcm16", false))
	long := append([]byte("data"), counting(255, 1)...)
	for _, c := range []struct {
		name string
		text []byte
		want int // payload octets, -1 refused
	}{
		{"none", []byte("data\x00\x2f"), 4},
		{"three", []byte("data\x01\x02\x03\x03\x2f"), 4},
		{"as long as it gets", append(long, 255, 47), 4},
		{"nothing but padding", []byte("\x01\x02\x02\x2f"), 0},
		{"no payload at all", []byte("\x00\x2f"), 0},
		{"zeros", []byte("data\x00\x00\x02\x2f"), -1},
		{"from two", []byte("data\x02\x03\x02\x2f"), -1},
		{"longer than the packet", []byte("data\x05\x2f"), -1},
		{"longer by one", []byte("\x01\x02\x03\x2f"), -1},
	} {
		var w Window
		got, err := o.Open(sealText(t, s, c.text, 9), &w)
		if c.want < 0 && !errors.Is(err, ErrMalformed) || c.want >= 0 && (err != nil || len(got.Payload) != c.want) {
			t.Errorf("%s: %q, %v", c.name, got.Payload, err)
		}
		// It was the peer's packet all the same.
		if w.Top() != 9 {
			t.Errorf("%s: window at %d", c.name, w.Top())
		}
	}
}

func TestTFCPaddingIsCutOffAndReported(t *testing.T) {
	four := append([]byte{0x45, 0, 0, 24}, make([]byte, 20)...)
	six := append([]byte{0x60, 0, 0, 0, 0, 4}, make([]byte, 38)...)
	for _, c := range []struct {
		name     string
		next     uint8
		payload  []byte
		want     int
		wantsTFC int
	}{
		{"IPv4", NextIPv4, append(bytes.Clone(four), make([]byte, 100)...), 24, 100},
		{"IPv4 without", NextIPv4, four, 24, 0},
		{"IPv6", NextIPv6, append(bytes.Clone(six), make([]byte, 9)...), 44, 9},
		{"IPv6 without", NextIPv6, six, 44, 0},
		{"IPv4 longer than the packet", NextIPv4, four[:23], 23, 0},
		{"IPv4 shorter than its header", NextIPv4, append([]byte{0x45, 0, 0, 19}, make([]byte, 30)...), 34, 0},
		{"no IPv4", NextIPv4, append([]byte{0x55, 0, 0, 24}, make([]byte, 30)...), 34, 0},
		{"GRE has no length", NextGRE, append(bytes.Clone(four), make([]byte, 100)...), 124, 0},
		{"dummy", NextDummy, make([]byte, 50), 50, 0},
		{"empty", NextIPv4, nil, 0, 0},
	} {
		s, o := sa(t, params(t, "aes256gcm16", false))
		got, err := o.Open(packet(t, s, c.payload, c.next, 1), new(Window))
		if err != nil || len(got.Payload) != c.want || got.TFC != c.wantsTFC || got.Next != c.next {
			t.Errorf("%s: %d octets and %d of padding, want %d and %d (%v)", c.name, len(got.Payload), got.TFC, c.want, c.wantsTFC, err)
		}
	}
}

func TestForeignAndShortPacketsAreMalformed(t *testing.T) {
	for _, words := range algorithms {
		s, o := sa(t, params(t, words, false))
		wire := packet(t, s, counting(30, 0), 4, 1)
		other := bytes.Clone(wire)
		other[3]++
		zero := bytes.Clone(wire)
		clear(zero[:4])
		for name, bad := range map[string][]byte{
			"empty": nil, "seven octets": wire[:7], "header only": wire[:8], "no ciphertext": wire[:s.Headroom()],
			"ICV only": wire[:s.Headroom()+s.icv], "other SPI": other, "SPI 0": zero, "keepalive": {0xff},
		} {
			if _, err := o.Open(bytes.Clone(bad), new(Window)); !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrReplay) {
				t.Errorf("%s, %s: %v", words, name, err)
			}
		}
	}
}

func TestSealRefusesABufferWithoutRoom(t *testing.T) {
	for _, words := range algorithms {
		s, _ := sa(t, params(t, words, false))
		for n := range 40 {
			buf := make([]byte, s.PacketLen(n)-1)
			if _, err := s.Seal(buf, n, 4, 1); !errors.Is(err, ErrRoom) {
				t.Fatalf("%s, %d octets: %v", words, n, err)
			}
			if !bytes.Equal(buf, make([]byte, len(buf))) {
				t.Fatalf("%s: something was written", words)
			}
		}
		if _, err := s.Seal(make([]byte, 100), -1, 4, 1); !errors.Is(err, ErrRoom) {
			t.Errorf("%s: a negative length: %v", words, err)
		}
	}
}

func TestOverheadOfWellKnownCases(t *testing.T) {
	for _, c := range []struct {
		words    string
		n, total int
	}{
		// 8 header, 8 IV, 2 trailer, 16 ICV, padding to 4.
		{"aes128gcm16", 1424, 1424 + 8 + 8 + 2 + 2 + 16},
		{"chacha20poly1305", 1426, 1426 + 8 + 8 + 2 + 16},
		// 8 header, 16 IV, 2 trailer, 16 or 32 ICV, padding to 16.
		{"aes256-sha256", 1406, 1406 + 8 + 16 + 2 + 16},
		{"aes256-sha256", 1407, 1407 + 8 + 16 + 15 + 2 + 16},
		{"aes256-sha512", 0, 8 + 16 + 14 + 2 + 32},
	} {
		p := params(t, c.words, false)
		s, _ := sa(t, p)
		if got := s.PacketLen(c.n); got != c.total {
			t.Errorf("%s: %d octets become %d, want %d", c.words, c.n, got, c.total)
		}
	}
}

func TestWrongParametersAreRefused(t *testing.T) {
	gcm := params(t, "aes128gcm16", false)
	cbc := params(t, "aes128-sha256", false)
	for name, change := range map[string]func() Params{
		"short key":           func() Params { p := gcm; p.Key = p.Key[1:]; return p },
		"no key":              func() Params { p := gcm; p.Key = nil; return p },
		"AEAD with integrity": func() Params { p := gcm; p.Integ, p.AuthKey = cbc.Integ, cbc.AuthKey; return p },
		"no integrity":        func() Params { p := cbc; p.Integ = suite.Transform{}; return p },
		"short integrity key": func() Params { p := cbc; p.AuthKey = p.AuthKey[1:]; return p },
		"unknown cipher":      func() Params { p := gcm; p.Encr.ID = 3; return p },
		"zero":                func() Params { return Params{} },
	} {
		if _, err := NewSealer(change(), rand.Reader); err == nil {
			t.Errorf("%s: sealer made", name)
		}
		if _, err := NewOpener(change()); err == nil {
			t.Errorf("%s: opener made", name)
		}
	}
}

func TestKeysCanBeWipedAndNeverPrint(t *testing.T) {
	p := params(t, "aes128-sha256", false)
	copy(p.Key, "SECRETSECRET")
	copy(p.AuthKey, "SECRETSECRET")
	s, o := sa(t, p)
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "p", p, "pp", &p, "s", s, "o", o)
	text := log.String()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		text += fmt.Sprintf(verb+verb+verb+verb, p, &p, s, o)
	}
	for _, secret := range []string{"SECRET", "534543", "83 69"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is in %q", secret, text)
		}
	}
	p.Wipe()
	if !bytes.Equal(p.Key, make([]byte, 16)) || !bytes.Equal(p.AuthKey, make([]byte, 32)) {
		t.Error("Wipe leaves keys")
	}
	if got, err := o.Open(packet(t, s, []byte("still works"), 4, 1), new(Window)); err != nil || string(got.Payload) != "still works" {
		t.Errorf("after wiping: %q, %v", got.Payload, err)
	}
}

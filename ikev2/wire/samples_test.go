package wire

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// sample is one block of testdata/messages.txt: its comment and its fields.
type sample struct {
	comment string
	fields  map[string]string
}

func (s sample) bytes(tb testing.TB, key string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s.fields[key])
	if err != nil {
		tb.Fatalf("%s: %s: %v", s.comment, key, err)
	}
	return b
}

func samples(tb testing.TB) []sample {
	tb.Helper()
	text, err := os.ReadFile("testdata/messages.txt")
	if err != nil {
		tb.Fatal(err)
	}
	var out []sample
	for _, block := range strings.Split(string(text), "\n\n") {
		s := sample{fields: map[string]string{}}
		for _, line := range strings.Split(strings.TrimSpace(block), "\n") {
			if c, ok := strings.CutPrefix(line, "# "); ok {
				s.comment = c
			} else if k, v, ok := strings.Cut(line, ": "); ok {
				s.fields[k] = v
			} else if k, ok := strings.CutSuffix(line, ":"); ok {
				s.fields[k] = ""
			} else {
				tb.Fatalf("testdata/messages.txt: %q", line)
			}
		}
		if s.fields["message"] != "" {
			out = append(out, s)
		}
	}
	if len(out) < 20 {
		tb.Fatalf("testdata/messages.txt: %d messages only", len(out))
	}
	return out
}

// gcm is AES-GCM with a 16 octet integrity check value as RFC 5282 uses it,
// without padding; the IV counts up.
type gcm struct {
	aead cipher.AEAD
	salt []byte
	iv   uint64
}

func newGCM(tb testing.TB, key []byte) *gcm {
	tb.Helper()
	block, err := aes.NewCipher(key[:len(key)-4])
	if err != nil {
		tb.Fatal(err)
	}
	a, err := cipher.NewGCM(block)
	if err != nil {
		tb.Fatal(err)
	}
	return &gcm{aead: a, salt: key[len(key)-4:]}
}

func (g *gcm) Overhead(int) int { return 8 + 1 + 16 }

func (g *gcm) Seal(dst, aad, plain []byte) ([]byte, error) {
	g.iv++
	iv := binary.BigEndian.AppendUint64(nil, g.iv)
	dst = append(dst, iv...)
	padded := append(append([]byte{}, plain...), 0)
	return g.aead.Seal(dst, append(g.salt[:4:4], iv...), padded, aad), nil
}

func (g *gcm) Open(dst, aad, sealed []byte) ([]byte, error) {
	if len(sealed) < 8+16+1 {
		return nil, errors.New("short")
	}
	n := len(dst)
	out, err := g.aead.Open(dst, append(g.salt[:4:4], sealed[:8]...), sealed[8:], aad)
	if err != nil {
		return nil, err
	}
	pad := int(out[len(out)-1]) + 1
	if pad > len(out)-n {
		return nil, errors.New("padding")
	}
	return out[:len(out)-pad], nil
}

func TestSampleMessagesParseAndReencodeToTheSameOctets(t *testing.T) {
	for _, s := range samples(t) {
		if _, bad := s.fields["error"]; bad {
			continue
		}
		t.Run(s.comment, func(t *testing.T) {
			raw := s.bytes(t, "message")
			m, err := Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			if got := m.String(); got != s.fields["is"] {
				t.Errorf("described as\n%s, want\n%s", got, s.fields["is"])
			}
			again, err := m.Append([]byte("head"))
			if err != nil || string(again) != "head"+string(raw) {
				t.Errorf("encoded as (%v)\n%x, want\n%x", err, again[4:], raw)
			}
			if s.fields["key"] == "" {
				return
			}
			g := newGCM(t, s.bytes(t, "key"))
			first := PayloadType(must(strconv.Atoi(s.fields["first"]))(t))
			if want, ok := s.fields["chunk"]; ok {
				p := m.SKF()
				chunk, err := m.DecryptFragment(g)
				if err != nil || hex.EncodeToString(chunk) != want || p.First != first {
					t.Errorf("fragment holds (%v) first %d, %x, want %s", err, p.First, chunk, want)
				}
				return
			}
			c, err := m.Decrypt(g)
			if err != nil || c.First != first || !bytes.Equal(c.Plain, s.bytes(t, "inner")) {
				t.Fatalf("SK holds (%v) first %d\n%x, want %d\n%s", err, c.First, c.Plain, first, s.fields["inner"])
			}
			ps, err := m.Open(g)
			if err != nil {
				t.Fatal(err)
			}
			if got := Describe(m.Header, m.Payloads, ps); got != s.fields["holds"] {
				t.Errorf("described as\n%s, want\n%s", got, s.fields["holds"])
			}
			// Sealing the parsed payloads with the same IV gives the message.
			g.iv = binary.BigEndian.Uint64(m.SK().Sealed) - 1
			sealed, err := AppendSealed([]byte("head"), m.Header, ps, g)
			if err != nil || string(sealed) != "head"+string(raw) {
				t.Errorf("sealed as (%v)\n%x, want\n%x", err, sealed[4:], raw)
			}
			raw[20] ^= 1
			if _, err := m.Open(g); err == nil {
				t.Error("a message with a changed header was opened")
			}
		})
	}
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

func TestMalformedSamplesAreRefusedWithTheNotifyThatFits(t *testing.T) {
	n := 0
	for _, s := range samples(t) {
		want, bad := s.fields["error"]
		if !bad {
			continue
		}
		n++
		m, err := Parse(s.bytes(t, "message"))
		if err == nil {
			t.Errorf("%s: parsed as %s", s.comment, m)
			continue
		}
		got := notifyFor(err).String()
		if notifyFor(err) == 0 {
			got = "dropped"
		}
		if got != want {
			t.Errorf("%s: %v: answered with %s, want %s", s.comment, err, got, want)
		}
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: error is no *Error but %T", s.comment, err)
		}
	}
	if n < 10 {
		t.Fatalf("only %d malformed samples", n)
	}
}

func TestHeaderOfAnyVersionIsReadable(t *testing.T) {
	for _, s := range samples(t) {
		if s.comment != "IKEv1" {
			continue
		}
		h, err := ParseHeader(s.bytes(t, "message"))
		if err != nil || h.Major() != 1 || h.SPIi != 0xa1b2c3d4e5f60718 {
			t.Fatalf("header %+v, error %v", h, err)
		}
		if got := h.String(); got != "IKE version 1.0 message" {
			t.Errorf("described as %q", got)
		}
		return
	}
	t.Fatal("no IKEv1 sample")
}

func TestTruncatedSamplesNeverParse(t *testing.T) {
	for _, s := range samples(t) {
		if _, bad := s.fields["error"]; bad {
			continue
		}
		raw := s.bytes(t, "message")
		for n := range raw {
			if _, err := Parse(raw[:n:n]); err == nil {
				t.Fatalf("%s: %d of %d octets parsed", s.comment, n, len(raw))
			}
			// Also when the length field agrees with what is there.
			if n < HeaderLen {
				continue
			}
			b := append([]byte{}, raw[:n]...)
			binary.BigEndian.PutUint32(b[24:], uint32(n))
			m, err := Parse(b)
			if err == nil && len(m.Payloads) > 0 {
				t.Fatalf("%s: cut to %d octets parsed as %s", s.comment, n, m)
			}
		}
	}
}

func ExampleDescribe() {
	h := Header{Exchange: IKEAuth, Flags: FlagInitiator, MessageID: 1}
	fmt.Println(Describe(h, []Payload{&SK{}}, []Payload{
		&ID{Of: TypeIDi, Kind: IDFQDN, Data: []byte("west")},
		&Auth{Method: AuthSharedKey},
		NewNotify(InitialContact, nil),
	}))
	// Output: IKE_AUTH request 1: SK{IDi AUTH N(INITIAL_CONTACT)}
}

// notifyFor is the error notify that fits err: that of an *Error, else 0.
func notifyFor(err error) NotifyType {
	var e *Error
	if errors.As(err, &e) {
		return e.Notify
	}
	return 0
}

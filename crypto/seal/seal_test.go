package seal

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"greseal/crypto/internal/vectors"
	"greseal/crypto/suite"
)

func pair(t testing.TB, words string) (encr, integ suite.Transform) {
	t.Helper()
	p, err := suite.ParseESP(words)
	if err != nil {
		t.Fatal(err)
	}
	encr = p.Of(suite.TypeEncr)[0]
	if i := p.Of(suite.TypeInteg); len(i) > 0 {
		integ = i[0]
	}
	return encr, integ
}

func sequence(n int, first byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

func twin(t testing.TB, words string) (sender, receiver *Cipher) {
	t.Helper()
	encr, integ := pair(t, words)
	var both [2]*Cipher
	for i := range both {
		c, err := New(encr, integ, sequence(encr.KeyBytes(), 1), sequence(integ.KeyBytes(), 99), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		both[i] = c
	}
	return both[0], both[1]
}

var all = []string{
	"aes128gcm16", "aes192gcm16", "aes256gcm16", "chacha20poly1305",
	"aes128-sha256", "aes256-sha256", "aes256-sha384", "aes256-sha512", "aes128-sha1",
}

// head is the start of a message with its lengths filled in: IKE header and
// generic header of the SK payload.
func head(c *Cipher, payloads int) []byte {
	h := append(sequence(16, 0xc0), 46, 0x20, 37, 8, 0, 0, 0, 7, 0, 0, 0, 0, 41, 0, 0, 0)
	binary.BigEndian.PutUint32(h[24:], uint32(len(h)+c.BodyLen(payloads)))
	binary.BigEndian.PutUint16(h[30:], uint16(4+c.BodyLen(payloads)))
	return h
}

func TestWhatIsSealedOpens(t *testing.T) {
	for _, words := range all {
		a, b := twin(t, words)
		for n := range 70 {
			payloads := sequence(n, 7)
			h := head(a, n)
			msg, err := a.Seal(bytes.Clone(h), payloads)
			if err != nil {
				t.Fatal(err)
			}
			if len(msg) != len(h)+a.BodyLen(n) || !bytes.Equal(msg[:len(h)], h) {
				t.Fatalf("%s, %d octets: message of %d, want %d", words, n, len(msg), len(h)+a.BodyLen(n))
			}
			if n > 8 && bytes.Contains(msg, payloads[:8]) {
				t.Fatalf("%s: payloads in the clear", words)
			}
			got, err := b.Open(msg, len(h))
			if err != nil || !bytes.Equal(got, payloads) {
				t.Fatalf("%s, %d octets: %x, %v", words, n, got, err)
			}
		}
	}
}

func TestSealingInPlaceNeedsNoSecondBuffer(t *testing.T) {
	for _, words := range all {
		a, b := twin(t, words)
		payloads := sequence(40, 7)
		h := head(a, len(payloads))
		buf := make([]byte, len(h), 200)
		copy(buf, h)
		buf = append(buf, payloads...)
		msg, err := a.Seal(buf[:len(h)], buf[len(h):])
		if err != nil {
			t.Fatal(err)
		}
		if &msg[0] != &buf[0] {
			t.Errorf("%s: another buffer", words)
		}
		if got, err := b.Open(msg, len(h)); err != nil || !bytes.Equal(got, payloads) {
			t.Errorf("%s: %x, %v", words, got, err)
		}
	}
}

func TestEveryChangedBitIsSeen(t *testing.T) {
	for _, words := range all {
		a, b := twin(t, words)
		h := head(a, 20)
		msg, err := a.Seal(h, sequence(20, 1))
		if err != nil {
			t.Fatal(err)
		}
		for bit := range len(msg) * 8 {
			bad := bytes.Clone(msg)
			bad[bit/8] ^= 1 << (bit % 8)
			if _, err := b.Open(bad, 32); !errors.Is(err, ErrIntegrity) {
				t.Fatalf("%s: bit %d changed: %v", words, bit, err)
			}
		}
		for n := range len(msg) {
			if _, err := b.Open(bytes.Clone(msg[:n]), 32); err == nil {
				t.Fatalf("%s: cut to %d octets and accepted", words, n)
			}
		}
		if _, err := b.Open(append(bytes.Clone(msg), 0), 32); err == nil {
			t.Fatalf("%s: lengthened and accepted", words)
		}
		for _, start := range []int{-1, 31, 33, len(msg) + 1} {
			if _, err := b.Open(bytes.Clone(msg), start); err == nil {
				t.Fatalf("%s: opened from %d", words, start)
			}
		}
		if _, err := b.Open(msg, 32); err != nil {
			t.Fatalf("%s: the message itself: %v", words, err)
		}
	}
}

func TestIVsNeverRepeat(t *testing.T) {
	for _, words := range all {
		a, _ := twin(t, words)
		seen := map[string]bool{}
		for range 1000 {
			msg, err := a.Seal(head(a, 0), nil)
			if err != nil {
				t.Fatal(err)
			}
			iv := string(msg[32 : 32+a.iv])
			if seen[iv] {
				t.Fatalf("%s: IV %x twice", words, iv)
			}
			seen[iv] = true
		}
	}
	a, _ := twin(t, "aes128gcm16")
	a.counter = ^uint64(0)
	if _, err := a.Seal(head(a, 0), nil); err == nil {
		t.Error("the counter wrapped around")
	}
}

func TestAnyPaddingIsTaken(t *testing.T) {
	for _, words := range []string{"aes128gcm16", "chacha20poly1305", "aes256-sha256"} {
		a, b := twin(t, words)
		// A body whose text is all padding but for 4 octets, made by sealing
		// payloads that end as padding does.
		text := append([]byte("data"), bytes.Repeat([]byte{0xee}, 27)...)
		text = append(text, 27)
		start := len(head(a, 0))
		msg, err := sealText(a, head(a, 0), text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := b.Open(msg, start); err != nil || string(got) != "data" {
			t.Errorf("%s: %q, %v", words, got, err)
		}
		text[31] = 32 // one more than there is
		if msg, err = sealText(a, head(a, 0), text); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Open(msg, start); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: padding beyond the body: %v", words, err)
		}
	}
}

// sealText seals a text that already ends with padding and pad length, which
// Seal would add.
func sealText(c *Cipher, h, text []byte) ([]byte, error) {
	if c.encr.IsAEAD() {
		aead, _, err := AEAD(c.encr, c.key)
		if err != nil {
			return nil, err
		}
		msg := append(bytes.Clone(h), make([]byte, 8)...)
		binary.BigEndian.PutUint64(msg[len(h):], 12345)
		copy(c.nonce[4:], msg[len(h):])
		return aead.Seal(msg, c.nonce[:], text, h), nil
	}
	msg := append(bytes.Clone(h), make([]byte, 16)...)
	msg = append(msg, text...)
	block, mac, err := c.blockAndMAC()
	if err != nil {
		return nil, err
	}
	cbc(block, msg[len(h)+16:])
	icv := make([]byte, c.icv)
	sum(mac, icv, msg)
	return append(msg, icv...), nil
}

// cbc encrypts with a zero IV, block by block, as AES-CBC is defined.
func cbc(block cipher.Block, text []byte) {
	var last [16]byte
	for ; len(text) > 0; text = text[16:] {
		for i := range 16 {
			text[i] ^= last[i]
		}
		block.Encrypt(text[:16], text[:16])
		copy(last[:], text[:16])
	}
}

func TestMaxPayloadsIsTheInverseOfBodyLen(t *testing.T) {
	for _, words := range all {
		a, _ := twin(t, words)
		for body := range 300 {
			n := a.MaxPayloads(body)
			if n >= 0 && a.BodyLen(n) > body || a.BodyLen(n+1) <= body {
				t.Fatalf("%s: %d payload octets in a body of %d", words, n, body)
			}
		}
	}
}

func TestChaCha20AsInRFC7634(t *testing.T) {
	var file struct {
		IKE []struct {
			Key, Salt, IV, Inner, Message vectors.Hex
		}
	}
	vectors.JSON(t, &file, "esp-vectors", "rfc7634_chacha20_poly1305.json")
	if len(file.IKE) == 0 {
		t.Fatal("no IKE message in the file")
	}
	for _, v := range file.IKE {
		encr, _ := pair(t, "chacha20poly1305")
		c, err := New(encr, suite.Transform{}, append(bytes.Clone(v.Key), v.Salt...), nil, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c.counter = binary.BigEndian.Uint64(v.IV)
		msg, err := c.Seal(bytes.Clone(v.Message[:32]), v.Inner)
		if err != nil || !bytes.Equal(msg, v.Message) {
			t.Errorf("sealed %x, want %x (%v)", msg, v.Message, err)
		}
		if got, err := c.Open(bytes.Clone(v.Message), 32); err != nil || !bytes.Equal(got, v.Inner) {
			t.Errorf("opened %x, %v", got, err)
		}
	}
}

// Messages that other implementations sent, from published captures.
func TestCapturedMessagesOpen(t *testing.T) {
	type message struct {
		Frame   int
		Flags   string
		Message vectors.Hex
		Inner   *vectors.Hex
	}
	var file struct {
		Captures []struct {
			File     string
			EncrID   uint16      `json:"encr_id"`
			Ei       vectors.Hex `json:"sk_ei"`
			Er       vectors.Hex `json:"sk_er"`
			Ai       vectors.Hex `json:"sk_ai"`
			Ar       vectors.Hex `json:"sk_ar"`
			Messages []message
		}
	}
	vectors.JSON(t, &file, "pcap", "ikev2_messages.json")
	ran := 0
	for _, c := range file.Captures {
		var words string
		switch c.EncrID {
		case suite.ENCR_AES_GCM_16:
			words = "aes256gcm16"
		case suite.ENCR_AES_CBC:
			words = "aes256-sha256"
		default:
			continue // 3DES, CCM, CTR and GCM with a short ICV
		}
		encr, integ := pair(t, words)
		i, err := New(encr, integ, c.Ei, c.Ai, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		r, err := New(encr, integ, c.Er, c.Ar, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range c.Messages {
			if m.Inner == nil || m.Message[16] != 46 {
				continue
			}
			from := r
			if m.Message[19]&0x08 != 0 { // from the original initiator
				from = i
			}
			ran++
			got, err := from.Open(bytes.Clone(m.Message), 32)
			if err != nil || !bytes.Equal(got, *m.Inner) {
				t.Errorf("%s frame %d: %x, %v", c.File, m.Frame, got, err)
			}
		}
	}
	if ran < 6 {
		t.Errorf("only %d messages", ran)
	}
}

func TestKeysOfAnotherLengthAreRefused(t *testing.T) {
	for _, words := range all {
		encr, integ := pair(t, words)
		key, auth := sequence(encr.KeyBytes(), 1), sequence(integ.KeyBytes(), 1)
		if _, err := New(encr, integ, key[1:], auth, rand.Reader); err == nil {
			t.Errorf("%s: a short key was taken", words)
		}
		if _, err := New(encr, integ, append(key, 0), auth, rand.Reader); err == nil {
			t.Errorf("%s: a long key was taken", words)
		}
		if !encr.IsAEAD() {
			if _, err := New(encr, integ, key, auth[1:], rand.Reader); err == nil {
				t.Errorf("%s: a short integrity key was taken", words)
			}
		}
	}
}

func TestOnlySafePairsAreSupported(t *testing.T) {
	gcm, _ := pair(t, "aes128gcm16")
	cbc, sha := pair(t, "aes128-sha256")
	odd := cbc
	odd.KeyLen = 40
	chacha := suite.Transform{Type: suite.TypeEncr, ID: suite.ENCR_CHACHA20_POLY1305, KeyLen: 256}
	none := suite.Transform{Type: suite.TypeInteg}
	for _, c := range []struct {
		encr, integ suite.Transform
		ok          bool
	}{
		{gcm, suite.Transform{}, true}, {gcm, none, true}, {cbc, sha, true},
		{gcm, sha, false}, {cbc, suite.Transform{}, false}, {cbc, none, false}, {odd, sha, false}, {chacha, none, false},
		{suite.Transform{Type: suite.TypeEncr, ID: suite.ENCR_NULL}, sha, false},
		{suite.Transform{Type: suite.TypeEncr, ID: suite.ENCR_3DES}, sha, false},
		{suite.Transform{}, sha, false}, {sha, sha, false},
		{cbc, suite.Transform{Type: suite.TypeInteg, ID: 1}, false},
	} {
		err := Supported(c.encr, c.integ)
		if (err == nil) != c.ok {
			t.Errorf("%s with %s: %v", c.encr, c.integ, err)
		}
		if _, err := New(c.encr, c.integ, make([]byte, c.encr.KeyBytes()), make([]byte, c.integ.KeyBytes()), rand.Reader); (err == nil) != c.ok {
			t.Errorf("New: %s with %s: %v", c.encr, c.integ, err)
		}
	}
}

func TestBrokenRandomnessSendsNothing(t *testing.T) {
	encr, integ := pair(t, "aes128-sha256")
	c, err := New(encr, integ, sequence(16, 1), sequence(32, 1), bytes.NewReader(nil))
	if err != nil {
		t.Fatal(err)
	}
	if msg, err := c.Seal(head(c, 4), []byte("data")); err == nil {
		t.Errorf("sealed %x without an IV", msg)
	}
}

func TestAWipedCipherSealsAndOpensNothing(t *testing.T) {
	for _, suite := range []string{"aes256gcm16", "chacha20poly1305", "aes128-sha256", "aes256-sha512"} {
		sender, receiver := twin(t, suite)
		h := head(sender, 5)
		msg, err := sender.Seal(bytes.Clone(h), []byte("hello"))
		if err != nil {
			t.Fatal(err)
		}
		key, authKey, salt := receiver.key, receiver.authKey, receiver.nonce[:4]
		if cbc := strings.Contains(suite, "-"); cbc != (len(authKey) > 0) {
			t.Errorf("%s: an integrity key of %d octets", suite, len(authKey))
		}
		sender.Wipe()
		receiver.Wipe()
		if len(key) == 0 || !bytes.Equal(slices.Concat(key, authKey, salt), make([]byte, len(key)+len(authKey)+len(salt))) {
			t.Errorf("%s: the keys are still there", suite)
		}
		if _, err := receiver.Open(msg, len(h)); err == nil {
			t.Errorf("%s: opened", suite)
		}
		if _, err := sender.Seal(bytes.Clone(h), []byte("hello")); err == nil {
			t.Errorf("%s: sealed", suite)
		}
	}
}

func TestKeysNeverPrint(t *testing.T) {
	encr, integ := pair(t, "aes128-sha256")
	c, err := New(encr, integ, []byte("SECRETSECRETSECR"), bytes.Repeat([]byte("SECRET!!"), 4), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		if s := fmt.Sprintf(verb, c); s != "ENCR_AES_CBC-128 with AUTH_HMAC_SHA2_256_128" {
			t.Errorf("%s prints %q", verb, s)
		}
	}
	if !strings.Contains(c.LogValue().String(), "AES") {
		t.Error("slog gets no name")
	}
}

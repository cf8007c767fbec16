package esp

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"greseal/crypto/internal/vectors"
	"greseal/crypto/suite"
)

// vector is an ESP packet of the files in esp-vectors.
type vector struct {
	Name, Encr, Transform string
	Integ                 *string
	Key, Salt             vectors.Hex
	AuthKey               vectors.Hex `json:"auth_key"`
	ESN                   bool
	SeqHi                 *vectors.Hex `json:"seq_hi"`
	SPI, Seq, IV, Payload vectors.Hex
	NextHeader            uint8       `json:"next_header"`
	PadLen                int         `json:"pad_len"`
	ESP                   vectors.Hex `json:"esp"`
	Plaintext, ICV        vectors.Hex
}

// params returns false for algorithms that are not implemented (NULL, GMAC).
func (v vector) params() (Params, uint64, bool) {
	p := Params{SPI: binary.BigEndian.Uint32(v.SPI), ESN: v.ESN}
	p.Encr.Type = suite.TypeEncr
	name := v.Encr + v.Transform
	switch {
	case strings.HasPrefix(name, "ENCR_AES_GCM_16"):
		p.Encr.ID, p.Encr.KeyLen = suite.ENCR_AES_GCM_16, uint16(len(v.Key)*8)
	case strings.HasPrefix(name, "ENCR_CHACHA20"):
		p.Encr.ID = suite.ENCR_CHACHA20_POLY1305
	case strings.HasPrefix(name, "ENCR_AES_CBC"):
		p.Encr.ID, p.Encr.KeyLen = suite.ENCR_AES_CBC, uint16(len(v.Key)*8)
	default:
		return p, 0, false
	}
	p.Key, p.AuthKey = append(bytes.Clone(v.Key), v.Salt...), v.AuthKey
	if v.Integ != nil {
		p.Integ.Type = suite.TypeInteg
		for _, id := range []uint16{2, 12, 13, 14} {
			if t := (suite.Transform{Type: suite.TypeInteg, ID: id}); strings.HasPrefix(*v.Integ, t.String()) {
				p.Integ = t
			}
		}
	}
	seq := uint64(binary.BigEndian.Uint32(v.Seq))
	if v.SeqHi != nil {
		seq |= uint64(binary.BigEndian.Uint32(*v.SeqHi)) << 32
	}
	return p, seq, true
}

func (v vector) check(t *testing.T) bool {
	p, seq, ok := v.params()
	if !ok {
		return false
	}
	s, o := sa(t, p)

	text, err := o.decrypt(bytes.Clone(v.ESP), seq)
	if err != nil || !bytes.Equal(text, v.Plaintext) {
		t.Errorf("%s: decrypted %x, %v", v.Name, text, err)
	}
	got, err := unwrap(text, seq)
	if err != nil || !bytes.Equal(got.Payload, v.Payload) || got.Next != v.NextHeader {
		t.Errorf("%s: opened %+v, %v", v.Name, got, err)
	}
	if seq != 0 && p.SPI != 0 { // one of the published packets has SPI 0
		var w Window
		w.Update(seq - 1)
		if got, err := o.Open(bytes.Clone(v.ESP), &w); err != nil || got.Seq != seq || !bytes.Equal(got.Payload, v.Payload) {
			t.Errorf("%s: opened behind the window %+v, %v", v.Name, got, err)
		}
	}

	// Ours pads no more than it must, some of the published packets do.
	if v.PadLen != s.pad(len(v.Payload)) {
		return true
	}
	buf := make([]byte, s.PacketLen(len(v.Payload)))
	copy(buf[HeaderBytes:], v.IV)
	copy(buf[s.Headroom():], v.Payload)
	if s.sealWithIV(buf, len(v.Payload), v.NextHeader, seq); !bytes.Equal(buf, v.ESP) {
		t.Errorf("%s: sealed\n%x, want\n%x", v.Name, buf, v.ESP)
	}
	return true
}

func TestPacketsAsPublished(t *testing.T) {
	for _, c := range []struct {
		file, list string
		want       int
	}{
		{"generated_esp.json", "vectors", 12}, // 15 without ENCR_NULL and two of GMAC
		{"mcgrew_gcm_esp.json", "vectors", 16},
		{"rfc7634_chacha20_poly1305.json", "esp", 1},
	} {
		var file struct{ Vectors, ESP []vector }
		vectors.JSON(t, &file, "esp-vectors", c.file)
		ran := 0
		for _, v := range append(file.Vectors, file.ESP...) {
			if v.check(t) {
				ran++
			}
		}
		if ran != c.want {
			t.Errorf("%s: %d packets, want %d", c.file, ran, c.want)
		}
	}
}

// RFC 3602 gives no integrity check values: everything before them is compared.
func TestAESCBCAsInRFC3602(t *testing.T) {
	var file struct {
		ESP []struct {
			vector
			NoICV vectors.Hex `json:"esp_no_icv"`
		} `json:"esp"`
	}
	vectors.JSON(t, &file, "esp-vectors", "rfc3602_aes_cbc.json")
	if len(file.ESP) != 4 {
		t.Errorf("%d packets", len(file.ESP))
	}
	for _, v := range file.ESP {
		p := params(t, "aes128-sha256", false)
		p.Key, p.SPI = v.Key, binary.BigEndian.Uint32(v.SPI)
		s, o := sa(t, p)
		buf := make([]byte, s.PacketLen(len(v.Payload)))
		copy(buf[HeaderBytes:], v.IV)
		copy(buf[s.Headroom():], v.Payload)
		s.sealWithIV(buf, len(v.Payload), v.NextHeader, uint64(binary.BigEndian.Uint32(v.Seq)))
		if got := buf[:len(buf)-16]; !bytes.Equal(got, v.NoICV) {
			t.Errorf("%s: sealed %x, want %x", v.Name, got, v.NoICV)
		}
		if got, err := o.Open(buf, new(Window)); err != nil || !bytes.Equal(got.Payload, v.Payload) || got.Next != v.NextHeader {
			t.Errorf("%s: %+v, %v", v.Name, got, err)
		}
	}
}

func TestKnownAnswersAreRight(t *testing.T) {
	answers := KnownAnswers()
	if len(answers) != 2*(4+3*4) {
		t.Errorf("%d known answers", len(answers))
	}
	for _, k := range answers {
		s, o := sa(t, k.Params)
		name := k.Params.Encr.String() + " " + k.Params.Integ.String()
		got, err := o.Open(bytes.Clone(k.Wire), new(Window))
		if err != nil || !bytes.Equal(got.Payload, k.Payload) || got.Next != k.Next || got.TFC != 0 {
			t.Errorf("%s: opened %+v, %v", name, got, err)
		}
		buf := make([]byte, len(k.Wire))
		copy(buf[HeaderBytes:], k.Wire[HeaderBytes:s.Headroom()])
		copy(buf[s.Headroom():], k.Payload)
		if s.sealWithIV(buf, len(k.Payload), k.Next, 1); !bytes.Equal(buf, k.Wire) {
			t.Errorf("%s: sealed %x", name, buf)
		}
		again, ok := KnownAnswerFor(k.Params.Encr, k.Params.Integ, k.Params.ESN)
		if !ok || !bytes.Equal(again.Wire, k.Wire) {
			t.Errorf("%s: not found again", name)
		}
	}
	for _, words := range algorithms {
		p := params(t, words, false)
		if _, ok := KnownAnswerFor(p.Encr, p.Integ, true); !ok {
			t.Errorf("%s has none", words)
		}
	}
	if _, ok := KnownAnswerFor(suite.Transform{}, suite.Transform{}, false); ok {
		t.Error("an answer for nothing")
	}
}

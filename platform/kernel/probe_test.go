package kernel

import (
	"strings"
	"testing"
	"time"

	"greseal/crypto/esp"
	"greseal/crypto/suite"
)

// TestProbeFindsTheDefaultAlgorithmsRight lets an algorithm be absent, with the
// package named, but not wrong.
func TestProbeFindsTheDefaultAlgorithmsRight(t *testing.T) {
	r := needKernel(t)
	for _, note := range r.Notes() {
		if !strings.Contains(note, "OpenWrt: kmod-") {
			t.Error(note)
		}
		t.Log(note)
	}
	if len(r.Algorithms) != len(DefaultAlgorithms()) {
		t.Errorf("%d algorithms probed, want %d", len(r.Algorithms), len(DefaultAlgorithms()))
	}
	warm := time.Now()
	if again := Probe(nil); again.SADirection != r.SADirection {
		t.Error("two probes differ")
	}
	t.Logf("kernel %s: first probe %v, second %v, SA directions %t", r.Kernel, r.Took, time.Since(warm), r.SADirection)
}

func TestProbeRefusesAnAlgorithmWithOneWrongByteByName(t *testing.T) {
	good := needKernel(t)
	if err := good.Supports(gcm128, suite.Transform{}); err != nil {
		t.Skip(err)
	}
	spoil := func(change func(*esp.KnownAnswer)) knownAnswers {
		return func(encr, integ suite.Transform, esn bool) (esp.KnownAnswer, bool) {
			k, ok := esp.KnownAnswerFor(encr, integ, esn)
			if encr == gcm128 && esn {
				change(&k)
			}
			return k, ok
		}
	}
	for what, change := range map[string]func(*esp.KnownAnswer){
		"payload": func(k *esp.KnownAnswer) { k.Payload[len(k.Payload)-1] ^= 1 },
		"ICV":     func(k *esp.KnownAnswer) { k.Wire[len(k.Wire)-1] ^= 1 },
		"sealed":  func(k *esp.KnownAnswer) { k.Next ^= 1 }, // opens right, is not what must be sealed
		"key":     func(k *esp.KnownAnswer) { k.Params.Key[0] ^= 1 },
	} {
		r := probe([]Algorithm{{Encr: gcm128}, {Encr: chacha}, {cbc256, sha256}}, spoil(change))
		if r.Problem != "" {
			t.Fatal(r.Problem)
		}
		err := r.Supports(gcm128, suite.Transform{})
		if err == nil || !strings.Contains(err.Error(), "aes128gcm16") || !strings.Contains(err.Error(), "wrong") {
			t.Errorf("wrong %s: %v", what, err)
		}
		for _, a := range []Algorithm{{Encr: chacha}, {cbc256, sha256}} {
			if err := r.Supports(a.Encr, a.Integ); err != nil && good.Supports(a.Encr, a.Integ) == nil {
				t.Errorf("wrong %s of another: %v", what, err)
			}
		}
		t.Logf("wrong %s: %v", what, err)
	}
}

func TestProbeNotesWhatWasNotAsked(t *testing.T) {
	r := &Result{}
	if err := r.Supports(gcm128, suite.Transform{}); err == nil || !strings.Contains(err.Error(), "aes128gcm16") {
		t.Errorf("unprobed algorithm: %v", err)
	}
	if r.Usable() == nil {
		t.Error("a kernel that was not probed is usable")
	}
}

// TestKernelWithoutModulesIsExplained runs where nothing can be loaded.
func TestKernelWithoutModulesIsExplained(t *testing.T) {
	r := kernelOnce()
	err := r.Usable()
	if err == nil {
		t.Skip("this kernel has GRE and ESP: run in build/lab/vm run --no-modules")
	}
	notes := strings.Join(append(r.Notes(), err.Error()), "\n")
	if !strings.Contains(notes, "kmod-") && !strings.Contains(notes, "CAP_SYS_ADMIN") && !strings.Contains(notes, "use the 64-bit greseal") {
		t.Errorf("neither a package nor another remedy is named: %s", notes)
	}
	for _, line := range strings.Split(notes, "\n") {
		t.Log(line)
	}
}

func TestUnbuiltAlgorithmsNameTheMissingPart(t *testing.T) {
	const rng = "name         : stdrng\ndriver       : drbg_nopr_hmac_sha256\n"
	for _, c := range []struct {
		what, crypto, modules string
		encr                  suite.Transform
		esn                   bool
		want, not             string
	}{
		{"no rng", "name : aes\n", "seqiv 16384 0 - Live 0x0\n", gcm128, false, "drbg", "seqiv"},
		{"no seqiv", rng, "gcm 16384 0 - Live 0x0\n", gcm128, true, "seqiv", "drbg"},
		{"nothing known", "", "", gcm128, false, "seqiv", "authenc"},
		{"no authenc", rng + "name : echainiv(x)\n", "", cbc256, false, "authenc ", "echainiv"},
		{"no authencesn", rng + "name : echainiv(authenc(x))\n", "", cbc256, true, "authencesn", "echainiv"},
		{"no echainiv", rng, "authenc 1\nauthencesn 1\n", cbc256, true, "echainiv", "authenc"},
	} {
		if got := missingPart(c.crypto, c.modules, c.encr, c.esn); !strings.Contains(got, c.want) || strings.Contains(got, c.not) {
			t.Errorf("%s: %s; want %s and not %s", c.what, got, c.want, c.not)
		}
	}
}

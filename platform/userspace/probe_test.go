package userspace

import (
	"strings"
	"testing"

	"greseal/crypto/esp"
	"greseal/crypto/suite"
)

func TestSupportsWhatComputesTheKnownAnswers(t *testing.T) {
	d := new(Datapath)
	for _, k := range esp.KnownAnswers() {
		if err := d.Supports(k.Params.Encr, k.Params.Integ); err != nil {
			t.Error(err)
		}
	}
	if err := d.Supports(suite.Transform{Type: suite.TypeEncr, ID: suite.ENCR_3DES}, sha256); err == nil {
		t.Error("3DES is supported")
	}
}

func TestAlgorithmThatComputesWrongIsRefusedByName(t *testing.T) {
	for name, spoil := range map[string]func(k *esp.KnownAnswer){
		"ICV":     func(k *esp.KnownAnswer) { k.Wire[len(k.Wire)-1] ^= 1 },
		"payload": func(k *esp.KnownAnswer) { k.Payload[30] ^= 1 },
		"next":    func(k *esp.KnownAnswer) { k.Next ^= 1 },
	} {
		err := probe(gcm128, suite.Transform{}, func(encr, integ suite.Transform, esn bool) (esp.KnownAnswer, bool) {
			k, ok := esp.KnownAnswerFor(encr, integ, esn)
			spoil(&k)
			return k, ok
		})
		if err == nil || !strings.Contains(err.Error(), "ENCR_AES_GCM_16") {
			t.Errorf("%s spoiled: %v", name, err)
		}
	}
}

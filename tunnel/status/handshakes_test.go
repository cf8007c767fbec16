package status

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestHandshakesReadAsAConversationOn80Columns(t *testing.T) {
	defer func(l *time.Location) { time.Local = l }(time.Local)
	time.Local = time.UTC
	steps := []HandshakeStep{
		{Time: 1700000000, Millis: 5, Tunnel: "hq", IKE: 3, Role: "initiator", Local: "192.0.2.1:500", Remote: "198.51.100.1:500",
			Direction: StepSent, Exchange: "IKE_SA_INIT", Octets: 252, Fragments: 1, Payloads: []string{
				"SA(1 IKE: ENCR_AES_GCM_16-256, PRF_HMAC_SHA2_384, KE Curve25519, ADDKE1 ml-kem-768; 2 IKE: ENCR_AES_CBC-128, AUTH_HMAC_SHA2_256_128, KE 256-bit random ECP group, PRF_HMAC_SHA2_256)",
				"KE(Curve25519, 32 octets)", "Nonce(32 octets)", "N(IKEV2_FRAGMENTATION_SUPPORTED)"}},
		{Time: 1700000000, Millis: 31, Tunnel: "hq", IKE: 3, Role: "initiator", Local: "192.0.2.1:500", Remote: "198.51.100.1:500",
			Direction: StepReceived, Exchange: "IKE_SA_INIT", Response: true, Octets: 36, Fragments: 1, Payloads: []string{"N(NO_PROPOSAL_CHOSEN)"}},
		{Time: 1700000000, Millis: 31, Tunnel: "hq", IKE: 3, Text: "IKE_SA_INIT with 198.51.100.1:500: the peer refused: no common proposal (NO_PROPOSAL_CHOSEN); ours: we offer aes256gcm16-prfsha384-x25519"},
		{Time: 1700000002, Tunnel: "hq", IKE: 4, Role: "responder", Local: "192.0.2.1:4500", Remote: "198.51.100.1:4500",
			Direction: StepReceived, Exchange: "IKE_AUTH", MessageID: 1, Octets: 2011, Fragments: 2, Payloads: []string{"IDi(ID_FQDN \x1b[31mwest)"}},
		{Time: 1700000009, Local: "192.0.2.1:500", Remote: "203.0.113.9:1000", Direction: StepReceived, Exchange: "IKE_SA_INIT", Octets: 200, Fragments: 1},
	}
	var b strings.Builder
	if err := HumanHandshakes(&b, steps, Style{}); err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(b.String(), "\n") {
		if utf8.RuneCountInString(line) > 80 || strings.ContainsRune(line, 0x1b) {
			t.Errorf("bad line %q", line)
		}
	}
	golden(t, "handshakes.txt", b.String())
	b.Reset()
	if err := HumanHandshakes(&b, nil, Style{}); err != nil || !strings.Contains(b.String(), "no handshake") {
		t.Errorf("%q, %v", b.String(), err)
	}
}

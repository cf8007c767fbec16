package suite

import (
	"slices"
	"sort"
	"strings"
)

// word is one configuration word. The first word of a transform is the one
// printed; the later ones are other spellings that people bring along.
type word struct {
	word string
	t    Transform
}

var words = []word{
	{"aes128gcm16", Transform{TypeEncr, ENCR_AES_GCM_16, 128}},
	{"aes192gcm16", Transform{TypeEncr, ENCR_AES_GCM_16, 192}},
	{"aes256gcm16", Transform{TypeEncr, ENCR_AES_GCM_16, 256}},
	{"chacha20poly1305", Transform{TypeEncr, ENCR_CHACHA20_POLY1305, 0}},
	{"aes128", Transform{TypeEncr, ENCR_AES_CBC, 128}},
	{"aes192", Transform{TypeEncr, ENCR_AES_CBC, 192}},
	{"aes256", Transform{TypeEncr, ENCR_AES_CBC, 256}},
	{"prfsha256", Transform{TypePRF, PRF_HMAC_SHA2_256, 0}},
	{"prfsha384", Transform{TypePRF, PRF_HMAC_SHA2_384, 0}},
	{"prfsha512", Transform{TypePRF, PRF_HMAC_SHA2_512, 0}},
	{"prfsha1", Transform{TypePRF, PRF_HMAC_SHA1, 0}},
	{"sha256", Transform{TypeInteg, AUTH_HMAC_SHA2_256_128, 0}},
	{"sha384", Transform{TypeInteg, AUTH_HMAC_SHA2_384_192, 0}},
	{"sha512", Transform{TypeInteg, AUTH_HMAC_SHA2_512_256, 0}},
	{"sha1", Transform{TypeInteg, AUTH_HMAC_SHA1_96, 0}},
	{"x25519", Transform{TypeKE, KE_CURVE25519, 0}},
	{"ecp256", Transform{TypeKE, KE_ECP_256, 0}},
	{"ecp384", Transform{TypeKE, KE_ECP_384, 0}},
	{"ecp521", Transform{TypeKE, KE_ECP_521, 0}},
	{"modp2048", Transform{TypeKE, KE_MODP_2048, 0}},
	{"modp3072", Transform{TypeKE, KE_MODP_3072, 0}},
	{"modp4096", Transform{TypeKE, KE_MODP_4096, 0}},
	{"modp1536", Transform{TypeKE, KE_MODP_1536, 0}},
	{"modp1024", Transform{TypeKE, KE_MODP_1024, 0}},
	{"mlkem768", Transform{TypeKE, KE_MLKEM_768, 0}},
	{"mlkem1024", Transform{TypeKE, KE_MLKEM_1024, 0}},
	{"esn", Transform{TypeESN, ESN_YES, 0}},
	{"noesn", Transform{TypeESN, ESN_NO, 0}},

	{"aes128gcm", Transform{TypeEncr, ENCR_AES_GCM_16, 128}},
	{"aes192gcm", Transform{TypeEncr, ENCR_AES_GCM_16, 192}},
	{"aes256gcm", Transform{TypeEncr, ENCR_AES_GCM_16, 256}},
	{"aes128gcm128", Transform{TypeEncr, ENCR_AES_GCM_16, 128}},
	{"aes192gcm128", Transform{TypeEncr, ENCR_AES_GCM_16, 192}},
	{"aes256gcm128", Transform{TypeEncr, ENCR_AES_GCM_16, 256}},
	{"sha2_256", Transform{TypeInteg, AUTH_HMAC_SHA2_256_128, 0}},
	{"sha2_384", Transform{TypeInteg, AUTH_HMAC_SHA2_384_192, 0}},
	{"sha2_512", Transform{TypeInteg, AUTH_HMAC_SHA2_512_256, 0}},
	{"curve25519", Transform{TypeKE, KE_CURVE25519, 0}},
}

// refused are words of other products with the reason why they have no
// transform here. Their answer is more use than a list of near words.
var refused = map[string]string{
	"3des":    "its 64-bit blocks are no longer safe (RFC 8221); write aes128-sha256",
	"des":     "it is broken; write aes128-sha256",
	"md5":     "it is broken; write sha256",
	"null":    "it encrypts nothing; write aes128gcm16",
	"modp768": "it is broken; write x25519 or modp2048",
	"prfmd5":  "it is broken; write prfsha256",
}

// Word is the configuration word of t ("aes256gcm16", "prfsha384", "x25519"),
// or its registry name when it has no word.
func (t Transform) Word() string {
	plain := t
	if t.Type.IsAddKE() {
		plain.Type = TypeKE
	}
	for _, w := range words {
		if w.t == plain {
			return w.word
		}
	}
	return t.String()
}

// Words joins the words of ts with ", ", for people.
func Words(ts []Transform) string {
	if len(ts) == 0 {
		return "none"
	}
	list := make([]string, len(ts))
	for i, t := range ts {
		list[i] = t.Word()
	}
	return strings.Join(list, ", ")
}

// Known lists the configuration words of one protocol in order of preference,
// without the other spellings: for help texts and forms.
func Known(p Protocol) []string {
	var out []string
	var seen []Transform
	for _, w := range words {
		if !allowedIn(p, w.t.Type) || slices.Contains(seen, w.t) {
			continue
		}
		seen = append(seen, w.t)
		out = append(out, w.word)
	}
	return out
}

func allowedIn(p Protocol, t Type) bool {
	switch t {
	case TypePRF:
		return p == IKE
	case TypeESN:
		return p == ESP
	}
	return true
}

// near returns up to four known words that w may have been meant to be: the
// closest by edit distance, or those that share its first letters.
func near(p Protocol, w string) []string {
	type scored struct {
		word string
		d    int
	}
	var hits []scored
	for _, k := range Known(p) {
		d := distance(w, k)
		switch {
		case d <= 2:
		case len(w) >= 3 && (strings.HasPrefix(k, w[:3]) || strings.HasSuffix(k, w)):
			d += 3
		default:
			continue
		}
		hits = append(hits, scored{k, d})
	}
	sort.SliceStable(hits, func(i, j int) bool { return hits[i].d < hits[j].d })
	var out []string
	for _, h := range hits[:min(4, len(hits))] {
		out = append(out, h.word)
	}
	return out
}

// distance is the edit distance of two short words.
func distance(a, b string) int {
	if len(a) > 32 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

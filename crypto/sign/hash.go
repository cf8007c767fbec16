package sign

import (
	"crypto"
	_ "crypto/sha1"   // method 1
	_ "crypto/sha256" // and the hashes of method 14
	_ "crypto/sha512"
	"slices"
	"strconv"
	"strings"
)

// Hash is a hash algorithm of SIGNATURE_HASH_ALGORITHMS (RFC 7427 section 7,
// RFC 8420 section 4).
type Hash uint16

// Hash algorithms, with IANA's numbers.
const (
	SHA1     Hash = 1
	SHA2_256 Hash = 2
	SHA2_384 Hash = 3
	SHA2_512 Hash = 4
	Identity Hash = 5 // the algorithm takes the message itself: Ed25519
)

var hashFunctions = [...]struct {
	name string
	std  crypto.Hash
}{
	SHA1:     {"SHA1", crypto.SHA1},
	SHA2_256: {"SHA2-256", crypto.SHA256},
	SHA2_384: {"SHA2-384", crypto.SHA384},
	SHA2_512: {"SHA2-512", crypto.SHA512},
	Identity: {"Identity", 0},
}

// String is IANA's name.
func (h Hash) String() string {
	if h < SHA1 || h > Identity {
		return "hash " + strconv.Itoa(int(h))
	}
	return hashFunctions[h].name
}

func (h Hash) crypto() crypto.Hash {
	if h > Identity {
		return 0
	}
	return hashFunctions[h].std
}

func (h Hash) sum(message []byte) []byte {
	d := h.crypto().New()
	d.Write(message)
	return d.Sum(nil)
}

// Announced is what our SIGNATURE_HASH_ALGORITHMS lists. When the keys the peer
// may sign with are known beforehand (raw public keys), only what they need is
// listed (RFC 8420 section 3); without keys it is everything. SHA-1 is never in
// it (RFC 8247 section 3.2).
func Announced(peer ...*PublicKey) []Hash {
	eddsa, other := len(peer) == 0, len(peer) == 0
	for _, k := range peer {
		if k.kind == Ed25519 {
			eddsa = true
		} else {
			other = true
		}
	}
	var out []Hash
	if other {
		out = append(out, SHA2_256, SHA2_384, SHA2_512)
	}
	if eddsa {
		out = append(out, Identity)
	}
	return out
}

// AppendHashes appends the notification data of SIGNATURE_HASH_ALGORITHMS.
func AppendHashes(b []byte, hashes []Hash) []byte {
	for _, h := range hashes {
		b = append(b, byte(h>>8), byte(h))
	}
	return b
}

// ParseHashes reads the notification data of SIGNATURE_HASH_ALGORITHMS: unknown
// numbers are kept, because a person who reads why nothing fits wants to see
// them; 32 at most are.
func ParseHashes(data []byte) ([]Hash, error) {
	if len(data)%2 != 0 {
		return nil, refuse(Malformed, "SIGNATURE_HASH_ALGORITHMS of "+strconv.Itoa(len(data))+" octets, which is no whole number of algorithms", "")
	}
	out := []Hash{}
	for ; len(data) > 0 && len(out) < 32; data = data[2:] {
		if h := Hash(data[0])<<8 | Hash(data[1]); !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return out, nil
}

func hashNames(hashes []Hash) string {
	if len(hashes) == 0 {
		return "none"
	}
	names := make([]string, len(hashes))
	for i, h := range hashes {
		names[i] = h.String()
	}
	return strings.Join(names, ", ")
}

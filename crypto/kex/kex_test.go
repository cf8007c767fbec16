package kex

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/big"
	"strconv"
	"testing"

	"greseal/crypto/internal/vectors"
	"greseal/crypto/suite"
)

var groups = []uint16{
	suite.KE_CURVE25519, suite.KE_ECP_256, suite.KE_ECP_384, suite.KE_ECP_521,
	suite.KE_MODP_1024, suite.KE_MODP_1536, suite.KE_MODP_2048, suite.KE_MODP_3072, suite.KE_MODP_4096,
}

// With -short one published case in so many is tried: an emulated router takes
// minutes for all.
const shortly = 20

func exchange(t testing.TB, group uint16, secret []byte) Exchange {
	t.Helper()
	x, err := New(group, bytes.NewReader(secret))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestBothSidesAgree(t *testing.T) {
	for _, g := range groups {
		a, err := New(g, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		public, shared, err := Respond(g, rand.Reader, a.Public())
		if err != nil {
			t.Fatal(err)
		}
		got, err := a.Shared(public)
		if err != nil || !bytes.Equal(got, shared) {
			t.Errorf("%s: the two sides differ (%v)", name(g), err)
		}
		if len(public) != PublicLen(g) || len(a.Public()) != PublicLen(g) || a.Group() != g {
			t.Errorf("%s: public value of %d octets, want %d", name(g), len(public), PublicLen(g))
		}
	}
}

func TestUnknownGroupIsRefusedByName(t *testing.T) {
	for g, want := range map[uint16]string{1: "768-bit MODP Group", 35: "ml-kem-512", 999: "KE 999", 0: "NONE"} {
		_, err := New(g, rand.Reader)
		if err == nil || !bytes.Contains([]byte(err.Error()), []byte(want)) || PublicLen(g) != 0 {
			t.Errorf("group %d: %v", g, err)
		}
		if _, _, err := Respond(g, rand.Reader, make([]byte, 32)); err == nil {
			t.Errorf("group %d was answered", g)
		}
	}
}

// RFC 5903 section 8.
func TestECPGroupsAsInRFC5903(t *testing.T) {
	for _, v := range []struct {
		group           uint16
		i, ki, r, kr, s string
	}{
		{suite.KE_ECP_256,
			"c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433",
			"dad0b65394221cf9b051e1feca5787d098dfe637fc90b9ef945d0c37725811805271a0461cdb8252d61f1c456fa3e59ab1f45b33accf5f58389e0577b8990bb3",
			"c6ef9c5d78ae012a011164acb397ce2088685d8f06bf9be0b283ab46476bee53",
			"d12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf6356fbf3ca366cc23e8157854c13c58d6aac23f046ada30f8353e74f33039872ab",
			"d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de"},
		{suite.KE_ECP_384,
			"099f3c7034d4a2c699884d73a375a67f7624ef7c6b3c0f160647b67414dce655e35b538041e649ee3faef896783ab194",
			"667842d7d180ac2cde6f74f37551f55755c7645c20ef73e31634fe72b4c55ee6de3ac808acb4bdb4c88732aee95f41aa9482ed1fc0eeb9cafc4984625ccfc23f65032149e0e144ada024181535a0f38eeb9fcff3c2c947dae69b4c634573a81c",
			"41cb0779b4bdb85d47846725fbec3c9430fab46cc8dc5060855cc9bda0aa2942e0308312916b8ed2960e4bd55a7448fc",
			"e558dbef53eecde3d3fccfc1aea08a89a987475d12fd950d83cfa41732bc509d0d1ac43a0336def96fda41d0774a3571dcfbec7aacf3196472169e838430367f66eebe3c6e70c416dd5f0c68759dd1fff83fa40142209dff5eaad96db9e6386c",
			"11187331c279962d93d604243fd592cb9d0a926f422e47187521287e7156c5c4d603135569b9e9d09cf5d4a270f59746"},
		{suite.KE_ECP_521,
			"0037ade9319a89f4dabdb3ef411aaccca5123c61acab57b5393dce47608172a095aa85a30fe1c2952c6771d937ba9777f5957b2639bab072462f68c27a57382d4a52",
			"0015417e84dbf28c0ad3c278713349dc7df153c897a1891bd98bab4357c9ecbee1e3bf42e00b8e380aeae57c2d107564941885942af5a7f4601723c4195d176ced3e017cae20b6641d2eeb695786d8c946146239d099e18e1d5a514c739d7cb4a10ad8a788015ac405d7799dc75e7b7d5b6cf2261a6a7f1507438bf01beb6ca3926f9582",
			"0145ba99a847af43793fdd0e872e7cdfa16be30fdc780f97bccc3f078380201e9c677d600b343757a3bdbf2a3163e4c2f869cca7458aa4a4effc311f5cb151685eb9",
			"00d0b3975ac4b799f5bea16d5e13e9af971d5e9b984c9f39728b5e5739735a219b97c356436adc6e95bb0352f6be64a6c2912d4ef2d0433ced2b6171640012d9460f015c68226383956e3bd066e797b623c27ce0eac2f551a10c2c724d9852077b87220b6536c5c408a1d2aebb8e86d678ae49cb57091f4732296579ab44fcd17f0fc56a",
			"01144c7d79ae6956bc8edb8e7c787c4521cb086fa64407f97894e5e6b2d79b04d1427e73ca4baa240a34786859810c06b3c715a3a8cc3151f2bee417996d19f3ddea"},
	} {
		i := exchange(t, v.group, vectors.Bytes(t, v.i))
		r := exchange(t, v.group, vectors.Bytes(t, v.r))
		if !bytes.Equal(i.Public(), vectors.Bytes(t, v.ki)) || !bytes.Equal(r.Public(), vectors.Bytes(t, v.kr)) {
			t.Errorf("%s: another public value", name(v.group))
		}
		for _, side := range []struct {
			x    Exchange
			peer string
		}{{i, v.kr}, {r, v.ki}} {
			s, err := side.x.Shared(vectors.Bytes(t, side.peer))
			if err != nil || !bytes.Equal(s, vectors.Bytes(t, v.s)) {
				t.Errorf("%s: shared secret %x (%v)", name(v.group), s, err)
			}
		}
	}
}

// Digests of the primes printed in RFC 3526 and RFC 7296 appendix B, and of
// public values and shared secrets computed by other means for exponents made
// of SHA-256 outputs.
func TestMODPGroupsAsInRFC3526(t *testing.T) {
	for _, v := range []struct {
		group                 uint16
		prime, public, shared string
	}{
		{suite.KE_MODP_1024, "3f35a3f5f6c4376a744acad409bb22f8d897f949d2311d885adaa890981b67a0",
			"75a5a844ef63233d54991a15ab7fc0494ba4adcbafd490861adeb629abf73426", "7fecdf27f633e023fb533363d9c2ff48c48c4fd9dd41dae053415bb030b854ec"},
		{suite.KE_MODP_1536, "64fcc83ec403930bf18393dbc883ccaa1fbb08ac876f77f7aa99748ca945019b",
			"49f3d2828e72a5d49b5ae50d2ea2ba6511d5d273017f035e3d224f8828a009eb", "f5bf155311df42114d02ef50249623bd38834a2823b36c170123b632a5805fc4"},
		{suite.KE_MODP_2048, "d66436f79bbd6b2e38c0ffbd079be904d2641415e2e67140e09448be9a60890e",
			"6282d2d4000fdb6b5c918f65875d9b2a4e52b32dfc6148e5b1243331607723e4", "961acbd051ff477ab7b4305e04901e16d13faa9ec32d9588c69534ffbaea7747"},
		{suite.KE_MODP_3072, "48cf8b092fbce4359d9871abf74f98e25b6163379eaa15cd9087e800c6d1c55c",
			"e7ef3b7df31f604b5767a987f1b7f7171f8911773eb09479eae5dc129d1b7a4b", "86a6d3110ff7755fdf10fd1e18e54d37cd95942011e0f681041b2b0886f8eab6"},
		{suite.KE_MODP_4096, "4ee95187682bcb230ad26a95205f6920e84708f6251b3894329b09ec23919e33",
			"3d3f47866ca4a67caa66879ea3b67a06b0fd82d4a074475832eba20fb62fa836", "026f42716702f112a4db5bdb93f7e6921fc8425cfe33c45f27f2c6a3357c76e1"},
	} {
		digest := func(b []byte) string { d := sha256.Sum256(b); return hex.EncodeToString(d[:]) }
		if got := digest(modpGroups[v.group].prime().Bytes()); got != v.prime {
			t.Errorf("%s: another prime", name(v.group))
		}
		secret := func(label string) (out []byte) {
			for i := range 3 {
				d := sha256.Sum256([]byte(label + " " + strconv.Itoa(i)))
				out = append(out, d[:]...)
			}
			return out
		}
		i, r := exchange(t, v.group, secret("initiator")), exchange(t, v.group, secret("responder"))
		if got := digest(i.Public()); got != v.public {
			t.Errorf("%s: another public value", name(v.group))
		}
		s, err := i.Shared(r.Public())
		if err != nil || digest(s) != v.shared {
			t.Errorf("%s: another shared secret (%v)", name(v.group), err)
		}
	}
}

func TestMODPSharedSecretKeepsItsLeadingZeros(t *testing.T) {
	x := exchange(t, suite.KE_MODP_1024, bytes.Repeat([]byte{7}, 64))
	// One public value in 256 gives a secret that begins with a zero octet.
	for n := int64(2); n < 5000; n++ {
		peer := big.NewInt(n).FillBytes(make([]byte, 128))
		s, err := x.Shared(peer)
		if err != nil || len(s) != 128 {
			t.Fatalf("peer value %d: secret of %d octets (%v)", n, len(s), err)
		}
		if s[0] == 0 {
			return
		}
	}
	t.Error("no secret began with zero")
}

func TestPublicValuesAreCheckedAsInRFC6989(t *testing.T) {
	for _, g := range groups {
		x := exchange(t, g, bytes.Repeat([]byte{0x2b}, 128))
		n := PublicLen(g)
		bad := map[string][]byte{
			"empty":    nil,
			"short":    make([]byte, n-1),
			"long":     append(bytes.Clone(x.Public()), 0),
			"all zero": make([]byte, n),
		}
		switch {
		case modpBits(g) != 0:
			p := modpGroups[g].prime()
			less := func(k int64) []byte { return new(big.Int).Sub(p, big.NewInt(k)).FillBytes(make([]byte, n)) }
			bad["one"] = big.NewInt(1).FillBytes(make([]byte, n))
			bad["p-1"] = less(1)
			bad["p"] = less(0)
			bad["above p"] = less(-5)
			for _, good := range [][]byte{big.NewInt(2).FillBytes(make([]byte, n)), less(2)} {
				if _, err := x.Shared(good); err != nil {
					t.Errorf("%s: refused %x…: %v", name(g), good[:4], err)
				}
			}
		case g == suite.KE_CURVE25519:
			bad["low order"] = vectors.Bytes(t, "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")
			bad["order 8"] = vectors.Bytes(t, "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")
		default:
			off := bytes.Clone(x.Public())
			off[n-1] ^= 1
			bad["off the curve"] = off
			bad["with a point format octet"] = append([]byte{4}, x.Public()...)
		}
		for what, peer := range bad {
			if s, err := x.Shared(peer); !errors.Is(err, ErrPublic) {
				t.Errorf("%s, %s: secret %x, error %v", name(g), what, s, err)
			}
			if _, _, err := Respond(g, rand.Reader, peer); !errors.Is(err, ErrPublic) {
				t.Errorf("%s, %s: answered, error %v", name(g), what, err)
			}
		}
	}
}

func TestBrokenRandomnessIsAnError(t *testing.T) {
	for _, g := range groups {
		if _, err := New(g, bytes.NewReader([]byte{1, 2, 3})); err == nil {
			t.Errorf("%s: made from three octets", name(g))
		}
	}
	zeros := bytes.NewReader(make([]byte, 1<<16))
	if _, err := New(suite.KE_ECP_256, zeros); err == nil {
		t.Error("a zero scalar was used")
	}
}

func TestCurve25519AgainstWycheproof(t *testing.T) {
	type test struct {
		ID      int `json:"tcId"`
		Flags   []string
		Public  vectors.Hex
		Private vectors.Hex
		Shared  vectors.Hex
		Result  string
	}
	var file vectors.Wycheproof[struct{ Tests []test }]
	vectors.JSON(t, &file, "wycheproof", "x25519_test.json.gz")
	ran := 0
	for _, g := range file.Groups {
		for _, v := range g.Tests {
			if ran++; testing.Short() && ran%shortly != 0 {
				continue
			}
			s, err := exchange(t, suite.KE_CURVE25519, v.Private).Shared(v.Public)
			zero := bytes.Equal(v.Shared, make([]byte, 32))
			switch {
			case zero && !errors.Is(err, ErrPublic):
				t.Errorf("test %d: an all-zero secret was accepted", v.ID)
			case !zero && (err != nil || !bytes.Equal(s, v.Shared)):
				t.Errorf("test %d (%s): %x, %v", v.ID, v.Result, s, err)
			}
		}
	}
	if ran < 500 {
		t.Errorf("only %d tests in the file", ran)
	}
}

func TestECPGroupsAgainstWycheproof(t *testing.T) {
	type test struct {
		ID      int `json:"tcId"`
		Flags   []string
		Public  string
		Private string
		Shared  vectors.Hex
		Result  string
	}
	for group, file := range map[uint16]string{
		suite.KE_ECP_256: "ecdh_secp256r1_ecpoint_test.json.gz",
		suite.KE_ECP_384: "ecdh_secp384r1_ecpoint_test.json.gz",
		suite.KE_ECP_521: "ecdh_secp521r1_ecpoint_test.json.gz",
	} {
		var f vectors.Wycheproof[struct{ Tests []test }]
		vectors.JSON(t, &f, "wycheproof", file)
		ran := 0
		for _, g := range f.Groups {
			for _, v := range g.Tests {
				// The KE payload has no form for compressed points.
				if len(v.Public) < 2 || v.Public[:2] != "04" {
					continue
				}
				if ran++; testing.Short() && ran%shortly != 0 {
					continue
				}
				private := new(big.Int).SetBytes(vectors.Bytes(t, v.Private))
				x := exchange(t, group, private.FillBytes(make([]byte, map[uint16]int{19: 32, 20: 48, 21: 66}[group])))
				s, err := x.Shared(vectors.Bytes(t, v.Public[2:]))
				if v.Result == "invalid" {
					if !errors.Is(err, ErrPublic) {
						t.Errorf("%s test %d: accepted", name(group), v.ID)
					}
				} else if err != nil || !bytes.Equal(s, v.Shared) {
					t.Errorf("%s test %d: %x, %v", name(group), v.ID, s, err)
				}
			}
		}
		if ran < 200 {
			t.Errorf("%s: only %d tests in the file", name(group), ran)
		}
	}
}

func BenchmarkExchange(b *testing.B) {
	for _, g := range groups {
		b.Run(name(g), func(b *testing.B) {
			peer, err := New(g, rand.Reader)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, _, err := Respond(g, rand.Reader, peer.Public()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

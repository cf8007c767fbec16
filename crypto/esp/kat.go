package esp

import (
	"encoding/hex"

	"greseal/crypto/suite"
)

// KnownAnswer is one ESP packet as it must be on the wire. A datapath that opens
// Wire under Params and gets anything but Payload computes the algorithm wrongly.
type KnownAnswer struct {
	Params  Params
	Payload []byte // an IPv4 packet: UDP from 198.18.0.1 port 9 to 198.18.0.2 port 9
	Next    uint8  // next header of Payload, 4: tunnel mode
	Wire    []byte // from the SPI to the end of the ICV; sequence number 1
}

// The SPI and sequence number of every known answer, and its payload.
const (
	katSPI    = 0x6b617431
	katHeader = "6b61743100000001"
)

const katPayload = "45000030000140004011ae94c6120001c612000200090009001c51b66772657365616c206b6e6f776e20616e73776572"

// kats were computed by software other than this package: AES, ChaCha20 and
// Poly1305 by OpenSSL, HMAC by Python. Keys are the octets 10, 11, 12, … and
// integrity keys 80, 81, 82, …
var kats = []struct {
	encr, bits uint16
	body       string // IV and ciphertext
	checks     []katCheck
}{
	{suite.ENCR_AES_GCM_16, 128,
		"000000000000000188b5f1704fe392b00e1daadf6a5f5d72a183d665db446100ffdf52c8ac43168823672954dcbd975cdc4060933973d7bebbfe2d04",
		[]katCheck{
			{suite.AUTH_NONE,
				"a4865e3f7c2d690f5b5b3ef7973bcd04",
				"127c1146f8da9fcbdac79e5d934c7419"},
		}},
	{suite.ENCR_AES_GCM_16, 192,
		"0000000000000001f340dd7437630d44ebf90f5a3e83445a2b83896062176c7daeb5051a2ea9a6738797b8b561efaff636f05618d7097053a5a19dae",
		[]katCheck{
			{suite.AUTH_NONE,
				"54b3465c76f4513dfb71673e25bc3764",
				"353cfdc1b5b24598c2570430fe7d6913"},
		}},
	{suite.ENCR_AES_GCM_16, 256,
		"000000000000000134ceab22f44d6ea67e464675dc5de81c21579b9993ea937f9f3c847bcbe8526641555764ffa33e5511accf82b7cd368354317476",
		[]katCheck{
			{suite.AUTH_NONE,
				"4c3a2e1d1cdde49359cac5074a46e4bc",
				"b4cbc0502bbba5f398aba6a46237e9d7"},
		}},
	{suite.ENCR_CHACHA20_POLY1305, 0,
		"00000000000000012dc2f36d07867fac8780d128a6983c43f6feb1ff6fde475acb3f3593d1e0c1dafb4a038b45dd55acdb60da86eae9e1eede83c520",
		[]katCheck{
			{suite.AUTH_NONE,
				"a4d1d57791c151e759977ea5745890fb",
				"2a8be146827e1af03c94be2a85ebf78b"},
		}},
	{suite.ENCR_AES_CBC, 128,
		"a0a1a2a3a4a5a6a7a8a9aaabacadaeafc07d13e9f7f6f869e8c166ec9bacd96f221b6e989db4190a788a9cdbffd52cff60faa2f2cf2b458be093a42ff65fbdd200d7089936e01318c605150af6b36f86",
		[]katCheck{
			{suite.AUTH_HMAC_SHA2_256_128,
				"b7c239bb4286fa3c12c85d1a0f22399b",
				"7fa9410e3093f2b4fa7e039b3b6e66c4"},
			{suite.AUTH_HMAC_SHA2_384_192,
				"9325709fbf2196bb29aec4535132f55cd8cf5003105c3f23",
				"50b01b1ce9475a420da479f81572521a7d0410b4e61ddfc9"},
			{suite.AUTH_HMAC_SHA2_512_256,
				"358bd421f75883bc381293764f6f16e975ae8606f8011018e09066bdf1d4cde3",
				"7a39d1734f1dd8ecdcad0cad9bcf2e8a88d4f8c2cd3008fbab70c8c9d990db39"},
			{suite.AUTH_HMAC_SHA1_96,
				"8afea4db470250f586d72557",
				"99d0c88a93fdb64d2b5fc3ae"},
		}},
	{suite.ENCR_AES_CBC, 192,
		"a0a1a2a3a4a5a6a7a8a9aaabacadaeaf6a99358ae7a72c7071154057292213c89de63b8991b55921def4f4d9c5cb05eafbe7c7637599113e02583f6b406cac42968f70f19b27b3bcd4e9f4ef31fce0b4",
		[]katCheck{
			{suite.AUTH_HMAC_SHA2_256_128,
				"b6a5d77e389b2613a4cb72217d24acb5",
				"7d4ce42f9e7eac3c9671a6a65c1f6bd7"},
			{suite.AUTH_HMAC_SHA2_384_192,
				"2540ee42fe6f1de97ad35a4195016c5e106169acd7ea9fb6",
				"cbc1de58a1ad3441eea882ae62ee8151f1035ad2f5ff4f9e"},
			{suite.AUTH_HMAC_SHA2_512_256,
				"370ac41f7472c8651d7052e85e8dd509845a06a090fa8a650530cbb0b359fed4",
				"a0c6362f343f065e53530173319aa9c6dd81002b92d6993cf315a949cd54fbd6"},
			{suite.AUTH_HMAC_SHA1_96,
				"7c1f58f83a1d4ab0670a9139",
				"754a23198159bfabd49758af"},
		}},
	{suite.ENCR_AES_CBC, 256,
		"a0a1a2a3a4a5a6a7a8a9aaabacadaeaf917061bf22eddae8762ca584bb55f979e47d454f378118f5de755638ee425fb0d7da6f943749cbebcb2155e1fe64d7bd4b2aff32e6919989e712637508ea27ad",
		[]katCheck{
			{suite.AUTH_HMAC_SHA2_256_128,
				"d639e5c10e28dfa5789b1feb7ee3cbb8",
				"0cd5bce9f0e26006bbe8a52713c0a052"},
			{suite.AUTH_HMAC_SHA2_384_192,
				"cafc2c6f8dba2b5017ce2db9ebc1c53dc26091bbafce3f6e",
				"56df33fabd1c03636987ea4ffb35b01b1c9b64e08d0ed89e"},
			{suite.AUTH_HMAC_SHA2_512_256,
				"3bfa3d97ae73f8c5218d94f2817f1ab0f37187f4f20eb00aca5f0b189b660ab8",
				"980431d67927ba3d018e02a70c6f9594bcc1f724d2d53b6f443749f57bda51e4"},
			{suite.AUTH_HMAC_SHA1_96,
				"155841e8f7d2e1cda1d1979e",
				"e48b14a3f262da6553015577"},
		}},
}

// katCheck is the integrity check value, with 32-bit and with extended sequence
// numbers.
type katCheck struct {
	integ    uint16
	icv, esn string
}

// KnownAnswers returns a known answer for every ESP algorithm that is
// implemented, with 32-bit and with extended sequence numbers. The caller owns
// them and may wipe the keys.
func KnownAnswers() []KnownAnswer {
	var out []KnownAnswer
	for _, k := range kats {
		encr := suite.Transform{Type: suite.TypeEncr, ID: k.encr, KeyLen: k.bits}
		for _, c := range k.checks {
			var integ suite.Transform
			if c.integ != suite.AUTH_NONE {
				integ = suite.Transform{Type: suite.TypeInteg, ID: c.integ}
			}
			for _, esn := range []bool{false, true} {
				icv := c.icv
				if esn {
					icv = c.esn
				}
				out = append(out, KnownAnswer{
					Params: Params{SPI: katSPI, Encr: encr, Integ: integ, ESN: esn,
						Key: counting(encr.KeyBytes(), 0x10), AuthKey: counting(integ.KeyBytes(), 0x80)},
					Payload: unhex(katPayload),
					Next:    NextIPv4,
					Wire:    unhex(katHeader + k.body + icv),
				})
			}
		}
	}
	return out
}

// KnownAnswerFor returns the known answer of one pair of algorithms.
func KnownAnswerFor(encr, integ suite.Transform, esn bool) (KnownAnswer, bool) {
	for _, k := range KnownAnswers() {
		if k.Params.Encr == encr && k.Params.Integ.ID == integ.ID && k.Params.ESN == esn {
			return k, true
		}
	}
	return KnownAnswer{}, false
}

func counting(n int, first byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

// unhex reads the constants above, which the tests read too.
func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

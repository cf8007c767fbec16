package suite

// DefaultIKE is what is offered, and accepted, for IKE SAs when nothing is
// configured, strongest first: AEADs, then AES-CBC, each first with ML-KEM-768
// as an additional key exchange and then without, because a peer that doesn't
// know RFC 9370 refuses a whole proposal for an unknown transform type. Within
// a proposal all alternatives of a type stand together, so that IKE_SA_INIT
// stays small.
func DefaultIKE() []Proposal {
	aead := "aes256gcm16-aes128gcm16-chacha20poly1305-prfsha384-prfsha256" + defaultGroups
	cbc := "aes256-aes128-sha256-sha384-sha512" + defaultGroups
	return []Proposal{
		must(ParseIKE(aead + "-mlkem768")),
		must(ParseIKE(cbc + "-mlkem768")),
		must(ParseIKE(aead)),
		must(ParseIKE(cbc)),
	}
}

// MODP comes last: math/big is not constant-time.
const defaultGroups = "-x25519-ecp256-ecp384-modp2048-modp3072"

// DefaultESP is what is offered, and accepted, for Child SAs, without key
// exchanges (WithKE adds them). aes says whether the datapath has AES
// instructions: without them ChaCha20-Poly1305 is 1.5 to 3 times faster, and
// constant-time, so it goes first.
func DefaultESP(aes bool) []Proposal {
	aead := "aes128gcm16-aes256gcm16-chacha20poly1305"
	if !aes {
		aead = "chacha20poly1305-aes128gcm16-aes256gcm16"
	}
	return []Proposal{
		must(ParseESP(aead)),
		must(ParseESP("aes256-sha256-sha512")),
	}
}

// must is for the constants above, which the tests parse.
func must(p Proposal, err error) Proposal {
	if err != nil {
		panic(err)
	}
	return p
}

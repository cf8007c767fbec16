package suite

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ParseIKE reads one IKE proposal written as words joined with "-":
// "aes256gcm16-prfsha384-x25519", "aes256-sha256-modp2048". Several words of a
// type are alternatives in order of preference. Without a PRF word the PRFs are
// those of the integrity words; with an AEAD an integrity word names nothing
// but the PRF. ML-KEM words behind an ordinary group are additional key
// exchange 1 (RFC 9370), as is every group written "ke1_…" ("ke2_…" and so on).
func ParseIKE(s string) (Proposal, error) { return parse(IKE, s) }

// ParseESP reads one ESP proposal: "aes128gcm16", "aes256-sha256-modp2048",
// "aes128gcm16-x25519-esn". Without "esn" or "noesn" both are offered, extended
// sequence numbers first. A group asks for a key exchange of its own in
// CREATE_CHILD_SA (perfect forward secrecy).
func ParseESP(s string) (Proposal, error) { return parse(ESP, s) }

func parse(p Protocol, s string) (Proposal, error) {
	prop := Proposal{Protocol: p}
	if strings.TrimSpace(s) == "" {
		return Proposal{}, fmt.Errorf("empty %s proposal; write for example %q", p, example(p))
	}
	if len(s) > 512 {
		return Proposal{}, fmt.Errorf("%s proposal of %d characters; write at most 512, or several proposals", p, len(s))
	}
	for _, w := range strings.Split(strings.ToLower(strings.TrimSpace(s)), "-") {
		t, err := parseWord(p, w)
		if err != nil {
			return Proposal{}, fmt.Errorf("%s proposal %q: %w", p, s, err)
		}
		if slices.Contains(prop.Transforms, t) {
			return Proposal{}, fmt.Errorf("%s proposal %q: %q stands there twice; leave one out", p, s, w)
		}
		prop.Transforms = append(prop.Transforms, t)
	}
	if err := prop.complete(); err != nil {
		return Proposal{}, fmt.Errorf("%s proposal %q: %w", p, s, err)
	}
	return prop, nil
}

func example(p Protocol) string {
	if p == IKE {
		return "aes256gcm16-prfsha384-x25519"
	}
	return "aes128gcm16"
}

// parseWord finds the transform of one word.
func parseWord(p Protocol, w string) (Transform, error) {
	name, add := w, Type(0)
	if len(w) > 4 && strings.HasPrefix(w, "ke") && w[2] >= '1' && w[2] <= '7' && w[3] == '_' {
		name, add = w[4:], TypeAddKE1+Type(w[2]-'1')
	}
	for _, known := range words {
		if known.word != name {
			continue
		}
		t := known.t
		if !allowedIn(p, t.Type) {
			return Transform{}, fmt.Errorf("%q has no place in an %s proposal; leave it out", w, p)
		}
		if add != 0 {
			if t.Type != TypeKE {
				return Transform{}, fmt.Errorf("%q: %s is no key exchange; write for example \"ke%c_mlkem768\"", w, name, w[2])
			}
			t.Type = add
		}
		return t, nil
	}
	if why, ok := refused[name]; ok {
		return Transform{}, fmt.Errorf("%q is refused: %s", w, why)
	}
	if hints := near(p, name); len(hints) > 0 {
		return Transform{}, fmt.Errorf("unknown word %s; did you mean %s?", quote(w), strings.Join(hints, ", "))
	}
	return Transform{}, fmt.Errorf("unknown word %s; known are %s", quote(w), strings.Join(Known(p), ", "))
}

func quote(w string) string {
	if len(w) > 40 {
		return strconv.Quote(w[:40]) + "…"
	}
	return strconv.Quote(w)
}

// complete puts in what a person may leave out and checks the rest.
func (p *Proposal) complete() error {
	var aead, plain string
	for _, t := range p.Of(TypeEncr) {
		if t.IsAEAD() {
			aead = t.Word()
		} else {
			plain = t.Word()
		}
	}
	switch {
	case aead == "" && plain == "":
		return fmt.Errorf("no encryption algorithm; begin for example with %s", example(p.Protocol))
	case aead != "" && plain != "":
		return fmt.Errorf("%s carries its own integrity check and %s does not, so they can't share a proposal (RFC 7296 section 3.3); write two proposals", aead, plain)
	case aead == "" && !p.Has(TypeInteg):
		return fmt.Errorf("%s needs an integrity algorithm; add for example sha256", plain)
	case aead != "" && p.Has(TypeInteg) && p.Protocol == ESP:
		return fmt.Errorf("%s carries its own integrity check; leave out %s", aead, Words(p.Of(TypeInteg)))
	}
	if p.Protocol == IKE {
		if !p.Has(TypePRF) {
			for _, t := range p.Of(TypeInteg) {
				p.Transforms = append(p.Transforms, Transform{Type: TypePRF, ID: prfOf[t.ID]})
			}
		}
		if !p.Has(TypePRF) {
			return fmt.Errorf("%s needs a pseudorandom function; add for example prfsha384", aead)
		}
		if aead != "" {
			p.Transforms = slices.DeleteFunc(p.Transforms, func(t Transform) bool { return t.Type == TypeInteg })
		}
	}
	p.moveMLKEM()
	if err := p.checkKE(); err != nil {
		return err
	}
	if p.Protocol == ESP && !p.Has(TypeESN) {
		p.Transforms = append(p.Transforms,
			Transform{Type: TypeESN, ID: ESN_YES}, Transform{Type: TypeESN, ID: ESN_NO})
	}
	return nil
}

// prfOf is the PRF that goes with an integrity word when none is written.
var prfOf = map[uint16]uint16{
	AUTH_HMAC_SHA1_96:      PRF_HMAC_SHA1,
	AUTH_HMAC_SHA2_256_128: PRF_HMAC_SHA2_256,
	AUTH_HMAC_SHA2_384_192: PRF_HMAC_SHA2_384,
	AUTH_HMAC_SHA2_512_256: PRF_HMAC_SHA2_512,
}

func isMLKEM(id uint16) bool { return id >= 35 && id <= 37 }

// moveMLKEM makes plain ML-KEM words additional key exchange 1: ML-KEM is never
// used alone here, and so needs no prefix.
func (p *Proposal) moveMLKEM() {
	for i, t := range p.Transforms {
		if t.Type == TypeKE && isMLKEM(t.ID) {
			p.Transforms[i].Type = TypeAddKE1
		}
	}
}

func (p *Proposal) checkKE() error {
	if !p.Has(TypeKE) {
		for t := TypeAddKE1; t <= TypeAddKE7; t++ {
			if add := p.Of(t); len(add) > 0 {
				return fmt.Errorf("%s is an additional key exchange; put an ordinary one before it, for example x25519-%s", add[0].Word(), add[0].Word())
			}
		}
		if p.Protocol == IKE {
			return fmt.Errorf("no key exchange; add for example x25519")
		}
	}
	for t := TypeAddKE1; t <= TypeAddKE7; t++ {
		for i, a := range p.Of(t) {
			if slices.Contains(p.Of(t)[:i], a) {
				return fmt.Errorf("%s stands there twice; leave one out", a.Word())
			}
		}
	}
	return nil
}

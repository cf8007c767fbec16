package tunnel

import (
	"greseal/ikev2"
	"greseal/platform"
	"greseal/tunnel/config"
	"greseal/tunnel/doctor"
)

// espForm is how ESP travels outside. Networks and peers there are that take one
// form and not the other: filters that drop IP protocol 50, or ESP in the flow that
// IKE passes in; kernels without UDP encapsulation over IPv6.
type espForm uint8

const (
	formUsual espForm = iota // as encap, the datapath and NAT detection make it
	formBare                 // IP protocol 50
	formUDP                  // UDP port 4500
)

func formOf(udp bool) espForm {
	if udp {
		return formUDP
	}
	return formBare
}

func (f espForm) other() espForm { return formOf(f == formBare) }

func (f espForm) String() string {
	if f == formBare {
		return "ESP (IP protocol 50)"
	}
	return "UDP"
}

// short is the form's name where there is no doubt.
func short(f espForm) string {
	if f == formBare {
		return "ESP"
	}
	return f.String()
}

// dropped is the suspicion against a form in which nothing comes back.
func (f espForm) dropped() string {
	if f == formBare {
		return f.String() + " seems to be dropped on the way"
	}
	return "ESP in UDP 4500 seems to be dropped on the way, or the peer does not take it"
}

// encapMode is what the engine is to ask the tunnel's peer for.
func (t *peer) encapMode(kind string) ikev2.EncapMode {
	switch {
	case t.cfg.Encap == config.EncapAlways:
		return ikev2.EncapForce
	case t.cfg.Encap == config.EncapNever, t.esp.asked == formBare:
		return ikev2.EncapNever
	case t.esp.asked == formUDP:
		return ikev2.EncapForce
	case kind == platform.KindUserspace:
		// UDP is three times as fast as raw ESP there (contract 14).
		return ikev2.EncapForce
	}
	return ikev2.EncapAuto
}

// natRemote tells whether the peer is behind a NAT, and does not only feign one.
func natRemote(i ikev2.IKEInfo) bool { return i.NATRemote && !i.NATFeigned }

// remedy is what the owner can do where it is not for us to try the other form, ""
// where it is.
func (t *peer) remedy(f espForm, i ikev2.IKEInfo) string {
	switch {
	case f == formUDP:
		return doctor.InsteadOfUDP(t.cfg, i.NATLocal || natRemote(i))
	case t.cfg.Encap == config.EncapAlways:
		return "turn NAT traversal on at the peer, which takes no part in NAT detection"
	case t.cfg.RemoteAny:
		return `set encap = "always" on the side that initiates`
	case t.cfg.Encap == config.EncapNever:
		return `set encap = "always"`
	}
	return ""
}

// encapWhy is the reason for the form that is used, one sentence.
func encapWhy(t *peer, i ikev2.IKEInfo, udp bool, kind string) string {
	const silence = " does not pass: echo requests got no answer while IKE did"
	c := t.cfg
	often := "; tried once more when the tunnel is made anew"
	if t.esp.retried {
		often = ", twice"
	}
	switch {
	case udp && i.NATLocal && !i.EncapForced:
		return "this side is behind a NAT"
	case udp && natRemote(i):
		return "the peer is behind a NAT, or says so on purpose"
	case udp && c.Encap == config.EncapAlways:
		return `encap = "always"`
	case udp && t.esp.asked == formUDP:
		return "bare ESP" + silence + often
	case udp && i.EncapForced:
		return "the userspace datapath is three times faster in UDP than in raw ESP"
	case udp && i.NATFeigned:
		return "the peer feigns a NAT to get UDP"
	case udp:
		return "NAT detection found an address translated on the way"
	case c.Encap == config.EncapNever:
		return `encap = "never"`
	case t.esp.asked == formBare:
		return "ESP in UDP" + silence + often
	case kind == platform.KindKernel:
		return "no NAT was found on the way"
	}
	return "the peer takes no part in NAT detection, as one does that is to have ESP without UDP"
}

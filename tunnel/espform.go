package tunnel

import (
	"greseal/ikev2"
	"greseal/platform"
	"greseal/tunnel/config"
	"greseal/tunnel/doctor"
	"greseal/tunnel/esppath"
)

// encapMode is what the engine asks the tunnel's peer for.
func (p *peer) encapMode(kind string) ikev2.EncapMode {
	switch {
	case p.cfg.Encap == config.EncapAlways:
		return ikev2.EncapForce
	case p.cfg.Encap == config.EncapNever, p.esp.Asked() == esppath.Bare:
		return ikev2.EncapNever
	case p.esp.Asked() == esppath.UDP:
		return ikev2.EncapForce
	case kind == platform.KindUserspace:
		// UDP is three times as fast as raw ESP there (contract 14).
		return ikev2.EncapForce
	}
	return ikev2.EncapAuto
}

// remedy is what the administrator can do where the other form is not tried
// automatically, "" where it is.
func (p *peer) remedy(f esppath.Form, n ikev2.NAT) string {
	switch {
	case f == esppath.UDP:
		return doctor.InsteadOfUDP(p.cfg, n.Found())
	case p.cfg.Encap == config.EncapAlways:
		return "turn on NAT traversal at the peer, which does not take part in NAT detection"
	case p.cfg.RemoteAny:
		return `set encap = "always" on the side that initiates`
	case p.cfg.Encap == config.EncapNever:
		return `set encap = "always"`
	}
	return ""
}

const silence = " does not pass: echo requests got no answer while IKE did"

// encapWhy is the reason for the form in use, one sentence.
func encapWhy(p *peer, n ikev2.NAT, udp bool, kind string) string {
	often := "; tried once more when the tunnel restarts"
	if p.esp.Retried() {
		often = ", twice"
	}
	if udp {
		return udpWhy(p, n, often, kind)
	}
	switch {
	case p.cfg.Encap == config.EncapNever:
		return `encap = "never"`
	case p.esp.Asked() == esppath.Bare:
		return "ESP in UDP" + silence + often
	case kind == platform.KindKernel:
		return "no NAT was found on the way"
	}
	return "the peer does not take part in NAT detection, so ESP goes without UDP"
}

func udpWhy(p *peer, n ikev2.NAT, often, kind string) string {
	switch {
	case n.NATLocal && !n.EncapForced:
		return "this side is behind a NAT"
	case n.PeerBehindNAT():
		return "the peer is behind a NAT, or claims to be"
	case p.cfg.Encap == config.EncapAlways:
		return `encap = "always"`
	case p.esp.Asked() == esppath.UDP:
		return "bare ESP" + silence + often
	case n.EncapForced && kind == platform.KindKernel:
		return "it was tried because bare ESP" + silence + ", and does not pass either"
	case n.EncapForced:
		return "UDP encapsulation is forced by this side, whose userspace datapath is three times faster in UDP than in raw ESP"
	case n.EncapForcedByPeer:
		return `UDP encapsulation is forced by the peer, for its userspace datapath or encap = "always"`
	}
	return "NAT detection found an address translated on the way"
}

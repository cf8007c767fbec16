package peerconf

import (
	"fmt"
	"strings"

	"greseal/crypto/suite"
	"greseal/ikev2"
	"greseal/tunnel/config"
)

// VyOS has strongSwan below, but one value a setting, and no extended sequence
// numbers.
var vyOS = vendor{
	name: "vyos", title: "VyOS", comment: "# ",
	ike: everything, esp: everything,
	render: renderVyOS,
}

func renderVyOS(p *page, s *side) {
	if s.GRE.Sequence || s.GRE.Checksum {
		s.warn("VyOS has no GRE sequence numbers or checksum: leave gre.sequence and gre.checksum out here")
	}
	if strings.ContainsAny(s.secret, `'"\`) || strings.HasPrefix(s.secret, "0x") || strings.HasPrefix(s.secret, "0s") {
		s.warn("VyOS cannot be given this key as it is: choose one without quotes, backslashes and a leading 0x or 0s")
	}
	if s.Encap == config.EncapNever {
		s.warn("VyOS switches to UDP when it finds a NAT; there must be none")
	}
	s.replace("eth0 by the outer interface, and tun0 and the rule numbers by free ones")

	p.rem("For VyOS 1.4 and newer, in configure mode.")
	set := func(format string, args ...any) { p.line("set "+format, args...) }
	ike := "vpn ipsec ike-group " + s.label
	set("%s key-exchange ikev2", ike)
	set("%s lifetime %d", ike, seconds(s.IKELifetime, 60e9, 86400e9))
	set("%s disable-mobike", ike)
	set("%s dead-peer-detection action restart", ike)
	set("%s dead-peer-detection interval %d", ike, seconds(s.DPD, 2e9, 86400e9))
	if s.RemoteAny {
		set("%s close-action start", ike) // greseal never begins here
	}
	set("%s proposal 10 encryption %s", ike, vyOSCipher(s.ikeSuite.Encr))
	set("%s proposal 10 hash sha%s", ike, hashOf(s.ikeSuite))
	set("%s proposal 10 prf %s", ike, s.ikeSuite.PRF.Word())
	set("%s proposal 10 dh-group %d", ike, group(s.ikeSuite.KE))

	esp := "vpn ipsec esp-group " + s.label
	set("%s mode %s", esp, s.Mode)
	set("%s lifetime %d", esp, seconds(s.ChildLifetime, 30e9, 86400e9))
	if s.pfsGroup.Type != 0 {
		set("%s pfs dh-group%d", esp, group(s.pfsGroup))
	} else {
		set("%s pfs disable", esp)
	}
	for n, e := range s.espSuites {
		set("%s proposal %d encryption %s", esp, 10*(n+1), vyOSCipher(e.Encr))
		h := "256"
		if e.Integ.Type != 0 {
			h = hash(e.Integ)
		}
		set("%s proposal %d hash sha%s", esp, 10*(n+1), h)
	}

	vyOSPeer(s, set)
	vyOSInterface(s, set)
	if len(s.networks) == 0 {
		p.rem("Networks behind greseal: set protocols static route NETWORK interface tun0")
	}

	p.line("")
	p.rem("VyOS does not keep this GRE from leaving in the clear by itself (these matches are there since 1.5).")
	family, any := "ipv4", s.greThere
	if strings.Contains(s.greThere, ":") {
		family = "ipv6"
	}
	for _, rule := range []struct{ hook, end, match string }{{"input", "source", "match-none-in"}, {"output", "destination", "match-none-out"}} {
		f := fmt.Sprintf("firewall %s %s filter rule 10", family, rule.hook)
		set("%s action drop", f)
		set("%s protocol gre", f)
		set("%s %s address %s", f, rule.end, any)
		set("%s ipsec %s", f, rule.match)
	}
}

func vyOSPeer(s *side, set func(string, ...any)) {
	q := func(v string) string { return "'" + v + "'" }
	psk := "vpn ipsec authentication psk " + s.label
	for _, id := range []ikev2.Identity{s.hereID, s.thereID} {
		if id.IsSet() {
			set("%s id %s", psk, q(vyOSID(id)))
		}
	}
	if !s.hereID.IsSet() || !s.thereID.IsSet() {
		set("%s id '%%any'", psk)
	}
	set("%s secret %s", psk, q(s.secret))

	set("vpn ipsec interface eth0")
	peer := "vpn ipsec site-to-site peer " + s.label
	set("%s authentication mode pre-shared-secret", peer)
	if s.hereID.IsSet() {
		set("%s authentication local-id %s", peer, q(vyOSID(s.hereID)))
	}
	remote := "%any"
	if s.thereID.IsSet() {
		remote = vyOSID(s.thereID)
	}
	set("%s authentication remote-id %s", peer, q(remote))
	set("%s connection-type initiate", peer)
	set("%s ike-group %s", peer, s.label)
	set("%s default-esp-group %s", peer, s.label)
	local := s.here
	if !s.hereIP.IsValid() {
		local = "any"
	}
	set("%s local-address %s", peer, local)
	set("%s remote-address %s", peer, s.there)
	set("%s replay-window %d", peer, min(s.ReplayWindow, 2040))
	if s.Encap == config.EncapAlways {
		set("%s force-udp-encapsulation", peer)
	}
	set("%s tunnel 1 protocol gre", peer)
	if !s.Transport() {
		set("%s tunnel 1 local prefix %s", peer, host(s.greHere))
		set("%s tunnel 1 remote prefix %s", peer, host(s.greThere))
	}
}

func vyOSInterface(s *side, set func(string, ...any)) {
	kind := "gre"
	if s.GRE.Ethernet {
		kind = "gretap"
	}
	if s.v6 {
		kind = "ip6" + kind
	}
	if s.greHere != s.here {
		set("interfaces dummy dum0 address %s", host(s.greHere))
	}
	tun := "interfaces tunnel tun0"
	set("%s encapsulation %s", tun, kind)
	set("%s source-address %s", tun, s.greHere)
	set("%s remote %s", tun, s.greThere)
	for _, a := range s.inner {
		set("%s address %s", tun, a.here)
	}
	set("%s mtu %d", tun, s.mtu)
	set("%s ip adjust-mss clamp-mss-to-pmtu", tun)
	set("%s enable-multicast", tun)
	if s.GRE.HasKey {
		set("%s parameters ip key %d", tun, s.GRE.Key)
	}
	switch {
	case s.v6:
		set("%s parameters ipv6 encaplimit none", tun)
		set("%s parameters ipv6 hoplimit %d", tun, s.ttl())
	case s.GRE.TTL == 0:
		set("%s parameters ip ttl 0", tun)
		set("%s parameters ip no-pmtu-discovery", tun)
	default:
		set("%s parameters ip ttl %d", tun, s.GRE.TTL)
	}
	if s.GRE.IgnoreDF && !s.v6 {
		set("%s parameters ip ignore-df", tun)
	}
	for _, n := range s.networks {
		route := "route"
		if n.Addr().Is6() {
			route = "route6"
		}
		set("protocols static %s %s interface tun0", route, n)
	}
}

func vyOSCipher(t suite.Transform) string {
	switch {
	case t.ID == suite.ENCR_CHACHA20_POLY1305:
		return "chacha20poly1305"
	case t.IsAEAD():
		return fmt.Sprintf("aes%dgcm128", t.KeyLen)
	}
	return fmt.Sprintf("aes%d", t.KeyLen)
}

func vyOSID(i ikev2.Identity) string { return strings.Trim(swanID(i), `"`) }

package peerconf

import (
	"fmt"
	"strings"
	"time"

	"greseal/crypto/suite"
	"greseal/ikev2"
	"greseal/tunnel/config"
)

// RouterOS has AES-GCM and ChaCha20-Poly1305 for ESP only, and no X25519 there.
var mikroTik = vendor{
	name: "mikrotik", title: "MikroTik RouterOS 7", comment: "# ",
	ike: "aes128 aes192 aes256 prfsha1 prfsha256 prfsha384 prfsha512 sha1 sha256 sha384 sha512 " +
		"x25519 ecp256 ecp384 ecp521 modp1024 modp1536 modp2048 modp3072 modp4096",
	esp: "aes128gcm16 aes192gcm16 aes256gcm16 chacha20poly1305 aes128 aes192 aes256 sha1 sha256 sha512 " +
		"ecp256 ecp384 ecp521 modp1024 modp1536 modp2048 modp3072 modp4096",
	render: renderMikroTik,
}

func renderMikroTik(p *page, s *side) {
	var lines []string
	ip, gre := "/ip", "/interface gre"
	if s.v6 {
		gre = "/interface gre6"
	}
	add := func(menu string, pairs ...string) {
		line := menu + " add"
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i+1] != "" {
				line += " " + pairs[i] + "=" + pairs[i+1]
			}
		}
		lines = append(lines, line)
	}
	switch {
	case s.GRE.HasKey || s.GRE.Sequence || s.GRE.Checksum:
		s.warn("RouterOS has no GRE key, sequence numbers or checksum: leave gre.key, gre.sequence and gre.checksum out here")
	case s.GRE.Ethernet:
		s.warn("RouterOS has no gretap (its EoIP is another protocol): set gre.type = \"ip\" here")
	}
	s.warn("do not use the ipsec-secret of the GRE interface: it makes a policy with SHA-1 and settings of its own")
	if s.Encap == config.EncapNever {
		s.warn("with nat-traversal=no RouterOS does not notice a NAT on the way; there must be none")
	}
	if strings.Trim(s.secret, "0123456789abcdefABCDEF") == "x" && strings.HasPrefix(s.secret, "0x") {
		s.warn("RouterOS takes a secret that begins with 0x as hexadecimal: choose another key")
	}

	local := s.here
	if !s.hereIP.IsValid() {
		local = ""
	}
	suites := s.ikeSuite
	add(ip+" ipsec profile", "name", s.label, "hash-algorithm", "sha"+hashOf(suites), "prf-algorithm", "sha"+hash(suites.PRF),
		"enc-algorithm", fmt.Sprintf("aes-%d", suites.Encr.KeyLen), "dh-group", suites.KE.Word(),
		"lifetime", mikroTikTime(s.IKELifetime), "dpd-interval", mikroTikTime(s.DPD), "dpd-maximum-failures", "5",
		"nat-traversal", yesNo(s.Encap != config.EncapNever))
	remote := s.there
	if s.thereIP.IsValid() {
		remote = host(s.there)
	}
	add(ip+" ipsec peer", "name", s.label, "address", remote, "local-address", local, "exchange-mode", "ike2", "profile", s.label)
	add(ip+" ipsec identity", "peer", s.label, "auth-method", "pre-shared-key", "secret", doubleQuoted(s.secret, "$"),
		"my-id", mikroTikID(s.hereID), "remote-id", mikroTikID(s.thereID), "generate-policy", "no")
	add(ip+" ipsec proposal", mikroTikProposal(s)...)
	add(ip+" ipsec policy", "peer", s.label, "src-address", host(s.greHere), "dst-address", host(s.greThere), "protocol", "gre",
		"tunnel", yesNo(!s.Transport()), "level", "require", "proposal", s.label)
	ttl := "no"
	if s.GRE.IgnoreDF {
		ttl = "inherit"
	}
	add(gre, "name", s.device("gre-"), "local-address", s.greHere, "remote-address", s.greThere,
		"mtu", fmt.Sprint(s.mtu), "clamp-tcp-mss", "yes", "allow-fast-path", "no", "dont-fragment", map[bool]string{false: ttl, true: ""}[s.v6])
	last := len(lines) - 1
	if s.GRE.Keepalive > 0 {
		lines[last] += fmt.Sprintf(" keepalive=%s,10", mikroTikTime(s.GRE.Keepalive))
	} else {
		lines[last] += " !keepalive"
	}
	if s.greHere != s.here {
		add(menu(s.greHere, "address"), "address", host(s.greHere), "interface", "lo")
		s.warn("the GRE endpoint %s is put on the interface lo, which RouterOS has had since 7.14: use a bridge on older versions", s.greHere)
	}
	for _, a := range s.inner {
		add(menu(a.here.String(), "address"), "address", a.here.String(), "interface", s.device("gre-"))
	}
	for _, n := range s.networks {
		add(menu(n.String(), "route"), "dst-address", n.String(), "gateway", s.device("gre-"))
	}
	for _, l := range lines {
		p.line("%s", l)
	}
	if len(s.networks) == 0 {
		p.rem("Networks behind greseal: %s add dst-address=NETWORK gateway=%s", menu("", "route"), s.device("gre-"))
	}
	mikroTikFirewall(p, s)
}

func mikroTikProposal(s *side) []string {
	var encr, auth []string
	for _, e := range s.espSuites {
		encr = append(encr, mikroTikCipher(e.Encr))
		if e.Integ.Type != 0 {
			auth = append(auth, "sha"+hash(e.Integ))
		}
	}
	if len(auth) == 0 {
		auth = []string{"null"}
	}
	pfs := "none"
	if s.pfsGroup.Type != 0 {
		pfs = s.pfsGroup.Word()
	}
	return []string{"name", s.label, "enc-algorithms", strings.Join(encr, ","), "auth-algorithms", strings.Join(auth, ","),
		"pfs-group", pfs, "lifetime", mikroTikTime(s.ChildLifetime)}
}

func mikroTikFirewall(p *page, s *side) {
	filter := menu(s.greThere, "firewall filter")
	p.line("")
	p.rem("The firewall: move these rules before the one that drops. IKE and ESP come in, GRE only out of ESP, and none leaves in the clear.")
	for _, rule := range []string{
		"chain=input action=accept protocol=udp dst-port=500,4500 src-address=" + s.thereAddr(),
		"chain=input action=accept protocol=ipsec-esp src-address=" + s.thereAddr(),
		"chain=input action=accept protocol=gre src-address=" + s.greThere + " ipsec-policy=in,ipsec",
		"chain=input action=drop protocol=gre src-address=" + s.greThere + " ipsec-policy=in,none",
		"chain=output action=drop protocol=gre dst-address=" + s.greThere + " ipsec-policy=out,none",
	} {
		p.line("%s add %s", filter, rule)
	}
}

// menu is the path of a menu in the family of an address.
func menu(addr, rest string) string {
	if strings.Contains(addr, ":") {
		return "/ipv6 " + rest
	}
	return "/ip " + rest
}

func mikroTikCipher(t suite.Transform) string {
	switch {
	case t.ID == suite.ENCR_CHACHA20_POLY1305:
		return "chacha20poly1305"
	case t.IsAEAD():
		return fmt.Sprintf("aes-%d-gcm", t.KeyLen)
	}
	return fmt.Sprintf("aes-%d-cbc", t.KeyLen)
}

func mikroTikID(i ikev2.Identity) string {
	switch {
	case !i.IsSet():
		return ""
	case i.Type == idFQDN:
		return "fqdn:" + i.Data
	case i.Type == idEmail:
		return "user-fqdn:" + i.Data
	case i.Type == idKey:
		return "key-id:" + i.Data
	}
	return "address:" + i.String()
}

// mikroTikTime writes a duration in its largest whole unit.
func mikroTikTime(d time.Duration) string {
	n := max(int(d/time.Second), 1)
	for _, u := range []struct {
		size int
		name string
	}{{86400, "d"}, {3600, "h"}, {60, "m"}} {
		if n%u.size == 0 {
			return fmt.Sprintf("%d%s", n/u.size, u.name)
		}
	}
	return fmt.Sprintf("%ds", n)
}

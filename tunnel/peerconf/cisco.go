package peerconf

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"greseal/crypto/suite"
	"greseal/ikev2"
	"greseal/tunnel/config"
)

var cisco = vendor{
	name: "cisco", title: "Cisco IOS-XE", comment: "! ",
	ike: "aes128gcm16 aes256gcm16 aes128 aes192 aes256 prfsha1 prfsha256 prfsha384 prfsha512 sha1 sha256 sha384 sha512 " +
		"ecp256 ecp384 ecp521 modp1024 modp2048 modp3072 modp4096",
	esp: "aes128gcm16 aes192gcm16 aes256gcm16 aes128 aes192 aes256 sha1 sha256 sha384 sha512 " +
		"ecp256 ecp384 ecp521 modp1024 modp2048 modp3072 modp4096",
	render: renderCisco,
}

func renderCisco(p *page, s *side) {
	ciscoWarnings(s)
	name := s.label
	i := s.ikeSuite
	p.line("crypto ikev2 proposal %s", name)
	if i.Encr.IsAEAD() {
		p.line(" encryption aes-gcm-%d", i.Encr.KeyLen)
		p.line(" prf sha%s", hash(i.PRF))
	} else {
		p.line(" encryption aes-cbc-%d", i.Encr.KeyLen)
		p.line(" integrity sha%s", hash(i.Integ))
	}
	p.line(" group %d", group(i.KE))
	p.line("crypto ikev2 policy %s", name)
	p.line(" proposal %s", name)
	p.line("crypto ikev2 keyring %s", name)
	p.line(" peer greseal")
	p.line("  address %s", ciscoHost(s.thereAddr()))
	if plainSecret(s.secret) {
		p.line("  pre-shared-key %s", s.secret)
	} else {
		p.line("  pre-shared-key hex 0x%s", hexSecret(s.secret))
	}
	p.line("crypto ikev2 profile %s", name)
	if s.thereID.IsSet() {
		p.line(" match identity remote %s", ciscoID(s.thereID, true))
	} else {
		p.line(" match identity remote address 0.0.0.0")
	}
	if s.hereID.IsSet() {
		p.line(" identity local %s", ciscoID(s.hereID, false))
	}
	p.line(" authentication remote pre-share")
	p.line(" authentication local pre-share")
	p.line(" keyring local %s", name)
	p.line(" lifetime %d", seconds(s.IKELifetime, 120e9, 86400e9))
	p.line(" dpd %d 5 periodic", seconds(s.DPD, 10e9, 3600e9))
	var sets []string
	for n, e := range s.espSuites {
		set := fmt.Sprintf("%s-%d", name, n+1)
		sets = append(sets, set)
		p.line("crypto ipsec transform-set %s %s", set, ciscoTransforms(e))
		p.line(" mode %s", s.Mode)
	}
	p.line("crypto ipsec profile %s", name)
	p.line(" set transform-set %s", strings.Join(sets, " "))
	p.line(" set ikev2-profile %s", name)
	if s.pfsGroup.Type != 0 {
		p.line(" set pfs group%d", group(s.pfsGroup))
	}
	p.line(" set security-association lifetime seconds %d", seconds(s.ChildLifetime, 120e9, 86400e9))
	p.line(" set security-association replay window-size %d", ciscoWindow(s.ReplayWindow))

	p.line("interface Tunnel0")
	p.line(" description %s", "greseal "+s.Name)
	for n, a := range s.inner {
		if a.here.Addr().Is6() {
			p.line(" ipv6 address %s", a.here)
			continue
		}
		second := ""
		if n > 0 && s.inner[n-1].here.Addr().Is4() {
			second = " secondary"
		}
		p.line(" ip address %s %s%s", a.here.Addr(), mask(a.here), second)
	}
	p.line(" ip mtu %d", s.mtu)
	p.line(" ip tcp adjust-mss %d", s.mss4)
	p.line(" tunnel source %s", s.greHere)
	p.line(" tunnel destination %s", s.greThere)
	if s.v6 {
		p.line(" tunnel mode gre ipv6")
	} else {
		p.line(" tunnel mode gre ip")
	}
	if s.GRE.HasKey {
		p.line(" tunnel key %d", s.GRE.Key)
	}
	if s.GRE.Sequence {
		p.line(" tunnel sequence-datagrams")
	}
	if s.GRE.Checksum {
		p.line(" tunnel checksum")
	}
	if s.GRE.TTL != 0 {
		p.line(" tunnel ttl %d", s.GRE.TTL)
	}
	p.line(" tunnel protection ipsec profile %s", name)
	for _, n := range s.networks {
		if n.Addr().Is6() {
			p.line("ipv6 route %s Tunnel0", n)
		} else {
			p.line("ip route %s %s Tunnel0", n.Addr(), mask(n))
		}
	}
	if len(s.networks) == 0 {
		p.rem("Networks behind greseal: ip route NETWORK MASK Tunnel0")
	}
}

func ciscoWarnings(s *side) {
	s.replace("Tunnel0 by a number that is free")
	if s.GRE.Ethernet {
		s.warn("IOS-XE has no gretap: set gre.type = \"ip\" here")
	}
	if s.GRE.Keepalive > 0 {
		s.warn("IOS-XE sends no GRE keepalives under tunnel protection: leave gre.keepalive out here; liveness is dpd's")
	}
	if s.greApart && !s.Transport() {
		s.warn("under tunnel protection the GRE endpoints and the IKE addresses are the same on IOS-XE: leave gre_local and gre_remote out, or use addresses that reach each other outside the tunnel")
	}
	if s.Encap == config.EncapNever {
		s.warn("IOS-XE switches to UDP when it finds a NAT; to forbid that for all of its tunnels: no crypto ipsec nat-transparency udp-encapsulation")
	}
	if !s.thereIP.IsValid() && s.there != ownPlaceholder {
		s.warn("IOS-XE's keyring takes addresses: change it when the address of %s changes", s.there)
	}
}

// thereAddr is the outer address of greseal, never its name.
func (s *side) thereAddr() string {
	if s.thereIP.IsValid() {
		return s.there
	}
	return ownPlaceholder
}

func ciscoTransforms(s suite.Suite) string {
	if s.Encr.IsAEAD() {
		return fmt.Sprintf("esp-gcm %d", s.Encr.KeyLen)
	}
	if hash(s.Integ) == "1" {
		return fmt.Sprintf("esp-aes %d esp-sha-hmac", s.Encr.KeyLen)
	}
	return fmt.Sprintf("esp-aes %d esp-sha%s-hmac", s.Encr.KeyLen, hash(s.Integ))
}

// ciscoWindow is the nearest of the sizes IOS-XE has.
func ciscoWindow(n int) int {
	for _, size := range []int{64, 128, 256, 512} {
		if n <= size {
			return size
		}
	}
	return 1024
}

func ciscoHost(addr string) string {
	if strings.Contains(addr, ":") {
		return addr + "/128"
	}
	return addr
}

func ciscoID(i ikev2.Identity, remote bool) string {
	switch i.Type {
	case idFQDN:
		return "fqdn " + i.Data
	case idEmail:
		return "email " + i.Data
	case idKey:
		return "key-id " + i.Data
	}
	a := i.String()
	switch {
	case remote && strings.Contains(a, ":"):
		a += "/128"
	case remote:
		a += " 255.255.255.255"
	}
	return "address " + a
}

// mask is an IPv4 prefix length as a netmask.
func mask(p netip.Prefix) string { return net.IP(net.CIDRMask(p.Bits(), 32)).String() }

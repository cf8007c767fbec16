package peerconf

import (
	"encoding/hex"
	"fmt"
	"path"
	"strings"

	"greseal/crypto/suite"
	"greseal/ikev2"
	"greseal/tunnel/config"
)

const everything = "aes128gcm16 aes192gcm16 aes256gcm16 chacha20poly1305 aes128 aes192 aes256 " +
	"prfsha1 prfsha256 prfsha384 prfsha512 sha1 sha256 sha384 sha512 " +
	"x25519 ecp256 ecp384 ecp521 modp1024 modp1536 modp2048 modp3072 modp4096 "

var strongSwan = vendor{
	name: "strongswan", title: "strongSwan (swanctl)", comment: "# ",
	ike: everything + "mlkem768 mlkem1024", esp: everything + "esn", addKE: true, signs: true,
	render: renderStrongSwan,
}

// renderStrongSwan writes a shell script, since half of a GRE tunnel is none of
// strongSwan's business.
func renderStrongSwan(p *page, s *side) {
	ends := func(local bool, addr string) string {
		switch {
		case s.greApart:
			return host(addr) + "[47]"
		case local && !s.hereIP.IsValid(), !local && !s.thereIP.IsValid():
			return "dynamic[47]"
		}
		return host(addr) + "[47]"
	}
	local, remote := s.here, s.there
	if !s.hereIP.IsValid() {
		local = "%any" // the name may be that of a NAT
	}
	p.rem("Run this script as root. It needs nothing but strongSwan's swanctl and iproute2.")
	proof := swanProof(s)
	p.begin()
	p.line(`D=${SWANCTL_DIR:-/etc/swanctl}`)
	for _, f := range proof.needed {
		p.line(`[ -e "$D/%s" ] || { echo "first put %s into $D/%s" >&2; exit 1; }`, f.path, f.text, f.path)
		s.first("put %s into /etc/swanctl/%s", f.text, f.path)
	}
	p.line(`mkdir -p "$D/conf.d"`)
	for _, f := range proof.brought {
		p.line(`mkdir -p "$D/%s"`, path.Dir(f.path))
		p.file("$D/" + f.path)
		p.WriteString(f.text)
		p.line("END")
	}
	p.file("$D/conf.d/" + s.label + ".conf")
	p.line("connections {")
	p.line("  %s {", s.label)
	p.set(2, "version", "2")
	p.set(2, "local_addrs", "%s", local)
	p.set(2, "remote_addrs", "%s", remote)
	p.set(2, "proposals", "%s", swanSuite(s.ikeSuite, suite.Transform{}))
	p.set(2, "encap", "%s", yesNo(s.Encap == config.EncapAlways))
	p.set(2, "mobike", "no")
	p.set(2, "keyingtries", "0")
	p.set(2, "dpd_delay", "%ds", seconds(s.DPD, 1e9, 3600e9))
	p.set(2, "rekey_time", "%ds", seconds(s.IKELifetime, 60e9, 30*86400e9))
	if !s.PSK.IsSet() {
		p.set(2, "send_cert", "always")
	}
	for _, end := range []struct {
		name string
		id   ikev2.Identity
		auth []string
	}{{"local", s.hereID, proof.local}, {"remote", s.thereID, proof.remote}} {
		p.line("    %s {", end.name)
		for _, line := range end.auth {
			p.line("      %s", line)
		}
		if end.id.IsSet() {
			p.set(3, "id", "%s", swanID(end.id))
		}
		p.line("    }")
	}
	p.line("    children {")
	p.line("      gre {")
	p.set(4, "mode", "%s", s.Mode)
	var esp []string
	for _, e := range s.espSuites {
		esp = append(esp, swanSuite(e, s.pfsGroup)+map[string]string{"yes": "-esn", "either": "-esn-noesn"}[s.esn])
	}
	p.set(4, "esp_proposals", "%s", strings.Join(esp, ", "))
	p.set(4, "local_ts", "%s", ends(true, s.greHere))
	p.set(4, "remote_ts", "%s", ends(false, s.greThere))
	p.set(4, "rekey_time", "%ds", seconds(s.ChildLifetime, 60e9, 30*86400e9))
	p.set(4, "replay_window", "%d", s.ReplayWindow)
	p.set(4, "start_action", "start")
	p.set(4, "dpd_action", "restart")
	if s.RemoteAny {
		p.set(4, "close_action", "start") // greseal never begins here
	}
	p.line("      }")
	p.line("    }")
	p.line("  }")
	p.line("}")
	if s.PSK.IsSet() {
		swanSecret(p, s)
	}
	p.line("END")
	p.line("")
	linuxGRE(p, s)
	p.line("")
	p.line("swanctl --load-all")
}

// set writes a setting of swanctl.conf.
func (p *page) set(depth int, key, format string, args ...any) {
	p.line("%s%s = %s", strings.Repeat("  ", depth), key, fmt.Sprintf(format, args...))
}

func swanSecret(p *page, s *side) {
	p.line("secrets {")
	p.line("  ike-%s {", s.label)
	if s.hereID.IsSet() && s.thereID.IsSet() {
		p.set(2, "id-1", "%s", swanID(s.hereID))
		p.set(2, "id-2", "%s", swanID(s.thereID))
	}
	if plainSecret(s.secret) {
		p.set(2, "secret", `"%s"`, s.secret)
	} else {
		p.set(2, "secret", "%s", base64Secret(s.secret))
	}
	p.line("  }")
	p.line("}")
}

// linuxGRE are the commands that make a GRE interface which never speaks in the clear.
func linuxGRE(p *page, s *side) {
	name := s.device("gre-")
	family, any := "", "0.0.0.0/0"
	errors := []string{"1 type 3 code 4 priority 3999999999 action allow", "1 type 3 priority 4000000000 action block",
		"1 type 11 code 1 priority 4000000000 action block", "1 type 12 priority 4000000000 action block"}
	if strings.Contains(s.greThere, ":") {
		family, any = "-6 ", "::/0"
		errors = []string{"58 type 1 priority 4000000000 action block", "58 type 3 code 1 priority 4000000000 action block",
			"58 type 4 priority 4000000000 action block"}
	}
	p.rem("The interface. The policies before it keep GRE that is not in ESP from leaving and from being taken, and ICMP errors from quoting what came out of ESP; the interface is gone after a reboot, so keep these lines where this system sets up its interfaces.")
	p.line("ip %sxfrm policy update dir out src %s dst %s proto 47 priority 4000000000 action block", family, any, host(s.greThere))
	p.line("ip %sxfrm policy update dir in src %s dst %s proto 47 priority 4000000000 action block", family, host(s.greThere), any)
	for _, e := range errors {
		p.line("ip %sxfrm policy update dir out src %s dst %s proto %s", family, any, host(s.greThere), e)
	}
	if s.greHere != s.here {
		p.line("ip address replace %s dev lo", host(s.greHere))
	}
	kind := "gre"
	if s.GRE.Ethernet {
		kind = "gretap"
	}
	options := fmt.Sprintf(" ttl %d", s.GRE.TTL)
	if s.GRE.TTL == 0 {
		options = " ttl inherit nopmtudisc"
	}
	if family != "" {
		kind = "ip6" + kind
		options = fmt.Sprintf(" hoplimit %d encaplimit none", s.ttl())
	}
	if s.GRE.HasKey {
		options += fmt.Sprintf(" key %d", s.GRE.Key)
	}
	if s.GRE.Sequence {
		options += " seq"
	}
	if s.GRE.Checksum {
		options += " csum"
	}
	if s.GRE.IgnoreDF && family == "" {
		options += " ignore-df nopmtudisc"
	}
	p.line("if [ -e /sys/class/net/%s ]; then verb=set; else verb=add; fi", name)
	p.line("ip link $verb %s type %s local %s remote %s%s", name, kind, s.greHere, s.greThere, options)
	for _, a := range s.inner {
		p.line("ip address replace %s dev %s", a.here, name)
	}
	p.line("ip link set %s mtu %d up", name, s.mtu)
	for _, n := range s.networks {
		family := ""
		if n.Addr().Is6() {
			family = "-6 "
		}
		p.line(`[ -n "$(ip %sroute show exact %s dev %s)" ] || ip route add %s dev %s`, family, n, name, n, name)
	}
	if len(s.networks) == 0 {
		p.rem("Networks behind greseal: ip route add NETWORK dev %s", name)
	}
}

// ttl is the time to live of the GRE packets, where that of the packet inside
// cannot be copied.
func (s *side) ttl() int {
	if s.GRE.TTL == 0 {
		return 64
	}
	return int(s.GRE.TTL)
}

// device is a name for an interface on Linux, of at most 15 bytes.
func (s *side) device(prefix string) string {
	name := prefix + s.label
	return name[:min(len(name), 15)]
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// swanSuite writes a suite in strongSwan's words, which are nearly greseal's.
func swanSuite(s suite.Suite, ke suite.Transform) string {
	words := []string{s.Encr.Word()}
	for _, t := range []suite.Transform{s.Integ, s.PRF, s.KE} {
		if t.Type != 0 && !(t.Type == suite.TypePRF && s.Integ.Type != 0 && hash(t) == hash(s.Integ)) {
			words = append(words, t.Word())
		}
	}
	if s.KE.Type == 0 && ke.Type != 0 {
		words = append(words, ke.Word())
	}
	for i, t := range s.AddKE {
		if t.Type != 0 && t.ID != suite.KE_NONE {
			words = append(words, fmt.Sprintf("ke%d_%s", i+1, t.Word()))
		}
	}
	return strings.Join(words, "-")
}

// swanID writes an identity so that strongSwan takes it for the type it has.
func swanID(i ikev2.Identity) string {
	if len(i.Data) > 0 && !printable(i) && (i.Type == idFQDN || i.Type == idEmail || i.Type == idKey) {
		return `"@#` + hex.EncodeToString([]byte(i.Data)) + `"`
	}
	switch i.Type {
	case idFQDN:
		return `"fqdn:` + i.Data + `"`
	case idEmail:
		return `"email:` + i.Data + `"`
	case idKey:
		return `"keyid:` + i.Data + `"`
	}
	return `"` + i.String() + `"`
}

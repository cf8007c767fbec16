package peerconf

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"greseal/tunnel/config"
)

var greseal = vendor{
	name: "greseal", title: "greseal", comment: "# ",
	ike: everything + "mlkem768 mlkem1024", esp: everything + "esn", addKE: true, signs: true,
	render: renderTOML,
}

// openWrt is greseal with its tunnel as an interface of netifd.
var openWrt = vendor{
	name: "openwrt", title: "greseal on OpenWrt, in /etc/config/network", comment: "# ",
	ike: greseal.ike, esp: greseal.esp, addKE: true, signs: true,
	render: renderUCI,
}

func renderTOML(p *page, s *side) {
	p.line("[[tunnel]]")
	p.line("name = %s", doubleQuoted(s.Name, ""))
	for _, k := range s.settings() {
		switch v := k.value.(type) {
		case string:
			p.line("%s = %s", k.key, doubleQuoted(v, ""))
		case []string:
			quoted := make([]string, len(v))
			for i := range v {
				quoted[i] = doubleQuoted(v[i], "")
			}
			p.line("%s = [%s]", k.key, strings.Join(quoted, ", "))
		default:
			p.line("%s = %v", k.key, v)
		}
	}
	s.noRoutes(p, `routes = ["…"]`)
}

func renderUCI(p *page, s *side) {
	quote := func(v string) string { return "'" + strings.ReplaceAll(v, "'", `'\''`) + "'" }
	p.line("config interface %s", quote(strings.NewReplacer("-", "_", ".", "_").Replace(s.Name)))
	p.line("\toption proto 'greseal'")
	for _, k := range s.settings() {
		option := strings.ReplaceAll(k.key, ".", "_")
		switch v := k.value.(type) {
		case []string:
			for _, item := range v {
				p.line("\tlist %s %s", option, quote(item))
			}
		case bool:
			p.line("\toption %s '%d'", option, map[bool]int{true: 1}[v])
		default:
			p.line("\toption %s %s", option, quote(fmt.Sprint(v)))
		}
	}
	s.noRoutes(p, "list routes '…'")
}

// noRoutes says what has to be added for routes, where they are not known.
func (s *side) noRoutes(p *page, line string) {
	if len(s.networks) == 0 {
		p.line("# %s: the networks behind the greseal this was printed on", line)
	}
}

// setting is a key with its value: a string, a list of strings, an integer or a
// bool.
type setting struct {
	wanted bool
	key    string
	value  any
}

// settings are what differs from the defaults, as a person would write it.
func (s *side) settings() []setting {
	inner := make([]netip.Prefix, len(s.inner))
	for i, a := range s.inner {
		inner[i] = a.here
	}
	certs, raw, expected := s.Credentials.Own != nil, s.Credentials.RawOwn != nil, s.LocalID
	switch {
	case certs:
		s.first("put the other side's certificate and key, and the authority of this side's certificate, into the files named")
		expected = s.thereID.String()
	case raw:
		s.first("put the other side's private key, and the public key of this side (the file beside raw_key), into the files named")
	}
	return slices.DeleteFunc([]setting{
		{true, "remote", s.there},
		{s.hereIP.IsValid(), "local", s.here},
		{!certs && !raw, "psk", s.secret},
		{certs, "cert", s.label + ".pem"},
		{certs, "key", s.label + ".key"},
		{certs, "ca", []string{s.label + "-ca.pem"}},
		{raw, "raw_key", s.label + ".key"},
		{raw, "peer_raw_key", s.label + ".pub"},
		{expected != "", "remote_id", expected},
		{s.hereID.IsSet() && s.RemoteID != "", "local_id", s.RemoteID},
		{len(inner) > 0, "address", texts(inner)},
		{len(s.networks) > 0, "routes", texts(s.networks)},
		{s.Mode != config.ModeTunnel, "mode", s.Mode},
		{s.Encap != config.EncapAuto, "encap", s.Encap},
		{s.IKE != nil, "ike", texts(s.IKE)},
		{s.ESP != nil, "esp", texts(s.ESP)},
		{!s.PFS, "pfs", false},
		{s.IKELifetime != 24*time.Hour, "ike_lifetime", duration(s.IKELifetime)},
		{s.ChildLifetime != time.Hour, "child_lifetime", duration(s.ChildLifetime)},
		{s.DPD != 10*time.Second, "dpd", duration(s.DPD)},
		{s.GRELocal.IsValid(), "gre_remote", s.GRELocal.String()},
		{s.GRERemote.IsValid(), "gre_local", s.GRERemote.String()},
		{s.Tunnel.MTU != 0, "mtu", s.Tunnel.MTU},
		{s.GRE.Ethernet, "gre.type", "ethernet"},
		{s.GRE.HasKey, "gre.key", s.GRE.Key},
		{s.GRE.Sequence, "gre.sequence", true},
		{s.GRE.Checksum, "gre.checksum", true},
		{s.GRE.TTL != 64, "gre.ttl", s.GRE.TTL},
		{s.GRE.IgnoreDF, "gre.ignore_df", true},
	}, func(k setting) bool { return !k.wanted })
}

// duration leaves out what is zero at the end.
func duration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// texts are values as they are written.
func texts[T any](values []T) (list []string) {
	for _, v := range values {
		list = append(list, fmt.Sprint(v))
	}
	return list
}

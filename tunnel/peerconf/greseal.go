package peerconf

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"greseal/tunnel/config"
)

var greseal = vendor{
	name: "greseal", title: "greseal", comment: "# ",
	ike: everything + "mlkem768 mlkem1024", esp: everything + "esn", addKE: true, signs: true,
	render: renderGreseal,
}

// renderGreseal writes what differs from the defaults, as a person would.
func renderGreseal(p *page, s *side) {
	quote := func(v string) string { return doubleQuoted(v, "") }
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
	p.line("[[tunnel]]")
	for _, k := range []struct {
		wanted     bool
		key, value string
	}{
		{true, "name", quote(s.Name)},
		{true, "remote", quote(s.there)},
		{s.hereIP.IsValid(), "local", quote(s.here)},
		{!certs && !raw, "psk", quote(s.secret)},
		{certs, "cert", quote(s.label + ".pem")},
		{certs, "key", quote(s.label + ".key")},
		{certs, "ca", tomlList([]string{s.label + "-ca.pem"})},
		{raw, "raw_key", quote(s.label + ".key")},
		{raw, "peer_raw_key", quote(s.label + ".pub")},
		{expected != "", "remote_id", quote(expected)},
		{s.hereID.IsSet() && s.RemoteID != "", "local_id", quote(s.RemoteID)},
		{len(inner) > 0, "address", tomlList(inner)},
		{len(s.networks) > 0, "routes", tomlList(s.networks)},
		{len(s.networks) == 0, "# routes", `["…"]: the networks behind the greseal this was printed on`},
		{s.Mode != config.ModeTunnel, "mode", quote(s.Mode)},
		{s.Encap != config.EncapAuto, "encap", quote(s.Encap)},
		{s.IKE != nil, "ike", tomlList(s.IKE)},
		{s.ESP != nil, "esp", tomlList(s.ESP)},
		{!s.PFS, "pfs", "false"},
		{s.IKELifetime != 24*time.Hour, "ike_lifetime", quote(duration(s.IKELifetime))},
		{s.ChildLifetime != time.Hour, "child_lifetime", quote(duration(s.ChildLifetime))},
		{s.DPD != 10*time.Second, "dpd", quote(duration(s.DPD))},
		{s.GRELocal.IsValid(), "gre_remote", quote(s.GRELocal.String())},
		{s.GRERemote.IsValid(), "gre_local", quote(s.GRERemote.String())},
		{s.Tunnel.MTU != 0, "mtu", fmt.Sprint(s.Tunnel.MTU)},
		{s.GRE.Ethernet, "gre.type", `"ethernet"`},
		{s.GRE.HasKey, "gre.key", fmt.Sprint(s.GRE.Key)},
		{s.GRE.Sequence, "gre.sequence", "true"},
		{s.GRE.Checksum, "gre.checksum", "true"},
		{s.GRE.TTL != 64, "gre.ttl", fmt.Sprint(s.GRE.TTL)},
		{s.GRE.IgnoreDF, "gre.ignore_df", "true"},
	} {
		if k.wanted {
			p.line("%s = %s", k.key, k.value)
		}
	}
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

// tomlList writes a TOML list of strings.
func tomlList[T any](values []T) string {
	var quoted []string
	for _, v := range values {
		quoted = append(quoted, doubleQuoted(fmt.Sprint(v), ""))
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

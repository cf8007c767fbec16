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
	ike: everything + "mlkem768 mlkem1024", esp: everything + "esn", addKE: true,
	render: renderGreseal,
}

// renderGreseal writes what differs from the defaults, as a person would.
func renderGreseal(p *page, s *side) {
	set := func(key, format string, args ...any) { p.line("%s = %s", key, fmt.Sprintf(format, args...)) }
	quote := func(v string) string { return doubleQuoted(v, "") }
	p.line("[[tunnel]]")
	set("name", "%s", quote(s.Name))
	set("remote", "%s", quote(s.there))
	if s.hereIP.IsValid() {
		set("local", "%s", quote(s.here))
	}
	set("psk", "%s", quote(s.secret))
	if s.LocalID != "" {
		set("remote_id", "%s", quote(s.LocalID))
	}
	if s.RemoteID != "" {
		set("local_id", "%s", quote(s.RemoteID))
	}
	if len(s.inner) > 0 {
		var list []netip.Prefix
		for _, a := range s.inner {
			list = append(list, a.here)
		}
		set("address", "%s", tomlList(list))
	}
	if len(s.networks) > 0 {
		set("routes", "%s", tomlList(s.networks))
	} else {
		p.rem(`routes = ["…"]: the networks behind the greseal this was printed on`)
	}
	if s.Mode != config.ModeTunnel {
		set("mode", "%s", quote(s.Mode))
	}
	if s.Encap != config.EncapAuto {
		set("encap", "%s", quote(s.Encap))
	}
	if s.IKE != nil {
		set("ike", "%s", tomlList(s.IKE))
	}
	if s.ESP != nil {
		set("esp", "%s", tomlList(s.ESP))
	}
	if !s.PFS {
		set("pfs", "false")
	}
	if s.IKELifetime != 24*time.Hour {
		set("ike_lifetime", "%s", quote(duration(s.IKELifetime)))
	}
	if s.ChildLifetime != time.Hour {
		set("child_lifetime", "%s", quote(duration(s.ChildLifetime)))
	}
	if s.DPD != 10*time.Second {
		set("dpd", "%s", quote(duration(s.DPD)))
	}
	if s.GRELocal.IsValid() {
		set("gre_remote", "%s", quote(s.GRELocal.String()))
	}
	if s.GRERemote.IsValid() {
		set("gre_local", "%s", quote(s.GRERemote.String()))
	}
	if s.Tunnel.MTU != 0 {
		set("mtu", "%d", s.Tunnel.MTU)
	}
	if s.GRE.Ethernet {
		set("gre.type", `"ethernet"`)
	}
	if s.GRE.HasKey {
		set("gre.key", "%d", s.GRE.Key)
	}
	if s.GRE.Sequence {
		set("gre.sequence", "true")
	}
	if s.GRE.Checksum {
		set("gre.checksum", "true")
	}
	if s.GRE.TTL != 64 {
		set("gre.ttl", "%d", s.GRE.TTL)
	}
	if s.GRE.IgnoreDF {
		set("gre.ignore_df", "true")
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

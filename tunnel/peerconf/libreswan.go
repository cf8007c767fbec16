package peerconf

import (
	"encoding/hex"
	"fmt"
	"strings"

	"greseal/crypto/suite"
	"greseal/ikev2"
	"greseal/tunnel/config"
)

var libreswan = vendor{
	name: "libreswan", title: "libreswan", comment: "# ",
	ike: everything + "mlkem768 mlkem1024", esp: everything + "esn", addKE: true,
	render: renderLibreswan,
}

func renderLibreswan(p *page, s *side) {
	left := s.here
	if !s.hereIP.IsValid() {
		left = "%defaultroute"
	}
	p.rem("Run this script as root on libreswan 4.8 or newer.")
	p.begin()
	p.file("/etc/ipsec.d/" + s.label + ".conf")
	p.line("conn %s", s.label)
	set := func(key, format string, args ...any) { p.line("\t%s=%s", key, fmt.Sprintf(format, args...)) }
	set("left", "%s", left)
	set("right", "%s", s.there)
	if s.hereID.IsSet() {
		set("leftid", "%s", libreswanID(s.hereID))
	}
	if s.thereID.IsSet() {
		set("rightid", "%s", libreswanID(s.thereID))
	}
	if s.greApart {
		set("leftsubnet", "%s", host(s.greHere))
		set("rightsubnet", "%s", host(s.greThere))
	}
	// One-sided selectors are refused, and others are not narrowed.
	set("leftprotoport", "gre")
	set("rightprotoport", "gre")
	set("authby", "secret")
	set("type", "%s", s.Mode)
	set("ike", "%s", libreswanSuite(s.ikeSuite))
	var esp []string
	for _, e := range s.espSuites {
		if e.KE.Type == 0 && s.pfsGroup.Type != 0 {
			e.KE = s.pfsGroup
		}
		esp = append(esp, libreswanSuite(e))
	}
	set("esp", "%s", strings.Join(esp, ","))
	set("pfs", "%s", yesNo(s.PFS))
	set("ikelifetime", "%ds", seconds(s.IKELifetime, 300e9, 86400e9))
	set("ipsec-lifetime", "%ds", seconds(s.ChildLifetime, 300e9, 86400e9))
	set("dpddelay", "%ds", seconds(s.DPD, 1e9, 3600e9))
	set("encapsulation", "%s", map[string]string{config.EncapAuto: "auto", config.EncapAlways: "yes", config.EncapNever: "no"}[s.Encap])
	set("replay-window", "%d", min(s.ReplayWindow, 2040))
	if s.esn != "either" {
		set("esn", "%s", s.esn)
	}
	set("negotiationshunt", "drop")
	set("failureshunt", "drop")
	set("auto", "start")
	p.line("END")
	p.file("/etc/ipsec.d/" + s.label + ".secrets")
	index := ""
	if s.hereID.IsSet() && s.thereID.IsSet() {
		index = libreswanIndex(s.hereID) + " " + libreswanIndex(s.thereID) + " "
	}
	secret := `"` + s.secret + `"`
	if !plainSecret(s.secret) {
		secret = base64Secret(s.secret)
	}
	p.line("%s: PSK %s", index, secret)
	p.line("END")
	p.line("")
	linuxGRE(p, s)
	p.line("")
	p.line("ipsec restart")
}

// libreswanSuite writes a suite in libreswan's words.
func libreswanSuite(s suite.Suite) string {
	text := libreswanName(s.Encr)
	switch {
	case s.Integ.Type != 0:
		text += "-" + libreswanName(s.Integ)
	case s.PRF.Type != 0:
		text += "-" + libreswanName(s.PRF)
	}
	if s.KE.Type != 0 {
		text += ";" + libreswanName(s.KE)
	}
	for i, t := range s.AddKE {
		if t.Type != 0 && t.ID != suite.KE_NONE {
			text += fmt.Sprintf(";addke%d=ml_kem_%s", i+1, strings.TrimPrefix(t.Word(), "mlkem"))
		}
	}
	return text
}

func libreswanName(t suite.Transform) string {
	w := t.Word()
	switch t.Type {
	case suite.TypeEncr:
		if t.ID == suite.ENCR_CHACHA20_POLY1305 {
			return "chacha20_poly1305"
		}
		if t.IsAEAD() {
			return fmt.Sprintf("aes_gcm%d", t.KeyLen)
		}
	case suite.TypeInteg, suite.TypePRF:
		if hash(t) != "1" {
			return "sha2_" + hash(t)
		}
		return "sha1"
	case suite.TypeKE:
		return fmt.Sprintf("dh%d", group(t))
	}
	return w
}

// libreswanIndex is an identity in ipsec.secrets, where IPv6 addresses are quoted.
func libreswanIndex(i ikev2.Identity) string {
	if id := libreswanID(i); !strings.Contains(id, ":") {
		return id
	}
	return `"` + libreswanID(i) + `"`
}

func libreswanID(i ikev2.Identity) string {
	switch {
	case i.Type == idFQDN && printable(i):
		return "@" + i.Data
	case i.Type == idEmail && printable(i):
		return i.Data
	case i.Type == idKey && printable(i):
		return "@[" + i.Data + "]"
	case i.Type == idKey:
		return "@#" + hex.EncodeToString([]byte(i.Data))
	}
	return i.String()
}

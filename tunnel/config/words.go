package config

import (
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"greseal/crypto/suite"
	"greseal/ikev2"
)

// The checks here look at one string of the file by itself.

// reservedNames are interface names the kernel or its tools have taken: words of
// sysctl and ip, and the fallback devices of the tunnel modules.
var reservedNames = []string{
	"all", "default", "lo", "any", "none", "dev", "daemon", "defaults",
	"gre0", "gretap0", "erspan0", "ip6gre0", "ip6tnl0", "tunl0", "sit0", "ip_vti0", "ip6_vti0",
}

// checkName checks the name of a tunnel: it becomes an interface, and a word on
// command lines.
func checkName(s string) fault {
	if len(s) > 15 {
		return fault{quote(s) + " is " + strconv.Itoa(len(s)) + " bytes long", "interface names have at most 15"}
	}
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && (i == 0 || !strings.ContainsRune("-_.", r)) {
			if i == 0 && strings.ContainsRune("-_.", r) {
				return fault{quote(s) + " begins with " + quote(string(r)), "begin with a letter or digit"}
			}
			return fault{quote(s) + " contains " + quote(string(r)), `use letters, digits, "-", "_" and "." only`}
		}
	}
	if slices.Contains(reservedNames, s) {
		return fault{quote(s) + " is reserved", "choose another name"}
	}
	return fault{}
}

// checkInterface checks the name of somebody else's interface, by the kernel's
// own rules.
func checkInterface(s string) fault {
	switch {
	case len(s) > 15:
		return fault{quote(s) + " is neither an address nor an interface name", "interface names have at most 15 bytes"}
	case s == "." || s == "..":
		return fault{quote(s) + " is no interface name", `write one such as "wan"`}
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == '/' || r == ':' || r == 0x7f }):
		return fault{quote(s) + " is neither an address nor an interface name", `write for example "192.0.2.1" or "wan"`}
	}
	return fault{}
}

func checkBridge(s string) fault {
	if f := checkInterface(s); f.bad() {
		return fault{quote(s) + " is no interface name", `write one such as "br-lan"`}
	}
	return fault{}
}

func checkLocal(s string) fault {
	if a, err := netip.ParseAddr(s); err == nil {
		return unicast(a)
	}
	if _, err := netip.ParsePrefix(s); err == nil {
		addr, _, _ := strings.Cut(s, "/")
		return fault{quote(s) + " has a prefix length", "write " + quote(addr)}
	}
	if looksLikeIPv4(s) {
		return fault{quote(s) + " is not an IP address", `write one such as "192.0.2.1", or an interface name`}
	}
	return checkInterface(s)
}

// checkRemote checks one remote: an address, a host name or "any".
func checkRemote(s string) fault {
	if s == "any" {
		return fault{}
	}
	if a, err := netip.ParseAddr(s); err == nil {
		if a.IsLinkLocalUnicast() {
			return fault{s + " is a link-local address", "use an address that is valid beyond one link"}
		}
		return unicast(a)
	}
	switch {
	case s == "0.0.0.0/0" || s == "::/0" || s == "%any" || s == "*":
		return fault{quote(s) + " is not an address or host name", `write remote = "any" for peers from any address`}
	case strings.Contains(s, "://"):
		return fault{quote(s) + " is a URL", "write the host name or address alone"}
	}
	if p, err := netip.ParseAddrPort(s); err == nil {
		return fault{quote(s) + " has a port", "write " + quote(p.Addr().String()) + " and remote_port = " + strconv.Itoa(int(p.Port()))}
	}
	if host, port, ok := strings.Cut(s, ":"); ok {
		if n, err := strconv.ParseUint(port, 10, 16); err == nil && hostName(host) {
			return fault{quote(s) + " has a port", "write " + quote(host) + " and remote_port = " + strconv.FormatUint(n, 10)}
		}
	}
	if addr, _, ok := strings.Cut(s, "/"); ok {
		if _, err := netip.ParseAddr(addr); err == nil {
			return fault{quote(s) + " has a prefix length", "write " + quote(addr)}
		}
	}
	if looksLikeIPv4(s) {
		return fault{quote(s) + " is not an IP address", "its four numbers go from 0 to 255, without leading zeros"}
	}
	if strings.ContainsAny(s, ", ") {
		return fault{quote(s) + " is not an address or host name", `write several as a list: ["a.example.net", "b.example.net"]`}
	}
	if !hostName(s) {
		return fault{quote(s) + " is not an address or host name", `write one such as "192.0.2.1", "2001:db8::1" or "vpn.example.net"`}
	}
	return fault{}
}

// looksLikeIPv4 says that s can only have been meant as an IPv4 address.
func looksLikeIPv4(s string) bool {
	return strings.Contains(s, ".") && strings.Trim(s, "0123456789.") == ""
}

// hostName checks the form of a domain name (RFC 1123 section 2.1), underscores
// allowed. A last label of digits alone is no name.
func hostName(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > 253 {
		return false
	}
	labels := strings.Split(s, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
			return false
		}
		for i := range len(l) {
			c := l[i]
			if !bareKey(c) {
				return false
			}
		}
	}
	return strings.Trim(labels[len(labels)-1], "0123456789") != ""
}

func checkIdentity(s string) fault {
	if s == "any" || s == "%any" || s == "*" {
		return fault{quote(s) + " is not an identity", "leave the key out to accept any"}
	}
	if _, err := ikev2.ParseIdentity(s); err != nil {
		return faultOf(err)
	}
	return fault{}
}

func checkPattern(s string) fault {
	if f := checkIdentity(s); !f.bad() || s == "any" || s == "%any" || s == "*" {
		return f
	}
	if _, err := ikev2.ParsePattern(s); err != nil {
		return faultOf(err)
	}
	return fault{}
}

func checkIKE(s string) fault {
	if _, err := suite.ParseIKE(s); err != nil {
		return faultOf(err)
	}
	return fault{}
}

func checkESP(s string) fault {
	if _, err := suite.ParseESP(s); err != nil {
		return faultOf(err)
	}
	return fault{}
}

// faultOf splits an error that ends in a remedy.
func faultOf(err error) fault {
	text := err.Error()
	if i := strings.LastIndex(text, "; "); i >= 0 {
		return fault{text[:i], text[i+2:]}
	}
	return fault{what: text}
}

// maxPSK bounds a pre-shared key in bytes.
const maxPSK = 1024

func checkPSK(s string) fault {
	if len(s) > maxPSK {
		return fault{"is longer than " + strconv.Itoa(maxPSK) + " bytes", "write a shorter one; greseal genpsk makes one"}
	}
	if strings.Trim(s, " \t\r\n") == "" {
		return fault{"is nothing but white space", "write a real one; greseal genpsk makes one"}
	}
	return fault{}
}

func checkSocket(s string) fault {
	switch {
	case !path.IsAbs(s):
		return fault{quote(s) + " is a relative path", "write it from the root on"}
	case len(s) > 107:
		return fault{"is " + strconv.Itoa(len(s)) + " bytes long", "paths of sockets have at most 107"}
	}
	return fault{}
}

func checkGroup(s string) fault {
	for i, r := range s {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_' || i > 0 && (r >= '0' && r <= '9' || r == '-' || r == '.' || r == '$')) || len(s) > 32 {
			return fault{quote(s) + " is not a group name", `write one such as "adm"`}
		}
	}
	return fault{}
}

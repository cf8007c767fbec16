package peerconf

import (
	"encoding/base64"
	"encoding/hex"
	"strings"

	"greseal/ikev2"
)

// plainSecret says that a secret means the same characters to every product: no
// quoting, and no prefix that announces an encoding.
func plainSecret(s string) bool {
	for _, r := range s {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("+/=_-.", r)) {
			return false
		}
	}
	return s != "" && !(len(s) > 1 && s[0] == '0' && strings.ContainsRune("xXsStT", rune(s[1])))
}

// base64Secret writes a secret as strongSwan and libreswan read base64.
func base64Secret(s string) string { return "0s" + base64.StdEncoding.EncodeToString([]byte(s)) }

func hexSecret(s string) string { return hex.EncodeToString([]byte(s)) }

// doubleQuoted quotes for formats where \ escapes; more are further characters to
// escape.
func doubleQuoted(s, more string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		if strings.IndexByte(`"\`+more, s[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	b.WriteByte('"')
	return b.String()
}

// ID types (RFC 7296 section 3.5).
const (
	idFQDN  = 2
	idEmail = 3
	idKey   = 11
)

// printable says that an identity can be written as it is.
func printable(i ikev2.Identity) bool {
	for j := range len(i.Data) {
		if c := i.Data[j]; c <= ' ' || c > '~' || c == '"' || c == '\\' || c == '\'' {
			return false
		}
	}
	return true
}

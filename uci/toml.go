package uci

import (
	"bytes"
	"fmt"
	"strings"

	"greseal/tunnel/config"
)

// toml writes a configuration as a person would: what config.Read reads back as
// the same entries.
func toml(f config.File) []byte {
	var b bytes.Buffer
	table := func(heading string, s config.Section) {
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(heading + "\n")
		for _, e := range s.Entries {
			fmt.Fprintf(&b, "%s = %s\n", e.Key, tomlValue(e.Value))
		}
	}
	if len(f.Daemon.Entries) > 0 {
		table("[daemon]", f.Daemon)
	}
	if len(f.Defaults.Entries) > 0 {
		table("[defaults]", f.Defaults)
	}
	for _, t := range f.Tunnels {
		table("[[tunnel]]", t)
	}
	return b.Bytes()
}

func tomlValue(v any) string {
	switch v := v.(type) {
	case string:
		return tomlString(v)
	case []any:
		items := make([]string, len(v))
		for i := range v {
			items[i] = tomlValue(v[i])
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	return number(v)
}

// tomlString is a basic string of TOML.
func tomlString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

package config

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

// Of a file that cannot be read as it stands, those tunnels that can are used, and
// the networks of the others are closed.
func TestWhatCannotBeReadIsClosed(t *testing.T) {
	const psk = "psk = \"9mVqk2Lw8sTzB4nXcR7yHd1JfGpA6uEo\"\n"
	const hq = "[daemon]\ndatapath = \"userspace\"\n[[tunnel]]\nname = \"hq\"\nremote = \"192.0.2.1\"\n" + psk + "routes = [\"10.2.0.0/24\", \"fd02::/48\"]\n"
	const lab = "[[tunnel]]\nname = \"lab\"\nremote = \"192.0.2.2\"\n" + psk + "routes = [\"10.3.0.0/24\", \"fd03::/48\"]\n"
	utf16le := func(s string) string {
		b := []byte{0xff, 0xfe}
		for _, u := range utf16.Encode([]rune(s)) {
			b = append(b, byte(u), byte(u>>8))
		}
		return string(b)
	}
	all := prefixes("10.2.0.0/24", "fd02::/48", "10.3.0.0/24", "fd03::/48")
	for _, c := range []struct {
		name, text string
		runs       string // tunnels without a mistake
	}{
		{"quotes left open at the end", hq + lab + "local = \"wan\n", "hq"},
		{"quotes left open in the first tunnel", hq + "local = \"wan\n" + lab, "lab"},
		{"a list left open before the next tunnel", hq + "ike = [\n" + lab, "lab"},
		{"a list of routes left open", hq + "[[tunnel]]\nname = \"lab\"\n" + psk + "routes = [\"10.3.0.0/24\", \"fd03::/48\"\n", "hq"},
		{"routes on several lines, one without quotes", hq + "[[tunnel]]\nname = \"lab\"\n" + psk + "routes = [\n  \"10.3.0.0/24\",\n  fd03::/48\n]\n", "hq"},
		{"the file ends in its routes", hq + "[[tunnel]]\nname = \"lab\"\n" + psk + "routes = [\"10.3.0.0/24\", \"fd03::/48", "hq"},
		{"three quotes left open", hq + "local = \"\"\"\n" + lab, "lab"},
		{"one bracket", hq + strings.Replace(lab, "[[tunnel]]", "[tunnel]", 1), "hq"},
		{"one bracket each", strings.ReplaceAll(hq+lab, "[[tunnel]]", "[tunnel]"), "hq"},
		{"a bracket too few", hq + strings.Replace(lab, "[[tunnel]]", "[[tunnel]", 1), "hq"},
		{"no equals sign", hq + lab + "local wan\n", "hq"},
		{"a key twice", hq + lab + psk, "hq"},
		{"a mistake in [defaults]", "[defaults]\ndpd = 10s\n" + hq + lab, ""},
		{"a mistake in [daemon]", strings.Replace(hq, "\"userspace\"", "userspace", 1) + lab, "hq lab"},
		{"a mistake before all tables", "x\n" + hq + lab, ""},
		{"another encoding in a comment", hq + lab + "# Br\xfccke\n", "hq"},
		{"NULs at the end", hq + lab + "\x00\x00\x00", "hq"},
		{"UTF-16", utf16le(hq + lab), ""},
		{"the routes in one text", hq + strings.Replace(lab, `["10.3.0.0/24", "fd03::/48"]`, `"10.3.0.0/24, fd03::/48"`, 1), "hq"},
		{"two mistakes", hq + "local = wan\n" + lab + "local = wan\n", ""},
		{"merged by halves", hq + "<<<<<<< HEAD\n" + lab + "=======\n>>>>>>> other\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, ps := Usable(Read("greseal.toml", []byte(c.text)))
			if len(ps.Mistakes()) == 0 {
				t.Error("no mistake found")
			}
			var runs []string
			for _, tn := range cfg.Tunnels {
				if len(tn.Mistakes) == 0 {
					runs = append(runs, tn.Name)
				}
			}
			if got := strings.Join(runs, " "); got != c.runs {
				t.Errorf("%q run, wanted %q", got, c.runs)
			}
			for _, p := range all {
				if !slices.ContainsFunc(cfg.Tunnels, func(tn Tunnel) bool { return slices.Contains(tn.Routes, p) }) {
					t.Errorf("%s is not closed", p)
				}
			}
		})
	}
}

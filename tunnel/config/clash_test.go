package config

import (
	"regexp"
	"strings"
	"testing"
)

var setting = regexp.MustCompile(`[a-z_.]+ = (?:"[^"]*"|[0-9]+)`)

// Whatever two tunnels have in common, what check tells to write is the whole
// solution: with it in the file nothing is left to say.
func TestOneRemedyIsTheWholeSolution(t *testing.T) {
	const begin = "remote = \"vpn.example.net\"\nroutes = [\"10.0.0.0/16\", \"10.9.0.0/16\"]\n"
	for name, c := range map[string]struct {
		each, one, two, three string
		clashes               int
	}{
		"a copy":                      {begin + psk, "", "", "", 1},
		"two copies":                  {begin + psk, "", "", begin + psk, 2},
		"a second branch":             {"remote = \"any\"\n" + psk, "", "", "", 1},
		"the same name for both":      {"remote = \"any\"\nremote_id = \"two\"\n" + psk, "", "", "", 1},
		"only one has a key":          {begin, psk, "psk = \"MJTxJYV3W2/9C51ui5Pb1tFyyNiQvMHc3WTxLurJqLM=\"\ngre.key = 1\n", "", 1},
		"other keys, neither has one": {begin, psk, "psk = \"MJTxJYV3W2/9C51ui5Pb1tFyyNiQvMHc3WTxLurJqLM=\"\n", "", 1},
		"the same key":                {begin + psk + "gre.key = 1\n", "", "", "", 1},
		"a second way":                {"routes = [\"10.0.0.0/16\"]\n" + psk, "remote = \"192.0.2.1\"\n", "remote = \"192.0.2.2\"\n", "", 1},
	} {
		tunnels := map[string]string{
			"one": "[[tunnel]]\nname = \"one\"\n" + c.each + c.one,
			"two": "[[tunnel]]\nname = \"two\"\n" + c.each + c.two,
		}
		if c.three != "" {
			tunnels["three"] = "[[tunnel]]\nname = \"three\"\n" + c.three
		}
		text := func() string { return tunnels["one"] + tunnels["two"] + tunnels["three"] }
		_, ps := parse(t, text())
		if n := len(ps.Mistakes()); n != c.clashes {
			t.Errorf("%s: %d mistakes:\n%s", name, n, all(ps))
		}
		for _, p := range ps.Mistakes() {
			for _, part := range strings.Split(strings.TrimPrefix(p.Remedy, "write "), ", ") {
				into := p.Tunnel
				if _, other, ok := strings.Cut(part, " in tunnel "); ok {
					into = strings.Trim(strings.TrimSuffix(other, " and at its peer"), `"`)
				} else if strings.HasSuffix(part, "at the peer") {
					continue
				}
				for _, line := range setting.FindAllString(part, -1) {
					key, _, _ := strings.Cut(line, " ")
					tunnels[into] = regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(key)+` = .*\n`).ReplaceAllString(tunnels[into], "") + line + "\n"
				}
			}
		}
		if _, left := parse(t, text()); len(left.Mistakes()) > 0 {
			t.Errorf("%s: after\n%swhat is left:\n%s", name, all(ps), all(left))
		}
	}
}

const psk = "psk = \"LJTxJYV3W2/9C51ui5Pb1tFyyNiQvMHc3WTxLurJqLM=\"\n"

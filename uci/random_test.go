package uci

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"greseal/tunnel/config"
	"greseal/uci/syntax"
)

// TestRandomConfigurationsComeBackFromUCI writes random values of every kind for
// random keys, every key often, and expects the same after a way through UCI.
func TestRandomConfigurationsComeBackFromUCI(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	used := map[string]int{}
	for range 500 {
		var b strings.Builder
		table := func(heading string, keys []config.Key) {
			b.WriteString(heading + "\n")
			for _, i := range r.Perm(len(keys))[:r.IntN(len(keys)+1)] {
				if keys[i].Name == "name" { // below, one for each
					continue
				}
				used[keys[i].Name]++
				fmt.Fprintf(&b, "%s = %s\n", keys[i].Name, randomValue(r, &keys[i]))
			}
		}
		if r.IntN(3) == 0 {
			table("[daemon]", config.DaemonKeys())
		}
		if r.IntN(3) == 0 {
			table("[defaults]", config.TunnelKeys())
		}
		for n := range r.IntN(4) {
			table("[[tunnel]]", config.TunnelKeys())
			fmt.Fprintf(&b, "name = \"%s%d\"\n", []string{"t", "a.b-"}[r.IntN(2)], n)
		}
		before, ps := config.Read("x", []byte(b.String()))
		if len(ps) > 0 {
			t.Fatalf("%v\n%s", ps, b.String())
		}
		if got, want := flat(through(t, before)), flat(before); !slices.Equal(got, want) {
			t.Fatalf("%s\ngot\n%s\nwant\n%s", b.String(), strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	for _, k := range append(config.DaemonKeys(), config.TunnelKeys()...) {
		if k.Name != "name" && used[k.Name] < 10 {
			t.Errorf("%s was tried %d times only", k.Name, used[k.Name])
		}
	}
}

func randomValue(r *rand.Rand, k *config.Key) string {
	list := func() string {
		var items []string
		for range r.IntN(4) {
			items = append(items, randomString(r))
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	switch k.Kind {
	case config.Switch:
		return strconv.FormatBool(r.IntN(2) == 0)
	case config.Number:
		return strconv.FormatInt(k.Min+r.Int64N(max(k.Max-k.Min, 1)), 10)
	case config.NumberOr, config.Size: // a number in quotes comes back without
		if r.IntN(2) == 0 {
			return strconv.Itoa(r.IntN(1 << 30))
		}
		return tomlString("x" + randomString(r))
	case config.Texts, config.Paths, config.Prefixes:
		if r.IntN(3) > 0 {
			return list()
		}
	}
	return randomString(r)
}

// randomString is a string of TOML with what UCI and shells find hard.
func randomString(r *rand.Rand) string {
	pieces := []string{"a", "Z", "7", "0x1f", " ", "  ", "\t", "\n", "'", `"`, `\`, "#", ";", "$x", "`", "ü", "€", "=", "/", ".", "-", "config ", "\r\n", "\x01", "\x7f", "true", "[", "]"}
	s := "x"
	if r.IntN(3) == 0 {
		s = pieces[r.IntN(len(pieces))]
	}
	for range r.IntN(6) {
		s += pieces[r.IntN(len(pieces))]
	}
	return tomlString(s)
}

// FuzzUCI: whatever stands in /etc/config/greseal, it is refused with its place
// and a remedy, or is a configuration that comes back the same from UCI and TOML.
func FuzzUCI(f *testing.F) {
	f.Add([]byte("config daemon\n\toption log_level 'debug'\nconfig tunnel 'hq'\n\toption remote 'a b'\n\tlist address '10.0.0.1/30'\n\toption pfs 'off'\n"))
	f.Add([]byte("config tunnel 'a'\n\toption remote any\n\toption psk '" + psk + "'\n\tlist routes '10.0.0.0/8'\n\toption local_id 'x y'\n"))
	f.Add([]byte("config defaults\n\toption gre_key 0x2a\nconfig tunnel\n\toption name 'a.b'\n\toption child_bytes '50GB'\n\tlist psk 'x'\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if !utf8.Valid(data) {
			return // TOML is UTF-8; import refuses what is not
		}
		p, err := syntax.Parse("greseal", "greseal", data)
		if err != nil {
			return
		}
		g, ps := sections("greseal", p, "")
		g.Problems = slices.Clone(ps)
		if cfg, err := config.Build(g); err == nil {
			cfg.Wipe()
			if got, want := flat(through(t, g)), flat(g); !slices.Equal(got, want) {
				t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
		for _, q := range ps {
			if q.Line < 1 || q.Remedy == "" {
				t.Fatalf("%+v", q)
			}
		}
		for _, s := range p.Sections {
			networkInterface("network", s, "/etc/greseal")
		}
	})
}

package uci

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"greseal/tunnel/config"
)

// sectionsOf writes two good tunnels with another between them.
func sectionsOf(heading, between string) string {
	good := func(name, n string) string {
		return strings.Replace(heading, "NAME", name, 1) + "\toption remote '192.0.2." + n + "'\n\toption psk '" + psk + "'\n\tlist address '10.255." + n + ".1/30'\n\tlist routes '10." + n + ".0.0/16'\n\n"
	}
	return good("first", "1") + between + good("third", "3")
}

// TestAMistakeInAUCIFileTakesNoTunnelOutOfSight: where a file of UCI cannot be read
// as a whole, a start closes the networks of every section, and runs those without a
// mistake; a daemon that runs is refused the file.
func TestAMistakeInAUCIFileTakesNoTunnelOutOfSight(t *testing.T) {
	const greseal, network = "config tunnel 'NAME'\n", "config interface 'NAME'\n\toption proto 'greseal'\n"
	rest := "\toption remote '192.0.2.2'\n\toption psk '" + psk + "'\n\tlist routes '10.2.0.0/16'\n\n"
	for _, c := range []struct {
		what, file, between string
		others              bool // whether they run
	}{
		{"a quote left open", "greseal", "config tunnel 'second'\n\toption mode 'tunnel\n" + rest, true},
		{"a quote left open in the key", "greseal", "config tunnel 'second'\n\toption psk '" + psk + "\n" + rest, true},
		{"too many words", "greseal", "config tunnel 'second'\n\toption local wan 6\n" + rest, true},
		{"another word than option", "greseal", "config tunnel 'second'\n\tset local wan\n" + rest, true},
		{"a name with a dash", "greseal", "config tunnel 'br-1'\n" + rest, true},
		{"a name twice", "greseal", "config daemon 'second'\n\nconfig tunnel 'second'\n" + rest, true},
		{"a heading that says nothing", "greseal", "config\n" + rest, false},
		{"a heading that may be of the defaults", "greseal", "conf second\n" + rest, false},
		{"defaults with a mistake", "greseal", "config defaults\n\toption mtu 14 00\n\nconfig tunnel 'second'\n" + rest, false},
		{"a quote left open", "network", "config interface 'second'\n\toption proto 'greseal'\n\toption mode 'tunnel\n" + rest, true},
		{"the protocol", "network", "config interface 'second'\n\toption proto greseal x\n" + rest, true},
		{"a name with a dash", "network", "config interface 'br-1'\n\toption proto 'greseal'\n" + rest, true},
		{"another's interface", "network", "config interface 'lan'\n\toption proto static x\n\nconfig interface 'second'\n\toption proto 'greseal'\n" + rest + "\n", true},
	} {
		heading := greseal
		if c.file == "network" {
			heading = network
		}
		dir := put(t, map[string]string{c.file: sectionsOf(heading, c.between)})
		t.Setenv("UCI_CONFIG_DIR", dir)
		path := filepath.Join(dir, "greseal.toml")
		var ps config.Problems
		if _, err := Load(path, nil); !errors.As(err, &ps) || len(ps.Mistakes()) == 0 {
			t.Errorf("%s in %s: a running daemon takes it: %v", c.what, c.file, err)
		}
		usable, _ := LoadUsable(path, nil)
		runs := map[string]bool{}
		var closed []string
		for _, x := range usable.Tunnels {
			for _, r := range x.Routes {
				closed = append(closed, r.String())
				runs[r.String()] = len(x.Mistakes) == 0
			}
		}
		slices.Sort(closed)
		if got := strings.Join(slices.Compact(closed), " "); got != "10.1.0.0/16 10.2.0.0/16 10.3.0.0/16" {
			t.Errorf("%s in %s: closed are %s", c.what, c.file, got)
		}
		own := c.what == "another's interface"
		if runs["10.1.0.0/16"] != c.others || runs["10.3.0.0/16"] != c.others || runs["10.2.0.0/16"] != own {
			t.Errorf("%s in %s: it runs %v", c.what, c.file, runs)
		}
	}
}

package config

import (
	"net/netip"
	"strings"
	"testing"
)

func TestNamesThatNobodyCanBeAskedFor(t *testing.T) {
	own := []netip.Addr{netip.MustParseAddr("192.0.2.53")}
	for _, c := range []struct {
		what, lines string
		servers     []netip.Addr
		want        bool
	}{
		{"all routes", `routes = ["0.0.0.0/0"]`, nil, true},
		{"all of IPv6", `routes = ["::/0"]`, nil, true},
		{"two halves", `routes = ["128.0.0.0/1", "10.0.0.0/8", "0.0.0.0/1"]`, nil, true},
		{"a name server of another machine", `routes = ["0.0.0.0/0"]`, own, false},
		{"one half", `routes = ["0.0.0.0/1"]`, nil, false},
		{"open while it is down", "routes = [\"0.0.0.0/0\"]\nfallback = true", nil, false},
		{"in another table", "routes = [\"0.0.0.0/0\"]\ntable = 100", nil, false},
		{"no name", "routes = [\"0.0.0.0/0\"]\nremote = \"192.0.2.1\"", nil, false},
		{"an address beside the name", "routes = [\"0.0.0.0/0\"]\nremote = [\"hub.example.net\", \"192.0.2.1\"]", nil, false},
		{"a name server behind the tunnel", `routes = ["10.9.0.0/16", "192.0.2.0/24"]`, own, true},
		{"one of two behind it", `routes = ["192.0.2.0/24"]`, append(own, netip.MustParseAddr("203.0.113.53")), false},
		{"everything is behind it, by halves", `routes = ["128.0.0.0/1", "0.0.0.0/1"]`, own, false},
		{"any peer", "routes = [\"0.0.0.0/0\"]\nremote = \"any\"", nil, false},
	} {
		text := "[[tunnel]]\nname = \"hq\"\npsk = \"8mVqk2Lw8sTzB4nXcR7yHd1JfGpA6uEo\"\n" + c.lines + "\n"
		if !strings.Contains(c.lines, "remote") {
			text += "remote = \"hub.example.net\"\n"
		}
		cfg, err := Parse("x.toml", []byte(text), 0)
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		if got := cfg.Tunnels[0].NameServerRemedy(c.servers); (got != "") != c.want {
			t.Errorf("%s: %q", c.what, got)
		}
	}
}

package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const rightTunnel = `
[[tunnel]]
name = "right"
remote = "198.51.100.77"
psk = "9mVqk2Lw8sTzB4nXcR7yHd1JfGpA6uEo"
routes = ["10.77.0.0/16"]
`

// usable reads a text as a daemon does that starts with it.
func usable(t *testing.T, text string, mode os.FileMode) (c *Config, refused Problems) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "greseal.toml")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	for name, perm := range map[string]os.FileMode{"open.psk": 0o644, "empty.psk": 0o600, "some.psk": 0o600} {
		data := []byte("9mVqk2Lw8sTzB4nXcR7yHd1JfGpA6uEo\n")
		if name == "empty.psk" {
			data = nil
		}
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), name), data, perm); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	if c, err := Load(path); err == nil {
		t.Fatalf("the file has no mistake, %v", c.Warnings)
	}
	c, ps := LoadUsable(path)
	return c, ps.Mistakes()
}

// One mistake, of whatever kind, costs its own tunnel alone, and that one's networks
// are closed.
func TestAMistakeCostsItsTunnelAlone(t *testing.T) {
	const key = `psk_file = "some.psk"` + "\n"
	for _, c := range []struct{ what, head, lines string }{
		{"a key file that is missing", "", `psk_file = "none.psk"`},
		{"a key file accessible to others", "", `psk_file = "open.psk"`},
		{"a key file with nothing in it", "", `psk_file = "empty.psk"`},
		{"a folder as key file", "", `psk_file = "."`},
		{"no way to authenticate", "", ``},
		{"two ways to authenticate", "", key + `psk = "9mVqk2Lw8sTzB4nXcR7yHd1JfGpA6uEo"`},
		{"a certificate that is missing", "", "cert = \"c.crt\"\nkey = \"c.key\"\nca = \"ca.crt\""},
		{"a certificate that is none", "", "cert = \"some.psk\"\nkey = \"some.psk\"\nca = \"some.psk\"\nremote_id = \"x.example\""},
		{"a list of revoked certificates without a certificate", "", key + `crl = "none.crl"`},
		{"a raw key that is missing", "", "raw_key = \"own.key\"\npeer_raw_key = \"peer.pub\""},
		{"a post-quantum key that is missing", "", key + "ppk_id = \"x\"\nppk_file = \"none.ppk\""},
		{"a key that does not exist", "", key + `colour = "red"`},
		{"a misspelt key", "", key + `metrik = 5`},
		{"a value of another type", "", key + `mtu = true`},
		{"a value out of range", "", key + `mtu = 90`},
		{"a duration without unit", "", key + `dpd = 10`},
		{"a proposal that is none", "", key + `esp = "rot13"`},
		{"thresholds in the wrong order", "", key + "dpd = \"30s\"\ndpd_suspect = \"20s\""},
		{"a table that is none", "", key + `table = "wan2"`},
		{"a fallback that is no switch", "", key + `fallback = "yes"`},
		{"a local address of another version", "", key + `local = "2001:db8::1"`},
		{"the interface's address at the outside", "", key + `address = ["198.51.100.9/30"]`},
		{"a bad address", "", key + `address = ["10.255.0.300/30"]`},
		{"a bad setting of GRE", "", key + `gre.key = "x"`},
		{"GRE that is no table", "", key + `gre = 5`},
		{"a route of another tunnel", "[[tunnel]]\nname = \"other\"\nremote = \"198.51.100.8\"\n" + key + "routes = [\"10.9.0.0/16\"]\n", key},
		{"the name of another tunnel", "[[tunnel]]\nname = \"wrong\"\nremote = \"198.51.100.8\"\n" + key, key},
		{"the peer of another tunnel", "[[tunnel]]\nname = \"other\"\nremote = \"198.51.100.9\"\n" + key, key},
	} {
		text := c.head + rightTunnel + "\n[[tunnel]]\nname = \"wrong\"\nremote = \"198.51.100.9\"\nroutes = [\"10.9.0.0/16\"]\n" + c.lines + "\n"
		checkUsable(t, c.what, text, 0o600)
	}
	for what, lines := range map[string]string{
		"no remote":                     "name = \"wrong\"\npsk_file = \"some.psk\"\nroutes = [\"10.9.0.0/16\"]\n",
		"a remote that is none":         "name = \"wrong\"\nremote = \"a b\"\npsk_file = \"some.psk\"\nroutes = [\"10.9.0.0/16\"]\n",
		"no name":                       "remote = \"198.51.100.9\"\npsk_file = \"some.psk\"\nroutes = [\"10.9.0.0/16\"]\n",
		"a name that is none":           "name = \"a/b\"\nremote = \"198.51.100.9\"\npsk_file = \"some.psk\"\nroutes = [\"10.9.0.0/16\"]\n",
		"a name that is a number":       "name = 5\nremote = \"198.51.100.9\"\npsk_file = \"some.psk\"\nroutes = [\"10.9.0.0/16\"]\n",
		"a route with host bits":        "name = \"wrong\"\nremote = \"198.51.100.9\"\npsk_file = \"some.psk\"\nroutes = [\"10.9.0.1/16\"]\n",
		"a route with a netmask":        "name = \"wrong\"\nremote = \"198.51.100.9\"\npsk_file = \"some.psk\"\nroutes = [\"10.9.0.0/255.255.0.0\"]\n",
		"one of two routes":             "name = \"wrong\"\nremote = \"198.51.100.9\"\npsk_file = \"some.psk\"\nroutes = [\"10.9.0.0/16\", \"ten\"]\n",
		"a route that is not in quotes": "name = \"wrong\"\nremote = \"198.51.100.9\"\npsk_file = \"some.psk\"\nroutes = [\"10.9.0.0/16\", 10]\n",
		"the routes' key":               "name = \"wrong\"\nremote = \"198.51.100.9\"\npsk_file = \"some.psk\"\nroute = [\"10.9.0.0/16\"]\n",
		"another program's word":        "name = \"wrong\"\nremote = \"198.51.100.9\"\npsk_file = \"some.psk\"\nallowed_ips = \"10.9.0.0/16\"\n",
	} {
		checkUsable(t, what, rightTunnel+"\n[[tunnel]]\n"+lines, 0o600)
	}
	// What is wrong stands beside the tunnels.
	secret := strings.Replace(rightTunnel, "psk = \"9mVqk2Lw8sTzB4nXcR7yHd1JfGpA6uEo\"", `psk_file = "some.psk"`, 1)
	wrong := "[[tunnel]]\nname = \"wrong\"\nremote = \"198.51.100.9\"\nroutes = [\"10.9.0.0/16\"]\n"
	checkUsable(t, "a secret that others can read", secret+wrong+"psk = \"8mVqk2Lw8sTzB4nXcR7yHd1JfGpA6uEo\"\n", 0o644)
	checkUsable(t, "brackets that are too few", strings.Replace(wrong, "[[tunnel]]", "[tunnel]", 1)+"psk = \"8mVqk2Lw8sTzB4nXcR7yHd1JfGpA6uEo\"\n", 0o600)
	checkUsable(t, "a misspelt table", rightTunnel+strings.Replace(wrong, "tunnel", "tunel", 1)+"psk = \"8mVqk2Lw8sTzB4nXcR7yHd1JfGpA6uEo\"\n", 0o600)
	checkUsable(t, "a mistake in [defaults]", "[defaults]\nmtu = 5\n"+rightTunnel+"mtu = 1400\n"+wrong+key, 0o600)
	checkUsable(t, "a key that stands outside", "mtu = 1300\n"+rightTunnel+"mtu = 1400\n"+wrong+key, 0o600)
	checkUsable(t, "the authentication in [defaults]", "[defaults]\npsk_file = \"none.psk\"\n"+rightTunnel+wrong, 0o600)
}

func checkUsable(t *testing.T, what, text string, mode os.FileMode) {
	t.Helper()
	c, refused := usable(t, text, mode)
	closed := false
	for i := range c.Tunnels {
		tu := &c.Tunnels[i]
		if tu.Name == "right" && len(tu.Mistakes) > 0 {
			t.Errorf("%s: the other tunnel is not used: %v", what, tu.Mistakes)
		}
		if len(tu.Mistakes) == 0 {
			continue
		}
		if tu.PSK.Bytes() != nil || tu.Credentials.Own != nil {
			t.Errorf("%s: tunnel %s still has its secret", what, tu.Name)
		}
		if slices.ContainsFunc(tu.Routes, func(p netip.Prefix) bool { return p.String() == "10.9.0.0/16" }) && !tu.Fallback {
			closed = true
		}
	}
	if !closed {
		t.Errorf("%s: the networks of the tunnel are not closed; mistakes\n%v", what, refused)
	}
	if strings.Contains(text, "right") && c.Tunnel("right") == nil {
		t.Errorf("%s: the other tunnel is not there", what)
	}
}

// Whatever is refused with a word about a tunnel keeps that tunnel from being used.
func TestNoTunnelWithAMistakeIsUsed(t *testing.T) {
	files, _ := filepath.Glob("testdata/wrong/*.toml")
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, found := Read("greseal.toml", data)
		c, ps := Usable(f, found)
		blamed := map[Position]bool{}
		for i := range c.Tunnels {
			for _, p := range c.Tunnels[i].Mistakes {
				blamed[p.Position] = true
			}
		}
		for _, p := range ps.Mistakes() {
			// The rest is told of the file, or the daemon.
			if p.Tunnel != "" && !blamed[p.Position] {
				t.Errorf("%s: no tunnel is closed for %v", name, p)
			}
		}
	}
}

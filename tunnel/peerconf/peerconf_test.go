package peerconf

import (
	"bytes"
	"flag"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"greseal/tunnel/config"
)

var update = flag.Bool("update", false, "write the golden files anew")

// cases are the config files of testdata with what is known beside them.
var cases = []struct {
	name string
	o    Options
}{
	{"plain", Options{}},
	{"branch", Options{Own: "vpn.example.net", Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("fd00::/48")}, ShowSecrets: true}},
	{"six", Options{ShowSecrets: true}},
}

func load(t *testing.T, name string) *config.Tunnel {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".toml"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse(name+".toml", data, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return &c.Tunnels[0]
}

func render(t *testing.T, vendor string, o Options) string {
	t.Helper()
	var b bytes.Buffer
	if err := Render(&b, vendor, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestOutputIsTheGoldenOne(t *testing.T) {
	for _, c := range cases {
		c.o.Tunnel = load(t, c.name)
		for _, v := range Vendors() {
			got, path := render(t, v, c.o), filepath.Join("testdata", c.name+"."+v)
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s differs; look at it, then run: go test ./tunnel/peerconf -update\n%s", path, got)
			}
		}
	}
}

func TestNoSecretUnlessAskedFor(t *testing.T) {
	for _, c := range cases {
		c.o.Tunnel = load(t, c.name)
		psk := string(c.o.Tunnel.PSK.Bytes())
		for _, v := range Vendors() {
			c.o.ShowSecrets = false
			hidden := render(t, v, c.o)
			if !strings.Contains(hidden, secretPlaceholder) {
				t.Errorf("%s for %s has no place for the key", c.name, v)
			}
			for _, form := range []string{psk, hexSecret(psk), base64Secret(psk), psk[:8]} {
				if strings.Contains(hidden, form) {
					t.Errorf("%s for %s shows the key", c.name, v)
				}
			}
			c.o.ShowSecrets = true
			if strings.Contains(render(t, v, c.o), secretPlaceholder) {
				t.Errorf("%s for %s hides the key that was asked for", c.name, v)
			}
		}
	}
}

// What greseal writes for greseal is a config without mistakes, whose other side
// is the tunnel it was made from.
func TestGresealsOtherSideMirrorsTheTunnel(t *testing.T) {
	for _, c := range cases {
		c.o.Tunnel, c.o.ShowSecrets = load(t, c.name), true
		if c.name == "branch" {
			c.o.Own = "192.0.2.1"
		}
		text := render(t, "greseal", c.o)
		other, err := config.Parse("other.toml", []byte(text), 0o600)
		if err != nil {
			t.Fatalf("%s: %v\n%s", c.name, err, text)
		}
		a, b := c.o.Tunnel, &other.Tunnels[0]
		if !b.PSK.Equal(a.PSK) || b.LocalID != a.RemoteID || b.RemoteID != a.LocalID || b.GRELocal != a.GRERemote || b.GRERemote != a.GRELocal ||
			b.GRE.Key != a.GRE.Key || b.GRE.HasKey != a.GRE.HasKey || b.GRE.Ethernet != a.GRE.Ethernet || b.GRE.Sequence != a.GRE.Sequence ||
			b.GRE.Checksum != a.GRE.Checksum || b.GRE.TTL != a.GRE.TTL || b.Mode != a.Mode || b.Encap != a.Encap || b.PFS != a.PFS || b.MTU != a.MTU ||
			b.IKELifetime != a.IKELifetime || b.ChildLifetime != a.ChildLifetime || b.DPD != a.DPD || !slices.Equal(b.IKE, a.IKE) || !slices.Equal(b.ESP, a.ESP) {
			t.Errorf("%s: the other side is no mirror:\n%s", c.name, text)
		}
		for i, p := range a.Address {
			if q := b.Address[i]; q.Masked() != p.Masked() || q == p {
				t.Errorf("%s: %s on one side and %s on the other", c.name, p, q)
			}
		}
	}
}

func TestAddressOfTheOtherSide(t *testing.T) {
	for _, c := range []struct {
		own, other string
		sure       bool
	}{
		{"10.255.0.1/30", "10.255.0.2/30", true},
		{"10.255.0.2/30", "10.255.0.1/30", true},
		{"10.255.0.0/31", "10.255.0.1/31", true},
		{"10.255.0.1/31", "10.255.0.0/31", true},
		{"fd00::/127", "fd00::1/127", true},
		{"10.255.0.1/24", "10.255.0.2/24", false},
		{"10.255.0.9/24", "10.255.0.1/24", false},
		{"fd00::1/64", "fd00::2/64", false},
		{"10.255.0.1/32", "invalid Prefix", false},
	} {
		got, sure := opposite(netip.MustParsePrefix(c.own))
		if got.String() != c.other || sure != c.sure {
			t.Errorf("%s: %s, sure %v; want %s, sure %v", c.own, got, sure, c.other, c.sure)
		}
	}
}

// Each product's file says what it cannot do.
func TestWhatAProductLacksIsSaid(t *testing.T) {
	for vendor, want := range map[string][]string{
		"mikrotik":   {"no GRE key", "ike list", "ipsec-secret", "hexadecimal", "extended sequence numbers"},
		"cisco":      {"no gretap", "ike list", "esp list", "gre_local", "extended sequence numbers"},
		"vyos":       {"no GRE sequence", "leading 0x", "extended sequence numbers"},
		"libreswan":  nil,
		"strongswan": nil,
	} {
		text := render(t, vendor, Options{Tunnel: load(t, "six"), ShowSecrets: true})
		head, _, _ := strings.Cut(text, "\n\n")
		flat := strings.Join(strings.Fields(strings.NewReplacer("\n# ", " ", "\n! ", " ").Replace(head)), " ")
		for _, w := range want {
			if !strings.Contains(flat, w) {
				t.Errorf("%s says nothing of %q:\n%s", vendor, w, head)
			}
		}
		if want == nil && strings.Contains(head, "warning") {
			t.Errorf("%s can do all of it:\n%s", vendor, head)
		}
	}
}

// A script that is run on the other side costs it no file: not one that was there
// before, and not that one when the script runs a second time.
func TestScriptsKeepWhatTheyWriteOver(t *testing.T) {
	for _, c := range cases {
		c.o.Tunnel = load(t, c.name)
		for _, v := range []string{"strongswan", "libreswan"} {
			script := render(t, v, c.o)
			for _, path := range regexp.MustCompile(`(?m)^F="([^"]+)";.*$`).FindAllStringSubmatch(script, -1) {
				begin := strings.ReplaceAll(path[0], path[1], filepath.Join(t.TempDir(), "its own.conf")) + "\ncat > \"$F\" <<'END'\nnew\nEND\n"
				out, err := exec.Command("sh", "-euc", begin+"rm -f \"$F.before\"; echo old >\"$F\"\n"+begin+begin+`cat "$F" "$F.before"`).CombinedOutput()
				if err != nil || string(out) != "new\nold\n" {
					t.Errorf("%s: %v, %s", v, err, out)
				}
				script = strings.Replace(script, path[0]+"\ncat > \"$F\"", "", 1)
			}
			if strings.Contains(script, " > ") {
				t.Errorf("%s writes another file:\n%s", v, script)
			}
		}
	}
}

package peerconf

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"math/big"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

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
	o.CommandLine = true
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

// A page has no command line.
func TestFlagsAreNamedToACommandLineOnly(t *testing.T) {
	for _, v := range Vendors() {
		var b bytes.Buffer
		if err := Render(&b, v, Options{Tunnel: load(t, "plain")}); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "--show") || strings.Contains(b.String(), "--own") || !strings.Contains(b.String(), secretPlaceholder+" by the key") {
			t.Errorf("%s:\n%s", v, b.String())
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
// before, not that one when the script runs a second time, and not what was
// changed by hand in between.
func TestScriptsKeepWhatTheyWriteOver(t *testing.T) {
	for _, c := range cases {
		c.o.Tunnel = load(t, c.name)
		for _, v := range []string{"strongswan", "libreswan"} {
			script := render(t, v, c.o)
			begin := script[strings.Index(script, "put() {"):strings.Index(script, "\n}\n")] + "\n}\n"
			files := regexp.MustCompile(`(?m)^put "([^"]+)" <<'END'$`).FindAllString(script, -1)
			if len(files) != map[string]int{"strongswan": 1, "libreswan": 2}[v] || strings.Count(script, " > ") != 1 || strings.Contains(script, ">>") {
				t.Fatalf("%s writes other files than %q:\n%s", v, files, script)
			}
			run := begin + "cd '" + t.TempDir() + "'\nwrite() { put 'its own.conf' <<'END'\nnew\nEND\n}\n" +
				"f='its own.conf'; write; write; cat *; echo old >\"$f\"; write; write; cat *; echo changed >\"$f\"; write; cat *; ls"
			out, err := exec.Command("sh", "-euc", run).CombinedOutput()
			if want := "new\n" + "new\nold\n" + "new\nold\nchanged\nits own.conf\nits own.conf.before\nits own.conf.before~\n"; err != nil || string(out) != want {
				t.Errorf("%s: %v, %s", v, err, out)
			}
		}
	}
}

// The commands of a script can be given again: none fails because what it makes
// stands, and none replaces a route of somebody else's.
func TestScriptsCanBeRunAgain(t *testing.T) {
	for _, c := range cases {
		c.o.Tunnel = load(t, c.name)
		for _, v := range []string{"strongswan", "libreswan"} {
			for line := range strings.Lines(render(t, v, c.o)) {
				for _, once := range []string{"ip link add", "ip address add", "ip route add", "ip route replace"} {
					if strings.HasPrefix(line, once) {
						t.Errorf("%s: %s", v, line)
					}
				}
			}
		}
	}
}

// withCredentials is the tunnel of a config whose files lie in a folder of the
// test's: a CA of its own, and keys.
func withCredentials(t *testing.T, lines string) (tunnel *config.Tunnel, ca string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	issue := func(form, above *x509.Certificate) []byte {
		form.NotBefore, form.NotAfter, form.SerialNumber = time.Now().Add(-time.Hour), time.Now().Add(time.Hour), big.NewInt(7)
		der, err := x509.CreateCertificate(rand.Reader, form, above, public, key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	root := &x509.Certificate{Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	ca = write("ca.pem", "CERTIFICATE", issue(root, root))
	write("cert.pem", "CERTIFICATE", issue(&x509.Certificate{Subject: pkix.Name{CommonName: "hq"}, DNSNames: []string{"hq.example.net"}, KeyUsage: x509.KeyUsageDigitalSignature}, root))
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write("key.pem", "PRIVATE KEY", private)
	spki, err := x509.MarshalPKIXPublicKey(other)
	if err != nil {
		t.Fatal(err)
	}
	write("peer.pub", "PUBLIC KEY", spki)
	text := strings.ReplaceAll("[[tunnel]]\nname = \"hq\"\nremote = \"198.51.100.1\"\nlocal = \"192.0.2.1\"\naddress = [\"10.255.0.2/30\"]\n"+lines, "DIR", dir)
	cfg, err := config.Parse("hq.toml", []byte(text), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return &cfg.Tunnels[0], ca
}

// A tunnel with certificates or raw keys has no pre-shared key in its place: the
// public halves that are known here are written, and what only the other side can
// have is asked for.
func TestCertificatesAndRawKeysAreWritten(t *testing.T) {
	tunnel, ca := withCredentials(t, "cert = \"DIR/cert.pem\"\nkey = \"DIR/key.pem\"\nca = [\"DIR/ca.pem\"]\nremote_id = \"branch.example.net\"\n")
	raw, _ := withCredentials(t, "raw_key = \"DIR/key.pem\"\npeer_raw_key = \"DIR/peer.pub\"\n")
	for _, c := range []struct {
		tunnel *config.Tunnel
		vendor string
		want   []string
	}{
		{tunnel, "strongswan", []string{"auth = pubkey", "certs = hq.pem", "cacerts = hq-ca.pem", "put \"$D/x509ca/hq-ca.pem\" <<'END'\n" + ca + "END\n", `id = "fqdn:branch.example.net"`, `id = "CN=hq"`,
			"first: put the private key of the other side into /etc/swanctl/private/hq.pem", `[ -e "$D/x509/hq.pem" ] ||`}},
		{tunnel, "greseal", []string{`cert = "hq.pem"`, `key = "hq.key"`, `ca = ["hq-ca.pem"]`, `local_id = "branch.example.net"`, `remote_id = "CN=hq"`, "# first: put"}},
		{raw, "strongswan", []string{"pubkeys = hq.pem", "pubkeys = hq-greseal.pem", string(raw.Credentials.RawPeer.PEM()), string(raw.Credentials.RawOwn.Public().PEM())}},
		{raw, "greseal", []string{`raw_key = "hq.key"`, `peer_raw_key = "hq.pub"`}},
	} {
		text := render(t, c.vendor, Options{Tunnel: c.tunnel, ShowSecrets: true})
		for _, w := range c.want {
			if !strings.Contains(text, w) {
				t.Errorf("%s has no %q:\n%s", c.vendor, w, text)
			}
		}
		for _, bad := range []string{secretPlaceholder, "PRIVATE KEY--", "secrets {", "auth = psk"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s has %q:\n%s", c.vendor, bad, text)
			}
		}
	}
	wild, _ := withCredentials(t, "cert = \"DIR/cert.pem\"\nkey = \"DIR/key.pem\"\nca = [\"DIR/ca.pem\"]\nremote_id = \"*.example.net\"\n")
	if text := render(t, "strongswan", Options{Tunnel: wild}); strings.Contains(text, `id = "fqdn:*`) || !strings.Contains(text, "fits several identities") {
		t.Errorf("a pattern is an identity:\n%s", text)
	}
}

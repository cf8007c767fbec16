package config

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"greseal/crypto/suite"
)

func right(t testing.TB, name string) *Config {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata/right", name))
	if err != nil {
		t.Fatal(err)
	}
	c, ps := parse(t, string(data))
	if c == nil {
		t.Fatalf("%s", all(ps))
	}
	return c
}

func prefixes(texts ...string) (out []netip.Prefix) {
	for _, s := range texts {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func proposals(t *testing.T, parse func(string) (suite.Proposal, error), texts ...string) (out []suite.Proposal) {
	t.Helper()
	for _, s := range texts {
		p, err := parse(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

func TestSmallestFileHasTheseDefaults(t *testing.T) {
	c := right(t, "smallest.toml")
	if len(c.Warnings) > 0 {
		t.Errorf("warnings:\n%s", all(c.Warnings))
	}
	if want := (Daemon{Datapath: "auto", LogLevel: "info", StatusSocket: "/var/run/greseal/status.sock"}); c.Daemon != want {
		t.Errorf("daemon %+v, want %+v", c.Daemon, want)
	}
	want := Tunnel{
		Source: Position{"greseal.toml", 1, 1}, Name: "hq", Enabled: true,
		Remotes: []string{"vpn.example.net"}, RemotePort: 500,
		PSK:  NewSecret([]byte("9mVqk2Lw8sTzB4nXcR7yHd1JfGpA6uEo")),
		Mode: "tunnel", Encap: "auto",
		IKELifetime: 24 * time.Hour, ChildLifetime: time.Hour, PFS: true, ReplayWindow: 2048,
		DPD: 10 * time.Second, DPDSuspect: 15 * time.Second, DPDDead: 2 * time.Minute, Failback: time.Minute,
		Address: prefixes("10.255.0.2/30"), Routes: prefixes("10.0.0.0/16"),
		Table: 254, LinkDown: "withdraw", MSSClamp: true,
		GRE: GRE{TTL: 64},
	}
	if !reflect.DeepEqual(c.Tunnels, []Tunnel{want}) {
		t.Errorf("got\n%+v\nwant\n%+v", c.Tunnels[0], want)
	}
}

func TestEveryKeyArrives(t *testing.T) {
	c := right(t, "all.toml")
	if want := (Daemon{"userspace", "debug", "/tmp/greseal.sock", "adm"}); c.Daemon != want {
		t.Errorf("daemon %+v, want %+v", c.Daemon, want)
	}
	hq := Tunnel{
		Source: Position{"greseal.toml", 13, 1}, Name: "hq",
		Remotes: []string{"vpn.example.net", "192.0.2.1", "2001:db8::1"}, RemotePort: 4500, Local: "wan",
		PSK:     NewSecret([]byte("9mVqk2Lw8sTzB4nXcR7yHd1JfGpA6uEo")),
		LocalID: "branch1.example.net", RemoteID: "keyid:head office",
		Mode: "tunnel", Encap: "always",
		IKE:          []string{"aes256gcm16-prfsha384-x25519"},
		ESP:          []string{"aes128gcm16", "aes256-sha256-noesn"},
		IKEProposals: proposals(t, suite.ParseIKE, "aes256gcm16-prfsha384-x25519"),
		ESPProposals: proposals(t, suite.ParseESP, "aes128gcm16", "aes256-sha256-noesn"),
		IKELifetime:  8 * time.Hour, ChildLifetime: 30 * time.Minute,
		ChildBytes: 50e9, ChildPackets: 1e9, ReplayWindow: 1024,
		DPD: 20 * time.Second, DPDSuspect: 40 * time.Second, DPDDead: 5 * time.Minute, Failback: time.Minute,
		Address: prefixes("10.255.0.2/30", "fd00:1::2/64"), Routes: prefixes("10.0.0.0/16", "0.0.0.0/0", "::/0"),
		Metric: 10, Table: 100, FWMark: 0x42, LinkDown: "metric", Fallback: true, MTU: 1400, MSSClamp: true,
		GRELocal: netip.MustParseAddr("192.168.9.2"), GRERemote: netip.MustParseAddr("192.168.9.1"),
		GRE: GRE{Ethernet: true, HasKey: true, Sequence: true, Checksum: true, TOS: 0x10, IgnoreDF: true, Bridge: "br-lan"},
	}
	road := Tunnel{
		Source: Position{"greseal.toml", 54, 1}, Name: "road", Enabled: true, RemoteAny: true, RemotePort: 500,
		PSK:  NewSecret([]byte("cDq0vZk7YwTn3uLx9mRf5hBs1JgEoXa8")),
		Mode: "transport", Encap: "never",
		IKELifetime: 24 * time.Hour, ChildLifetime: time.Hour, ChildBytes: 1 << 30, PFS: true, ReplayWindow: 2048,
		DPD: 20 * time.Second, DPDSuspect: 30 * time.Second, DPDDead: 2 * time.Minute, Failback: time.Minute,
		Table: 254, LinkDown: "withdraw", MSSClamp: true,
		GRE: GRE{TTL: 64, TOSInherit: true},
	}
	for i, want := range []Tunnel{hq, road} {
		if !reflect.DeepEqual(c.Tunnels[i], want) {
			t.Errorf("got\n%+v\nwant\n%+v", c.Tunnels[i], want)
		}
	}
	if c.Tunnel("road") != &c.Tunnels[1] || c.Tunnel("none") != nil {
		t.Error("Tunnel does not find by name")
	}
}

// The schema's own words hold: every default and example is something the file
// may say, and every key has what documents it.
func TestSchemaAgreesWithItself(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range TunnelKeys() {
		if seen[k.Name] {
			t.Errorf("%s is there twice", k.Name)
		}
		seen[k.Name] = true
		if k.field == nil && (k.read == nil || k.same == nil) {
			t.Errorf("%s can't be read or compared", k.Name)
		}
		if k.Class == 0 {
			t.Errorf("%s has no class of change", k.Name)
		}
		if k.Example == "" && k.Default == "" {
			t.Errorf("%s has neither example nor default", k.Name)
		}
		if doc := k.Manual(); !strings.HasSuffix(k.Doc, ".") || !strings.HasSuffix(doc, ".") || strings.ContainsAny(doc, "\n`*|<>&") {
			t.Errorf("%s: %q is not plain whole sentences", k.Name, doc)
		}
		if (k.Tab == "") != (k.Title == "") {
			t.Errorf("%s: title %q in tab %q", k.Name, k.Title, k.Tab)
		}
		if k.Kind == Text && len(k.Choices) > 0 && k.Default != strconv.Quote(k.Choices[0]) {
			t.Errorf("%s: the default is %s and not the first choice %q", k.Name, k.Default, k.Choices[0])
		}
		if k.Unset != "" && k.Default != "" {
			t.Errorf("%s: left out it means both %s and %s", k.Name, k.Default, k.Unset)
		}
		if k.Kind == Path || k.Kind == Paths || strings.HasPrefix(k.Name, "psk") || k.Name == "ppk_id" || k.Name == "ppk" || k.Name == "ppk_file" || k.Name == "name" || k.Name == "remote" || strings.Contains(k.Name, "bridge") {
			continue
		}
		for _, value := range []string{k.Default, k.Example} {
			if value == "" {
				continue
			}
			text := fmt.Sprintf("[[tunnel]]\nname = \"hq\"\nremote = \"vpn.example.net\"\npsk = \"9mVqk2Lw8sTzB4nXcR7yHd1JfGpA6uEo\"\n%s = %s\n", k.Name, value)
			if c, ps := parse(t, text); c == nil || len(ps) > 0 {
				t.Errorf("%s = %s:\n%s", k.Name, value, all(ps))
			}
		}
	}
	for _, k := range DaemonKeys() {
		if k.dmn == nil || !strings.HasSuffix(k.Doc, ".") {
			t.Errorf("[daemon] %s is not whole", k.Name)
		}
	}
	for key := range elsewhere {
		if seen[key] {
			t.Errorf("%s is a key and also a wrong word for %s", key, elsewhere[key])
		}
		if !seen[elsewhere[key]] {
			t.Errorf("%s points to %s, which is no key", key, elsewhere[key])
		}
	}
}

func TestThresholdsNotWrittenFollowDPD(t *testing.T) {
	for _, c := range []struct {
		text          string
		suspect, dead time.Duration
	}{
		{`dpd = "1s"`, 15 * time.Second, 120 * time.Second},
		{`dpd = "30s"`, 45 * time.Second, 120 * time.Second},
		{`dpd = "10m"`, 15 * time.Minute, 30 * time.Minute},
		{`dpd_suspect = "90s"`, 90 * time.Second, 180 * time.Second},
	} {
		cfg, ps := parse(t, smallest+c.text)
		if cfg == nil {
			t.Errorf("%s: %s", c.text, all(ps))
			continue
		}
		if got := cfg.Tunnels[0]; got.DPDSuspect != c.suspect || got.DPDDead != c.dead {
			t.Errorf("%s: suspect %v, dead %v", c.text, got.DPDSuspect, got.DPDDead)
		}
	}
}

const smallest = `[[tunnel]]
name   = "hq"
remote = "vpn.example.net"
psk    = "9mVqk2Lw8sTzB4nXcR7yHd1JfGpA6uEo"
`

// A tunnel's own way to authenticate replaces that of the defaults.
func TestDefaultsGiveWayToTheTunnelsOwnSecret(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "hq.psk"), []byte("kQ7xZr2mWv9pLs4tYb6nHc1dJf8gEaUo\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := "[defaults]\npsk = \"9mVqk2Lw8sTzB4nXcR7yHd1JfGpA6uEo\"\n" +
		"[[tunnel]]\nname = \"hq\"\nremote = \"192.0.2.1\"\npsk_file = \"hq.psk\"\n"
	c, err := Parse(filepath.Join(dir, "greseal.toml"), []byte(text), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Tunnels[0]; string(got.PSK.Bytes()) != "kQ7xZr2mWv9pLs4tYb6nHc1dJf8gEaUo" || got.PSKFile != filepath.Join(dir, "hq.psk") {
		t.Errorf("psk_file %q, secret of %d bytes", got.PSKFile, len(got.PSK.Bytes()))
	}
}

func TestManyTunnelsStayBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("[defaults]\npsk = \"9mVqk2Lw8sTzB4nXcR7yHd1JfGpA6uEo\"\n")
	for i := range 2000 {
		fmt.Fprintf(&b, "[[tunnel]]\nname = \"t%d\"\nremote = \"192.0.%d.%d\"\nroutes = [\"10.%d.%d.0/24\"]\n", i, i/250, i%250+1, i/250, i%250)
	}
	if c, ps := parse(t, b.String()); c == nil || len(ps) > 0 || len(c.Tunnels) != 2000 {
		t.Errorf("2000 tunnels: %s", all(ps[:min(len(ps), 3)]))
	}
	_, ps := parse(t, strings.Repeat("[[tunnel]]\n", 4000))
	if last := ps[len(ps)-1]; len(ps) != maxProblems+1 || !strings.Contains(last.What, "11000 more") {
		t.Errorf("%d problems, the last: %v", len(ps), last)
	}
	if _, ps = parse(t, strings.Repeat("[[tunnel]]\n", 9000)); len(ps) != 1 || !strings.Contains(ps[0].What, "9000 tunnels") {
		t.Errorf("%v", ps)
	}
	if _, ps = parse(t, "a = "+strings.Repeat("[", 100000)); len(ps) != 1 || !strings.Contains(ps[0].What, "nested") {
		t.Errorf("%v", ps)
	}
	if _, ps = parse(t, strings.Repeat("a.", 100000)+"b = 1"); len(ps) != 1 || !strings.Contains(ps[0].What, "nested") {
		t.Errorf("%v", ps)
	}
	if _, ps = parse(t, strings.Repeat("#", maxFile+1)); len(ps) != 1 || !strings.Contains(ps[0].What, "larger") {
		t.Errorf("%v", ps)
	}
	if _, ps = parse(t, smallest+"routes = ["+strings.Repeat("1,", 200000)+"]"); len(ps) != 1 || !strings.Contains(ps[0].What, "200000 items") {
		t.Errorf("%v", ps)
	}
}

package uci

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"greseal/tunnel/cli"
	"greseal/tunnel/config"
	"greseal/uci/syntax"
)

const psk = "0dV3l1pZkqf7qWq2Jw1m0H7oYyPp9Qm3bC5tR8xN2sU="

// put writes the files of a folder, by name.
func put(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func mustLoad(t *testing.T, dir string) *config.Config {
	t.Helper()
	c, err := load(dir, filepath.Join(dir, "greseal.toml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// mistakes loads what must be refused and returns the messages.
func mistakes(t *testing.T, dir string) string {
	t.Helper()
	_, err := load(dir, filepath.Join(dir, "greseal.toml"), nil)
	if err == nil {
		t.Fatal("taken although it is wrong")
	}
	return strings.ReplaceAll(err.Error(), dir+"/", "")
}

func TestEveryKeyHasItsOptionAndBack(t *testing.T) {
	for table, keys := range map[string][]config.Key{"daemon": config.DaemonKeys(), "tunnel": config.TunnelKeys()} {
		seen := map[string]bool{}
		for i := range keys {
			o := Option(keys[i].Name)
			if !syntax.ValidName(o) {
				t.Errorf("%s %s: %q is no name of an option", table, keys[i].Name, o)
			}
			if seen[o] {
				t.Errorf("%s %s: the option %s stands for two keys", table, keys[i].Name, o)
			}
			seen[o] = true
			if _, name := keyOf(keys, o); name != keys[i].Name {
				t.Errorf("%s: option %s gives key %s, not %s", table, o, name, keys[i].Name)
			}
			if table == "tunnel" && generic[o] {
				t.Errorf("the option %s of an interface is netifd's and hides the key", o)
			}
		}
	}
}

// TestEveryKeyComesBackFromUCI writes each key's default and example in TOML and
// expects the same entry after a way through UCI and its file.
func TestEveryKeyComesBackFromUCI(t *testing.T) {
	keys := config.TunnelKeys()
	for i := range keys {
		k := &keys[i]
		for _, value := range []string{k.Default, k.Example} {
			if value == "" {
				continue
			}
			before, ps := config.Read("x", []byte("[[tunnel]]\n"+k.Name+" = "+value+"\n"))
			if len(ps) > 0 {
				t.Fatal(ps)
			}
			after := through(t, before)
			if got, want := flat(after), flat(before); !slices.Equal(got, want) {
				t.Errorf("%s = %s became %v, want %v", k.Name, value, got, want)
			}
		}
	}
}

// through is a configuration after UCI's file and TOML's.
func through(t *testing.T, f config.File) config.File {
	t.Helper()
	p, err := write(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	p, err = syntax.Parse("greseal", "greseal", b)
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	g, ps := sections("greseal", p, "")
	if len(ps) > 0 {
		t.Fatal(ps)
	}
	h, ps := config.Read("x", toml(g))
	if len(ps) > 0 {
		t.Fatalf("%v\n%s", ps, toml(g))
	}
	return h
}

// flat lists all entries, a single string of a list key as a list of one, since
// both mean the same.
func flat(f config.File) []string {
	var out []string
	list := func(table string, s config.Section) {
		for _, e := range s.Entries {
			if k, ok := config.LookUp(e.Key); ok && k.Kind.List() {
				if one, ok := e.Value.(string); ok {
					e.Value = []any{one}
				}
			}
			out = append(out, table+" "+e.Key+" = "+tomlValue(e.Value))
		}
	}
	list("daemon", f.Daemon)
	list("defaults", f.Defaults)
	for _, s := range f.Tunnels {
		list("tunnel", s)
	}
	slices.Sort(out)
	return out
}

func TestAWholeFileGoesToUCIAndBackWithoutLoss(t *testing.T) {
	before, ps := config.Read("x", []byte(`
[daemon]
datapath = "userspace"
[defaults]
dpd = "20s"
routes = []
[[tunnel]]
name = "hq"
remote = ["vpn.example.net", "192.0.2.7"]
psk = "it's \"quoted\" # and \\ long\twith a tab, ü and \n a second line"
address = ["10.255.0.2/30", "fd00::2/64"]
routes = "10.0.0.0/16"
local_id = "123"
child_bytes = "50GB"
mtu = 1400
[tunnel.gre]
key = 4294967295
tos = "inherit"
sequence = true
[[tunnel]]
name = "a.b-c"
remote = "any"
psk_file = "sub dir/x.psk"
ike = ["aes256gcm16-prfsha384-x25519"]
address = []
[[tunnel]]
name = "daemon"
remote = "192.0.2.9"
psk_file = "/etc/y"
mtu = "auto"
pfs = false
`))
	if len(ps) > 0 {
		t.Fatal(ps)
	}
	if got, want := flat(through(t, before)), flat(before); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestTunnelsOfAllThreeSourcesAreMergedAndKnowWhereTheyCameFrom(t *testing.T) {
	dir := put(t, map[string]string{
		"greseal.toml": "[[tunnel]]\nname = \"one\"\nremote = \"192.0.2.1\"\npsk = \"" + psk + "\"\n",
		"greseal": `
config defaults
	option dpd '20s'

config tunnel 'two'
	option remote '192.0.2.2'
	option psk '` + psk + `'
	option gre_key '0x2a'
	list address '10.0.2.1/30'

config tunnel
	option name 'th-ree'
	option remote 'a.example b.example'
	option psk '` + psk + `'
	option enabled 'off'
`,
		"network": `
config interface 'lan'
	option proto 'static'

config interface 'four'
	option proto 'greseal'
	option remote '192.0.2.4'
	option psk '` + psk + `'
	list routes '10.4.0.0/16'
	option metric '7'
	option ip4table '42'
	option zone 'vpn'
	option auto '0'
`,
	})
	c := mustLoad(t, dir)
	var got []string
	for _, tn := range c.Tunnels {
		got = append(got, strings.TrimPrefix(tn.Source.String(), dir+"/")+" "+tn.Name)
	}
	want := []string{"greseal.toml:1:1 one", "greseal:5 two", "greseal:11 th-ree", "network:5 four"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, tn := range c.Tunnels {
		if tn.DPD.Seconds() != 20 {
			t.Errorf("%s: dpd %v, the defaults hold for all", tn.Name, tn.DPD)
		}
	}
	two, three, four := c.Tunnel("two"), c.Tunnel("th-ree"), c.Tunnel("four")
	if !two.GRE.HasKey || two.GRE.Key != 42 || two.Netifd {
		t.Errorf("two: %+v", two.GRE)
	}
	if !slices.Equal(three.Remotes, []string{"a.example", "b.example"}) || three.Enabled {
		t.Errorf("th-ree: %v enabled %v", three.Remotes, three.Enabled)
	}
	if !four.Netifd || four.Enabled || four.Metric != 7 || four.Table != 42 {
		t.Errorf("four: netifd %v enabled %v metric %d table %d", four.Netifd, four.Enabled, four.Metric, four.Table)
	}
}

func TestANameDefinedTwiceNamesBothPlaces(t *testing.T) {
	tunnel := "config tunnel 'hq'\n\toption remote '192.0.2.2'\n\toption psk '" + psk + "'\n"
	dir := put(t, map[string]string{
		"greseal.toml": "[[tunnel]]\nname = \"hq\"\nremote = \"192.0.2.1\"\npsk = \"" + psk + "\"\n",
		"greseal":      tunnel,
	})
	if got, want := mistakes(t, dir), `greseal:1: tunnel "hq": name: is also the name of the tunnel at greseal.toml:1:1; give each its own`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestMistakesInUCIAreReportedAtTheirLine(t *testing.T) {
	for _, c := range []struct{ name, file, text, want string }{
		{"unknown option", "greseal", "config tunnel 'a'\n\toption remote '192.0.2.1'\n\toption psk '" + psk + "'\n\toption rutes '10.0.0.0/8'\n",
			`greseal:4: tunnel "a": there is no key "rutes"; did you mean routes?`},
		{"wrong range", "greseal", "config tunnel 'a'\n\toption remote '192.0.2.1'\n\toption psk '" + psk + "'\n\toption remote_port '70000'\n",
			`greseal:4: tunnel "a": remote_port: is 70000; write a number from 1 to 65535`},
		{"list for one value", "greseal", "config tunnel 'a'\n\toption remote '192.0.2.1'\n\tlist psk '" + psk + "'\n\toption psk_file '/dev/null'\n",
			`greseal:3: tunnel "a": psk: is a list; write option instead of list, with one value`},
		{"unknown type", "greseal", "config tunel 'a'\n",
			`greseal:1: there is no section type "tunel"; did you mean config tunnel?`},
		{"bad syntax", "greseal", "config tunnel 'a'\n\toptoin remote '192.0.2.1'\n",
			`greseal:2:2: invalid command; `},
		{"enabled of an interface", "network", "config interface 'a'\n\toption proto 'greseal'\n\toption remote '192.0.2.1'\n\toption psk '" + psk + "'\n\toption enabled '0'\n",
			`network:5: tunnel "a": enabled: netifd does not know it; write option disabled '1', or option auto '0' to bring it up by hand`},
		{"two tables", "network", "config interface 'a'\n\toption proto 'greseal'\n\toption remote '192.0.2.1'\n\toption psk '" + psk + "'\n\toption ip4table '5'\n\toption ip6table '6'\n",
			`network:6: tunnel "a": ip6table: is another table than ip4table; write the same for both`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := mistakes(t, put(t, map[string]string{"greseal.toml": "", c.file: c.text}))
			if !strings.Contains(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestAKeySetInBothFilesIsAMistake(t *testing.T) {
	got := mistakes(t, put(t, map[string]string{
		"greseal.toml": "[daemon]\nlog_level = \"info\"\n",
		"greseal":      "config daemon\n\toption log_level 'debug'\n",
	}))
	if want := "greseal:2: [daemon]: log_level: is also set at greseal.toml:2:1; leave out one of the two"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestWithoutATOMLFileUCIIsEnough(t *testing.T) {
	dir := put(t, map[string]string{"greseal": "config tunnel 'a'\n\toption remote '192.0.2.1'\n\toption psk '" + psk + "'\n"})
	if c := mustLoad(t, dir); len(c.Tunnels) != 1 {
		t.Errorf("%d tunnels", len(c.Tunnels))
	}
}

func TestWithoutUCINothingChanges(t *testing.T) {
	dir := put(t, map[string]string{"greseal.toml": "[[tunnel]]\nname = \"a\"\nremote = \"192.0.2.1\"\npsk = \"" + psk + "\"\n"})
	file := filepath.Join(dir, "greseal.toml")
	with, err := load(dir, file, nil)
	if err != nil {
		t.Fatal(err)
	}
	without, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(with, without) {
		t.Errorf("got %+v, want %+v", with, without)
	}
	_, err = load(dir, filepath.Join(dir, "missing"), nil)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("a missing file: %v", err)
	}
}

func TestOnlyTheDaemonOfTheDefaultFileTakesUCI(t *testing.T) {
	t.Setenv("UCI_CONFIG_DIR", "")
	if got := folderFor(config.DefaultFile); got != Folder {
		t.Errorf("default file: %q", got)
	}
	if got := folderFor("/tmp/other.toml"); got != "" {
		t.Errorf("another file: %q", got)
	}
	t.Setenv("UCI_CONFIG_DIR", "/x")
	if got := folderFor("/tmp/other.toml"); got != "/x" {
		t.Errorf("with UCI_CONFIG_DIR: %q", got)
	}
}

func TestACandidateStandsForTheFileAlone(t *testing.T) {
	dir := put(t, map[string]string{
		"greseal.toml": "nonsense",
		"greseal":      "config tunnel 'a'\n\toption remote '192.0.2.1'\n\toption psk '" + psk + "'\n",
	})
	c, err := load(dir, filepath.Join(dir, "greseal.toml"), []byte("[[tunnel]]\nname = \"b\"\nremote = \"192.0.2.2\"\npsk = \""+psk+"\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Tunnels) != 2 || c.Tunnels[0].Name != "b" || c.Tunnels[1].Name != "a" {
		t.Errorf("%v", c.Tunnels)
	}
}

func TestASecretThatOthersCanReadIsWarnedOf(t *testing.T) {
	dir := put(t, map[string]string{"greseal": "config tunnel 'a'\n\toption remote '192.0.2.1'\n\toption psk '" + psk + "'\n"})
	os.Chmod(filepath.Join(dir, "greseal"), 0o644)
	c := mustLoad(t, dir)
	if !slices.ContainsFunc(c.Warnings, func(p config.Problem) bool {
		return p.Key == "psk" && p.Line == 3 && strings.Contains(p.What, "others can read")
	}) {
		t.Errorf("warnings: %v", c.Warnings)
	}
}

func run(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = cli.Exec(&cli.Env{Stdout: &o, Stderr: &e}, Command, args...)
	return code, o.String(), e.String()
}

func TestExportAndImportByCommand(t *testing.T) {
	dir := put(t, map[string]string{"greseal.toml": "# a comment\n[[tunnel]]\nname = \"a\"\nremote = \"192.0.2.1\"\npsk = \"" + psk + "\"\ngre.key = 7\n"})
	file, out := filepath.Join(dir, "greseal.toml"), filepath.Join(dir, "greseal")

	code, printed, errs := run(t, "export", "-c", file)
	if code != cli.ExitFailed || printed != "" || !strings.Contains(errs, "is a secret and is not printed") || strings.Contains(errs, psk) {
		t.Errorf("a secret to the terminal: code %d, %q, %q", code, printed, errs)
	}
	code, _, errs = run(t, "export", "-c", file, "-o", out)
	if code != 0 || !strings.Contains(errs, "comments are not carried over") {
		t.Fatalf("code %d: %s", code, errs)
	}
	b, _ := os.ReadFile(out)
	if want := "\nconfig tunnel 'a'\n\toption remote '192.0.2.1'\n\toption psk '" + psk + "'\n\toption gre_key '7'\n\n"; string(b) != want {
		t.Errorf("got %q, want %q", b, want)
	}
	if st, _ := os.Stat(out); st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", st.Mode())
	}
	back := filepath.Join(dir, "back.toml")
	if code, _, errs = run(t, "import", "-c", file, "-folder", dir, "-o", back); code != 0 {
		t.Fatalf("import: code %d: %s", code, errs)
	}
	b, _ = os.ReadFile(back)
	if want := "[[tunnel]]\nname = \"a\"\nremote = [\"192.0.2.1\"]\npsk = \"" + psk + "\"\ngre.key = 7\n"; string(b) != want {
		t.Errorf("got %q, want %q", b, want)
	}
}

func TestExportRefusesAFileWithMistakes(t *testing.T) {
	dir := put(t, map[string]string{"greseal.toml": "[[tunnel]]\nname = \"a\"\nremot = \"192.0.2.1\"\n"})
	code, out, errs := run(t, "export", "-c", filepath.Join(dir, "greseal.toml"))
	if code != cli.ExitUsage || out != "" || !strings.Contains(errs, `there is no key "remot"`) {
		t.Errorf("code %d, %q, %q", code, out, errs)
	}
}

func TestConfiguredTellsTheInitScriptWhatToOpen(t *testing.T) {
	load, usable := cli.Load, cli.LoadUsable
	defer func() { cli.Load, cli.LoadUsable = load, usable }()
	cli.Load, cli.LoadUsable = Load, LoadUsable // as main does
	tunnel := "config tunnel 'a'\n\toption remote '192.0.2.1'\n\toption psk '" + psk + "'\n"
	for _, c := range []struct {
		text, want string
		code       int
	}{
		{tunnel, "tunnel\n", 0},
		{tunnel + "\toption mode 'transport'\n", "transport\n", 0},
		{tunnel + "\toption mode 'transport'\nconfig daemon\n\toption datapath 'userspace'\n", "tunnel\n", 0},
		{tunnel + "\toption enabled '0'\n", "", cli.ExitFailed},
		{"", "", cli.ExitFailed},
		{tunnel + "\toption mtu '1'\nconfig tunnel 'b'\n\toption remote '192.0.2.2'\n\toption psk '" + psk + "'\n\toption mode 'transport'\n", "transport\n", cli.ExitUsage},
		{tunnel + "\tlist mtu '1'\n", "tunnel\n", cli.ExitUsage}, // whose networks are closed
		{"option 'x", "", cli.ExitUsage},
	} {
		dir := put(t, map[string]string{"greseal": c.text, "greseal.toml": ""})
		t.Setenv("UCI_CONFIG_DIR", dir)
		code, out, errs := run(t, "configured", "-c", filepath.Join(dir, "greseal.toml"))
		if code != c.code || out != c.want {
			t.Errorf("%q: code %d, %q, %q", c.text, code, out, errs)
		}
	}

	// A TOML file that lost its text still has the daemon started.
	dir := put(t, map[string]string{"greseal": "", "greseal.toml": "[[tunnel]]\nname = \"a\"\nremote = \"192.0.2.1\"\npsk = \"" + psk + "\"\n"})
	t.Setenv("UCI_CONFIG_DIR", dir)
	path := filepath.Join(dir, "greseal.toml")
	for _, want := range []int{0, cli.ExitUsage, cli.ExitUsage} {
		code, out, errs := run(t, "configured", "-c", path)
		if code != want || out != "tunnel\n" {
			t.Errorf("code %d, want %d: %q, %q", code, want, out, errs)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Relative paths start from the TOML file's folder, whichever way that file is
// named itself.
func TestFilesBesideARelativeTOMLFileAreFound(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.MkdirAll("u", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("etc", 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"etc/hq.psk": psk + "\n", "etc/greseal.toml": "",
		"u/greseal": "config tunnel 'hq'\n\toption remote '198.51.100.7'\n\toption psk_file 'hq.psk'\n",
		"u/network": "config interface 'br'\n\toption proto 'greseal'\n\toption remote '198.51.100.8'\n\toption psk_file 'hq.psk'\n\tlist address '10.0.0.1/30'\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"etc/greseal.toml", "./etc/greseal.toml", "u/../etc/greseal.toml", filepath.Join(dir, "etc/greseal.toml")} {
		if code, out, errs := run(t, "import", "-network", "-folder", "u", "-c", file); code != 0 || !strings.Contains(out, `psk_file = "hq.psk"`) {
			t.Errorf("import -c %s: code %d: %s%s", file, code, out, errs)
		}
		c, err := load("u", file, nil)
		if err != nil {
			t.Errorf("-c %s: %v", file, err)
			continue
		}
		c.Wipe()
		form := Form{Name: "br", Options: map[string][]string{"remote": {"198.51.100.8"}, "psk_file": {"hq.psk"}, "address": {"10.0.0.1/30"}}, Alone: true}
		if c, faults := form.Check(file); c == nil {
			t.Errorf("a form with -c %s: %v", file, faults)
		}
	}
}

func TestCheckWarnsOfAnInterfaceThatNetifdDoesNotHandle(t *testing.T) {
	defer func(old func() (bool, error)) { handles = old }(handles)
	ours := &config.Config{Tunnels: []config.Tunnel{{Name: "own"}, {Name: "hq", Netifd: true}}}
	for _, c := range []struct {
		known  bool
		err    error
		config *config.Config
		want   bool
	}{
		{false, nil, ours, true},
		{true, nil, ours, false},
		{false, os.ErrNotExist, ours, false}, // no OpenWrt
		{false, nil, &config.Config{Tunnels: ours.Tunnels[:1]}, false},
	} {
		handles = func() (bool, error) { return c.known, c.err }
		ps := Around(c.config)
		if (len(ps) > 0) != c.want || c.want && (ps[0].Tunnel != "hq" || !ps[0].Warning || !strings.Contains(ps[0].Remedy, "/etc/init.d/network restart")) {
			t.Errorf("known %v, %v: %v", c.known, c.err, ps)
		}
	}
}

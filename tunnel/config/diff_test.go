package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestDiffNamesWhatChanged(t *testing.T) {
	base := `[daemon]
log_level = "info"
[defaults]
psk = "9mVqk2Lw8sTzB4nXcR7yHd1JfGpA6uEo"
[[tunnel]]
name = "a"
remote = "192.0.2.1"
[[tunnel]]
name = "b"
remote = "192.0.2.2"
routes = ["10.0.0.0/16"]
[[tunnel]]
name = "c"
remote = "192.0.2.3"
`
	changed := `[daemon]
log_level = "debug"
[[tunnel]]
name = "d"
remote = "192.0.2.4"
psk = "9mVqk2Lw8sTzB4nXcR7yHd1JfGpA6uEo"
[[tunnel]]
# moved, and the same
name = "c"
remote = ["192.0.2.3"]
psk = "9mVqk2Lw8sTzB4nXcR7yHd1JfGpA6uEo"
pfs = true
[[tunnel]]
name = "b"
remote = "192.0.2.2"
psk = "9mVqk2Lw8sTzB4nXcR7yHd1JfGpA6uEo"
routes = ["10.0.0.0/16", "10.1.0.0/16"]
esp = "aes256gcm16"
`
	old, _ := parse(t, base)
	new, _ := parse(t, changed)
	want := Difference{
		Daemon: []string{"log_level"},
		Tunnels: []Change{
			{Name: "a", Kind: Removed},
			{Name: "d", Kind: Added},
			{Name: "b", Kind: Changed, Keys: []string{"esp", "routes"}, Class: Rekey},
		},
	}
	if got := Diff(old, new); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if d := Diff(nil, old); len(d.Daemon) != 0 || len(d.Tunnels) != 3 || d.Tunnels[0].Kind != Added {
		t.Errorf("from nothing: %+v", d)
	}
	if d := Diff(old, old); !d.Empty() {
		t.Errorf("from itself: %+v", d)
	}
}

// Each key that is changed alone is reported alone, with its class.
func TestDiffSeesEachKey(t *testing.T) {
	const head = "[[tunnel]]\nname = \"hq\"\n"
	base := map[string]string{"remote": `"vpn.example.net"`, "psk": `"9mVqk2Lw8sTzB4nXcR7yHd1JfGpA6uEo"`, "ppk_id": `"b"`, "ppk": `"9mVqk2Lw8sTzB4nXcR7yHd1JfGpA6uEo"`}
	text := func(key, value string) string {
		s := head
		for k, v := range base {
			if k != key {
				s += k + " = " + v + "\n"
			}
		}
		if key != "name" {
			s += key + " = " + value + "\n"
		}
		return s
	}
	old, _ := parse(t, text("pfs", "true"))
	for _, k := range TunnelKeys() {
		// Another name is another tunnel; files are tried in credentials_test.go and
		// below, the bridge with Ethernet only.
		if k.Name == "name" || k.Kind == Path || k.Kind == Paths || k.Name == "gre.bridge" {
			continue
		}
		value := another(t, &k)
		new, ps := parse(t, text(k.Name, value))
		if new == nil {
			t.Errorf("%s = %s:\n%s", k.Name, value, all(ps))
			continue
		}
		want := []Change{{Name: "hq", Kind: Changed, Keys: []string{k.Name}, Class: k.Class}}
		if value == `"any"` {
			want[0].Class = Reestablish // another kind of endpoint
		}
		if got := Diff(old, new).Tunnels; !reflect.DeepEqual(got, want) {
			t.Errorf("%s = %s: %+v", k.Name, value, got)
		}
	}
}

// another is a value that a key has neither by default nor in TestDiffSeesEachKey.
func another(t *testing.T, k *Key) string {
	switch {
	case k.Name == "remote":
		return `"any"`
	case k.Kind == SecretKey:
		return `"kQ7xZr2mWv9pLs4tYb6nHc1dJf8gEaUo"`
	case k.Default == "":
		return k.Example
	case k.Kind == Switch:
		return strconv.FormatBool(k.Default == "false")
	case k.Kind == Text && len(k.Choices) > 1:
		return strconv.Quote(k.Choices[1])
	case k.Kind == Number, k.Kind == NumberOr:
		return strconv.FormatInt(k.Min+1, 10)
	case k.Kind == Duration:
		d, err := time.ParseDuration(strings.Trim(k.Default, `"`))
		if err != nil {
			t.Fatal(err)
		}
		return strconv.Quote((d - time.Second).String())
	}
	t.Fatalf("no value for %s", k.Name)
	return ""
}

func TestDiffSeesNewContentsOfASecretFile(t *testing.T) {
	dir := t.TempDir()
	load := func(secret string) *Config {
		if err := os.WriteFile(filepath.Join(dir, "psk"), []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Parse(filepath.Join(dir, "g.toml"), fmt.Appendf(nil, "[[tunnel]]\nname = \"hq\"\nremote = \"192.0.2.1\"\npsk_file = \"psk\"\n"), 0o600)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	old, same, other := load(hidden), load(hidden+"\n"), load("9mVqk2Lw8sTzB4nXcR7yHd1JfGpA6uEo")
	if d := Diff(old, same); !d.Empty() {
		t.Errorf("the same secret: %+v", d)
	}
	d := Diff(old, other)
	if len(d.Tunnels) != 1 || !slices.Equal(d.Tunnels[0].Keys, []string{"psk_file"}) || d.Tunnels[0].Class != Beside {
		t.Errorf("another secret: %+v", d)
	}
}

// Of a tunnel with a mistake no secret is kept, which is no change of its secret.
func TestDiffNamesTheMistakesThatWentAway(t *testing.T) {
	const text = "\n[[tunnel]]\nname = \"left\"\nremote = \"192.0.2.1\"\npsk = \"9mVqk2Lw8sTzB4nXcR7yHd1JfGpA6uEo\"\nroutes = [\"10.1.0.0/16\"]\n"
	wrong, _ := usable(t, rightTunnel+text+"dpd = \"soon\"\nencap = \"sometimes\"\n", 0o600)
	mended, _ := parse(t, rightTunnel+strings.Replace(text, "10.1", "10.2", 1))
	want := []Change{{Name: "left", Kind: Changed, Keys: []string{"encap", "dpd", "routes"}, Class: Reestablish}}
	for _, d := range []Difference{Diff(wrong, mended), Diff(mended, wrong)} {
		slices.Sort(d.Tunnels[0].Keys)
		slices.Sort(want[0].Keys)
		if !reflect.DeepEqual(d.Tunnels, want) {
			t.Errorf("%+v, want %+v", d.Tunnels, want)
		}
	}
}

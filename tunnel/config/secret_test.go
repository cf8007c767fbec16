package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const hidden = "kQ7xZr2mWv9pLs4tYb6nHc1dJf8gEaUo"

func TestSecretNeverShows(t *testing.T) {
	c, ps := parse(t, "[[tunnel]]\nname = \"hq\"\nremote = \"192.0.2.1\"\npsk = \""+hidden+"\"\n")
	if c == nil {
		t.Fatal(all(ps))
	}
	tun := c.Tunnels[0]
	var out bytes.Buffer
	for _, v := range []any{tun.PSK, &tun.PSK, tun, &tun, c, *c, []Secret{tun.PSK}, map[string]Secret{"a": tun.PSK}, struct{ S any }{tun.PSK}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		j, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(j)
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
	}
	plain := strings.ToLower(out.String())
	for _, form := range []string{hidden, fmt.Sprintf("%x", hidden), strings.Trim(fmt.Sprint([]byte(hidden)[:8]), "[]")} {
		if strings.Contains(plain, strings.ToLower(form)) {
			t.Errorf("the secret shows as %.12s… in\n%s", form, out.String())
		}
	}
	if !strings.Contains(out.String(), redacted) {
		t.Error("nothing stands in the secret's place")
	}
}

// A wrong file shows no secret in its messages either.
func TestMessagesNeverShowASecret(t *testing.T) {
	for _, text := range []string{
		"[[tunnel]]\npsk = \"" + hidden + "\"\npsk_file = \"x\"\nmode = 1\n",
		"[[tunnel]]\npsk = [\"" + hidden + "\"]\n",
		"[[tunnel]]\npsk = \"" + strings.Repeat(hidden, 40) + "\"\n",
		"[[tunnel]]\nppk = \"" + hidden + "\"\n",
		"[[tunnel]]\npsk = \" " + hidden + "\"\n",
		"[[tunnel]]\npsk = " + hidden + "\n",
		"[[tunnel]]\npsk = \"" + hidden + "\n",
		"[[tunnel]]\npsk = 'a" + hidden + "' '\n",
		"psk = \"" + hidden + "\"\n",
	} {
		_, ps := parse(t, text)
		if ps == nil {
			t.Errorf("%q is right", text)
		}
		if strings.Contains(all(ps), hidden[:8]) {
			t.Errorf("%q shows in\n%s", hidden[:8], all(ps))
		}
	}
}

func TestWipeOverwrites(t *testing.T) {
	c, _ := parse(t, "[[tunnel]]\nname = \"hq\"\nremote = \"192.0.2.1\"\npsk = \""+hidden+"\"\n")
	octets := c.Tunnels[0].PSK.Bytes()
	if string(octets) != hidden {
		t.Fatalf("%d octets", len(octets))
	}
	c.Wipe()
	if c.Tunnels[0].PSK.IsSet() || !bytes.Equal(octets, make([]byte, len(hidden))) {
		t.Error("the secret is still there")
	}
}

func TestSecretFilesMustBePrivate(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
		return name
	}
	if err := os.Mkdir(filepath.Join(dir, "dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, want, remedy string
	}{
		{file("good", hidden+"\n", 0o600), "", ""},
		{file("readonly", hidden, 0o400), "", ""},
		{file("group", hidden, 0o640), "mode 0640", "chmod 600 " + dir + "/group"},
		{file("with space", hidden, 0o644), "mode 0644", "chmod 600 '" + dir + "/with space'"},
		{file("empty", "\n", 0o600), "is empty", "genpsk"},
		{file("long", strings.Repeat("x", maxPSK+1), 0o600), "more than 1024", "genpsk"},
		{"dir", "not a regular file", "name a file"},
		{"none", "does not exist", "greseal genpsk -o " + dir + "/none"},
	} {
		text := "[[tunnel]]\nname = \"hq\"\nremote = \"192.0.2.1\"\n  psk_file = \"" + c.name + "\"\n"
		_, err := Parse(filepath.Join(dir, "greseal.toml"), []byte(text), 0o644)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		ps, _ := err.(Problems)
		if len(ps) != 1 || ps[0].Line != 4 || ps[0].Column != 14 || !strings.Contains(ps[0].What, c.want) || !strings.Contains(ps[0].Remedy, c.remedy) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// One newline at the end of a secret file does not count, nothing else is
// touched.
func TestSecretFileIsTakenAsItIs(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{
		hidden + "\n":   hidden,
		hidden + "\n\n": hidden + "\n",
		"0x" + hidden:   "0x" + hidden,
		hidden + "\xff": hidden + "\xff",
		hidden + "\r\n": hidden + "\r",
	} {
		p := filepath.Join(dir, "psk")
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Parse(filepath.Join(dir, "g.toml"), []byte("[[tunnel]]\nname = \"hq\"\nremote = \"192.0.2.1\"\npsk_file = \"psk\"\n"), 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(c.Tunnels[0].PSK.Bytes()); got != want {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func TestFileWithSecretsMustBePrivate(t *testing.T) {
	p := filepath.Join(t.TempDir(), "greseal.toml")
	write := func(text string, mode os.FileMode) error {
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
		_, err := Load(p)
		return err
	}
	if err := write(smallest, 0o600); err != nil {
		t.Errorf("0600: %v", err)
	}
	err := write(smallest, 0o644)
	if want := p + ":4:1: psk: others can read this secret (file mode 0644); run chmod 600 " + p + ", or use psk_file"; err == nil || err.Error() != want {
		t.Errorf("0644: %v, want %s", err, want)
	}
	if err := write("# nothing secret\n", 0o644); err != nil {
		t.Errorf("0644 without a secret: %v", err)
	}
}

func TestLoadSaysWhyAFileCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		filepath.Join(dir, "none.toml"): "does not exist; write one, or name another with -c",
		dir:                             "is not a regular file",
	} {
		if _, err := Load(path); err == nil || err.Error() != path+": "+want {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestWeakSecretsAreTold(t *testing.T) {
	for _, c := range []struct {
		psk       string
		low, high int
	}{
		{"secret", 5, 15},
		{"password123", 10, 30},
		{"P@ssw0rd2024", 10, 45},
		{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 0, 10},
		{"abcdefghijklmnopqrstuvwxyz012345", 0, 50},
		{"1234567890123456789012345678901234567890", 0, 20},
		{"Sommer2024!", 20, 60},
		{"correct horse battery staple", 45, 79},
		{"192.0.2.1", 10, 45},
		{"ciscociscociscocisco", 5, 20},
		{"kD8fQ2xZ", 40, 50},
		// Random ones, of openssl rand, keep nearly all their worth.
		{"3q2-7wX_9sLm4TzKc1VbYg0nRj8HdPfE", 140, 200},
		{"8f3a62c1d94be07712aa5360fe1b9c4d", 100, 128},
		{"hVd2b1ScP9tXKm0QwJ7yRZ4g6LnE8fUaT3oCxsBvIiA", 200, 260},
		{"4711 0815 9382 6610 2749 5528 1930", 75, 140},
	} {
		if bits := guessingBits(c.psk); bits < c.low || bits > c.high {
			t.Errorf("%q: %d bits, want %d to %d", c.psk, bits, c.low, c.high)
		}
	}
}

// What nobody sees in a key is warned of, wherever it stands and whichever way
// the key is written; what people write in words is not.
func TestInvisibleCharactersInAKeyAreWarnedOf(t *testing.T) {
	dir := t.TempDir()
	for key, want := range map[string]string{
		"\uFEFF" + hidden:                        "a byte order mark (U+FEFF)",
		hidden + "\u200B":                        "a zero-width space (U+200B)",
		hidden[:9] + "\u200B" + hidden[9:]:       "a zero-width space (U+200B)",
		hidden + "\u200D":                        "a zero-width joiner (U+200D)",
		hidden + "\u2060":                        "a word joiner (U+2060)",
		hidden[:9] + "\u00AD" + hidden[9:]:       "a soft hyphen (U+00AD)",
		hidden + "\u202E":                        "a character that is not shown (U+202E)",
		hidden + "\uFE0F":                        "a character that is not shown (U+FE0F)",
		hidden + "\u034F":                        "a character that is not shown (U+034F)",
		hidden + "\x1b[C":                        "a control character (U+001B)",
		hidden[:9] + "\r" + hidden[9:]:           "a control character (U+000D)",
		hidden + "\r":                            "carriage return",
		hidden + "\u00A0":                        "white space at its beginning or end",
		hidden + "\uFEFF\r":                      "a byte order mark (U+FEFF)",
		hidden:                                   "",
		"grüne Äpfel über Zürich " + hidden[:20]: "",
		"пароль-очень-длинный-" + hidden[:20]: "",
		hidden[:9] + "\t" + hidden[9:]:        "",
	} {
		if err := os.WriteFile(filepath.Join(dir, "k"), []byte(key+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		const tunnel = "[[tunnel]]\nname = \"hq\"\nremote = \"192.0.2.1\"\n"
		file, err := Parse(filepath.Join(dir, "greseal.toml"), []byte(tunnel+"psk_file = \"k\"\n"), 0o600)
		if err != nil {
			t.Fatal(err)
		}
		text, err := Parse("greseal.toml", fmt.Appendf(nil, "%spsk = %s\n", tunnel, tomlQuoted(key)), 0o600)
		if err != nil {
			t.Fatal(err)
		}
		for way, c := range map[string]*Config{"psk_file": file, "psk": text} {
			said := all(c.Warnings)
			if want == "" && said != "" || !strings.Contains(said, want) || strings.Contains(said, hidden[:8]) {
				t.Errorf("%s = %q: %q, want %q", way, key, said, want)
			}
		}
	}
}

// tomlQuoted writes a basic string with everything but ASCII letters as it is.
func tomlQuoted(s string) string {
	return `"` + strings.NewReplacer("\r", `\r`, "\t", `\t`, "\x1b", `\u001b`).Replace(s) + `"`
}

// Every key of a tunnel is wiped with its configuration, and left out of its copies.
func TestEverySecretOfATunnelIsAmongItsSecrets(t *testing.T) {
	c := Config{Tunnels: make([]Tunnel, 1)}
	v := reflect.ValueOf(&c.Tunnels[0]).Elem()
	held := map[string][]byte{}
	for i := range v.NumField() {
		if s, ok := v.Field(i).Addr().Interface().(*Secret); ok {
			held[v.Type().Field(i).Name] = []byte("key")
			s.bytes = held[v.Type().Field(i).Name]
		}
	}
	bare := reflect.ValueOf(c.Tunnels[0].WithoutSecrets()).Elem()
	c.Wipe()
	for name, key := range held {
		if bare.FieldByName(name).Interface().(Secret).IsSet() {
			t.Errorf("a copy without secrets holds %s", name)
		}
		if string(key) == "key" {
			t.Errorf("%s is not wiped", name)
		}
	}
	if len(held) < 3 {
		t.Errorf("only %d secrets were found", len(held))
	}
}

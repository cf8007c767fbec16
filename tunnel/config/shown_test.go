package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What a check outside of the daemon's jail takes is what the daemon can read.
func TestFilesThatTheDaemonWontSeeAreRefused(t *testing.T) {
	dir := t.TempDir()
	own, away := filepath.Join(dir, "greseal"), filepath.Join(dir, "away")
	for _, path := range []string{own, away} {
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, "hq.psk"), []byte(hidden+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		pki(t, path)
	}
	for from, to := range map[string]string{"link.psk": "../away/hq.psk", "near.psk": "hq.psk"} {
		if err := os.Symlink(to, filepath.Join(own, from)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(own, filepath.Join(dir, "var")); err != nil {
		t.Fatal(err)
	}
	const tunnel = "[[tunnel]]\nname = \"hq\"\nremote = \"hq.example.net\"\n"
	for name, c := range map[string]struct{ text, want string }{
		"here":                       {tunnel + `psk_file = "hq.psk"`, ""},
		"here by a link":             {tunnel + `psk_file = "near.psk"`, ""},
		"by a folder that is a link": {tunnel + `psk_file = "` + dir + `/var/hq.psk"`, "/var/hq.psk is not visible"},
		"elsewhere":                  {tunnel + `psk_file = "../away/hq.psk"`, "/away/hq.psk is not visible to the daemon, which runs in a jail; move the file to " + own},
		"elsewhere by a link":        {tunnel + `psk_file = "link.psk"`, "leads to " + away + "/hq.psk, which is not visible"},
		"one of several":             {tunnel + `cert = "gw.crt"` + "\nkey = \"gw.key\"\nca = [\"gw-ca.crt\", \"" + away + "/gw-ca.crt\"]", away + "/gw-ca.crt is not visible"},
		"a certificate's key":        {tunnel + `cert = "gw.crt"` + "\nkey = \"" + away + "/gw.key\"\nca = \"gw-ca.crt\"", "key: "},
		"nowhere":                    {tunnel + `psk_file = "` + dir + `/none.psk"`, "does not exist; name the file with the key, or make one: greseal genpsk -o " + dir + "/none.psk"},
		"a socket nobody would see":  {"[daemon]\nstatus_socket = \"/tmp/g.sock\"\n" + tunnel + `psk_file = "hq.psk"`, "only the daemon would see this socket"},
		"a socket of another name":   {"[daemon]\nstatus_socket = \"/var/run/greseal/g.sock\"\n" + tunnel + `psk_file = "hq.psk"`, ""},
	} {
		f, ps := Read(filepath.Join(own, "greseal.toml"), []byte(c.text+"\n"))
		if len(ps) > 0 {
			t.Fatal(ps)
		}
		f.Shown = []string{own}
		cfg, err := Build(f)
		if cfg != nil {
			cfg.Wipe()
		}
		if got := fmt.Sprint(err); c.want == "" && err != nil || c.want != "" && !strings.Contains(got, c.want) {
			t.Errorf("%s: %s; want %q", name, got, c.want)
		}
	}
}

// The unit that greseal brings hides some folders; who changed that is believed.
func TestFilesThatTheUnitHidesAreWarnedOf(t *testing.T) {
	t.Setenv("INVOCATION_ID", "")
	unit, err := os.ReadFile("../../build/systemd/greseal.service")
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	put := func(name, text string) {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := HiddenByUnit(root); got != nil {
		t.Errorf("without a unit: %v", got)
	}
	put("lib/systemd/system/greseal.service", string(unit))
	if got := strings.Join(HiddenByUnit(root), " "); got != "/home /root /run/user /tmp /var/tmp" {
		t.Errorf("the unit hides %s", got)
	}
	put("etc/systemd/system/greseal.service.d/home.conf", "[Service]\nProtectHome=read-only\n")
	if got := strings.Join(HiddenByUnit(root), " "); got != "/tmp /var/tmp" {
		t.Errorf("with a drop-in: %s", got)
	}

	keys := t.TempDir()
	if err := os.WriteFile(filepath.Join(keys, "hq.psk"), []byte(hidden+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, _ := Read("greseal.toml", []byte("[[tunnel]]\nname = \"hq\"\nremote = \"192.0.2.1\"\npsk_file = \""+keys+"/hq.psk\"\n"))
	f.Hidden = []string{"/home", keys}
	c, err := Build(f)
	if err != nil || len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].String(), "hides from the daemon; move the file to /etc/greseal") {
		t.Errorf("%v, %+v", err, c)
	}
	t.Setenv("INVOCATION_ID", "1")
	_, ps := parse(t, "[[tunnel]]\nname = \"hq\"\nremote = \"192.0.2.1\"\npsk_file = \"/root/keys/hq.psk\"\n")
	if said := all(ps); !strings.Contains(said, "hidden from the daemon by its systemd unit; move the file") || strings.Contains(said, "genpsk") {
		t.Errorf("in the daemon: %s", said)
	}
}

// In the jail itself a file that can't be seen may well be there: nothing may be
// made in its place.
func TestTheRemedyInTheJailMakesNoKey(t *testing.T) {
	t.Setenv("container", "ujail")
	for _, text := range []string{"psk_file = \"/root/keys/hq.psk\"\n", "raw_key = \"/root/raw.key\"\npeer_raw_key = \"/root/raw.pub\"\n"} {
		_, ps := parse(t, "[[tunnel]]\nname = \"hq\"\nremote = \"192.0.2.1\"\n"+text)
		if said := all(ps); !strings.Contains(said, "move the file to /etc/greseal") || strings.Contains(said, "genpsk") {
			t.Errorf("%s says %s", text, said)
		}
	}
}

// No remedy of the whole schema writes over a file.
func TestNoRemedyOverwritesAFile(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.psk")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"psk_file", "ppk_file"} {
		for _, path := range []string{"/nonexistent/it's a.psk", empty} {
			_, ps := parse(t, "[[tunnel]]\nname = \"hq\"\nremote = \"192.0.2.1\"\npsk = \""+hidden+"\"\nppk_id = \"a\"\n"+key+" = \""+path+"\"\n")
			if said := all(ps); !strings.Contains(said, "genpsk -o "+shell(path)) || strings.Contains(said, ">") {
				t.Errorf("%s = %s says %s", key, path, said)
			}
		}
	}
}

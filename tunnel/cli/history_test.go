package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"greseal/tunnel/status"
)

func TestFiveGoodConfigsAreKeptForRootAlone(t *testing.T) {
	dir := t.TempDir()
	h := historyOf(filepath.Join(dir, "greseal.toml"))
	for i := range 8 {
		for range 2 { // the same one again is not kept twice
			if err := h.add([]byte(fmt.Sprintf("# %d\n", i))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(h.dir, "other.toml.9"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := h.list()
	if err != nil || len(all) != keptConfigs {
		t.Fatalf("%d kept, error %v", len(all), err)
	}
	for i, k := range all {
		data, _ := os.ReadFile(k.path)
		if want := fmt.Sprintf("# %d\n", 7-i); string(data) != want || k.number != 8-i {
			t.Errorf("number %d holds %q, want %q as number %d", k.number, data, want, 8-i)
		}
		if st, _ := os.Stat(k.path); st.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", k.path, st.Mode())
		}
	}
	if st, _ := os.Stat(h.dir); st.Mode().Perm() != 0o700 {
		t.Errorf("the folder has mode %v", st.Mode())
	}
	k, data, err := h.before([]byte("# 7\n"))
	if err != nil || k.number != 7 || string(data) != "# 6\n" {
		t.Errorf("before the present one: number %d, %q, %v", k.number, data, err)
	}
}

func TestReplacedConfigKeepsItsModeUnlessThatShowsASecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "greseal.toml")
	tunnel := "[[tunnel]]\nname = \"hq\"\nremote = \"192.0.2.1\"\n"
	for _, c := range []struct {
		text string
		mode os.FileMode
		want os.FileMode
	}{
		{"# nothing secret\n", 0o644, 0o644},
		{tunnel + "psk = \"6Qk2vX9eTr4WzLm8\"\n", 0o644, 0o600},
		{tunnel + "psk = \"6Qk2vX9eTr4WzLm8\"\n", 0o400, 0o400},
	} {
		os.Remove(path)
		if err := os.WriteFile(path, []byte("old"), c.mode); err != nil {
			t.Fatal(err)
		}
		os.Chmod(path, c.mode)
		if err := replaceConfig(path, []byte(c.text)); err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(path)
		if err != nil || st.Mode().Perm() != c.want {
			t.Errorf("%q over mode %v has mode %v, want %v", c.text, c.mode, st.Mode().Perm(), c.want)
		}
	}
}

func TestAFullDiskLeavesTheOldConfigWhole(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16k,mode=0700"); err != nil {
		t.Skipf("a file system that is full needs root: %v", err)
	}
	defer unix.Unmount(dir, 0)
	path := filepath.Join(dir, "greseal.toml")
	old := []byte("# old\n")
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	err := replaceConfig(path, bytes.Repeat([]byte("# new\n"), 6000))
	if err == nil || !strings.Contains(err.Error(), path+" stays as it was") || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("error %v", err)
	}
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, old) {
		t.Errorf("the file holds %q, %v", now, err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("something is left behind: %v", files)
	}
}

func TestSSHClientIsTakenFromTheSession(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.7 50000 198.51.100.1 22":        "192.0.2.7",
		"fe80::1%eth0 50000 fe80::2%eth0 22":     "fe80::1",
		"::ffff:192.0.2.7 50000 198.51.100.1 22": "192.0.2.7",
		"":                                       "",
		"UNKNOWN":                                "",
	} {
		if got := clientOf(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestTwoEditorsDoNotMix(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s.sock")
	first, err := lockCandidate(socket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockCandidate(socket); err == nil || !strings.Contains(err.Error(), "another greseal edit") {
		t.Errorf("a second lock: %v", err)
	}
	if err := first.write([]byte("a longer text")); err != nil {
		t.Fatal(err)
	}
	if err := first.write([]byte("text")); err != nil {
		t.Fatal(err)
	}
	if data, err := first.read(status.Digest([]byte("text"))); err != nil || string(data) != "text" {
		t.Errorf("read %q, %v", data, err)
	}
	if _, err := first.read(status.Digest([]byte("another"))); err == nil {
		t.Error("a changed candidate is taken for the one that runs")
	}
	first.file.Close()
	second, err := lockCandidate(socket)
	if err != nil {
		t.Fatalf("after the first ended: %v", err)
	}
	second.file.Close()
}

package status

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What others may have put in the candidate's place is neither read nor changed.
func TestACandidateOfOthersIsNotTouched(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "shadow")
	if err := os.WriteFile(secret, []byte("keep me"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what, want string
		make       func(path string) error
	}{
		{"a symbolic link", "symbolic link", func(p string) error { return os.Symlink(secret, p) }},
		{"a second name of a file", "another name", func(p string) error { return os.Link(secret, p) }},
		{"a file that others read", "accessible to others", func(p string) error { return os.WriteFile(p, nil, 0o644) }},
		{"a FIFO", "not a regular file", func(p string) error { return unix.Mkfifo(p, 0o600) }},
	} {
		socket := filepath.Join(t.TempDir(), "s")
		if err := c.make(Candidate(socket)); err != nil {
			t.Fatal(err)
		}
		for _, flags := range []int{os.O_CREATE | os.O_RDWR, os.O_RDONLY, os.O_WRONLY} {
			if f, err := OpenCandidate(socket, flags); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s is opened: %v, %v", c.what, f, err)
			}
		}
	}
	st := unix.Stat_t{Mode: unix.S_IFREG | 0o600, Uid: uint32(os.Geteuid()) + 1000, Nlink: 1}
	if err := trusted("x", &st); err == nil || !strings.Contains(err.Error(), "belongs to user") {
		t.Errorf("a file of another user: %v", err)
	}
	if data, _ := os.ReadFile(secret); string(data) != "keep me" {
		t.Errorf("the file of others holds %q", data)
	}
	socket := filepath.Join(t.TempDir(), "s")
	f, err := OpenCandidate(socket, os.O_CREATE|os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if f, err = OpenCandidate(socket, os.O_RDONLY); err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func TestFoldersInWhichOthersCanReplaceASocket(t *testing.T) {
	for mode, want := range map[os.FileMode]bool{0o755: false, 0o700: false, 0o777: true, 0o775: true, 0o777 | os.ModeSticky: false} {
		dir := t.TempDir()
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if got := OthersMayReplace(filepath.Join(dir, "s")); got != want {
			t.Errorf("mode %v: %v", mode, got)
		}
	}
}

package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestMountPointsAreReadWithTheirWhiteSpace(t *testing.T) {
	got := mountPoints("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n40 22 8:1 /x /etc/my\\040conf/greseal.toml rw - ext4 /dev/sda1 rw\nbroken\n")
	if want := []string{"/", "/etc/my conf/greseal.toml"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if ownMount(filepath.Join(t.TempDir(), "x")) {
		t.Error("a file is taken for a mount")
	}
}

// A file that is written in place has its text in the history before, and what is
// shorter leaves nothing of what was longer.
func TestWritingInPlaceKeepsBothTexts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "greseal.toml")
	old, data := []byte("# a longer text\n"), []byte("# short\n")
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := overwrite(path, data); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(path); !bytes.Equal(got, data) {
		t.Errorf("the file holds %q", got)
	}
	h := historyOf(path)
	all, err := h.list()
	if err != nil || len(all) != 2 || !h.newestIs(data) {
		t.Errorf("kept: %v, %v", all, err)
	}
	remember(&Env{Stderr: os.Stderr}, path, old, data)
	if again, _ := h.list(); len(again) != 2 {
		t.Errorf("kept twice: %v", again)
	}
	// Without a place for the copies the file is not touched.
	os.RemoveAll(h.dir)
	if err := os.WriteFile(h.dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := overwrite(path, old); err == nil || !strings.Contains(err.Error(), "mount of its own") {
		t.Errorf("error %v", err)
	}
	if got, _ := os.ReadFile(path); !bytes.Equal(got, data) {
		t.Errorf("the file holds %q", got)
	}
}

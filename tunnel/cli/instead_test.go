package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// An empty file after one with tunnels is what a full disk or a power cut leaves.
func TestAFileThatLostItsTextIsNoConfig(t *testing.T) {
	const text = "[[tunnel]]\nname = \"hq\"\nremote = \"192.0.2.1\"\npsk = \"9mVqk2Lw8sTzB4nXcR7yHd1JfGpA6uEo\"\nroutes = [\"10.2.0.0/24\"]\n"
	path := filepath.Join(t.TempDir(), "greseal.toml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	if _, err := LoadWhole(path, nil); err != nil {
		t.Fatalf("an empty file that never held anything: %v", err)
	}
	write(text)
	if _, err := LoadWhole(path, nil); err != nil {
		t.Fatal(err)
	}
	Keep(path)
	for _, lost := range []string{"", "\n", " \t\r\n\n"} {
		write(lost)
		if _, err := LoadWhole(path, nil); err == nil || !strings.Contains(err.Error(), "is empty") {
			t.Errorf("%q: %v", lost, err)
		}
		if _, err := LoadWhole(path, []byte(lost)); err == nil {
			t.Errorf("%q as a candidate is taken", lost)
		}
		Keep(path) // as one does who does not look
		c, err := Instead(path)
		if err != nil || c.Tunnel("hq") == nil || !strings.Contains(c.Instead, "last good one") {
			t.Errorf("%q: instead of it %+v, %v", lost, c, err)
		}
	}
	write("# no tunnel for now\n")
	if c, err := LoadWhole(path, nil); err != nil || len(c.Tunnels) != 0 {
		t.Errorf("a comment alone: %v", err)
	}
}

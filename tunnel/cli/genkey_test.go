package cli

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"greseal/crypto/sign"
)

// The two files are a pair that greseal reads back, and nothing is overwritten.
func TestGenKeyMakesAPairAndOverwritesNothing(t *testing.T) {
	for kind, want := range keyKinds {
		path := filepath.Join(t.TempDir(), "raw.key")
		run := func() (string, error) {
			var out bytes.Buffer
			fs := flag.NewFlagSet("genkey", flag.ContinueOnError)
			do := GenKey.Setup(fs)
			if err := fs.Parse([]string{"-type", kind}); err != nil {
				t.Fatal(err)
			}
			err := do(&Env{Stdout: &out}, []string{path})
			return out.String(), err
		}
		said, err := run()
		if err != nil {
			t.Fatal(err)
		}
		private, _ := os.ReadFile(path)
		public, _ := os.ReadFile(path + ".pub")
		st, _ := os.Stat(path)
		k, err1 := sign.ParsePrivateKey(private)
		p, err2 := sign.ParsePublicKeyFile(public)
		if err1 != nil || err2 != nil || !k.Public().Equal(p) || p.Kind() != want || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v, mode %v", kind, err1, err2, st.Mode())
		}
		if !strings.Contains(said, p.Fingerprint()) || strings.Contains(said, "PRIVATE") {
			t.Errorf("it says %q", said)
		}
		if _, err := run(); err == nil || !strings.Contains(err.Error(), "exists") {
			t.Errorf("a second time: %v", err)
		}
		if again, _ := os.ReadFile(path); !bytes.Equal(again, private) {
			t.Error("the key was overwritten")
		}
	}
}

// The remedies say genpsk -o: it must not cost anybody a key.
func TestGenPSKWritesNewAndEmptyFilesOnly(t *testing.T) {
	dir := t.TempDir()
	run := func(path string) (string, error) {
		var out bytes.Buffer
		fs := flag.NewFlagSet("genpsk", flag.ContinueOnError)
		do := GenPSK.Setup(fs)
		if err := fs.Parse([]string{"-o", path}); err != nil {
			t.Fatal(err)
		}
		err := do(&Env{Stdout: &out}, nil)
		return out.String(), err
	}
	empty := filepath.Join(dir, "empty.psk")
	if err := os.WriteFile(empty, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	blank := filepath.Join(dir, "blank.psk")
	if err := os.WriteFile(blank, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "new.psk"), empty, blank} {
		said, err := run(path)
		key, _ := os.ReadFile(path)
		st, _ := os.Stat(path)
		if err != nil || len(key) != 45 || st.Mode().Perm() != 0o600 || strings.Contains(said, string(key[:8])) {
			t.Errorf("%s: %v, %d octets, mode %v, says %q", path, err, len(key), st.Mode(), said)
		}
		if _, err := run(path); err == nil || !strings.Contains(err.Error(), "exists") {
			t.Errorf("%s a second time: %v", path, err)
		}
		if again, _ := os.ReadFile(path); !bytes.Equal(again, key) {
			t.Errorf("%s: the key was overwritten", path)
		}
	}
	if _, err := run(dir); err == nil {
		t.Error("a folder was taken for a file")
	}
	if _, err := run("/dev/null"); err == nil {
		t.Error("a device was taken for a file")
	}
}

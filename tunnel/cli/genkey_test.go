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

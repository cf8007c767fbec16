package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// parse checks text as a file called greseal.toml that only its owner can read.
func parse(t testing.TB, text string) (*Config, Problems) {
	t.Helper()
	c, err := Parse("greseal.toml", []byte(text), 0o600)
	if err == nil {
		return c, c.Warnings
	}
	ps, ok := err.(Problems)
	if !ok {
		t.Fatalf("error of type %T: %v", err, err)
	}
	if c != nil {
		t.Fatal("a config came together with an error")
	}
	if len(ps.Mistakes()) == 0 {
		t.Fatalf("an error without a mistake: %v", ps)
	}
	return nil, ps
}

func all(ps Problems) string {
	var b strings.Builder
	for _, p := range ps {
		b.WriteString(p.String() + "\n")
	}
	return b.String()
}

// Each file of testdata/wrong stands beside the exact messages it must give.
// GRESEAL_UPDATE=1 writes them again, to be read before they are committed.
func TestWrongFilesGiveTheseMessages(t *testing.T) {
	files, err := filepath.Glob("testdata/wrong/*.toml")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".toml"), func(t *testing.T) {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			_, ps := parse(t, string(data))
			got := all(ps)
			want := strings.TrimSuffix(f, ".toml") + ".txt"
			if os.Getenv("GRESEAL_UPDATE") != "" {
				if err := os.WriteFile(want, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			text, err := os.ReadFile(want)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(text) {
				t.Errorf("got\n%swant\n%s", got, text)
			}
		})
	}
}

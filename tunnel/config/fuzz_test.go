package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzParse: no file makes the parser panic, every error is a list of problems
// with a text and a place in the file, and the scanner knows every key that the
// library knows.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/wrong/*.toml", "testdata/right/*.toml"} {
		files, _ := filepath.Glob(pattern)
		for _, name := range files {
			data, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	for _, text := range []string{"\x01", "]", "\"\\", "=\n"} { // wrong at the very first character
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("greseal.toml", data, 0o600)
		if err == nil {
			if d := Diff(c, c); !d.Empty() {
				t.Fatalf("a config differs from itself: %+v", d)
			}
			return
		}
		ps, ok := err.(Problems)
		if !ok || c != nil || len(ps.Mistakes()) == 0 {
			t.Fatalf("config %v with error %T %v", c, err, err)
		}
		last := strings.Count(string(data), "\n") + 1
		for _, p := range ps {
			if p.What == "" || p.File != "greseal.toml" || p.Line < 0 || p.Line > last || p.Line > 0 && p.Column < 1 {
				t.Fatalf("problem %#v in a file of %d lines", p, last)
			}
			if strings.ContainsAny(p.String(), "\n\x00\x1b") {
				t.Fatalf("problem %q holds control characters", p.String())
			}
		}
		if strings.Contains(err.Error(), "can't be read as TOML") {
			return // a bug of the library, told as an error
		}
		text := strings.TrimPrefix(string(data), "\uFEFF")
		if !utf8.ValidString(text) || strings.Contains(text, "\x00") {
			return
		}
		if _, _, err := decode(text); err == nil {
			if _, deep := tooDeep(text); !deep {
				if err := agree(text); err != nil {
					t.Fatalf("%q: %v", text, err)
				}
			}
		}
	})
}

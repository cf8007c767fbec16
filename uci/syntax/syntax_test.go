package syntax

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func parse(t testing.TB, text string) *Package {
	t.Helper()
	p, err := Parse("", "x", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// As "uci -X show" names them.
func TestAnonymousSectionsAreNamedByNumberAndType(t *testing.T) {
	p := parse(t, "config tunnel\n\toption a 1\nconfig tunnel 'n'\nconfig a\nconfig tunnel\nconfig defaults\n")
	want := []string{"cfg01d3bb", "n", "cfg03b606", "cfg04d3bb", "cfg05e63d"}
	for i, s := range p.Sections {
		if s.Name != want[i] || s.Anonymous != (i != 1) {
			t.Errorf("section %d is %s (anonymous %v), want %s", i, s.Name, s.Anonymous, want[i])
		}
	}
	if p.Section("cfg04d3bb") != p.Sections[3] || p.Section("n") != p.Sections[1] || p.Section("m") != nil {
		t.Error("sections are not found by name")
	}
	if s := p.Add("tunnel", ""); s.Name != "cfg06d3bb" || !s.Anonymous {
		t.Errorf("the next is %s", s.Name)
	}
}

func TestEverythingKnowsItsLine(t *testing.T) {
	p := parse(t, "# c\nconfig a 'n'\n\toption k 'one\ntwo'\n\tlist l 1\n\tlist l 2\nconfig b\nconfig a n\n\toption k 3\n")
	n := p.Sections[0]
	if n.Line != 2 || n.Options[0].Line != 9 || n.Options[1].Line != 6 || p.Sections[1].Line != 7 {
		t.Errorf("%+v %+v", n, p.Sections[1])
	}
}

func TestValuesAreReadAndChanged(t *testing.T) {
	s := parse(t, "config a\n\toption k 'v w'\n\tlist l 'a b'\n\tlist l 'c'\n").Sections[0]
	if v, ok := s.Get("k"); v != "v w" || !ok {
		t.Errorf("k is %q", v)
	}
	if v, ok := s.Get("l"); v != "a b c" || !ok {
		t.Errorf("l is %q", v)
	}
	if v, ok := s.Get("m"); v != "" || ok {
		t.Errorf("m is %q", v)
	}
	if v := s.option("l").Values; !slices.Equal(v, []string{"a b", "c"}) {
		t.Errorf("items %q", v)
	}
	if v := s.option("k").Values; !slices.Equal(v, []string{"v w"}) {
		t.Errorf("items %q", v)
	}
	if s.option("m") != nil {
		t.Error("items of nothing")
	}
	s.Set("l", "one")
	s.SetList("k", []string{"x", ""})
	s.Set("n", "new")
	s.Set("gone", "1")
	s.Set("gone", "")
	s.SetList("never", nil)
	p := &Package{Name: "x", Sections: []*Section{s}}
	got, err := p.Bytes()
	if want := "\nconfig a\n\tlist k 'x'\n\tlist k ''\n\toption l 'one'\n\toption n 'new'\n\n"; err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
}

func TestWhatCannotBeReadBackIsNotWritten(t *testing.T) {
	section := func(typ, name string, options ...Option) *Package {
		p := &Package{Name: "x"}
		p.Add(typ, name).Options = options
		return p
	}
	twice := section("a", "n")
	twice.Add("a", "n")
	for name, p := range map[string]*Package{
		"empty type":            section("", "n"),
		"type with a space":     section("a b", "n"),
		"type with a quote":     section("a'b", "n"),
		"type with a comment":   section("a#b", "n"),
		"type with a semicolon": section("a;b", "n"),
		"type with a backslash": section(`a\b`, "n"),
		"name with a dash":      section("a", "n-m"),
		"option name":           section("a", "n", Option{Name: "k.l", Values: []string{"v"}}),
		"empty value":           section("a", "n", Option{Name: "k", Values: []string{""}}),
		"no value":              section("a", "n", Option{Name: "k"}),
		"two values":            section("a", "n", Option{Name: "k", Values: []string{"v", "w"}}),
		"empty list":            section("a", "n", Option{Name: "k", List: true}),
		"NUL":                   section("a", "n", Option{Name: "k", Values: []string{"a\x00b"}}),
		"name twice":            twice,
	} {
		if b, err := p.Bytes(); err == nil {
			t.Errorf("%s: written as %q", name, b)
		}
	}
}

func TestErrorsNameFileLineByteAndRemedy(t *testing.T) {
	_, err := Parse("/etc/config/x", "x", []byte("config a\n\toption k v w\n"))
	if want := "/etc/config/x:2:14: too many arguments; put a value with spaces in single quotes"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	_, err = Parse("", "x", []byte("config a\n\n\toption k 'v\n\n"))
	if err == nil || !strings.Contains(err.Error(), "line 4, byte") || !strings.Contains(err.Error(), "opened in line 3") {
		t.Errorf("%v", err)
	}
}

func TestPackageLineNamesTheUnnamed(t *testing.T) {
	p, err := Parse("", "", []byte("package net-work\nconfig a\n"))
	if err != nil || p.Name != "net-work" {
		t.Errorf("%v, %v", p, err)
	}
	if _, err := Parse("", "", []byte("package a.b\n")); err == nil {
		t.Error("a bad package name was taken")
	}
}

func TestLargeFilesAreRefusedAndManySectionsAreQuick(t *testing.T) {
	if _, err := Parse("f", "x", make([]byte, MaxSize+1)); err == nil {
		t.Error("a file above the limit was read")
	}
	// Close to the limit in the shapes that could cost more than linear time.
	for _, unit := range []string{"config a\n", "config a n\no k v\n", "c a\nl k v\n", "c a\no k '\n\n\n'\n", "c a\no k \\\nv\n"} {
		if _, err := Parse("f", "x", bytes.Repeat([]byte(unit), MaxSize/len(unit))); err != nil {
			t.Errorf("%q: %v", unit, err)
		}
	}
	var many bytes.Buffer
	for i := range 15000 {
		fmt.Fprintf(&many, "c a n\no k%d v\n", i)
	}
	if p, err := Parse("f", "x", many.Bytes()); err != nil || len(p.Sections) != 1 || len(p.Sections[0].Options) != 15000 {
		t.Errorf("one section in many pieces: %v", err)
	}
}

func TestLoadTakesFilesAlone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "greseal")
	if _, err := Load(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := Load(dir); err == nil {
		t.Error("a folder was loaded")
	}
	write(t, path, "config tunnel hq\n\toption psk 'it'\\''s'\n")
	got, err := Load(path)
	if err != nil || got.Name != "greseal" {
		t.Fatalf("%+v, %v", got, err)
	}
	if v, _ := got.Section("hq").Get("psk"); v != "it's" {
		t.Errorf("psk is %q", v)
	}
}

// libuci locks a file that it replaces, and shares the lock with who only reads.
func TestLoadWaitsForTheLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	write(t, path, "\n")
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	load := func() error { _, err := Load(path); return err }
	if err := load(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- load() }()
	for !waiting(t, f) {
		select {
		case err := <-done:
			t.Fatalf("loaded under another's lock (%v)", err)
		case <-time.After(time.Millisecond):
		}
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// waiting reports whether somebody waits for a lock on f.
func waiting(t *testing.T, f *os.File) bool {
	t.Helper()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		t.Skip("no /proc/locks: can't see who waits for a lock")
	}
	inode := fmt.Sprintf(":%d ", info.Sys().(*syscall.Stat_t).Ino)
	for line := range strings.Lines(string(locks)) {
		if strings.Contains(line, "->") && strings.Contains(line, inode) {
			return true
		}
	}
	return false
}

// FuzzParse: nothing panics, and what is read and can be written is read back
// the same, and written again to the same bytes.
func FuzzParse(f *testing.F) {
	for _, c := range corpus {
		f.Add([]byte(c.in))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse("f", "x", data)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Line < 1 || e.Byte < 0 || e.Line > bytes.Count(data, []byte("\n"))+1 {
				t.Fatalf("error %#v", err)
			}
			return
		}
		out, err := p.Bytes()
		if err != nil {
			return
		}
		again, err := Parse("f", "x", out)
		if err != nil {
			t.Fatalf("%q is not read back: %v", out, err)
		}
		if len(again.Sections) != len(p.Sections) {
			t.Fatalf("%q: %d sections became %d", out, len(p.Sections), len(again.Sections))
		}
		for i, s := range p.Sections {
			a := again.Sections[i]
			same := slices.EqualFunc(s.Options, a.Options, func(x, y Option) bool {
				return x.Name == y.Name && x.List == y.List && slices.Equal(x.Values, y.Values)
			})
			if s.Type != a.Type || s.Anonymous != a.Anonymous || s.Name != a.Name || !same {
				t.Fatalf("%q: section %+v became %+v", out, s, a)
			}
		}
		if second, err := again.Bytes(); err != nil || !bytes.Equal(second, out) {
			t.Fatalf("written as %q, then as %q (%v)", out, second, err)
		}
	})
}

func TestMistakesAreReadAround(t *testing.T) {
	p, err := Parse("f", "x", []byte("config a 'one'\n\toption k 'v\n\toption l 'w'\n\nconfig b-c d e\n\toption m 'x'\nconfig a 'two'\n\toption n 'y'\n"))
	var e *Error
	if !errors.As(err, &e) || len(p.Sections) != 3 {
		t.Fatalf("%v, %d sections", err, len(p.Sections))
	}
	for i, want := range []struct{ typ, option string }{{"a", "l"}, {"b-c", "m"}, {"a", "n"}} {
		s := p.Sections[i]
		if _, ok := s.Get(want.option); s.Type != want.typ || !ok || len(s.Options) != 1 || (s.Err == nil) != (i == 2) {
			t.Errorf("section %d is %+v", i, s)
		}
	}
	// Nothing right in it, and each quote is open to the end.
	for _, unit := range []string{"o a 'x\no b \"y' z w\n", "c a b c\n", "x\n", "c 'a\n"} {
		p, err := Parse("f", "x", bytes.Repeat([]byte(unit), MaxSize/len(unit)))
		if err == nil || len(p.Sections) > 2*maxMistakes {
			t.Errorf("%q: %v, %d sections", unit, err, len(p.Sections))
		}
	}
}

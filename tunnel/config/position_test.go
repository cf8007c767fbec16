package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestPositionsCountLinesAndCharacters(t *testing.T) {
	l := newLines("f", "a\r\nüb\n\nc")
	for _, c := range []struct{ offset, line, column int }{
		{0, 1, 1}, {1, 1, 2}, {3, 2, 1}, {5, 2, 2}, {6, 2, 3}, {7, 3, 1}, {8, 4, 1}, {9, 4, 2}, {99, 4, 2},
		{5, 2, 2}, {0, 1, 1}, {-1, 1, 1},
	} {
		if p := l.position(c.offset); p.Line != c.line || p.Column != c.column || p.File != "f" {
			t.Errorf("offset %d: %v, want %d:%d", c.offset, p, c.line, c.column)
		}
	}
}

// The scanner lists the same keys in the same order as the library, for every
// way of writing them, so its places can be trusted.
func TestScannerAgreesWithTheLibrary(t *testing.T) {
	for _, text := range []string{
		"",
		"# nothing\n",
		"a = 1",
		"a.b.c = 1\na.b.d = 2\n",
		"\"a.b\" = 1\n'c d' = 2\n\"\\u00e9\\t\\\"\" = 3\n",
		"[t]\nx = 1 # y = 2\n[t.u]\n[t.u.v]\nz = 1\n",
		"[ t . u ]\nx = 1\n[ 'a' . \"b\" ]\n",
		"[[t]]\n[[t]]\nx = 1\n[t.gre]\nkey = 2\n[[t]]\ngre.key = 3\n[[t.list]]\n[[t.list]]\ny = 1\n",
		"a = [1, 2, # ] in a comment\n 3]\nb = 1\n",
		"a = [[1, 2], [\"]\", ']', \"\\\"]\"]]\nb = 1\n",
		"a = { b = 1, c.d = 2, e = { f = [ { g = 1 }, { g = 2 } ] } }\nb = 1\n",
		"a = '''\n[x]\ny = 1\n'''\nb = \"\"\"\n[z]\\\"\"\"x\"\"\"\"\"\nc = ''''x''''\n",
		"a = 1979-05-27 07:32:00Z\nb = 07:32:00\nc = -inf\nd = 0xdead_beef\ne = 1e-3\n",
		"a = true\r\n\r\n[b]\r\nc = \"\\r\\n\"\r\n",
		"a = []\nb = {}\nc = \"\"\nd = ''\n",
		"tunnel = [ { name = \"x\" }, { name = \"y\", gre = { key = 1 } }, ]\n",
		"a = {\n b = 1, # comment }\n c = 2,\n}\nd = 1\n",
	} {
		if err := agree(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// agree compares the scanner's keys with the library's for a text that the
// library accepts.
func agree(text string) error {
	tables, md, err := decode(text)
	if err != nil {
		return fmt.Errorf("the library refuses it: %w", err)
	}
	root, keys, err := scan(text)
	if err != nil {
		return err
	}
	if want := listed(md); !slices.Equal(keys, want) {
		return fmt.Errorf("scanner lists %q, library %q", keys, want)
	}
	return sameShape("", tables, root, text)
}

// sameShape checks that every decoded value has a mark, and a mark that stands
// on something that begins such a value.
func sameShape(path string, value any, m *mark, text string) error {
	if m == nil {
		return fmt.Errorf("no mark for %s", path)
	}
	if path != "" && (m.value >= len(text) || m.name > m.value) {
		return fmt.Errorf("mark of %s at %d, %d", path, m.name, m.value)
	}
	at := func(ok string) error {
		if !strings.ContainsRune(ok, rune(text[m.value])) {
			return fmt.Errorf("%s is at %q", path, text[m.value:])
		}
		return nil
	}
	switch v := value.(type) {
	case map[string]any:
		for name, child := range v {
			if err := sameShape(path+"/"+name, child, m.child(name), text); err != nil {
				return err
			}
		}
	case []map[string]any:
		for i, child := range v {
			if err := sameShape(fmt.Sprintf("%s[%d]", path, i), child, m.item(i), text); err != nil {
				return err
			}
		}
		return at("[")
	case []any:
		for i, child := range v {
			if err := sameShape(fmt.Sprintf("%s[%d]", path, i), child, m.item(i), text); err != nil {
				return err
			}
		}
		return at("[")
	case string:
		return at("\"'")
	case bool:
		return at("tf")
	case int64:
		return at("+-0123456789")
	}
	return nil
}

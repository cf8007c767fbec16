package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestTheFilesAreCurrent(t *testing.T) {
	for _, f := range files {
		now, err := os.ReadFile(f.name)
		if err != nil {
			t.Fatal(err)
		}
		if want, err := f.make(now); err != nil || !bytes.Equal(now, want) {
			t.Errorf("%s is not current; run go generate ./build/openwrt/generate (%v)", f.name, err)
		}
		if n := bytes.Count(now, []byte("\nmsgid ")); strings.HasSuffix(f.name, ".pot") && n < 50 {
			t.Errorf("%s: %d texts only", f.name, n)
		}
	}
}

func TestTextsAreFoundAsLuCIFindsThem(t *testing.T) {
	got, err := texts("N_(2, 'a', 'b')")
	if err == nil {
		t.Errorf("plural forms are not written: %q", got)
	}
	got, err = texts("x = _('it\\'s'), _('a', 'context'), [_('b')], my_('no'), o._('no')")
	if err != nil || !slices.Equal(got, []string{"it's", "context\x01a", "b"}) {
		t.Errorf("%q, %v", got, err)
	}
	for _, script := range []string{"_(text)", "_('a' + b)", "_(`a`)", `_("a")`, "_(' a')", "_('a  b')", "_('a', context)"} {
		if got, err := texts(script); err == nil {
			t.Errorf("%s: %q", script, got)
		}
	}
}

func TestATranslationFollowsItsTemplate(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "page.js"), []byte("_('new'), _('old'), _('old', 'context')"), 0o600); err != nil {
		t.Fatal(err)
	}
	where := "#: " + filepath.Base(dir) + "/page.js\n"
	const header = "# Machine-made.\nmsgid \"\"\nmsgstr \"\"\n\"Language: de\\n\"\n"
	got, err := translated(dir, []byte(header+"\nmsgid \"gone\"\nmsgstr \"weg\"\n\n# Said so.\n#: elsewhere.js\nmsgid \"old\"\nmsgstr \"alt\"\n"))
	want := header + "\n" + where + "msgid \"new\"\nmsgstr \"\"\n\n" + where + "msgctxt \"context\"\nmsgid \"old\"\nmsgstr \"\"\n\n" +
		"# Said so.\n" + where + "msgid \"old\"\nmsgstr \"alt\"\n"
	if err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
}

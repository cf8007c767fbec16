package main

import (
	"bytes"
	"os"
	"slices"
	"testing"
)

func TestTheTemplatesAreThoseOfTheSources(t *testing.T) {
	for _, dir := range []string{"../luci/luci-app-greseal", "../luci/luci-proto-greseal"} {
		want, err := template(dir)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(file(dir))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not current; run go generate ./build/openwrt/pot", file(dir))
		}
		if n := bytes.Count(got, []byte("\nmsgid ")); n < 50 {
			t.Errorf("%s: %d texts only", file(dir), n)
		}
	}
}

func TestTextsAreFoundAsLuCIFindsThem(t *testing.T) {
	got, err := texts("N_(2, 'a', 'b')")
	if err == nil {
		t.Errorf("plural forms are not written: %q", got)
	}
	got, err = texts("x = _('it\\'s'), _('a', 'context'), [_('b')], my_('no'), o._('no')")
	if err != nil || !slices.Equal(got, []string{"it's", "a", "b"}) {
		t.Errorf("%q, %v", got, err)
	}
	for _, script := range []string{"_(text)", "_('a' + b)", "_(`a`)", `_("a")`} {
		if got, err := texts(script); err == nil {
			t.Errorf("%s: %q", script, got)
		}
	}
}

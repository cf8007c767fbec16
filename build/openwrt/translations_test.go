package openwrt

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"greseal/build/openwrt/po"
)

// templates are the translation templates of the LuCI packages.
var templates = []string{
	"luci/luci-app-greseal/po/templates/greseal.pot",
	"luci/luci-proto-greseal/po/templates/luci-proto-greseal.pot",
}

func catalog(t *testing.T, name string) []po.Entry {
	t.Helper()
	list, err := po.Parse([]byte(source(t, name)))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return list
}

// TestEveryTextIsThereInEveryLanguage also looks at what no translator should change.
func TestEveryTextIsThereInEveryLanguage(t *testing.T) {
	for _, l := range po.Languages {
		t.Run(l.Folder, func(t *testing.T) {
			texts := map[string]string{} // of both packages: LuCI looks them up in one table
			for _, template := range templates {
				dir, file := filepath.Split(template)
				name := filepath.Join(dir, "..", l.Folder, strings.TrimSuffix(file, "t"))
				want, got := catalog(t, template), catalog(t, name)
				if !slices.EqualFunc(want, got, func(a, b po.Entry) bool { return a.Key == b.Key }) {
					t.Errorf("%s has not the texts of the template, in its order; run go generate ./build/openwrt/generate, then translate what is empty", name)
				}
				header := got[0].Text
				if !strings.Contains(header, "Language: "+l.Folder+"\n") || !strings.Contains(header, "Content-Type: text/plain; charset=UTF-8\n") {
					t.Errorf("%s: the header is %q", name, header)
				}
				for _, e := range got[1:] {
					if wrong := mistake(po.English(e.Key), e.Text); wrong != "" {
						t.Errorf("%s: %s: %q, %q", name, wrong, e.Key, e.Text)
					}
					if slices.ContainsFunc(e.Comments, func(c string) bool { return strings.HasPrefix(c, "#,") && strings.Contains(c, "fuzzy") }) {
						t.Errorf("%s: LuCI takes what is fuzzy, too: %q, %q", name, e.Key, e.Text)
					}
					if other, ok := texts[e.Key]; ok && other != e.Text {
						t.Errorf("%s: %q is both %q and %q", name, e.Key, other, e.Text)
					}
					texts[e.Key] = e.Text
				}
			}
		})
	}
}

var (
	// what LuCI's String.format fills in, a % as such too
	conversion = regexp.MustCompile(`%(?:'.|0| )?-?\d*(?:\.\d+)?[%bcdufosxXqhjtm]`)
	tag        = regexp.MustCompile(`</?[A-Za-z][^>]*>`)
	word       = regexp.MustCompile(`\p{L}[\p{L}'’-]*`)
	// names that are the same in every language
	names = regexp.MustCompile(`^(?:[A-Z]{2,}|greseal|IPsec|UCI|Ethernet|Cisco|[kMGT]i?B|RFC)$`)
)

// mistake is what is wrong with a translation, or nothing.
func mistake(english, text string) string {
	left := words(english)
	switch {
	case text == "":
		return "not translated"
	case text != strings.TrimSpace(text) || strings.ContainsAny(text, "\n\t"):
		return "white space"
	case !slices.Equal(conversion.FindAllString(english, -1), conversion.FindAllString(text, -1)),
		strings.Contains(conversion.ReplaceAllString(text, ""), "%"):
		return "other placeholders, or in another order"
	case !slices.Equal(tag.FindAllString(english, -1), tag.FindAllString(text, -1)):
		return "other tags"
	}
	for i := range max(0, len(left)-3) {
		if four := strings.Join(left[i:i+4], " "); strings.Contains(strings.Join(words(text), " "), four) {
			return "still English: " + four
		}
	}
	return ""
}

// words are those of a text without names.
func words(text string) []string {
	text = tag.ReplaceAllString(conversion.ReplaceAllString(text, ""), "")
	return slices.DeleteFunc(word.FindAllString(text, -1), names.MatchString)
}

func TestMistakesOfTranslationsAreFound(t *testing.T) {
	for _, c := range []struct{ english, text, wrong string }{
		{"%s has %d bytes", "%s hat %d Bytes", ""},
		{"UCI, config tunnel", "UCI, config tunnel", ""},
		{"%d h %d min", "%d h %d min", ""},
		{"a number, or one with kB, MB, GB, TB or KiB", "eine Zahl, oder eine mit kB, MB, GB, TB oder KiB", ""},
		{"100%% of <b>all</b>", "<b>alle</b>", "other placeholders, or in another order"},
		{"100%% of <b>all</b>", "100%% von <b>allen</b>", ""},
		{"of <b>all</b>", "von <i>allen</i>", "other tags"},
		{"Step", "", "not translated"},
		{"Step", "Schritt ", "white space"},
		{"%s has %d bytes", "%d Bytes hat %s", "other placeholders, or in another order"},
		{"%s has %d bytes", "%s hat Bytes", "other placeholders, or in another order"},
		{"half", "50 %", "other placeholders, or in another order"},
		{"half", "50 % der", "other placeholders, or in another order"},
		{"Take it back. There is nothing to show.", "Nimm zurück. There is nothing to show.", "still English: There is nothing to"},
	} {
		if got := mistake(c.english, c.text); got != c.wrong {
			t.Errorf("%q, %q: %q, want %q", c.english, c.text, got, c.wrong)
		}
	}
}

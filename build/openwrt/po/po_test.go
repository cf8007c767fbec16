package po

import (
	"reflect"
	"strings"
	"testing"
)

const example = `# Said of all.
msgid ""
msgstr ""
"Language: de\n"
"Content-Type: text/plain; charset=UTF-8\n"

#: a.js
msgid "GRE over IPsec"
msgstr "GRE over IPsec"

# Up to the translator.
#: a.js
#: b.js
msgctxt "tunnel"
msgid "Up"
msgstr "Starten"

msgid "a \"b\" \\ c"
msgstr ""
`

func parsed(t *testing.T, text string) []Entry {
	t.Helper()
	list, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestAFileIsReadAndWrittenAsItIs(t *testing.T) {
	list := parsed(t, example)
	want := []Entry{
		{[]string{"# Said of all."}, "", "Language: de\nContent-Type: text/plain; charset=UTF-8\n"},
		{[]string{"#: a.js"}, "GRE over IPsec", "GRE over IPsec"},
		{[]string{"# Up to the translator.", "#: a.js", "#: b.js"}, "tunnel\x01Up", "Starten"},
		{nil, `a "b" \ c`, ""},
	}
	if !reflect.DeepEqual(list, want) {
		t.Errorf("%q", list)
	}
	if got := string(Format(list)); got != example {
		t.Errorf("%s", got)
	}
	if English(want[2].Key) != "Up" || English(want[1].Key) != "GRE over IPsec" {
		t.Error("the context is no part of the text")
	}
}

func TestWrappedLinesAreOneText(t *testing.T) {
	list := parsed(t, "msgid \"\"\nmsgstr \"\"\n\nmsgid \"\"\n\"one \"\n\"two\"\nmsgstr \"eins \"\n\"zwei\"\n")
	if list[1].Key != "one two" || list[1].Text != "eins zwei" {
		t.Errorf("%q", list)
	}
}

func TestWhatIsNoFileIsRefusedWithItsLine(t *testing.T) {
	const head = "msgid \"\"\nmsgstr \"\"\n\n"
	for text, line := range map[string]string{
		"msgid \"a\"\nmsgstr \"b\"\n":                                     "line 1:", // no header
		head + "msgid \"a\"\nmsgstr \"b\"\n\nmsgid \"a\"\nmsgstr \"c\"\n": "line 7:",
		head + "msgid \"a\"\n":                                            "line 4:",
		head + "msgid \"a\"\nmsgstr \"b\n":                                "line 4:",
		head + "msgid \"a\"\nmsgstr \"\\y\"\n":                            "line 4:",
		head + "msgid \"a\"\nmsgid_plural \"b\"\nmsgstr[0] \"c\"\n":       "line 4:",
		head + "#~ msgid \"a\"\n#~ msgstr \"b\"\n":                        "line 4:", // one that the template has no more
		"\ufeff" + head:                        "line 1:",
		head + "msgid \"\xff\"\nmsgstr \"\"\n": "not UTF-8",
	} {
		if list, err := Parse([]byte(text)); err == nil || !strings.HasPrefix(err.Error(), line) {
			t.Errorf("%q: %q, %v, want %s", text, list, err, line)
		}
	}
}

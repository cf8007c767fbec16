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

// TestTheHashIsLuCIs has values that other implementations have, too.
func TestTheHashIsLuCIs(t *testing.T) {
	for text, want := range map[string]uint32{
		"Menu\x01Status": 0x0607f8cc, "%d station\x021": 0x015f3e71,
		"a": 0x115ea782, "ab": 0x516b8b44, "abc": 0xd2be198a, "abcd": 0xdad8b8db,
		"xyzä": 0xbc7abbc6, "“": 0xa7bd72a7, // a last byte that is negative
	} {
		if got := Hash(text); got != want {
			t.Errorf("%q: %#08x, want %#08x", text, got, want)
		}
	}
}

func TestAFileForLuCIByteForByte(t *testing.T) {
	got, err := LMO(parsed(t, "msgid \"\"\nmsgstr \"Language: de\\n\"\n\nmsgid \"abcd\"\nmsgstr \"Eins\"\n\nmsgid \"same\"\nmsgstr \"same\"\n\nmsgid \"a\"\nmsgstr \"Ä\"\n"))
	want := "Eins" + "\xc3\x84\x00\x00" +
		"\x11\x5e\xa7\x82" + "\x00\x00\x00\x01" + "\x00\x00\x00\x04" + "\x00\x00\x00\x02" +
		"\xda\xd8\xb8\xdb" + "\x00\x00\x00\x01" + "\x00\x00\x00\x00" + "\x00\x00\x00\x04" +
		"\x00\x00\x00\x08"
	if err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := LMO(parsed(t, "msgid \"\"\nmsgstr \"Language: de\\n\"\n\nmsgid \"a\"\nmsgstr \"\"\n")); err == nil {
		t.Errorf("LuCI reads no file without an index: %q", got)
	}
}

package syntax

import (
	"fmt"
	"strings"
	"testing"
)

// corpus holds odd files with what libuci (its state of December 2025) makes of
// them: the output of "uci export x", or the error. Where stricter is set we
// refuse what libuci accepts, with that reason.
var corpus = []struct {
	name, in        string
	export, mistake string
	stricter        string
}{
	{"empty file", "",
		"package x\n\n", "", ""},
	{"blank lines and comments only", "\n# c\n   \n\t# d\n",
		"package x\n\n", "", ""},
	{"as libuci writes it", "\nconfig a 'n'\n\toption k 'v'\n\tlist l '1'\n\tlist l '2'\n\n",
		"package x\n\nconfig a 'n'\n\toption k 'v'\n\tlist l '1'\n\tlist l '2'\n\n", "", ""},
	{"without quotes", "config a n\noption k v\n",
		"package x\n\nconfig a 'n'\n\toption k 'v'\n\n", "", ""},
	{"letters for keywords", "c a\no k v\nl m 1\n",
		"package x\n\nconfig a\n\toption k 'v'\n\tlist m '1'\n\n", "", ""},
	{"a tab behind the keyword", "config\ta\noption\tk\tv\n",
		"package x\n\nconfig a\n\toption k 'v'\n\n", "", ""},
	{"white space before the line", "\x0b\x0c config a\n\t  option k v\n",
		"package x\n\nconfig a\n\toption k 'v'\n\n", "", ""},
	{"CRLF", "config a 'n'\r\n\toption k 'v'\r\n",
		"package x\n\nconfig a 'n'\n\toption k 'v'\n\n", "", ""},
	{"no newline at the end", "config a\n\toption k 'v'",
		"package x\n\nconfig a\n\toption k 'v'\n\n", "", ""},
	{"comment behind a command", "config a # c\noption k v # c\n",
		"package x\n\nconfig a\n\toption k 'v'\n\n", "", ""},
	{"comment sign in quotes", "config a\noption k 'v#x'\noption j \"v#x\"\n",
		"package x\n\nconfig a\n\toption k 'v#x'\n\toption j 'v#x'\n\n", "", ""},
	{"comment sign escaped", "config a\noption k v\\#x\n",
		"package x\n\nconfig a\n\toption k 'v#x'\n\n", "", ""},
	{"single quotes are literal", "config a\noption k 'a\\nb\"c'\n",
		"package x\n\nconfig a\n\toption k 'a\\nb\"c'\n\n", "", ""},
	{"double quotes with backslash", "config a\noption k \"a\\nb\\\"c\\\\d\"\n",
		"package x\n\nconfig a\n\toption k 'anb\"c\\d'\n\n", "", ""},
	{"backslash without quotes", "config a\noption k a\\ b\\'c\n",
		"package x\n\nconfig a\n\toption k 'a b'\\''c'\n\n", "", ""},
	{"pieces join", "config a\noption k 'a'b\"c\"\n",
		"package x\n\nconfig a\n\toption k 'abc'\n\n", "", ""},
	{"a quoted space within a word", "config a\noption k a'b c'd\n",
		"package x\n\nconfig a\n\toption k 'ab cd'\n\n", "", ""},
	{"value over two lines", "config a\noption k 'one\ntwo'\n",
		"package x\n\nconfig a\n\toption k 'one\ntwo'\n\n", "", ""},
	{"value over two lines in double quotes", "config a\noption k \"one\ntwo\"\n",
		"package x\n\nconfig a\n\toption k 'one\ntwo'\n\n", "", ""},
	{"line goes on behind a backslash", "config a\noption k one\\\ntwo\n",
		"package x\n\nconfig a\n\toption k 'onetwo'\n\n", "", ""},
	{"line goes on in double quotes", "config a\noption k \"one\\\ntwo\"\n",
		"package x\n\nconfig a\n\toption k 'onetwo'\n\n", "", ""},
	{"line goes on, CRLF", "config a\noption k one\\\r\ntwo\r\n",
		"package x\n\nconfig a\n\toption k 'onetwo'\n\n", "", ""},
	{"no continuation in single quotes", "config a\noption k 'one\\\ntwo'\n",
		"package x\n\nconfig a\n\toption k 'one\\\ntwo'\n\n", "", ""},
	{"dollar is nothing special", "config a\noption k $x\noption j \"$x\"\n",
		"package x\n\nconfig a\n\toption k '$x'\n\toption j '$x'\n\n", "", ""},
	{"control characters and UTF-8 are kept", "config a\noption k '\x01\x1f\xc3\xa9'\n",
		"package x\n\nconfig a\n\toption k '\x01\x1f\xc3\xa9'\n\n", "", ""},
	{"bytes that are no UTF-8 are kept", "config a\noption k '\xff\xfe'\n",
		"package x\n\nconfig a\n\toption k '\xff\xfe'\n\n", "", ""},
	{"apostrophe in a value", "config a\noption k \"it's\"\n",
		"package x\n\nconfig a\n\toption k 'it'\\''s'\n\n", "", ""},
	{"apostrophe as libuci writes it", "config a\n\toption k 'it'\\''s'\n",
		"package x\n\nconfig a\n\toption k 'it'\\''s'\n\n", "", ""},
	{"carriage return in a value", "config a\noption k 'a\rb'\n",
		"package x\n\nconfig a\n\toption k 'a\rb'\n\n", "", ""},
	{"names begin with digits", "config a 1n\noption 2k v\n",
		"package x\n\nconfig a '1n'\n\toption 2k 'v'\n\n", "", ""},
	{"odd type", "config a.b@c/d=e\noption k v\n",
		"package x\n\nconfig a.b@c/d=e\n\toption k 'v'\n\n", "", ""},
	{"empty name is anonymous", "config a ''\n",
		"package x\n\nconfig a\n\n", "", ""},
	{"sections of one name and type are merged", "config a n\noption k v\nconfig b m\nconfig a n\noption j w\n",
		"package x\n\nconfig a 'n'\n\toption k 'v'\n\toption j 'w'\n\nconfig b 'm'\n\n", "", ""},
	{"a later option replaces", "config a\noption k 1\noption j 2\noption k 3\n",
		"package x\n\nconfig a\n\toption k '3'\n\toption j '2'\n\n", "", ""},
	{"option, then list", "config a\noption k 1\noption j x\nlist k 2\nlist k 3\n",
		"package x\n\nconfig a\n\tlist k '1'\n\tlist k '2'\n\tlist k '3'\n\toption j 'x'\n\n", "", ""},
	{"list, then option", "config a\nlist k 1\nlist k 2\noption k 3\n",
		"package x\n\nconfig a\n\toption k '3'\n\n", "", ""},
	{"empty list items are kept", "config a\nlist k ''\nlist k 'x'\nlist k ''\n",
		"package x\n\nconfig a\n\tlist k ''\n\tlist k 'x'\n\tlist k ''\n\n", "", ""},
	{"empty option is not set", "config a\noption k ''\n",
		"package x\n\nconfig a\n\n", "", ""},
	{"a section is reached by its made-up name", "config a\noption k v\nconfig a cfg01b606\noption j w\n",
		"package x\n\nconfig a\n\toption k 'v'\n\toption j 'w'\n\n", "", ""},
	{"a package line is ignored", "package x\nconfig a\n",
		"package x\n\nconfig a\n\n", "", ""},
	{"the same option twice in merged sections", "config a n\noption k v\nconfig a n\noption k w\n",
		"package x\n\nconfig a 'n'\n\toption k 'w'\n\n", "", ""},
	{"config alone", "config\n",
		"", "invalid command at line 1, byte 0", ""},
	{"config alone at the end of the file", "config",
		"", "config without name at line 0, byte 0", ""},
	{"option alone at the end of the file", "config a\noption",
		"", "option without name at line 1, byte 0", ""},
	{"list alone at the end of the file", "config a\nlist",
		"", "option without name at line 1, byte 0", ""},
	{"package alone at the end of the file", "package",
		"", "package without name at line 0, byte 0", ""},
	{"config with nothing behind", "config \n",
		"", "insufficient arguments at line 1, byte 8", ""},
	{"config with a comment behind", "config # a\n",
		"", "insufficient arguments at line 1, byte 7", ""},
	{"option with nothing behind", "config a\noption \n",
		"", "insufficient arguments at line 2, byte 8", ""},
	{"empty option name", "config a\noption '' v\n",
		"", "insufficient arguments at line 2, byte 10", ""},
	{"half a keyword", "conf a\n",
		"", "invalid command at line 1, byte 0", ""},
	{"another keyword", "config a\nset k v\n",
		"", "invalid command at line 2, byte 0", ""},
	{"quoted keyword", "'config' a\n",
		"", "invalid command at line 1, byte 0", ""},
	{"byte order mark", "\xef\xbb\xbfconfig a\n",
		"", "invalid command at line 1, byte 0", ""},
	{"semicolon first", ";config a\n",
		"", "invalid command at line 1, byte 0", ""},
	{"form feed behind the keyword", "config\x0ca\n",
		"", "invalid command at line 1, byte 0", ""},
	{"too many arguments", "config a\noption k v w\n",
		"", "too many arguments at line 2, byte 13", ""},
	{"too many arguments for config", "config a b c\n",
		"", "too many arguments at line 1, byte 13", ""},
	{"dash in a section's name", "config a b-c\n",
		"", "invalid character in name field at line 1, byte 13", ""},
	{"dot in an option's name", "config a\noption b.c v\n",
		"", "invalid character in name field at line 2, byte 11", ""},
	{"UTF-8 in a name", "config a\noption \xc3\xa9 v\n",
		"", "invalid character in name field at line 2, byte 10", ""},
	{"space in a type", "config 'a b'\n",
		"", "invalid character in type field at line 1, byte 13", ""},
	{"UTF-8 in a type", "config \xc3\xa9\n",
		"", "invalid character in type field at line 1, byte 10", ""},
	{"option before a section", "option k v\n",
		"", "option/list command found before the first section at line 1, byte 0", ""},
	{"list before a section", "  list k v\n",
		"", "option/list command found before the first section at line 1, byte 2", ""},
	{"two types for one name", "config a n\nconfig b n\n",
		"", "section of different type overwrites prior section with same name at line 2, byte 11", ""},
	{"single quote left open", "config a\noption k 'v\n\n",
		"", "EOF with unterminated ' at line 3, byte 13", ""},
	{"double quote left open", "config a\noption k \"v\n",
		"", "EOF with unterminated \" at line 2, byte 12", ""},
	{"double quote left open behind a backslash", "config a\noption k \"v\\",
		"", "EOF with unterminated \" at line 1, byte 12", ""},
	{"error in a line that went on", "config a\noption k 'one\ntwo' three\\\nfour five\n",
		"", "too many arguments at line 4, byte 30", ""},
	{"semicolon behind a word drops the rest", "config a\noption k 1; option j 2\n",
		"package x\n\nconfig a\n\toption k '1'\n\n", "", "; separates commands"},
	{"semicolon behind a quoted word separates", "config a\noption k '1';option j 2\n",
		"package x\n\nconfig a\n\toption k '1'\n\toption j '2'\n\n", "", "; separates commands"},
	{"semicolon in a word", "config a\noption k a;b\n",
		"package x\n\nconfig a\n\toption k 'a'\n\n", "", "; separates commands"},
	{"comment sign within a word drops the rest", "config a\noption k v#x\n",
		"package x\n\nconfig a\n\toption k 'v'\n\n", "", "# within a word"},
	{"comment sign behind a quoted word", "config a\noption k 'v'#x\n",
		"package x\n\nconfig a\n\toption k 'v'\n\n", "", "# within a word"},
	{"option without a value", "config a\noption k\n",
		"package x\n\nconfig a\n\n", "", "no value for k"},
	{"option without a value, comment", "config a\noption k # v\n",
		"package x\n\nconfig a\n\n", "", "no value for k"},
	{"list item without a value", "config a\nlist k\n",
		"package x\n\nconfig a\n\tlist k ''\n\n", "", ""},
	{"empty option behind a full one", "config a\noption k x\noption k ''\n",
		"package x\n\nconfig a\n\toption k 'x'\n\n", "", "an empty value for k, for which libuci keeps the one of line 2"},
	{"empty argument too many", "config a\noption k v ''\n",
		"package x\n\nconfig a\n\toption k 'v'\n\n", "", "too many arguments"},
	{"another command on the line of an empty argument", "config a\noption k v '' option j w\n",
		"package x\n\nconfig a\n\toption k 'v'\n\toption j 'w'\n\n", "", "too many arguments"},
	{"another command behind a line that went on", "config a\noption k v \\\n option j w\n",
		"package x\n\nconfig a\n\toption k 'v'\n\toption j 'w'\n\n", "", "too many arguments"},
	{"a comment behind a line that went on", "config a\noption k v \\\n # w\n",
		"package x\n\nconfig a\n\toption k 'v'\n\n", "", ""},
	{"backslash at the end of the file", "config a\noption k v\\",
		"package x\n\nconfig a\n\toption k 'v'\n\n", "", "\\ at the end of the file"},
	{"NUL", "config a\noption k v\n\x00config b\n",
		"package x\n\nconfig a\n\toption k 'v'\n\n", "", "a NUL byte"},
	{"a line for another package", "package y\nconfig a\n",
		"package x\n\nconfig a\n\n", "", "package y"},
}

func TestFilesReadAsLibuciReadsThem(t *testing.T) {
	for _, c := range corpus {
		p, err := Parse("x", "x", []byte(c.in))
		switch {
		case c.stricter != "":
			if err == nil || !strings.Contains(err.Error(), c.stricter) || err.(*Error).Remedy == "" {
				t.Errorf("%s: %v, want %q and a remedy", c.name, err, c.stricter)
			}
		case c.mistake != "":
			e, ok := err.(*Error)
			if !ok {
				t.Errorf("%s: %v, want %q", c.name, err, c.mistake)
				continue
			}
			got := fmt.Sprintf("%s at line %d, byte %d", e.Reason, e.Line, e.Byte)
			if !strings.HasSuffix(c.in, "\n") {
				// libuci counts newlines, and so calls this line by the
				// number of the one before.
				got = fmt.Sprintf("%s at line %d, byte %d", e.Reason, e.Line-1, e.Byte)
			}
			if got != c.mistake {
				t.Errorf("%s: %q, want %q", c.name, got, c.mistake)
			}
			if e.Remedy == "" {
				t.Errorf("%s: no remedy", c.name)
			}
		case err != nil:
			t.Errorf("%s: %v", c.name, err)
		default:
			got, err := p.Bytes()
			if text := "package " + p.Name + "\n" + string(got); err != nil || text != c.export {
				t.Errorf("%s:\n%q, want\n%q (%v)", c.name, text, c.export, err)
			}
		}
	}
}

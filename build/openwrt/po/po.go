// Package po reads and writes the translations of the LuCI packages: PO files, one
// translation a text, and the LMO files in which LuCI looks a text up by its hash.
// It knows no plural forms, since no text of the packages has one.
package po

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Language is one of the translations, named as in LuCI's luci.mk.
type Language struct {
	Folder string // below po
	Code   string // in the names of packages and of what they install
	Title  string
}

// Languages are all of them.
var Languages = []Language{
	{"de", "de", "Deutsch (German)"},
	{"es", "es", "Español (Spanish)"},
	{"fr", "fr", "Français (French)"},
	{"pt_BR", "pt-br", "Português do Brasil (Brazilian Portuguese)"},
	{"ru", "ru", "Русский (Russian)"},
	{"zh_Hans", "zh-cn", "简体中文 (Simplified Chinese)"},
}

// Entry is one text. The first of a file has no key; its text is the header.
type Entry struct {
	Comments []string // lines, each with its #
	Key      string   // the text in English, after its context and \x01 where it has one
	Text     string   // its translation, empty in a template
}

// Key is the key of a text, which has a context where its words alone mean several
// things.
func Key(context, text string) string {
	if context == "" {
		return text
	}
	return context + "\x01" + text
}

// English is the text of a key.
func English(key string) string { return key[strings.IndexByte(key, 1)+1:] }

// lines are those of one string, whose pieces are joined.
const lines = `((?:"(?:[^"\\\n]|\\.)*"\n)+)`

var entry = regexp.MustCompile(`^((?:#.*\n)*)(?:msgctxt ` + lines + `)?msgid ` + lines + `msgstr ` + lines + `\n*`)

// Parse reads a PO file. Its errors name the line.
func Parse(data []byte) (list []Entry, err error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not UTF-8")
	}
	seen := map[string]bool{}
	rest := string(data)
	for rest != "" {
		at := 1 + strings.Count(string(data[:len(data)-len(rest)]), "\n")
		m := entry.FindStringSubmatch(rest)
		if m == nil {
			return nil, fmt.Errorf("line %d: not comments, msgid and msgstr", at)
		}
		rest = rest[len(m[0]):]
		var text [3]string // of msgctxt, msgid and msgstr
		for i := range text {
			for line := range strings.Lines(m[2+i]) {
				s, err := strconv.Unquote(strings.TrimSuffix(line, "\n"))
				if err != nil {
					return nil, fmt.Errorf("line %d: no escape sequence of C in %s", at, line)
				}
				text[i] += s
			}
		}
		e := Entry{Key: Key(text[0], text[1]), Text: text[2]}
		for line := range strings.Lines(m[1]) {
			e.Comments = append(e.Comments, strings.TrimSuffix(line, "\n"))
		}
		if seen[e.Key] || (e.Key == "") != (len(list) == 0) {
			return nil, fmt.Errorf("line %d: the header in another place than the first, or a second msgid %q", at, e.Key)
		}
		seen[e.Key] = true
		list = append(list, e)
	}
	return list, nil
}

// Format writes a PO file.
func Format(list []Entry) []byte {
	var b strings.Builder
	for i, e := range list {
		if i > 0 {
			b.WriteByte('\n')
		}
		for _, c := range e.Comments {
			b.WriteString(c + "\n")
		}
		if context, _, ok := strings.Cut(e.Key, "\x01"); ok {
			b.WriteString("msgctxt " + quote(context) + "\n")
		}
		b.WriteString("msgid " + quote(English(e.Key)) + "\nmsgstr " + quote(e.Text) + "\n")
	}
	return []byte(b.String())
}

// quote gives each line of a text a line of the file.
func quote(s string) string {
	one := func(s string) string {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
	}
	if !strings.Contains(s, "\n") {
		return one(s)
	}
	out := `""`
	for line := range strings.Lines(s) {
		out += "\n" + one(line)
	}
	return out
}

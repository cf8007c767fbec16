package config

import (
	"errors"
	"net/netip"
	"strings"
	"unicode/utf16"

	"github.com/BurntSushi/toml"
)

// A file with a syntax error is refused whole, and the library reads nothing
// behind the error. What is left without the lines that it stumbles over tells a
// daemon that is being started which networks to close.

// lost is a line that was left out, or was not read as it stands.
type lost struct {
	line int  // from 1
	all  bool // whatever was meant may concern every tunnel
	why  Problem
}

// mostRead bounds the bytes that are read again to get past syntax errors.
func mostRead(text string) int { return min(64<<10+16*len(text), 8<<20) }

// readable makes text of what is none: of UTF-16, NUL bytes, other encodings.
func readable(text string) (string, []lost) {
	for _, bom := range []string{"\xff\xfe", "\xfe\xff"} {
		if !strings.HasPrefix(text, bom) {
			continue
		}
		var units []uint16
		for i := 2; i+1 < len(text); i += 2 {
			low, high := text[i], text[i+1]
			if bom == "\xfe\xff" {
				low, high = high, low
			}
			units = append(units, uint16(low)|uint16(high)<<8)
		}
		return string(utf16.Decode(units)), []lost{{line: 1, all: true}}
	}
	rows := strings.SplitAfter(text, "\n")
	var out []lost
	for i, row := range rows {
		if fixed := strings.ToValidUTF8(strings.ReplaceAll(row, "\x00", " "), "?"); fixed != row {
			rows[i] = fixed
			out = append(out, lost{line: i + 1, all: table(rows[:i]) == ""})
		}
	}
	if len(out) > maxWrong {
		out = []lost{{line: 1, all: true}}
	}
	return strings.Join(rows, ""), out
}

// rest is a text without the lines that keep it from being read. False: that
// would take too long.
func rest(text string) (string, []lost, bool) {
	rows := strings.SplitAfter(text, "\n")
	tried := map[int]int{}
	var out []lost
	parsed, most := 0, mostRead(text)
	right := func(n int) (at int, ok bool) {
		part := strings.Join(rows[:n], "")
		parsed += len(part)
		_, _, err := decode(part)
		var pe toml.ParseError
		errors.As(err, &pe)
		// At the first character the library gives -1.
		before := part[:min(max(pe.Position.Start, 0), len(part))]
		return min(strings.Count(before, "\n"), n-1), err == nil
	}
	for parsed < most {
		at, ok := right(len(rows))
		if ok {
			return strings.Join(rows, ""), out, true
		}
		// What is wrong may begin before: a bracket or quotes that stay open.
		first := at
		for first > 0 && parsed < most {
			if _, ok := right(first); ok {
				break
			}
			first--
		}
		in := table(rows[:first])
		if tried[first]++; tried[first] > 2 {
			break // nothing is left of it
		}
		if in != "daemon" {
			out = append(out, lost{line: first + 1, all: in == ""})
		}
		leaveOut(rows, first, at, tried[first] > 1)
	}
	return "", nil, false
}

// leaveOut takes a row out. A heading that was meant for a tunnel becomes one, and
// of networks those remain that can be read, up to the row in which the error shows.
func leaveOut(rows []string, row, shows int, again bool) {
	text := rows[row]
	rows[row] = ending(text)
	if again {
		return
	}
	if heading(text) == "tunnel" {
		if strings.TrimSpace(text) == "[[tunnel]]" {
			return
		}
		rows[row] = text
		for i, text := range rows { // all must be alike
			if i == row || strings.TrimSpace(text) == "[tunnel]" {
				rows[i] = "[[tunnel]]" + ending(text)
			}
		}
		return
	}
	key, values, _ := strings.Cut(text, "=")
	key = strings.Trim(key, " \t\"'")
	if key != "routes" && key != "address" && Meant(key) != "routes" && Meant(key) != "address" {
		return
	}
	for i := row + 1; i <= shows && i < len(rows); i++ {
		if strings.Contains(rows[i], "=") || heading(rows[i]) != "" {
			break
		}
		values += rows[i]
		rows[i] = ending(rows[i])
	}
	var found []string
	for _, word := range words(values) {
		if _, err := netip.ParsePrefix(word); err == nil {
			found = append(found, `"`+word+`"`)
		}
	}
	rows[row] = key + " = [" + strings.Join(found, ", ") + "]" + ending(text)
}

// words are the parts of a text that addresses and prefixes can be.
func words(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return !strings.ContainsRune("0123456789abcdefABCDEF.:/", r) })
}

func ending(row string) string {
	if strings.HasSuffix(row, "\n") {
		return "\n"
	}
	return ""
}

// table is the one that the last of some rows is in, "" outside of all and in one
// that concerns every tunnel.
func table(rows []string) string {
	for i := len(rows) - 1; i >= 0; i-- {
		switch h := heading(rows[i]); h {
		case "":
		case "daemon", "tunnel":
			return h
		default:
			return ""
		}
	}
	return ""
}

// heading is the table that a row begins, as far as it can be told, else "".
func heading(row string) string {
	row = strings.TrimSpace(row)
	if !strings.HasPrefix(row, "[") {
		return ""
	}
	name := strings.TrimLeft(row, "[ \t\"'")
	if i := strings.IndexAny(name, ".]\"' \t#="); i >= 0 {
		name = name[:i]
	}
	if near := Nearest(name, tables); near != "" {
		return near
	}
	return name
}

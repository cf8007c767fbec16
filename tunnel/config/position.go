package config

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"
)

// mark is where one value of a TOML file stands: the places the library does
// not give (it knows neither unknown keys nor which [[tunnel]] a key is in).
// Its shape follows the decoded value: table for a table, list for an array.
type mark struct {
	name  int // offset of the key, or of the [header] that made the table
	value int // offset of the value
	table map[string]*mark
	list  []*mark
}

// scanner walks a file that the TOML library has accepted and notes where
// everything stands. It relies on the syntax being right and reads no values
// but the keys; what it does not understand ends it with an error, never with
// a wrong place.
type scanner struct {
	text string
	at   int
	keys []string // every key in the order of the file, as the library lists them
}

// errScan is what the scanner panics with; scan returns it.
type errScan struct{ error }

// scan returns the marks of the whole file, and its keys in order.
func scan(text string) (root *mark, keys []string, err error) {
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(errScan)
			if !ok {
				panic(r)
			}
			err = e.error
		}
	}()
	s := &scanner{text: text}
	root = &mark{table: map[string]*mark{}}
	current, path := root, []string(nil)
	for {
		s.skip(true)
		switch {
		case s.at == len(s.text):
			return root, s.keys, nil
		case s.peek("[["):
			start := s.at
			s.at += 2
			path = s.key()
			s.expect("]]")
			current = root.open(path, start, true)
			s.keys = append(s.keys, joinKey(path))
		case s.peek("["):
			start := s.at
			s.at++
			path = s.key()
			s.expect("]")
			current = root.open(path, start, false)
			s.keys = append(s.keys, joinKey(path))
		default:
			s.pair(current, path)
		}
	}
}

// open descends to the table of a header and makes what is missing; of an array
// of tables it enters the last one, or with array appends a new one.
func (m *mark) open(path []string, at int, array bool) *mark {
	for i, name := range path {
		last := i == len(path)-1
		child := m.table[name]
		if child == nil {
			child = &mark{name: at, value: at}
			m.put(name, child)
		}
		switch {
		case last && array:
			child.list = append(child.list, &mark{name: at, value: at, table: map[string]*mark{}})
			m = child.list[len(child.list)-1]
		case len(child.list) > 0:
			m = child.list[len(child.list)-1]
		default:
			if last {
				child.name, child.value = at, at
			}
			m = child
		}
	}
	return m
}

func (m *mark) put(name string, child *mark) {
	if m.table == nil {
		m.table = map[string]*mark{}
	}
	m.table[name] = child
}

// pair reads `key = value` into the table m, whose own path is given.
func (s *scanner) pair(m *mark, path []string) {
	start := s.at
	name := s.key()
	for _, part := range name[:len(name)-1] {
		child := m.table[part]
		if child == nil {
			child = &mark{name: start, value: start}
			m.put(part, child)
		}
		m = child
	}
	full := append(append([]string(nil), path...), name...)
	s.keys = append(s.keys, joinKey(full))
	s.expect("=")
	s.skip(false)
	v := s.value(full)
	v.name = start
	m.put(name[len(name)-1], v)
}

// value reads one value and returns its mark.
func (s *scanner) value(path []string) *mark {
	m := &mark{name: s.at, value: s.at}
	switch {
	case s.peek("["):
		s.at++
		for s.more("]") {
			m.list = append(m.list, s.value(path))
		}
	case s.peek("{"):
		s.at++
		m.table = map[string]*mark{}
		for s.more("}") {
			s.pair(m, path)
		}
	case s.peek(`"`), s.peek("'"):
		s.quoted()
	default:
		for s.at < len(s.text) && !strings.ContainsRune(",]}#\r\n", rune(s.text[s.at])) {
			s.at++
		}
		if s.at == m.value {
			s.fail("a value")
		}
	}
	return m
}

// more moves to the next element of a list that ends with end, and says whether
// there is one.
func (s *scanner) more(end string) bool {
	s.skip(true)
	if s.peek(",") {
		s.at++
		s.skip(true)
	}
	if s.peek(end) {
		s.at++
		return false
	}
	if s.at == len(s.text) {
		s.fail(end)
	}
	return true
}

// key reads a bare, quoted or dotted key.
func (s *scanner) key() []string {
	var parts []string
	for {
		s.skip(false)
		start := s.at
		if s.peek(`"`) || s.peek("'") {
			parts = append(parts, s.quoted())
		} else {
			for s.at < len(s.text) && bareKey(s.text[s.at]) {
				s.at++
			}
			if s.at == start {
				s.fail("a key")
			}
			parts = append(parts, s.text[start:s.at])
		}
		s.skip(false)
		if !s.peek(".") {
			return parts
		}
		s.at++
	}
}

func bareKey(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

// quoted skips a string of any of the four kinds and returns its text, exact
// for those on one line (the ones a key can be).
func (s *scanner) quoted() string {
	quote := s.text[s.at : s.at+1]
	raw := quote == "'"
	if long := strings.Repeat(quote, 3); s.peek(long) {
		s.at += 3
		for !s.peek(long) {
			s.step(raw)
		}
		s.at += 3
		for extra := 0; extra < 2 && s.peek(quote); extra++ {
			s.at++ // up to two quotes right before the closing ones belong to the text
		}
		return ""
	}
	s.at++
	start := s.at
	for !s.peek(quote) {
		s.step(raw)
	}
	text := s.text[start:s.at]
	s.at++
	if !raw {
		text = unescape(text)
	}
	return text
}

// step goes one character on inside a string, two at an escape.
func (s *scanner) step(raw bool) {
	if !raw && s.peek(`\`) {
		s.at++
	}
	if s.at >= len(s.text) {
		s.fail("the end of a string")
	}
	s.at++
}

// unescape decodes the escapes of a basic string.
func unescape(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) {
			b.WriteByte(text[i])
			continue
		}
		i++
		digits := 0
		switch c := text[i]; c {
		case 'b':
			b.WriteByte('\b')
		case 't':
			b.WriteByte('\t')
		case 'n':
			b.WriteByte('\n')
		case 'f':
			b.WriteByte('\f')
		case 'r':
			b.WriteByte('\r')
		case 'e':
			b.WriteByte(0x1b)
		case 'x':
			digits = 2
		case 'u':
			digits = 4
		case 'U':
			digits = 8
		default:
			b.WriteByte(c)
		}
		if digits > 0 && i+digits < len(text) {
			if n, err := strconv.ParseUint(text[i+1:i+1+digits], 16, 32); err == nil {
				b.WriteRune(rune(n))
			}
			i += digits
		}
	}
	return b.String()
}

// skip passes white space, and with lines also newlines and comments.
func (s *scanner) skip(lines bool) {
	for s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case c == ' ' || c == '\t':
			s.at++
		case lines && (c == '\n' || c == '\r'):
			s.at++
		case lines && c == '#':
			end := strings.IndexByte(s.text[s.at:], '\n')
			if end < 0 {
				end = len(s.text) - s.at
			}
			s.at += end
		default:
			return
		}
	}
}

func (s *scanner) peek(word string) bool { return strings.HasPrefix(s.text[s.at:], word) }

func (s *scanner) expect(word string) {
	s.skip(false)
	if !s.peek(word) {
		s.fail(strconv.Quote(word))
	}
	s.at += len(word)
}

func (s *scanner) fail(wanted string) {
	panic(errScan{fmt.Errorf("no place found for %s at offset %d", wanted, s.at)})
}

// joinKey gives keys one spelling for comparing: parts are quoted unless bare.
func joinKey(parts []string) string {
	out := make([]string, len(parts))
	for i, p := range parts {
		out[i] = p
		bare := p != ""
		for j := range len(p) {
			bare = bare && bareKey(p[j])
		}
		if !bare {
			out[i] = strconv.Quote(p)
		}
	}
	return strings.Join(out, ".")
}

// lines turns offsets into positions.
type lines struct {
	file   string
	text   string
	starts []int // offset of each line

	// The last place asked for: the next one is mostly a little behind it, and
	// a line may be as long as the file.
	at   int
	last Position
}

func newLines(file, text string) *lines {
	l := &lines{file: file, text: text, starts: []int{0}}
	for i := range len(text) {
		if text[i] == '\n' {
			l.starts = append(l.starts, i+1)
		}
	}
	return l
}

func (l *lines) position(offset int) Position {
	offset = min(max(offset, 0), len(l.text))
	n := sort.SearchInts(l.starts, offset+1) // number of lines that begin at offset or before
	p := Position{File: l.file, Line: n, Column: 1}
	from := l.starts[n-1]
	if l.last.Line == n && l.at <= offset {
		from, p.Column = l.at, l.last.Column
	}
	p.Column += utf8.RuneCountInString(l.text[from:offset])
	l.at, l.last = offset, p
	return p
}

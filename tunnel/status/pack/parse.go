package pack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// FromJSON is the MessagePack form of one JSON value (RFC 8259). Whole numbers
// of 64 bits stay whole; what is no UTF-8 becomes U+FFFD. An error never repeats
// the text.
func FromJSON(text []byte) ([]byte, error) {
	p := parser{text: text}
	err := p.value(maxDepth)
	if err == nil {
		if p.space(); p.at < len(text) {
			err = errJSON
		}
	}
	if err != nil {
		return nil, fmt.Errorf("byte %d: %w", p.at, err)
	}
	return p.out, nil
}

// ReadJSON reads one JSON value into what v points to, as Read does.
func ReadJSON(text []byte, v any) error {
	raw, err := FromJSON(text)
	if err != nil {
		return err
	}
	return Read(raw, v)
}

var errJSON = errors.New("this is no JSON")

type parser struct {
	text []byte
	at   int
	out  []byte
}

func (p *parser) space() {
	for p.at < len(p.text) && (p.text[p.at] == ' ' || p.text[p.at] == '\t' || p.text[p.at] == '\n' || p.text[p.at] == '\r') {
		p.at++
	}
}

// next goes past c, spaces before it, if it stands there.
func (p *parser) next(c byte) bool {
	p.space()
	if p.at < len(p.text) && p.text[p.at] == c {
		p.at++
		return true
	}
	return false
}

// word goes past w if it stands there.
func (p *parser) word(w string) bool {
	if len(p.text)-p.at >= len(w) && string(p.text[p.at:p.at+len(w)]) == w {
		p.at += len(w)
		return true
	}
	return false
}

func (p *parser) value(depth int) error {
	if depth == 0 {
		return errDepth
	}
	switch {
	case p.next('{'):
		return p.list('}', 0xdf, func() error { // map32
			if !p.next('"') {
				return errJSON
			}
			if err := p.str(); err != nil {
				return err
			}
			if !p.next(':') {
				return errJSON
			}
			return p.value(depth - 1)
		})
	case p.next('['):
		return p.list(']', 0xdd, func() error { return p.value(depth - 1) }) // array32
	case p.next('"'):
		return p.str()
	case p.word("null"):
		p.out = appendNull(p.out)
	case p.word("true"):
		p.out = appendBool(p.out, true)
	case p.word("false"):
		p.out = appendBool(p.out, false)
	default:
		return p.number()
	}
	return nil
}

// list reads elements up to end; their number goes before them when it is known.
func (p *parser) list(end, kind byte, element func() error) error {
	p.out = append(p.out, kind, 0, 0, 0, 0)
	head := len(p.out)
	n := uint32(0)
	for !p.next(end) {
		if n > 0 && !p.next(',') {
			return errJSON
		}
		if err := element(); err != nil {
			return err
		}
		n++
	}
	binary.BigEndian.PutUint32(p.out[head-4:], n)
	return nil
}

// str reads a string whose opening quote is behind.
func (p *parser) str() error {
	var s []byte
	for p.at < len(p.text) {
		c := p.text[p.at]
		switch {
		case c == '"':
			p.at++
			p.out = appendText(p.out, string(s))
			return nil
		case c < ' ':
			return errJSON
		case c == '\\':
			r, ok := p.escape()
			if !ok {
				return errJSON
			}
			s = utf8.AppendRune(s, r)
		default:
			r, n := utf8.DecodeRune(p.text[p.at:])
			p.at += n
			s = utf8.AppendRune(s, r)
		}
	}
	return errJSON
}

// escape reads one escaped character, both halves of a surrogate pair.
func (p *parser) escape() (rune, bool) {
	if r, ok := p.hex(); ok {
		if utf16.IsSurrogate(r) {
			at := p.at
			if low, ok := p.hex(); ok {
				if both := utf16.DecodeRune(r, low); both != utf8.RuneError {
					return both, true
				}
			}
			p.at = at
			return utf8.RuneError, true
		}
		return r, true
	}
	const from, to = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	if p.at+1 < len(p.text) {
		for i := range from {
			if p.text[p.at+1] == from[i] {
				p.at += 2
				return rune(to[i]), true
			}
		}
	}
	return 0, false
}

// hex reads \u and four hexadecimal digits.
func (p *parser) hex() (rune, bool) {
	if len(p.text)-p.at < 6 || p.text[p.at] != '\\' || p.text[p.at+1] != 'u' {
		return 0, false
	}
	x, err := strconv.ParseUint(string(p.text[p.at+2:p.at+6]), 16, 16)
	if err != nil {
		return 0, false
	}
	p.at += 6
	return rune(x), true
}

func (p *parser) number() error {
	from := p.at
	p.word("-")
	if !p.word("0") && !p.digits() {
		return errJSON
	}
	whole := true
	if p.word(".") {
		if whole = false; !p.digits() {
			return errJSON
		}
	}
	if p.word("e") || p.word("E") {
		whole = false
		if !p.word("+") {
			p.word("-")
		}
		if !p.digits() {
			return errJSON
		}
	}
	text := string(p.text[from:p.at])
	if whole {
		if i, err := strconv.ParseInt(text, 10, 64); err == nil {
			p.out = appendInt(p.out, i)
			return nil
		}
		if u, err := strconv.ParseUint(text, 10, 64); err == nil {
			p.out = appendUint(p.out, u)
			return nil
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return errRange
	}
	p.out = appendFloat(p.out, f)
	return nil
}

func (p *parser) digits() bool {
	from := p.at
	for p.at < len(p.text) && p.text[p.at] >= '0' && p.text[p.at] <= '9' {
		p.at++
	}
	return p.at > from
}

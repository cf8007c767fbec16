package status

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Style is how text for people is drawn.
type Style struct {
	Color bool // ANSI colours
	Width int  // columns, 80 when 0
}

// SGR colours by meaning.
const (
	colGood = "32"
	colWarn = "33"
	colBad  = "31"
	colDim  = "2"
	colBold = "1"
)

// Good, Bad and Bold return text as the style shows it.
func (s Style) Good(text string) string { return s.paint(colGood, text) }

// Bad is Good's opposite.
func (s Style) Bad(text string) string { return s.paint(colBad, text) }

// Bold is for headings.
func (s Style) Bold(text string) string { return s.paint(colBold, text) }

func (s Style) paint(color, text string) string {
	if !s.Color || color == "" {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

func (s Style) width() int {
	if s.Width <= 0 {
		return 80
	}
	return min(max(s.Width, 60), 120)
}

func stateColor(state string) string {
	switch state {
	case StateUp:
		return colGood
	case StateDown:
		return colBad
	case StateDisabled:
		return colDim
	}
	return colWarn
}

// reasonColor is for why a tunnel is in a state, or carries nothing although it is up.
func reasonColor(state string) string {
	if state == StateUp {
		return colWarn
	}
	return stateColor(state)
}

// page collects lines for a terminal.
type page struct {
	Style
	bytes.Buffer
	now int64 // when the snapshot was made, Unix seconds
}

// Clean makes text from outside, such as a peer's identity, safe to print.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 || r == utf8.RuneError || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '?'
		}
		return r
	}, s)
}

// fill writes text behind lead, wrapped at the page's width.
func (p *page) fill(lead, color, text string) {
	p.wrapped(&p.Buffer, lead, utf8.RuneCountInString(lead), color, text)
}

// Fill writes text behind lead, wrapped at the style's width with the lines that
// follow indented to where the text began: by cols columns, which is the width
// lead has on the screen.
func (s Style) Fill(b *bytes.Buffer, lead string, cols int, text string) {
	s.wrapped(b, lead, cols, "", text)
}

func (s Style) wrapped(b *bytes.Buffer, lead string, cols int, color, text string) {
	room := max(s.width()-cols, 20)
	for i, line := range wrap(Clean(text), room) {
		if i == 0 {
			b.WriteString(lead)
		} else {
			b.WriteString(strings.Repeat(" ", cols))
		}
		b.WriteString(s.paint(color, line))
		b.WriteByte('\n')
	}
}

// wrap breaks text into lines of at most room columns, at spaces where it can,
// else behind a hyphen, comma, slash or colon, else anywhere.
func wrap(text string, room int) []string {
	var lines []string
	line, cols := "", 0
	for _, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		if cols > 0 && cols+1+n > room {
			lines = append(lines, line)
			line, cols = "", 0
		}
		if cols > 0 {
			line, cols = line+" ", cols+1
		}
		for n > room {
			r := []rune(word)
			cut := room - cols
			if i := strings.LastIndexAny(string(r[:cut]), "-,/:"); i > 0 {
				cut = utf8.RuneCountInString(string(r[:cut])[:i+1])
			}
			lines = append(lines, line+string(r[:cut]))
			word, n = string(r[cut:]), len(r)-cut
			line, cols = "", 0
		}
		line, cols = line+word, cols+n
	}
	if line != "" || len(lines) == 0 {
		lines = append(lines, line)
	}
	return lines
}

// pad returns s cleaned and exactly n columns wide, cut with a tilde if need be.
func pad(s string, n int) string {
	s = Clean(s)
	l := utf8.RuneCountInString(s)
	if l > n {
		return string([]rune(s)[:n-1]) + "~"
	}
	return s + strings.Repeat(" ", n-l)
}

// Span writes seconds in the two largest units that matter.
func Span(s int64) string {
	if s < 0 {
		s = 0
	}
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
	}
	return fmt.Sprintf("%dd%02dh", s/86400, s/3600%24)
}

// Plural is a number of things, such as "1 packet" or "2 addresses".
func Plural[N int | uint64](n N, word string) string {
	switch {
	case n == 1:
	case strings.HasSuffix(word, "s"):
		word += "es"
	default:
		word += "s"
	}
	return fmt.Sprintf("%d %s", n, word)
}

// Size writes a number of bytes with a decimal unit.
func Size(n uint64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	v, units := float64(n), []string{"kB", "MB", "GB", "TB", "PB", "EB"}
	for i, u := range units {
		v /= 1000
		if v < 999.5 || i == len(units)-1 {
			if v < 9.95 {
				return fmt.Sprintf("%.1f %s", v, u)
			}
			return fmt.Sprintf("%.0f %s", v, u)
		}
	}
	return ""
}

func (p *page) flush(w io.Writer) error {
	_, err := w.Write(p.Bytes())
	return err
}

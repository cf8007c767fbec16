package syntax

import (
	"bytes"
	"fmt"
)

// lexer cuts commands into words. A command is one line, or several where a
// quoted word or a backslash at the end of a line goes on in the next.
type lexer struct {
	file string
	data []byte

	pos  int // where we stand
	end  int // behind the newline of the line that was fetched last
	line int // its number, from 1
	stop int // end, or where a comment begins

	// start is where the command began, and joined the number of bytes since
	// that are no part of it, newlines behind a backslash: the byte of an
	// error counts as libuci's does.
	start, joined int
	begin         int // the number of the line it began in
}

func (l *lexer) fail(reason, remedy string) *Error {
	return &Error{File: l.file, Line: max(l.line, 1), Byte: l.pos - l.start - l.joined, Reason: reason, Remedy: remedy}
}

// fetch makes the next line part of the command, and reports whether there was
// one.
func (l *lexer) fetch() bool {
	rest := l.data[l.end:]
	if len(rest) == 0 {
		return false
	}
	l.line++
	if i := bytes.IndexByte(rest, '\n'); i >= 0 {
		l.end += i + 1
	} else {
		l.end = len(l.data)
	}
	l.stop = l.end
	return true
}

// next begins a new command at the next line.
func (l *lexer) next() bool {
	l.pos, l.start, l.joined = l.end, l.end, 0
	l.begin = l.line + 1
	return l.fetch()
}

// back leaves a command that cannot be read: its first line is over, and those that
// a quote left open made part of it are read again.
func (l *lexer) back() {
	l.line, l.end = l.begin, len(l.data)
	if i := bytes.IndexByte(l.data[l.start:], '\n'); i >= 0 {
		l.end = l.start + i + 1
	}
}

// cur is the byte where we stand, 0 at the end of what was fetched. NUL is not
// in the data.
func (l *lexer) cur() byte {
	if l.pos < l.stop {
		return l.data[l.pos]
	}
	return 0
}

// isSpace is C's isspace in the C locale.
func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

func (l *lexer) skipSpace() {
	for l.pos < l.stop && isSpace(l.cur()) {
		l.pos++
	}
}

// keyword takes the first word of a command. Only space and tab end it, so that
// "config" alone on a line is, with its newline, no command.
func (l *lexer) keyword() string {
	l.skipSpace()
	from := l.pos
	for l.pos < l.end && l.cur() != ' ' && l.cur() != '\t' {
		l.pos++
	}
	return string(l.data[from:l.pos])
}

// word is an argument of a command. Without quotes an empty word means that
// there is none.
type word struct {
	text   string
	quoted bool
}

// word takes the next argument: pieces in quotes and without that touch each
// other.
func (l *lexer) word() (word, error) {
	l.skipSpace()
	var w word
	var text []byte
	for first := true; l.pos < l.stop && !isSpace(l.cur()); first = false {
		switch c := l.cur(); c {
		case '\'', '"':
			piece, err := l.quoted(c)
			if err != nil {
				return word{}, err
			}
			text = append(text, piece...)
			w.quoted = true
		case '#':
			if !first {
				return word{}, l.fail("# within a word begins a comment for libuci, which drops the rest of the word",
					"put the value in single quotes, or a space before the comment")
			}
			l.stop = l.pos
		case ';':
			return word{}, l.fail("; separates commands for libuci, which drops what follows in most cases",
				"write each command on its own line, or put the value in single quotes")
		case '\\':
			literal, err := l.backslash()
			if err != nil {
				return word{}, err
			}
			if literal {
				text = append(text, l.cur())
				l.pos++
			}
		default:
			text = append(text, c)
			l.pos++
		}
	}
	if l.pos < l.stop {
		l.pos++ // the white space that ended the word
	}
	w.text = string(text)
	return w, nil
}

// quoted takes a piece in quotes. In single quotes everything is literal, in
// double quotes a backslash makes the next character literal.
func (l *lexer) quoted(quote byte) ([]byte, error) {
	opened := l.line
	l.pos++
	var text []byte
	for {
		switch c := l.cur(); {
		case l.pos == l.end:
			if !l.fetch() {
				return nil, l.fail("EOF with unterminated "+string(quote),
					fmt.Sprintf("close the quote that was opened in line %d", opened))
			}
		case c == quote:
			l.pos++
			return text, nil
		case c == '\\' && quote == '"':
			if l.pos == len(l.data)-1 {
				l.pos++
				continue
			}
			literal, err := l.backslash()
			if err != nil {
				return nil, err
			}
			if literal {
				text = append(text, l.cur())
				l.pos++
			}
		default:
			text = append(text, c)
			l.pos++
		}
	}
}

// backslash steps over one and reports whether the next character is to be
// taken literally. Before the end of a line it is not: the line goes on in the
// next.
func (l *lexer) backslash() (literal bool, err error) {
	l.pos++
	rest := l.data[l.pos:l.end]
	if len(rest) > 0 && rest[0] != '\n' && string(rest) != "\r\n" {
		return true, nil
	}
	l.joined += len(rest)
	l.pos = l.end
	if !l.fetch() {
		return false, l.fail("\\ at the end of the file", "remove it")
	}
	return false, nil
}

package status

import (
	"bytes"
	"fmt"
	"io"

	"github.com/tinylib/msgp/msgp"
)

// JSON writes the value of one key of a raw reply (see Client.NextRaw) as indented
// JSON and a newline. It works on the bytes, so that fields a newer daemon sends
// are shown too.
func JSON(w io.Writer, raw []byte, key string) error {
	var compact, out bytes.Buffer
	if err := compactJSON(&compact, raw, key); err != nil {
		return err
	}
	indent(&out, compact.Bytes())
	out.WriteByte('\n')
	_, err := w.Write(out.Bytes())
	return err
}

// JSONLine is JSON on a single line, for streams.
func JSONLine(w io.Writer, raw []byte, key string) error {
	var b bytes.Buffer
	if err := compactJSON(&b, raw, key); err != nil {
		return err
	}
	b.WriteByte('\n')
	_, err := w.Write(b.Bytes())
	return err
}

// EventJSON writes an event as one line of JSON.
func EventJSON(w io.Writer, e *Event) error {
	raw, err := e.MarshalMsg(nil)
	if err != nil {
		return err
	}
	return JSONLine(w, raw, "")
}

func compactJSON(b *bytes.Buffer, raw []byte, key string) error {
	if key != "" {
		raw = msgp.Locate(key, raw)
		if len(raw) == 0 {
			return fmt.Errorf("the daemon's reply has no %q", key)
		}
	}
	if _, err := msgp.UnmarshalAsJSON(b, raw); err != nil {
		return fmt.Errorf("the daemon's reply cannot be understood: %w", err)
	}
	return nil
}

// indent writes compact JSON with two spaces a level; empty maps and lists, and
// lists of plain values, stay on their line.
func indent(w *bytes.Buffer, b []byte) {
	depth := 0
	var flat []bool // for each open bracket: keeps to its line
	newline := func() {
		w.WriteByte('\n')
		for range depth {
			w.WriteString("  ")
		}
	}
	for i := 0; i < len(b); i++ {
		c := b[i]
		onLine := len(flat) > 0 && flat[len(flat)-1]
		switch c {
		case '"':
			end := stringEnd(b, i)
			w.Write(b[i:end])
			i = end - 1
		case '{', '[':
			w.WriteByte(c)
			keeps := i+1 < len(b) && (b[i+1] == '}' || b[i+1] == ']' || c == '[' && b[i+1] != '{' && b[i+1] != '[')
			flat = append(flat, keeps)
			if !keeps {
				depth++
				newline()
			}
		case '}', ']':
			if len(flat) > 0 {
				flat = flat[:len(flat)-1]
			}
			if !onLine {
				depth = max(0, depth-1)
				newline()
			}
			w.WriteByte(c)
		case ',':
			w.WriteByte(c)
			if onLine {
				w.WriteByte(' ')
			} else {
				newline()
			}
		case ':':
			w.WriteString(": ")
		case ' ', '\n', '\t', '\r':
		default:
			w.WriteByte(c)
		}
	}
}

// stringEnd is where the string that begins at b[i] ends.
func stringEnd(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}

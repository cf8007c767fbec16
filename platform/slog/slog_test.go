package slog

import (
	"bytes"
	"errors"
	"fmt"
	library "log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// withoutTime cuts the first word off a line.
func withoutTime(t *testing.T, line string) string {
	t.Helper()
	stamp, rest, _ := strings.Cut(line, " ")
	if _, err := time.Parse("time="+time.RFC3339, stamp); err != nil {
		t.Errorf("%q begins with no time: %v", line, err)
	}
	return rest
}

func TestLinesAreThoseOfTheLibrary(t *testing.T) {
	values := []any{"plain", "", "two words", `a"b`, "a=b", "tab\there", "\xff", "é", 7, int64(-7), true, nil, errors.New("it broke"),
		netip.MustParseAddr("2001:db8::1"), []string{"a", "b"}, 1500 * time.Millisecond, struct{ A int }{3}}
	var got, want bytes.Buffer
	for _, v := range values {
		New(&got).Warn("a message: "+fmt.Sprint(v), "key", v, "another key", v)
		library.New(library.NewTextHandler(&want, nil)).Warn("a message: "+fmt.Sprint(v), "key", v, "another key", v)
		g, w := withoutTime(t, got.String()), withoutTime(t, want.String())
		if g != w {
			t.Errorf("got %swant %s", g, w)
		}
		got.Reset()
		want.Reset()
	}
}

func TestOnlyWhatMattersIsWritten(t *testing.T) {
	var b bytes.Buffer
	l := New(&b)
	say := func() string {
		b.Reset()
		l.Debug("d")
		l.Info("i")
		l.Warn("w")
		l.Error("e")
		var all []string
		for line := range strings.Lines(b.String()) {
			all = append(all, strings.Fields(line)[1])
		}
		return strings.Join(all, " ")
	}
	const info = "level=INFO level=WARN level=ERROR"
	for _, c := range []struct{ word, want string }{
		{"", info}, {"debug", "level=DEBUG " + info}, {"info", info}, {"warn", "level=WARN level=ERROR"}, {"error", "level=ERROR"},
	} {
		if c.word != "" {
			l.SetLevel(ParseLevel(c.word))
		}
		if got := say(); got != c.want {
			t.Errorf("at %q: %s, want %s", c.word, got, c.want)
		}
	}
	var none *Logger
	none.SetLevel(LevelDebug)
	none.Error("nobody hears it")
}

// chunks counts writes.
type chunks struct{ lines []string }

func (c *chunks) Write(b []byte) (int, error) {
	c.lines = append(c.lines, string(b))
	return len(b), nil
}

func TestLinesOfManyGoroutinesStayWhole(t *testing.T) {
	var c chunks
	l := New(&c)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				l.Info("same line", "key", "value")
			}
		})
	}
	wg.Wait()
	if len(c.lines) != 400 {
		t.Errorf("%d writes", len(c.lines))
	}
	for _, line := range c.lines {
		if got := withoutTime(t, line); got != "level=INFO msg=\"same line\" key=value\n" {
			t.Errorf("%q", got)
		}
	}
}

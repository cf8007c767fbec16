package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// newLogger writes to standard error, or to where each line has a level and a time
// already: to the syslog socket that GRESEAL_SYSLOG names, as procd takes every line
// of standard error for an error, or, with a level before each line (sd-daemon(3)),
// to standard error where that is systemd's journal.
func newLogger(stderr io.Writer, level slog.Leveler) *slog.Logger {
	o := &slog.HandlerOptions{Level: level}
	var w io.Writer
	switch socket := os.Getenv("GRESEAL_SYSLOG"); {
	case socket != "":
		w = leveled{&syslog{path: socket, instead: stderr}}
	case journal():
		w = leveled{stderr}
	default:
		return slog.New(slog.NewTextHandler(stderr, o))
	}
	o.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// journal reports whether standard error is the journal's, which systemd names by
// device and inode: a program further down may have redirected it.
func journal() bool {
	var st unix.Stat_t
	return unix.Fstat(2, &st) == nil && os.Getenv("JOURNAL_STREAM") == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

// levels are those of syslog (RFC 5424 section 6.2.1), by slog's word.
var levels = map[string]int{"DEBUG": 7, "INFO": 6, "WARN": 4, "ERROR": 3}

// leveled takes lines of slog's text handler, which begin with level=INFO, and
// writes them with a syslog level in its place.
type leveled struct{ io.Writer }

func (w leveled) Write(line []byte) (int, error) {
	level, rest, ok := bytes.Cut(line, []byte(" "))
	n, known := levels[string(bytes.TrimPrefix(level, []byte("level=")))]
	if !ok || !known {
		n, rest = levels["INFO"], line
	}
	if _, err := fmt.Fprintf(w.Writer, "<%d>%s", n, rest); err != nil {
		return 0, err
	}
	return len(line), nil
}

// syslogPatience is how long a line waits for a syslog daemon that reads nothing: it is
// written by the daemon's loop.
const (
	syslogPatience = 100 * time.Millisecond
	syslogPause    = 30 * time.Second // before it is tried again
)

// syslog writes lines that begin with <LEVEL> to a syslog daemon's socket in the
// form of RFC 3164, which that of OpenWrt takes, as facility daemon. A daemon that
// was restarted has another socket; where there is none, lines are not lost.
type syslog struct {
	path    string
	instead io.Writer
	conn    net.Conn
	stuck   time.Time // until then lines go elsewhere
}

func (s *syslog) Write(line []byte) (int, error) {
	level, text, _ := bytes.Cut(line, []byte(">"))
	const daemon = 3 << 3
	packet := fmt.Appendf(nil, "<%d>%s greseal[%d]: %s", daemon|int(level[1]-'0'), time.Now().Format(time.Stamp), os.Getpid(), text)
	for range 2 {
		if time.Now().Before(s.stuck) {
			break
		}
		if s.conn == nil {
			s.conn, _ = net.Dial("unixgram", s.path)
		}
		if s.conn == nil {
			break
		}
		_ = s.conn.SetWriteDeadline(time.Now().Add(syslogPatience))
		_, err := s.conn.Write(packet)
		if err == nil {
			return len(line), nil
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			s.stuck = time.Now().Add(syslogPause)
		}
		s.conn.Close()
		s.conn = nil
	}
	_, err := s.instead.Write(text)
	return len(line), err
}

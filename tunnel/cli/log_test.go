package cli

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// What the text handler writes otherwise has a time, which syslog has too, and a
// level that it does not see.
func TestLogLinesHaveTheirSyslogLevelAndOneTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	t.Setenv("GRESEAL_SYSLOG", path)
	var stderr bytes.Buffer
	log := newLogger(&stderr, slog.LevelDebug).With("tunnel", "hq")
	log.Warn("nobody listens")
	if got := stderr.String(); got != "msg=\"nobody listens\" tunnel=hq\n" {
		t.Errorf("without a syslog daemon: %q", got)
	}
	for round := range 2 { // the second is after the daemon was started again
		os.Remove(path)
		c, err := net.ListenPacket("unixgram", path)
		if err != nil {
			t.Fatal(err)
		}
		for level, n := range map[slog.Level]int{slog.LevelDebug: 31, slog.LevelInfo: 30, slog.LevelWarn: 28, slog.LevelError: 27} {
			log.Log(t.Context(), level, "it is up", "group", slog.GroupValue(slog.Int("time", 5)))
			b := make([]byte, 200)
			k, _, err := c.ReadFrom(b)
			want := fmt.Sprintf(`^<%d>[A-Z][a-z]{2} [ 1-3]\d \d\d:\d\d:\d\d greseal\[%d\]: msg="it is up" tunnel=hq group.time=5\n$`, n, os.Getpid())
			if err != nil || !regexp.MustCompile(want).Match(b[:k]) {
				t.Errorf("round %d, %v: %q, want %s", round, level, b[:k], want)
			}
		}
		c.Close()
	}
}

// The daemon's loop writes the log, so it must not wait for one who does not read it.
func TestASyslogDaemonThatReadsNothingHoldsNobodyUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	c, err := net.ListenPacket("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	t.Setenv("GRESEAL_SYSLOG", path)
	var stderr bytes.Buffer
	log := newLogger(&stderr, slog.LevelInfo)
	for i := range 2000 { // more than its queue takes
		log.Info("line", "n", i)
	}
	if !bytes.Contains(stderr.Bytes(), []byte("n=1999")) {
		t.Errorf("the last line is nowhere: %d bytes elsewhere", stderr.Len())
	}
}

func TestTheJournalGetsLevelsOnlyWhereStandardErrorIsIts(t *testing.T) {
	var b bytes.Buffer
	for in, want := range map[string]string{
		"level=ERROR msg=x\n": "<3>msg=x\n", "level=INFO msg=y z=1\n": "<6>msg=y z=1\n", "level=DEBUG+2 msg=z\n": "<6>level=DEBUG+2 msg=z\n",
	} {
		b.Reset()
		if n, err := (leveled{&b}).Write([]byte(in)); n != len(in) || err != nil || b.String() != want {
			t.Errorf("%q: %d, %v, %q", in, n, err, b.String())
		}
	}
	t.Setenv("JOURNAL_STREAM", "1:2")
	if journal() {
		t.Error("another file is taken for the journal")
	}
	b.Reset()
	newLogger(&b, slog.LevelInfo).Info("x")
	if !bytes.HasPrefix(b.Bytes(), []byte("time=")) {
		t.Errorf("%q", b.String())
	}
}

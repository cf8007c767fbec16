package status

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLastWordsReachWhoAsksLater(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "run", "s.sock")
	if got := LastWords(socket); got != "" {
		t.Errorf("nobody died, and said %q", got)
	}
	if err := LeaveLastWords(socket, errors.New("UDP port 500 is taken\nstop it")); err != nil {
		t.Fatal(err)
	}
	if got := LastWords(socket); !strings.HasSuffix(got, ": UDP port 500 is taken; stop it") {
		t.Errorf("an error: %q", got)
	}
	if _, err := Dial(socket); !errors.Is(err, ErrNoDaemon) || !strings.Contains(err.Error(), "UDP port 500 is taken") {
		t.Errorf("a client is told %v", err)
	}

	if err := os.WriteFile(socket+".last", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := LastWords(socket); !strings.Contains(got, "was killed") {
		t.Errorf("one that was killed: %q", got)
	}
	panicked := "panic: index out of range [3]\n\ngoroutine 7 [running]:\nmain.f(0x6b65792121)\n" + strings.Repeat("x", 9000)
	if err := os.WriteFile(socket+".last", []byte(panicked), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := LastWords(socket); !strings.HasSuffix(got, ": panic: index out of range [3]") {
		t.Errorf("a panic: %q", got)
	}
	if err := LeaveLastWords(socket, errors.New(strings.Repeat("y", 9000))); err != nil {
		t.Fatal(err)
	}
	if got := LastWords(socket); len(got) > maxLastWords+100 {
		t.Errorf("%d bytes of words", len(got))
	}

	if err := LeaveLastWords(socket, nil); err != nil {
		t.Fatal(err)
	}
	if got := LastWords(socket); got != "" {
		t.Errorf("one that was asked to end: %q", got)
	}
	if err := os.Symlink("/etc/passwd", socket+".last"); err != nil {
		t.Fatal(err)
	}
	if err := LeaveLastWords(socket, errors.New("x")); err == nil || LastWords(socket) != "" {
		t.Errorf("a link was followed")
	}
}

func TestCrashesAreCounted(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s.sock")
	life := func(end func() error, want uint64, was bool) {
		t.Helper()
		if n, last, err := Crashes(socket); n != want || last != was || err != nil {
			t.Errorf("%d crashes, the last one %t: %v; want %d, %t", n, last, err, want, was)
		}
		if err := os.WriteFile(socket+".last", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
	}
	killed := func() error { return nil }
	life(killed, 0, false)
	life(func() error {
		return os.WriteFile(socket+".last", []byte("panic: oh\n\ngoroutine 1 [running]:\n"), 0o600)
	}, 1, true)
	life(func() error { return LeaveLastWords(socket, nil) }, 2, true)
	life(func() error { return LeaveLastWords(socket, errors.New("UDP port 500 is taken")) }, 2, false)
	life(killed, 2, false)
	life(killed, 3, true)

	if d := LivedBriefly(socket); d <= 0 || d > time.Second {
		t.Errorf("one that began just now: %v", d)
	}
	for _, ago := range []time.Duration{-time.Hour, time.Minute} {
		at := time.Now().Add(-ago)
		if err := os.Chtimes(socket+".last", at, at); err != nil {
			t.Fatal(err)
		}
		if d := LivedBriefly(socket); d != 0 {
			t.Errorf("one that began %v ago: %v", ago, d)
		}
	}
	if err := os.Remove(socket + ".last"); err != nil {
		t.Fatal(err)
	}
	if d := LivedBriefly(socket); d != 0 {
		t.Errorf("one that ended as it should: %v", d)
	}
}

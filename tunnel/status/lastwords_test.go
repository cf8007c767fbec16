package status

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
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

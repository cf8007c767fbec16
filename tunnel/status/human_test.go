package status

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

var update = os.Getenv("UPDATE_GOLDEN") != ""

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if update {
		os.MkdirAll("testdata", 0o755)
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("differs from %s (UPDATE_GOLDEN=1 rewrites it):\n%s", file, got)
	}
	for line := range strings.Lines(got) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("%s: %d columns: %s", file, n, line)
		}
	}
}

func several() *Snapshot {
	s := full()
	s.Daemon.ConfigProblems = []string{`greseal.toml:12:9: tunnel "hq": mtu: 90 is too small; write a number from 576 to 65535 or "auto"`}
	s.Daemon.ConfigRefusedAt = s.Time - 60
	s.Tunnels = append(s.Tunnels,
		Tunnel{Name: "branch-with-long-name", Enabled: true, Desired: DesiredUp, State: StateDown, Since: s.Time - 7, Attempts: 3, NextAttempt: s.Time + 12,
			Reason: "the peer refused every proposal: it has no Diffie-Hellman group in common with x25519, ecp256",
			Remedy: "add modp2048 to this tunnel's ike list or x25519 to the peer's", Commands: []string{"greseal apply"},
			Code: CodeNoProposal, Side: SideUnknown, Evidence: []string{"the peer accepts modp2048"}, Found: s.Time - 900, Confirmed: s.Time - 200,
			Peer: Peer{Configured: []string{"198.51.100.1", "198.51.100.2"}, Address: "198.51.100.1:500", RemoteID: "any", Auth: "psk"}},
		Tunnel{Name: "lte", Enabled: true, Desired: DesiredUp, State: StateWaiting, WaitingFor: WaitName, Since: s.Time - 100000, Peer: Peer{Configured: []string{"dyn.example.org"}}},
		Tunnel{Name: "old", State: StateDisabled, Desired: DesiredDown, Since: s.Time - 5, Peer: Peer{Configured: []string{"any"}}})
	return s
}

func TestStatusReadsAtAGlanceOn80Columns(t *testing.T) {
	defer func(l *time.Location) { time.Local = l }(time.Local)
	time.Local = time.UTC
	for name, c := range map[string]struct {
		s       *Snapshot
		details bool
	}{
		"one.txt":     {full(), false},
		"several.txt": {several(), false},
		"details.txt": {several(), true},
		"none.txt":    {&Snapshot{Time: full().Time, Daemon: full().Daemon}, false},
	} {
		var b strings.Builder
		if err := Human(&b, c.s, c.details, Style{}); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.String())
		for _, line := range strings.Split(b.String(), "\n") {
			if utf8.RuneCountInString(line) > 80 {
				t.Errorf("%s: wider than 80 columns: %q", name, line)
			}
		}
		// Colours change nothing but the colours.
		var col strings.Builder
		Human(&col, c.s, c.details, Style{Color: true})
		if plain := regexp.MustCompile("\x1b\\[[0-9]+m").ReplaceAllString(col.String(), ""); plain != b.String() {
			t.Errorf("%s: coloured text differs:\n%s", name, plain)
		}
	}
}

func TestTextOfAPeerCannotDriveTheTerminal(t *testing.T) {
	s := full()
	s.Tunnels[0].Peer.RemoteID = "fqdn \x1b]0;owned\x07evil\u009b2J\u202e"
	s.Tunnels[0].Name = "a\rb"
	s.Tunnels[0].Reason = "x\x1b[2Jy"
	var b strings.Builder
	Human(&b, s, true, Style{})
	for _, r := range b.String() {
		if r != '\n' && (r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0x202e) {
			t.Fatalf("%q got through", r)
		}
	}
}

func TestSpansAndSizes(t *testing.T) {
	for s, want := range map[int64]string{-1: "0s", 0: "0s", 59: "59s", 60: "1m00s", 3599: "59m59s", 3600: "1h00m", 86399: "23h59m", 90061: "1d01h"} {
		if got := Span(s); got != want {
			t.Errorf("Span(%d) = %s, want %s", s, got, want)
		}
	}
	for n, want := range map[uint64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 9949: "9.9 kB", 9950: "10 kB", 999499: "999 kB", 999500: "1.0 MB", 1<<64 - 1: "18 EB"} {
		if got := Size(n); got != want {
			t.Errorf("Size(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestLongWordsBreakAtTheirJoints(t *testing.T) {
	for _, c := range []struct {
		text string
		room int
		want string
	}{
		{"one two three", 7, "one two|three"},
		{"aes256gcm16-prfsha384-x25519", 22, "aes256gcm16-prfsha384-|x25519"},
		{"we offer aes256gcm16-prfsha384-x25519", 22, "we offer|aes256gcm16-prfsha384-|x25519"},
		{"abcdefghij", 4, "abcd|efgh|ij"},
		{"ééééé", 3, "ééé|éé"},
		{"", 5, ""},
	} {
		if got := strings.Join(wrap(c.text, c.room), "|"); got != c.want {
			t.Errorf("%q in %d columns: %q, want %q", c.text, c.room, got, c.want)
		}
	}
}

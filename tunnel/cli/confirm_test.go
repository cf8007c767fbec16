package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"greseal/tunnel/status"

	"golang.org/x/sys/unix"
)

// onTrial is a daemon that has text on trial and answers confirm as told.
func onTrial(t *testing.T, file, text string, confirm status.Reply) (socket string, asked *[]string) {
	t.Helper()
	asked = new([]string)
	socket, _ = daemonStub(t, func(q *status.Query) {
		*asked = append(*asked, q.Op)
		switch q.Op {
		case status.OpStatus:
			r := snapshot()
			r.Snapshot.Daemon.ConfigFile = file
			q.Answer(r)
		case status.OpHold:
			q.Answer(status.Reply{OK: true, Digest: status.Digest([]byte(text))})
		case status.OpConfirm:
			q.Answer(confirm)
		}
	})
	c, err := lockCandidate(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.file.Close()
	if err := c.write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return socket, asked
}

func TestConfirmReplacesTheFileBetweenHoldAndConfirm(t *testing.T) {
	file := filepath.Join(t.TempDir(), "greseal.toml")
	if err := os.WriteFile(file, []byte("# old\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	socket, asked := onTrial(t, file, "# new\n", status.Done())
	code, out, errs := call(t, "confirm", "--socket", socket)
	if code != ExitOK || !strings.Contains(out, "confirmed") || errs != "" {
		t.Errorf("exit %d, %q, %q", code, out, errs)
	}
	if now, _ := os.ReadFile(file); string(now) != "# new\n" {
		t.Errorf("the file holds %q", now)
	}
	if got := strings.Join(*asked, " "); got != "status hold confirm" {
		t.Errorf("asked: %s", got)
	}
}

func TestConfirmThatComesTooLateBringsTheOldFileBack(t *testing.T) {
	file := filepath.Join(t.TempDir(), "greseal.toml")
	if err := os.WriteFile(file, []byte("# old\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	socket, _ := onTrial(t, file, "# new\n", status.Fail("", "nothing is on trial: the change was taken back"))
	code, _, errs := call(t, "confirm", "--socket", socket)
	if code != ExitFailed || !strings.Contains(errs, "taken back") {
		t.Errorf("exit %d, %q", code, errs)
	}
	if now, _ := os.ReadFile(file); string(now) != "# old\n" {
		t.Errorf("the file holds %q, which is not what runs", now)
	}
	if all, _ := historyOf(file).list(); len(all) != 0 {
		t.Error("a config that was taken back is kept as a good one")
	}
}

func TestConfirmOnAFullDiskChangesNothingAndSaysSo(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16k,mode=0700"); err != nil {
		t.Skipf("a file system that is full needs root: %v", err)
	}
	defer unix.Unmount(dir, 0)
	file := filepath.Join(dir, "greseal.toml")
	if err := os.WriteFile(file, []byte("# old\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	socket, asked := onTrial(t, file, string(bytes.Repeat([]byte("# new\n"), 6000)), status.Done())
	code, _, errs := call(t, "confirm", "--socket", socket)
	if code != ExitFailed || !strings.Contains(errs, "no space left") || !strings.Contains(errs, "still on trial") {
		t.Errorf("exit %d, %q", code, errs)
	}
	if now, _ := os.ReadFile(file); string(now) != "# old\n" {
		t.Errorf("the file holds %d bytes", len(now))
	}
	if got := strings.Join(*asked, " "); got != "status hold" {
		t.Errorf("asked: %s", got)
	}
}

func TestConfirmOfAChangedCandidateIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "greseal.toml")
	if err := os.WriteFile(file, []byte("# old\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	socket, _ := onTrial(t, file, "# new\n", status.Done())
	if err := os.WriteFile(status.Candidate(socket), []byte("# another\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, errs := call(t, "confirm", "--socket", socket)
	if code != ExitFailed || !strings.Contains(errs, "not what is running") {
		t.Errorf("exit %d, %q", code, errs)
	}
	if now, _ := os.ReadFile(file); string(now) != "# old\n" {
		t.Errorf("the file holds %q", now)
	}
}

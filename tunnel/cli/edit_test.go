package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"greseal/tunnel/status"
)

const editable = "[[tunnel]]\nname = \"hq\"\nremote = \"192.0.2.1\"\npsk = \"6Qk2vX9eTr4WzLm8bNc5\"\nroutes = [\"10.1.0.0/16\"]\n"

// editAs runs greseal edit with sed as the editor and answers its questions.
func editAs(t *testing.T, script, answers string, args ...string) (code int, out, errs string) {
	t.Helper()
	t.Setenv("VISUAL", "")
	t.Setenv("EDITOR", "sed -i "+script)
	t.Setenv("SSH_CONNECTION", "192.0.2.7 50000 198.51.100.1 22")
	var o, e strings.Builder
	env := &Env{Stdout: &o, Stderr: &e}
	if answers != "" {
		env.Stdin = strings.NewReader(answers)
	}
	code = dispatch(env, append([]string{"edit"}, args...), table)
	return code, o.String(), e.String()
}

func TestEditWithoutADaemonChecksAndSaves(t *testing.T) {
	dir := t.TempDir()
	file, socket := filepath.Join(dir, "greseal.toml"), filepath.Join(dir, "s.sock")
	if err := os.WriteFile(file, []byte(editable), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := editAs(t, "s,10.1,10.2,", "", "-c", file, "--socket", socket)
	if code != ExitOK || !strings.Contains(out, "no daemon is running") {
		t.Fatalf("exit %d, %q, %q", code, out, errs)
	}
	if now, _ := os.ReadFile(file); string(now) != strings.Replace(editable, "10.1", "10.2", 1) {
		t.Errorf("the file holds %q", now)
	}
	if all, _ := historyOf(file).list(); len(all) != 2 {
		t.Errorf("%d configs are kept, want the old and the new one", len(all))
	}
	code, out, _ = editAs(t, "s,x,x,", "", "-c", file, "--socket", socket)
	if code != ExitOK || out != "nothing changed\n" {
		t.Errorf("an edit of nothing: exit %d, %q", code, out)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "edit-*")); len(left) > 0 {
		t.Errorf("copies are left behind: %v", left)
	}
}

func TestEditAsksWhatToDoWithMistakes(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "greseal.toml")
	if err := os.WriteFile(file, []byte(editable), 0o600); err != nil {
		t.Fatal(err)
	}
	// The second round of the editor breaks nothing more, so q ends it.
	code, out, errs := editAs(t, "s/^remote/remoat/", "what\ne\nq\n", "-c", file, "--socket", filepath.Join(dir, "s.sock"))
	if code != ExitOK || strings.Count(errs, file+":3:1") != 2 || !strings.Contains(out, "discarded") {
		t.Errorf("exit %d, %q, %q", code, out, errs)
	}
	if now, _ := os.ReadFile(file); string(now) != editable {
		t.Errorf("the file holds %q", now)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "edit-*")); len(left) > 0 {
		t.Errorf("what was dropped is kept: %v", left)
	}
	// Nobody can be asked: the text is kept.
	code, _, errs = editAs(t, "s/^remote/remoat/", "", "-c", file, "--socket", filepath.Join(dir, "s.sock"))
	if code != ExitUsage || !strings.Contains(errs, "kept in") {
		t.Errorf("exit %d, %q", code, errs)
	}
}

func TestEditPassesTheSessionAndTheTimeToTheDaemon(t *testing.T) {
	file := filepath.Join(t.TempDir(), "greseal.toml")
	if err := os.WriteFile(file, []byte(editable), 0o600); err != nil {
		t.Fatal(err)
	}
	var asked []status.Request
	var text string
	var socket string
	socket, _ = daemonStub(t, func(q *status.Query) {
		asked = append(asked, q.Request)
		switch q.Op {
		case status.OpStatus:
			r := snapshot()
			r.Snapshot.Daemon.ConfigFile = file
			q.Answer(r)
		case status.OpPlanCandidate:
			data, _ := os.ReadFile(status.Candidate(socket))
			text = string(data)
			q.Answer(status.Done("hq: hitless (routes)"))
		default:
			q.Answer(status.Done())
		}
	})
	code, out, errs := editAs(t, "s,10.1,10.2,", "y\n", "--socket", socket, "--seconds", "90")
	if code != ExitOK || !strings.Contains(out, "hq: hitless (routes)") || !strings.Contains(out, "greseal confirm") {
		t.Fatalf("exit %d, %q, %q", code, out, errs)
	}
	if want := strings.Replace(editable, "10.1", "10.2", 1); text != want {
		t.Errorf("the candidate holds %q, want %q", text, want)
	}
	if last := asked[len(asked)-1]; last != (status.Request{Op: status.OpCandidate, Seconds: 90, Client: "192.0.2.7"}) {
		t.Errorf("asked for %+v", last)
	}
	if now, _ := os.ReadFile(file); string(now) != editable {
		t.Error("the file was changed before the confirmation")
	}
	asked = nil
	if code, out, _ := editAs(t, "s,10.1,10.3,", "q\n", "--socket", socket); code != ExitOK || !strings.Contains(out, "discarded") ||
		slices.ContainsFunc(asked, func(r status.Request) bool { return r.Op == status.OpCandidate }) {
		t.Errorf("q: exit %d, %q, asked %+v", code, out, asked)
	}
}

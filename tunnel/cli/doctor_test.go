package cli

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"greseal/tunnel/status"
)

// doctorStub is a daemon whose job has one more finding each time it is asked.
func doctorStub(t *testing.T, findings []status.Finding) string {
	asked := 0
	socket, _ := daemonStub(t, func(q *status.Query) {
		j := &status.Job{ID: 7, What: "doctor", Checks: []status.Diagnosis{{Tunnel: "hq"}}}
		switch {
		case q.Op == status.OpDoctorStart && q.Tunnel == "hq" && q.Target == "":
		case q.Op == status.OpDoctorPoll && q.Job == 7:
			asked++
		default:
			q.Answer(status.Fail("", "a wrong request: %+v", q.Request))
			return
		}
		d := &j.Checks[0]
		d.Findings = findings[:min(asked, len(findings))]
		for _, f := range d.Findings {
			if f.Verdict == status.VerdictFault && d.First == "" {
				d.First, j.Faults = f.ID, 1
			}
		}
		d.Done = asked > len(findings)
		j.Done = d.Done
		q.Answer(status.Reply{OK: true, Job: j})
	})
	return socket
}

func doctorCall(args ...string) (code int, out, errs string) {
	var stdout, stderr bytes.Buffer
	c := Doctor
	code = c.run(&Env{Stdout: &stdout, Stderr: &stderr}, args)
	return code, stdout.String(), stderr.String()
}

func TestDoctorPrintsEachFindingOnceAndTheFirstFaultLast(t *testing.T) {
	command := "nft insert rule inet fw4 input_of_a_rather_long_chain_name udp dport { 500, 4500 } accept"
	socket := doctorStub(t, []status.Finding{
		{ID: "name", Title: "the peer's name resolves", Verdict: status.VerdictOK, Evidence: []string{"vpn.example.net is 192.0.2.1"}},
		{ID: "firewall", Title: "firewall of this machine", Verdict: status.VerdictFault, Evidence: []string{"answers to UDP 500: dropped"},
			Remedy: "let them pass", Commands: []string{command}},
		{ID: "udp-500", Title: "the peer answers on UDP 500", Verdict: status.VerdictSkipped, Evidence: []string{"not checked until firewall is fixed"}},
	})
	code, out, errs := doctorCall("hq", "--socket", socket)
	if code != ExitFailed || errs != "" {
		t.Errorf("exit %d, %q", code, errs)
	}
	for _, want := range []string{"1 step fine", "FAULT firewall of this machine", "remedy: let them pass", command, "1 step not checked until firewall is fixed"} {
		if strings.Count(out, want) != 1 {
			t.Errorf("%q is there %d times:\n%s", want, strings.Count(out, want), out)
		}
	}
	if !strings.HasSuffix(out, "hq: the first failing step is firewall (firewall of this machine)\n") {
		t.Errorf("the end is not the first fault:\n%s", out)
	}
	for line := range strings.Lines(out) {
		if len(strings.TrimSpace(line)) > 80 && !strings.Contains(line, command) {
			t.Errorf("wider than 80 columns: %q", line)
		}
	}
}

func TestDoctorShowsEachStepWhenAsked(t *testing.T) {
	found := []status.Finding{
		{ID: "name", Title: "the peer's name resolves", Verdict: status.VerdictOK, Evidence: []string{"vpn.example.net is 192.0.2.1"}},
		{ID: "route", Title: "route to the peer", Verdict: status.VerdictOK},
		{ID: "mtu", Title: "packets of the full MTU", Verdict: status.VerdictSkipped, Evidence: []string{"no address to ping"}},
		{ID: "forwarding", Title: "networks behind", Verdict: status.VerdictOK},
	}
	_, all, _ := doctorCall("hq", "--all", "--socket", doctorStub(t, found))
	_, folded, _ := doctorCall("hq", "--socket", doctorStub(t, found))
	if !strings.Contains(all, "vpn.example.net is 192.0.2.1") || !strings.Contains(all, "networks behind") {
		t.Errorf("--all leaves steps out:\n%s", all)
	}
	for _, want := range []string{"2 steps fine\n        name, route\n", "packets of the full MTU\n        no address to ping\n", "1 step fine\n        forwarding\n"} {
		if !strings.Contains(folded, want) {
			t.Errorf("%q is missing:\n%s", want, folded)
		}
	}
}

func TestDoctorWithoutAFaultEndsWell(t *testing.T) {
	fine := []status.Finding{{ID: "name", Title: "the peer's name resolves", Verdict: status.VerdictOK}}
	code, out, _ := doctorCall("hq", "--socket", doctorStub(t, fine))
	if code != ExitOK || !strings.HasSuffix(out, "hq: no fault found\n") {
		t.Errorf("exit %d:\n%s", code, out)
	}
	odd := append(fine, status.Finding{ID: "fragments", Title: "IP fragments", Verdict: status.VerdictWarning, Evidence: []string{"a peer's \x1b[2J text"}})
	code, out, _ = doctorCall("hq", "--socket", doctorStub(t, odd))
	if code != ExitOK || !strings.Contains(out, "no fault found; 1 warning above") || strings.Contains(out, "\x1b") {
		t.Errorf("exit %d:\n%q", code, out)
	}
	untried := append(fine, status.Finding{ID: "esp", Title: "packets come back", Verdict: status.VerdictSkipped, Evidence: []string{"no address"}})
	if _, out, _ = doctorCall("hq", "--socket", doctorStub(t, untried)); !strings.HasSuffix(out, "hq: no fault found, but whether packets pass was not tried\n") {
		t.Errorf("a step that was left out is fine:\n%s", out)
	}
	code, out, _ = doctorCall("hq", "--json", "--socket", doctorStub(t, fine))
	if code != ExitOK || !strings.Contains(out, `"verdict": "ok"`) || !strings.Contains(out, `"first_fault": ""`) {
		t.Errorf("exit %d:\n%s", code, out)
	}
}

func TestDoctorRefusesWhatMakesNoSense(t *testing.T) {
	for _, args := range [][]string{{"--leak-test"}, {"--ping", "10.0.0.1"}, {"a", "b"}, {"--leak-test", "--ping", "10.0.0.1", "hq"}} {
		if code, _, errs := doctorCall(args...); code != ExitUsage || !strings.Contains(errs, "usage: greseal doctor") {
			t.Errorf("%v: exit %d, %q", args, code, errs)
		}
	}
}

func TestDoctorWithoutADaemonExaminesTheMachine(t *testing.T) {
	dir := t.TempDir()
	file, socket := filepath.Join(dir, "g.toml"), filepath.Join(dir, "none.sock")
	if err := os.WriteFile(file, []byte("[[tunnel]]\nname = \"hq\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := status.LeaveLastWords(socket, errors.New("no room")); err != nil {
		t.Fatal(err)
	}
	code, out, errs := doctorCall("-c", file, "--socket", socket)
	for _, want := range []string{"remote: is missing", "no daemon answers at " + socket, ": no room", "the first failing step is config"} {
		if !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if code != ExitFailed || t.Failed() {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	if code, out, _ := doctorCall("--json", "-c", file, "--socket", socket); code != ExitFailed || !strings.Contains(out, `"first_fault": "config"`) {
		t.Errorf("exit %d: %s", code, out)
	}
}

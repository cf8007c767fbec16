package cli

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"greseal/platform/kernel"
	"greseal/tunnel/status"
)

var table = []Command{Status, Watch, Events, Up, Down, Restart, Edit, Apply, Confirm, Rollback, Check, GenPSK, PeerConfig, MTU, Probe, Demo, Completion, PrintVersion, Run}

// call runs a command line and returns its exit code and what it printed.
func call(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e strings.Builder
	code = dispatch(&Env{Stdout: &o, Stderr: &e}, args, table)
	return code, o.String(), e.String()
}

// daemonStub answers on a socket the way the loop does.
func daemonStub(t *testing.T, answer func(*status.Query)) (socket string, s *status.Server) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s.sock")
	s, err := status.Listen(socket, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{}, 2)
	go func() { s.Serve(ctx); done <- struct{}{} }()
	go func() {
		defer func() { done <- struct{}{} }()
		for {
			select {
			case q := <-s.Queries():
				answer(q)
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done; <-done })
	return socket, s
}

func snapshot() status.Reply {
	return status.Reply{OK: true, Snapshot: &status.Snapshot{
		Version: status.Version,
		Daemon:  status.Daemon{Version: "9.9", Datapath: "userspace"},
		Tunnels: []status.Tunnel{
			{Name: "hq", State: status.StateUp, Peer: status.Peer{Address: "192.0.2.1:4500"}, MTU: status.MTU{Bytes: 1400, How: "computed", Sum: []status.Step{{Name: "path MTU", Bytes: 1500}, {Name: "all headers", Bytes: -100}}}},
			{Name: "lab", State: status.StateDown, Reason: "the peer does not answer", Remedy: "open UDP 500 there"},
		},
	}}
}

// show answers with what is asked of the snapshot.
func show(q *status.Query) {
	r := snapshot()
	if q.Tunnel != "" {
		i := slices.IndexFunc(r.Snapshot.Tunnels, func(t status.Tunnel) bool { return t.Name == q.Tunnel })
		if i < 0 {
			q.Answer(status.NoTunnel(q.Tunnel, []string{"hq", "lab"}))
			return
		}
		r.Snapshot.Tunnels = r.Snapshot.Tunnels[i : i+1]
	}
	if q.History {
		r.Snapshot.Tunnels[0].History = []status.Point{{Time: 1}}
	}
	q.Answer(r)
}

func TestUsageNamesEveryCommandAndNoOther(t *testing.T) {
	code, out, errs := call(t, "--help")
	if code != ExitOK || errs != "" {
		t.Errorf("exit %d, stderr %q", code, errs)
	}
	listed := map[string]bool{}
	for _, line := range strings.Split(out, "\n") {
		if len(line) > 80 {
			t.Errorf("wider than 80 columns: %q", line)
		}
		if f := strings.Fields(line); strings.HasPrefix(line, "  ") && len(f) > 0 {
			listed[f[0]] = true
		}
	}
	for _, c := range table {
		if !listed[c.Name] || c.Short == "" {
			t.Errorf("%s is not listed", c.Name)
		}
		delete(listed, c.Name)
	}
	if len(listed) > 0 {
		t.Errorf("listed but not there: %v", listed)
	}
	if code, out, errs := call(t); code != ExitUsage || out != "" || !strings.Contains(errs, "usage:") {
		t.Errorf("alone: exit %d, stdout %q", code, out)
	}
}

func TestEachCommandExplainsItself(t *testing.T) {
	for _, c := range table {
		code, out, _ := call(t, c.Name, "--help")
		if code != ExitOK || !strings.Contains(out, "usage: greseal "+c.Name) {
			t.Errorf("%s --help: exit %d, %q", c.Name, code, out)
		}
		code, _, errs := call(t, c.Name, "--no-such-flag")
		if code != ExitUsage || !strings.Contains(errs, "no-such-flag") {
			t.Errorf("%s with an unknown flag: exit %d, %q", c.Name, code, errs)
		}
	}
}

func TestMistypedCommandGetsTheNearest(t *testing.T) {
	for word, want := range map[string]string{"staus": "status", "restat": "restart", "stauts": "status", "chek": "check", "dwon": "down", "gen-psk": "genpsk"} {
		code, _, errs := call(t, word)
		if code != ExitUsage || !strings.Contains(errs, "did you mean: greseal "+want+"\n") {
			t.Errorf("%s: exit %d, %q", word, code, errs)
		}
	}
	if _, _, errs := call(t, "frobnicate"); strings.Contains(errs, "did you mean") {
		t.Errorf("a far word got a guess: %q", errs)
	}
}

func TestWithoutADaemonTheErrorSaysHowToStartIt(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "none.sock")
	for _, args := range [][]string{{"status"}, {"watch"}, {"events"}, {"up", "hq"}, {"down", "--all"}, {"apply"}, {"mtu", "hq"}} {
		code, out, errs := call(t, append(args, "--socket", socket)...)
		if code != ExitFailed || out != "" || !strings.Contains(errs, "no daemon answers at "+socket+"; start it with: greseal run") {
			t.Errorf("%v: exit %d, %q %q", args, code, out, errs)
		}
	}
}

func TestSocketComesFromTheConfigEvenAWrongOne(t *testing.T) {
	socket, _ := daemonStub(t, show)
	file := filepath.Join(t.TempDir(), "g.toml")
	os.WriteFile(file, []byte("[daemon]\nstatus_socket = \""+socket+"\"\nnonsense = 1\n"), 0o600)
	if code, out, errs := call(t, "status", "-c", file); code != ExitOK || !strings.Contains(out, "hq") {
		t.Errorf("exit %d, %q %q", code, out, errs)
	}
}

func TestStatusShowsTheReasonAndJSONTheFacts(t *testing.T) {
	socket, _ := daemonStub(t, show)
	code, out, _ := call(t, "status", "--socket", socket)
	if code != ExitOK || !strings.Contains(out, "the peer does not answer; open UDP 500 there") {
		t.Errorf("exit %d:\n%s", code, out)
	}
	// Flags may follow the name.
	code, out, _ = call(t, "status", "lab", "--json", "--socket", socket)
	var s struct {
		Tunnels []struct {
			Name, Remedy string
			History      []struct{ Time int64 }
		}
	}
	if err := json.Unmarshal([]byte(out), &s); err != nil || code != ExitOK || len(s.Tunnels) != 1 || s.Tunnels[0].Remedy != "open UDP 500 there" || len(s.Tunnels[0].History) != 1 {
		t.Errorf("exit %d, %v:\n%s", code, err, out)
	}
	code, _, errs := call(t, "status", "nope", "--socket", socket)
	if code != ExitFailed || !strings.Contains(errs, "hq, lab") {
		t.Errorf("unknown tunnel: exit %d, %q", code, errs)
	}
}

func TestChangesNeedANameOrAll(t *testing.T) {
	socket, _ := daemonStub(t, func(q *status.Query) {
		q.Answer(status.Done(fmt.Sprintf("%s %q open=%v", q.Op, q.Tunnel, q.Open)))
	})
	for _, op := range []string{"up", "down", "restart"} {
		if code, _, errs := call(t, op, "--socket", socket); code != ExitUsage || !strings.Contains(errs, "--all") {
			t.Errorf("%s alone: exit %d, %q", op, code, errs)
		}
		if code, _, _ := call(t, op, "hq", "--all", "--socket", socket); code != ExitUsage {
			t.Errorf("%s with both: exit %d", op, code)
		}
	}
	code, out, _ := call(t, "down", "hq", "lab", "--open", "--socket", socket)
	if code != ExitOK || out != "down \"hq\" open=true\ndown \"lab\" open=true\n" {
		t.Errorf("exit %d, %q", code, out)
	}
	if _, out, _ := call(t, "restart", "--all", "--socket", socket); out != "restart \"\" open=false\n" {
		t.Errorf("restart --all: %q", out)
	}
}

func TestApplyPrintsWhyAConfigIsRefused(t *testing.T) {
	socket, _ := daemonStub(t, func(q *status.Query) {
		r := status.Fail("change the file", "the config was refused, the one before stays")
		r.Lines = []string{`g.toml:3:1: tunnel "hq": mtu: is too small; write 1400`}
		q.Answer(r)
	})
	code, _, errs := call(t, "apply", "--socket", socket)
	if code != ExitUsage || !strings.Contains(errs, "g.toml:3:1") || !strings.Contains(errs, "stays") {
		t.Errorf("exit %d, %q", code, errs)
	}
}

func TestEventsPrintOneALine(t *testing.T) {
	socket, s := daemonStub(t, func(q *status.Query) {})
	s.Publish(status.Event{Time: 1, Tunnel: "hq", Level: "info", Kind: "up", Text: "the tunnel is up"})
	for {
		code, out, errs := call(t, "events", "--socket", socket)
		if code != ExitOK {
			t.Fatal(errs)
		}
		if strings.Contains(out, "hq: the tunnel is up\n") {
			break
		}
	}
	_, out, _ := call(t, "events", "--json", "--socket", socket)
	var e map[string]any
	if err := json.Unmarshal([]byte(out), &e); err != nil || e["text"] != "the tunnel is up" {
		t.Errorf("%v: %q", err, out)
	}
}

func TestWatchWithoutATerminalWritesALineForEachChange(t *testing.T) {
	state, n := status.StateConnecting, 0
	socket, _ := daemonStub(t, func(q *status.Query) {
		r := snapshot()
		r.Snapshot.Tunnels = r.Snapshot.Tunnels[:1] // what is asked for
		r.Snapshot.Tunnels[0].State = state
		n++
		switch n {
		case 2:
			state = status.StateUp
		case 4:
			q.Answer(status.Fail("", "enough"))
			return
		}
		q.Answer(r)
	})
	code, out, errs := call(t, "watch", "hq", "--socket", socket)
	if code != ExitFailed || !strings.Contains(errs, "enough") {
		t.Errorf("exit %d, %q", code, errs)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 2 || !strings.HasSuffix(lines[0], "hq connecting, peer 192.0.2.1:4500") || !strings.HasSuffix(lines[1], "hq up, peer 192.0.2.1:4500") {
		t.Errorf("got %q", lines)
	}
}

func TestCheckTellsFineFromMistakes(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	_, psk, _ := call(t, "genpsk")
	good := write("good.toml", "[[tunnel]]\nname = \"hq\"\nremote = \"192.0.2.1\"\npsk = \""+strings.TrimSpace(psk)+"\"\n")
	code, out, errs := call(t, "check", "-c", good)
	if code != ExitOK || !strings.Contains(out, "fine, 1 tunnel, 0 warnings") {
		t.Errorf("good: exit %d, %q %q", code, out, errs)
	}
	bad := write("bad.toml", "[[tunnel]]\nname = \"hq\"\nremot = \"192.0.2.1\"\npsk = \"x\"\n")
	code, out, _ = call(t, "check", "-c", bad)
	if code != ExitUsage || !strings.Contains(out, bad+":3:") {
		t.Errorf("bad: exit %d, %q", code, out)
	}
	code, out, _ = call(t, "check", "-c", bad, "--json")
	var rows []problem
	if err := json.Unmarshal([]byte(out), &rows); err != nil || code != ExitUsage || len(rows) == 0 || rows[0].Remedy == "" {
		t.Errorf("bad as JSON: exit %d, %v, %q", code, err, out)
	}
	if code, out, _ := call(t, "check", "-c", filepath.Join(dir, "none.toml")); code != ExitUsage || !strings.Contains(out, "none.toml") {
		t.Errorf("no file: exit %d, %q", code, out)
	}
}

func TestGenPSKGives256BitsNeverTheSame(t *testing.T) {
	_, a, _ := call(t, "genpsk")
	_, b, _ := call(t, "genpsk")
	k, err := base64.StdEncoding.DecodeString(strings.TrimSpace(a))
	if err != nil || len(k) != 32 || a == b {
		t.Errorf("got %q and %q: %v", a, b, err)
	}
}

func TestMTUSumAddsUp(t *testing.T) {
	code, out, errs := call(t, "mtu", "--json", "--path", "1492", "--encap", "--key")
	if code != ExitOK {
		t.Fatal(errs)
	}
	var s sizes
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, l := range s.Sum {
		sum += l.Bytes
	}
	if sum != s.MTU || s.MTU < 1300 || s.MSS4 != s.MTU-40 || s.MSS6 != s.MTU-60 {
		t.Errorf("%+v adds up to %d", s, sum)
	}
	if code, _, errs := call(t, "mtu", "--esp", "rot13"); code != ExitUsage || !strings.Contains(errs, "rot13") {
		t.Errorf("unknown cipher: exit %d, %q", code, errs)
	}
	if code, _, _ := call(t, "mtu", "--path", "60"); code != ExitFailed {
		t.Errorf("tiny path: exit %d", code)
	}
	socket, _ := daemonStub(t, show)
	_, out, _ = call(t, "mtu", "hq", "--socket", socket)
	if !strings.Contains(out, "  1500  path MTU\n  -100  all headers\n") || !strings.Contains(out, "  1400  MTU of the interface") {
		t.Errorf("running tunnel:\n%s", out)
	}
	if code, _, _ := call(t, "mtu", "lab", "--socket", socket); code != ExitFailed {
		t.Errorf("tunnel without an interface: exit %d", code)
	}
	if code, _, _ := call(t, "mtu", "hq", "--path", "1400", "--socket", socket); code != ExitUsage {
		t.Errorf("name and numbers: exit %d", code)
	}
}

func TestProbeNamesWhatWorksAndWhatIsMissing(t *testing.T) {
	r := &kernel.Result{Kernel: "6.1.0",
		Features:   []kernel.Finding{{Name: "gre"}, {Name: "guard"}, {Name: "ip6gre", Problem: "the kernel has no GRE for IPv6 (module ip6_gre; OpenWrt: kmod-gre6)"}},
		Algorithms: []kernel.AlgorithmFinding{{Finding: kernel.Finding{Name: "aes128gcm16"}}},
	}
	print := func() string {
		var b strings.Builder
		if err := printProbe(&Env{Stdout: &b}, r); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	for _, want := range []string{"  works    gre\n", "  missing  ip6gre: the kernel has no GRE for IPv6", "  works    aes128gcm16\n", `"auto" takes the kernel here`} {
		if out := print(); !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	r.Features[0].Problem = "no module ip_gre"
	if out := print(); !strings.Contains(out, `"auto" takes userspace here: gre: no module ip_gre`) {
		t.Errorf("without GRE:\n%s", out)
	}
}

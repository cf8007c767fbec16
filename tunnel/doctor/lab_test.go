package doctor_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"greseal/build/lab/labnet"
)

// Inner addresses and the secret of the tunnel "t0" of all tests.
const (
	innerA = "10.255.0.2"
	innerB = "10.255.0.1"
	secret = "lab-Tq4nVw7PzLc2RkXs9Jd5"
)

// world is two daemons with a router between them.
type world struct {
	*labnet.Lab
	net  *labnet.Pair
	a, b *labnet.Greseal
	name string // what A's remote says

	answering net.PacketConn // of answer
	right     []string       // A's lines of a set-up with certificates, as they should be
}

// sideA and sideB are the tunnel as each side has it; later lines replace
// earlier ones with the same key.
func (w *world) sideA(lines ...string) string {
	return tunnel(append([]string{fmt.Sprintf("remote = %q", w.name), fmt.Sprintf("address = [\"%s/30\"]", innerA)}, lines...))
}

func (w *world) sideB(lines ...string) string {
	return tunnel(append([]string{fmt.Sprintf("remote = %q", labnet.AddrA), fmt.Sprintf("address = [\"%s/30\"]", innerB)}, lines...))
}

func tunnel(lines []string) string {
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "cert ") }) {
		lines = append([]string{fmt.Sprintf("psk = %q", secret)}, lines...)
	}
	var out []string
	at := make(map[string]int)
	for _, l := range lines {
		key, _, _ := strings.Cut(l, "=")
		if i, again := at[key]; again {
			out[i] = l
			continue
		}
		at[key] = len(out)
		out = append(out, l)
	}
	return labnet.Tunnel("t0", out...)
}

// set writes A's file again and applies it, as a person does.
func (w *world) set(lines ...string) {
	w.a.Write(w.sideA(lines...))
	w.a.Must("apply", "-c", w.a.Config)
}

// finding and report are what `greseal doctor --json` prints.
type finding struct {
	ID, Title, Verdict, Remedy string
	Evidence, Commands         []string
}

type report struct {
	Faults  int
	Tunnels []struct {
		Tunnel string
		First  string `json:"first_fault"`
		Steps  []finding
	}
}

func (f finding) text() string {
	return fmt.Sprintf("%s (%s): %s\nremedy: %s\n%s", f.ID, f.Verdict, strings.Join(f.Evidence, "\n"), f.Remedy, strings.Join(f.Commands, "\n"))
}

// doctor asks g's doctor and returns its report with the finding of each step.
func (w *world) doctor(g *labnet.Greseal, args ...string) (report, map[string]finding) {
	began := time.Now()
	r := g.Do("doctor", append([]string{"--json", "t0"}, args...)...)
	var rep report
	w.Must(json.Unmarshal([]byte(r.Stdout), &rep), "read greseal doctor --json: "+r.Out())
	w.Check(len(rep.Tunnels) == 1 && rep.Tunnels[0].Tunnel == "t0", "the report is not about t0: %s", r.Stdout)
	w.Check((r.Code == 1) == (rep.Faults > 0) && r.Code <= 1, "exit code %d with %d faults", r.Code, rep.Faults)
	w.Check(!strings.Contains(r.Out(), secret), "the report has the secret")
	w.Fact("doctor took %.1f s", time.Since(began).Seconds())
	steps := make(map[string]finding)
	for _, s := range rep.Tunnels[0].Steps {
		w.Check(s.Verdict != "fault" || s.Remedy != "" || len(s.Commands) > 0, "the fault %s has no remedy", s.ID)
		w.Check(s.Verdict != "skipped" || len(s.Evidence) > 0, "step %s was skipped without a reason", s.ID)
		steps[s.ID] = s
	}
	return rep, steps
}

// summary is the faults and warnings of a report.
func summary(r report) string {
	var out []string
	for _, s := range r.Tunnels[0].Steps {
		if s.Verdict == "fault" || s.Verdict == "warning" {
			out = append(out, s.text())
		}
	}
	return strings.Join(out, "\n")
}

// run carries out the commands that a remedy prints, in A's namespace.
func (w *world) run(f finding) {
	w.Check(len(f.Commands) > 0, "the remedy has no command: %s", f.text())
	for _, c := range f.Commands {
		if rest, own := strings.CutPrefix(c, "greseal "); own {
			c = w.Binary + " " + rest + " -c " + w.a.Config + " --socket " + w.a.Socket
		}
		w.net.A.MustRun("sh", "-c", c)
	}
}

// quoted finds what a remedy says to write: the first line "key = value" of
// that key.
func (w *world) quoted(f finding, key string) string {
	m := regexp.MustCompile(`\b(` + key + ` = (?:\[[^\]]*\]|"[^"]*"|[0-9]+))`).FindStringSubmatch(f.Remedy)
	w.Check(m != nil, "the remedy does not say what to write for %s: %s", key, f.Remedy)
	return m[1]
}

// nft loads rules into a namespace.
func nft(n *labnet.NS, rules string) { n.MustRun("nft", rules) }

// drop makes the router drop what matches between A and B.
func (w *world) drop(match, verdict string) {
	nft(w.net.Router, "add table inet fault; add chain inet fault forward { type filter hook forward priority 0; }; add rule inet fault forward "+match+" "+verdict)
}

// pass takes that back.
func (w *world) pass() { nft(w.net.Router, "delete table inet fault") }

// binary builds greseal once a test run. In the lab's machines the one at the
// top of the checkout is taken: building takes minutes there.
var binary = sync.OnceValues(func() (string, error) {
	if ready, err := filepath.Abs("../../greseal"); err == nil && emulated() {
		return ready, nil
	}
	dir, err := os.MkdirTemp("", "greseal-doctor")
	if err != nil {
		return "", err
	}
	built = dir
	path := filepath.Join(dir, "greseal")
	out, err := exec.Command("go", "build", "-o", path, "greseal").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build greseal: %w\n%s", err, out)
	}
	return path, nil
})

// built is binary's folder, to be removed; empty when nothing was built.
var built string

// TestMain lets six tests run side by side unless it is told otherwise: they
// mostly wait for answers that do not come.
func TestMain(m *testing.M) {
	flag.Parse()
	if p := flag.Lookup("test.parallel"); p.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) && !emulated() {
		p.Value.Set("6")
	}
	code := m.Run()
	if built != "" {
		os.RemoveAll(built)
	}
	os.Exit(code)
}

// emulated tells whether this is one of the lab's virtual machines, where
// everything takes about ten times longer (build/lab/vm).
func emulated() bool { return os.Getenv("LAB_VM") != "" }

// notEmulated skips what the lab's machines would only repeat, slowly.
func notEmulated(t *testing.T) {
	t.Helper()
	if emulated() {
		t.Skip("has nothing to do with the datapath")
	}
}

// play runs a story in a world of its own; several run side by side.
func play(t *testing.T, story func(*world)) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	datapath := "userspace"
	if labnet.KernelESP() {
		datapath = "kernel"
	}
	o, err := labnet.Run(t.TempDir(), "w", datapath, path, func(l *labnet.Lab) {
		story(&world{Lab: l, net: l.NewPair(), name: labnet.AddrB})
	})
	for _, f := range o.Facts {
		t.Log(f)
	}
	var skip *labnet.SkipError
	switch {
	case errors.As(err, &skip):
		t.Skip(skip.Reason)
	case err != nil:
		t.Error(err)
	}
}

// works waits until the tunnel carries packets and the doctor finds nothing.
func (w *world) works() {
	w.a.WaitUp("t0", 20*time.Second)
	w.net.A.WaitPing(innerB, 10*time.Second)
	r, _ := w.doctor(w.a)
	w.Check(r.Faults == 0, "after the remedy the doctor still finds:\n%s", summary(r))
}

// lan gives A an interface "lan" with an address.
func (w *world) lan(address string) {
	w.net.A.MustRun("ip", "link", "add", "lan", "type", "veth", "peer", "name", "lan-host")
	w.net.A.MustRun("ip", "address", "add", address, "dev", "lan")
	w.net.A.LinkUp("lan")
	w.net.A.LinkUp("lan-host")
}

// iptables gives A rules.
func (w *world) iptables(program string, rules ...string) {
	if _, err := exec.LookPath(program); err != nil {
		w.Skipf("%s is not installed", program)
	}
	for _, r := range rules {
		w.net.A.MustRun("sh", "-c", program+" "+r)
	}
}

// reason waits until g's status says text about the tunnel.
func (w *world) reason(g *labnet.Greseal, limit time.Duration, text string) {
	w.Wait(limit, text, func() bool { return strings.Contains(g.Tunnel("t0").Reason, text) })
}

// mendB gives B another file, and has A try again.
func (w *world) mendB(config string) {
	w.b.Write(config)
	w.b.Must("apply", "-c", w.b.Config)
	w.a.Must("restart", "t0")
}

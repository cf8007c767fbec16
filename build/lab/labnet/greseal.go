package labnet

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"greseal/tunnel/status"
)

// Greseal is a running greseal daemon.
type Greseal struct {
	Config string // path of its greseal.toml
	Socket string // path of its status socket
	ns     *NS
	proc   *Proc
}

// Tunnel is a [[tunnel]] as TOML: the name and further lines.
func Tunnel(name string, lines ...string) string {
	return "[[tunnel]]\nname = " + strconv.Quote(name) + "\n" + strings.Join(lines, "\n") + "\n"
}

// Greseal starts the daemon under test with this config; the datapath is the
// lab's unless the config has a [daemon] table of its own. It waits until the
// daemon answers.
func (n *NS) Greseal(config string) *Greseal {
	g := n.GresealLater(config)
	g.Start()
	return g
}

// GresealLater is Greseal that does not start it yet.
func (n *NS) GresealLater(config string) *Greseal {
	if n.lab.Binary == "" {
		n.lab.Failf("no greseal to test; use labtest run -greseal FILE")
	}
	g := &Greseal{ns: n, Socket: filepath.Join(n.lab.Dir, "greseal-"+n.Name+".sock")}
	n.lab.owns(g)
	g.Config = filepath.Join(n.lab.Dir, "greseal-"+n.Name+".toml")
	g.Write(config)
	return g
}

// owns has a daemon asked for everything when the lab closes.
func (l *Lab) owns(g *Greseal) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.daemons = append(l.daemons, g)
}

// Write replaces the config file, without telling the daemon.
func (g *Greseal) Write(config string) {
	if !strings.Contains(config, "[daemon]") {
		config = fmt.Sprintf("[daemon]\ndatapath = %q\nlog_level = \"debug\"\n\n", g.ns.lab.Datapath) + config
	}
	g.ns.lab.File(filepath.Base(g.Config), config)
}

// Launch runs the daemon, again after an end, and waits for nothing.
func (g *Greseal) Launch() {
	os.Remove(g.Socket)
	g.proc = g.ns.Start("greseal-"+g.ns.Name, g.ns.lab.Binary, "run", "-c", g.Config, "--socket", g.Socket)
}

// Start is Launch that waits until the daemon answers.
func (g *Greseal) Start() {
	g.Launch()
	g.WaitAnswer()
}

// WaitAnswer waits until the daemon answers on its socket.
func (g *Greseal) WaitAnswer() {
	g.ns.lab.Wait(60*time.Second, "greseal answers", func() bool {
		if !g.proc.Running() {
			g.ns.lab.Failf("greseal ended at once: %s", lastLines(g.proc.Output(), 8))
		}
		_, err := g.Ask(status.Request{Op: status.OpStatus})
		return err == nil
	})
}

// Reload is SIGHUP.
func (g *Greseal) Reload() { g.proc.Signal(syscall.SIGHUP) }

// Kill is SIGKILL.
func (g *Greseal) Kill() { g.proc.Kill() }

// Signal sends the daemon a signal.
func (g *Greseal) Signal(s syscall.Signal) { g.proc.Signal(s) }

// Running tells whether the daemon has not ended.
func (g *Greseal) Running() bool { return g.proc.Running() }

// LoggedAt waits for a line of the log with these words and returns the time
// the daemon wrote in it: the end of that millisecond, since what the daemon did
// just before may be of the same.
func (g *Greseal) LoggedAt(words string, limit time.Duration) time.Time {
	var at time.Time
	g.ns.lab.Wait(limit, "the log line "+words, func() bool {
		for line := range strings.Lines(g.Log()) {
			if strings.Contains(line, words) {
				stamp, _, _ := strings.Cut(strings.TrimPrefix(line, "time="), " ")
				var err error
				at, err = time.Parse(time.RFC3339Nano, stamp)
				at = at.Add(time.Millisecond)
				return err == nil
			}
		}
		g.ns.lab.Check(g.Running(), "greseal ended: %s", lastLines(g.Log(), 8))
		return false
	})
	return at
}

// Stop is SIGTERM; the daemon must end with 0 within 10 s.
func (g *Greseal) Stop() {
	g.lookAll()
	g.proc.Signal(syscall.SIGTERM)
	code := g.proc.WaitExit(10 * time.Second)
	g.ns.lab.Check(code == 0, "greseal ended with %d on SIGTERM: %s", code, lastLines(g.proc.Output(), 5))
}

// Pid of the daemon.
func (g *Greseal) Pid() int { return g.proc.Pid() }

// Log is what the daemon has logged so far.
func (g *Greseal) Log() string { return g.proc.Output() }

// Do runs a command of greseal against this daemon.
func (g *Greseal) Do(command string, args ...string) Result {
	argv := append([]string{g.ns.lab.Binary, command}, args...)
	return g.ns.Run(append(argv, "--socket", g.Socket)...)
}

// Later starts a command of greseal against this daemon and does not wait.
func (g *Greseal) Later(command string, args ...string) {
	argv := append([]string{g.ns.lab.Binary, command}, args...)
	g.ns.Start("greseal-command", append(argv, "--socket", g.Socket)...)
}

// Must is Do that ends the scenario unless the exit code is 0.
func (g *Greseal) Must(command string, args ...string) string {
	r := g.Do(command, args...)
	g.ns.lab.Check(r.Code == 0, "greseal %s %s: exit code %d: %s", command, strings.Join(args, " "), r.Code, lastLines(r.Out(), 6))
	return r.Stdout
}

// Status asks the daemon as `greseal status` does.
func (g *Greseal) Status() status.Snapshot {
	reply, err := g.Ask(status.Request{Op: status.OpStatus})
	g.ns.lab.Must(err, "ask greseal for its status")
	return *reply.Snapshot
}

// Ask sends the daemon a request, as its commands do, but without the cost of a
// process. What the reply holds is noted as seen; a refusal has a reply and an
// error.
func (g *Greseal) Ask(r status.Request) (*status.Reply, error) {
	client, err := status.Dial(g.Socket)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	reply, err := client.Call(r)
	if reply != nil {
		g.ns.lab.seen.Reply(reply)
	}
	return reply, err
}

// lookAll asks a daemon that still runs for everything it can tell, the jobs of
// doctor among it, for the account of what was seen.
func (g *Greseal) lookAll() {
	if g.proc == nil || !g.proc.Running() {
		return
	}
	for _, op := range []string{status.OpStatus, status.OpEvents, status.OpHandshakes} {
		if _, err := g.Ask(status.Request{Op: op, Last: 1000, History: true}); err != nil {
			return
		}
	}
	for job := 1; ; job++ {
		if _, err := g.Ask(status.Request{Op: status.OpDoctorPoll, Job: job}); err != nil {
			return
		}
	}
}

// Tunnel is the status of one tunnel.
func (g *Greseal) Tunnel(name string) status.Tunnel {
	for _, t := range g.Status().Tunnels {
		if t.Name == name {
			return t
		}
	}
	g.ns.lab.Failf("status has no tunnel %q", name)
	return status.Tunnel{}
}

// WaitUp waits until a tunnel is up.
func (g *Greseal) WaitUp(name string, limit time.Duration) status.Tunnel {
	return g.WaitState(name, "up", limit)
}

// WaitState waits until a tunnel is in a state, and shows on failure why it is
// not.
func (g *Greseal) WaitState(name, state string, limit time.Duration) status.Tunnel {
	limit = time.Duration(float64(limit) * g.ns.lab.patience())
	begin := time.Now()
	for {
		asked := time.Now()
		t := g.Tunnel(name)
		if t.State == state {
			g.ns.lab.Logf("tunnel %s is %s after %v", name, state, time.Since(begin).Round(time.Millisecond))
			return t
		}
		g.ns.lab.Check(time.Since(begin) < limit, "tunnel %s is %q and not %q after %v; it says: %s; %s; last log lines:\n%s",
			name, t.State, state, limit, t.Reason, t.Remedy, lastLines(g.Log(), 8))
		pause(asked)
	}
}

// RSS is the daemon's resident memory in kB.
func (g *Greseal) RSS() int {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.Pid()))
	g.ns.lab.Must(err, "read the daemon's memory")
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.Atoi(strings.Fields(rest)[0])
			return kb
		}
	}
	g.ns.lab.Failf("no VmRSS in /proc")
	return 0
}

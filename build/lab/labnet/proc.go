package labnet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Proc is a process running in a namespace.
type Proc struct {
	Name string
	Log  string // path of the file with its stdout and stderr
	lab  *Lab
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// Start runs a command in the namespace; its output goes to NAME.log. It is
// killed, if still there, when the lab closes.
func (n *NS) Start(name string, argv ...string) *Proc {
	p := &Proc{Name: name, Log: filepath.Join(n.lab.Dir, name+".log"), lab: n.lab, done: make(chan struct{})}
	out, err := os.OpenFile(p.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	n.lab.Must(err, "open log")
	defer out.Close()
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = sysProc()
	p.cmd.Dir = n.lab.Dir
	n.Must("start "+strings.Join(argv, " "), p.cmd.Start)
	n.lab.Logf("%s: started %s", n.Name, strings.Join(argv, " "))
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	n.lab.mu.Lock()
	n.lab.procs = append(n.lab.procs, p)
	n.lab.mu.Unlock()
	return p
}

// Pid is the process's id.
func (p *Proc) Pid() int { return p.cmd.Process.Pid }

// Running tells whether it has not ended yet.
func (p *Proc) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Signal sends a signal to the process alone.
func (p *Proc) Signal(s syscall.Signal) { p.cmd.Process.Signal(s) }

// WaitExit waits for the end and returns the exit code; -1 for a signal.
func (p *Proc) WaitExit(limit time.Duration) int {
	select {
	case <-p.done:
	case <-time.After(limit):
		p.lab.Failf("%s did not end within %v", p.Name, limit)
	}
	return p.cmd.ProcessState.ExitCode()
}

// Kill ends the process and its group and waits until it is gone.
func (p *Proc) Kill() {
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}

// Output is what the process has written so far.
func (p *Proc) Output() string {
	data, _ := os.ReadFile(p.Log)
	return string(data)
}

// Result is what a command gave back.
type Result struct {
	Code           int
	Stdout, Stderr string
}

// Out is stdout and stderr in one.
func (r Result) Out() string { return r.Stdout + r.Stderr }

// Run runs a command in the namespace to its end, at most 60 s.
func (n *NS) Run(argv ...string) Result {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = sysProc()
	cmd.WaitDelay = time.Second
	n.Must("run "+strings.Join(argv, " "), cmd.Start)
	err := cmd.Wait()
	r := Result{Code: cmd.ProcessState.ExitCode(), Stdout: stdout.String(), Stderr: stderr.String()}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		r.Stderr += fmt.Sprintf("\n%v", err)
	}
	n.lab.Logf("%s: %s -> %d\n%s", n.Name, strings.Join(argv, " "), r.Code, r.Out())
	return r
}

// MustRun is Run that ends the scenario unless the exit code is 0.
func (n *NS) MustRun(argv ...string) string {
	r := n.Run(argv...)
	n.lab.Check(r.Code == 0, "%s: %s: exit code %d: %s", n.Name, strings.Join(argv, " "), r.Code, lastLines(r.Out(), 6))
	return r.Stdout
}

// lastLines returns the last n lines of s.
func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

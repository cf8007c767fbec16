package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"greseal/build/lab/scenario"
	"greseal/build/lab/seen"
)

// suite is make test or make owner: every step adds rows to one table and none ends
// the run.
type suite struct {
	ctx   context.Context
	root  string // the checkout
	logs  string // .lab/
	start time.Time

	mu   sync.Mutex
	rows []Row
	took []string // how long each step was at it

	skips  []skippedTest // unit tests skipped on this machine
	target string        // of the Makefile: scenario.Test or scenario.Owner

	seen  seen.Set        // what the scenarios saw of the status schema
	whole map[string]bool // steps whose scenarios were all played
}

// part is one step at work: its rows stand together in the table.
type part struct {
	*suite
	order int
	aside bool // its commands take the processor time that others leave
}

// step is a part of the suite that can be chosen by name.
type step struct {
	name string
	run  func(*part)
}

// phases follow each other; the lanes of a phase run side by side: one that
// computes and one that waits often. Of the virtual machines nothing may take the
// time that their kernels count on, so what computes beside them does so aside.
// What a step reads of an earlier one is said there. The order here is that of the
// table.
var phases = [][][]step{
	{{{"setup", (*part).setup}, {"build", (*part).build}, {"time", (*part).time}}},
	{
		{{"source", (*part).source}, {"unit", (*part).unit}},
		{{"lab", (*part).lab}, {"demo", (*part).demo}},
	},
	{
		{{"mips", aside((*part).mips)}, {"cross", aside((*part).cross)}, {"fuzz", aside((*part).fuzz)}},
		{{"vm", (*part).vm}},
	},
	{{{"malta", (*part).malta}, {"fields", (*part).fields}}},
}

// aside has a step take only the processor time that others leave.
func aside(run func(*part)) func(*part) {
	return func(s *part) {
		s.aside = true
		run(s)
	}
}

// ownerPhases are make owner's.
var ownerPhases = [][][]step{
	{{{"setup", (*part).setup}, {"build", (*part).build}}},
	{{{"unit", (*part).unit}}, {{"lab", (*part).lab}}},
	{{{"vm", (*part).vm}}},
}

// ownerPackages have tests of an owner's day beside the scenarios; those of
// doctor break one thing after the other. Those of platform are here for the
// virtual machines, where make test has time for a few.
var ownerPackages = []string{"./tunnel/doctor", "./tunnel/mtu", "./tunnel/cli", "./tunnel/peerconf", "./tunnel/status", "./platform", "./platform/kernel"}

func suiteCommand(args []string) int {
	flags := flag.NewFlagSet("labtest suite", flag.ExitOnError)
	only := flags.String("only", "", "only these steps, comma between: setup, build, time, source, unit, lab, demo, mips, cross, fuzz, vm, malta, fields")
	owner := flags.Bool("owner", false, "what make owner plays")
	flags.Parse(args)
	if *owner {
		return playSuite(ownerPhases, ".lab", scenario.Owner, *only)
	}
	return playSuite(phases, ".lab", scenario.Test, *only)
}

// playSuite plays steps, all or only some, and prints the table. Logs go to the
// folder, which is emptied first.
func playSuite(phases [][][]step, logs, target, only string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root, err := os.Getwd()
	if err != nil {
		fmt.Fprintln(os.Stderr, "labtest:", err)
		return 1
	}
	s := &suite{ctx: ctx, root: root, logs: filepath.Join(root, logs), start: time.Now(), target: target, whole: map[string]bool{}}
	if err := os.RemoveAll(s.logs); err != nil {
		fmt.Fprintln(os.Stderr, "labtest:", err)
		return 1
	}
	if err := os.MkdirAll(s.logs, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, "labtest:", err)
		return 1
	}
	order := 0
	for _, lanes := range phases {
		var wait sync.WaitGroup
		for _, lane := range lanes {
			first := order
			order += len(lane)
			wait.Go(func() {
				for i, st := range lane {
					if only != "" && !slices.Contains(strings.Split(only, ","), st.name) {
						continue
					}
					p := &part{suite: s, order: first + i}
					if ctx.Err() != nil {
						p.add(Row{Scenario: st.name, Result: "skip", Note: "interrupted"})
						continue
					}
					begin := time.Now()
					st.run(p)
					s.mu.Lock()
					s.took = append(s.took, fmt.Sprintf("%s %.0f s", st.name, time.Since(begin).Seconds()))
					s.mu.Unlock()
				}
			})
		}
		wait.Wait()
	}
	return s.table(os.Stdout)
}

// add puts a row into the table and shows it as progress.
func (s *part) add(r Row) {
	if r.Peer == "" {
		r.Peer = "-"
	}
	if r.Datapath == "" {
		r.Datapath = "-"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r.order = s.order
	s.rows = append(s.rows, r)
	line := fmt.Sprintf("[%4.0f s] %-4s %s", time.Since(s.start).Seconds(), r.Result, r.Scenario)
	if r.Peer != "-" || r.Datapath != "-" {
		line += " × " + r.Peer + " × " + r.Datapath
	}
	fmt.Println(line)
}

// command runs a program in the checkout with its output in a log file and
// returns the output. env is added to the environment.
func (s *part) command(log string, limit time.Duration, env []string, argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(s.ctx, limit)
	defer cancel()
	if s.aside {
		argv = append([]string{"nice", "-n", "15"}, argv...)
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = s.root
	cmd.Env = append(os.Environ(), env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	if ctx.Err() == context.DeadlineExceeded {
		err = fmt.Errorf("not done after %v", limit)
	}
	path := filepath.Join(s.logs, log)
	os.MkdirAll(filepath.Dir(path), 0o755)
	if werr := os.WriteFile(path, out.Bytes(), 0o644); werr != nil && err == nil {
		err = werr
	}
	return out.String(), err
}

// check runs a command that is one row of the table.
func (s *part) check(name string, limit time.Duration, env []string, argv ...string) (string, bool) {
	begin := time.Now()
	log := strings.Trim(unfit.ReplaceAllString(strings.ToLower(name), "-"), "-") + ".log"
	out, err := s.command(log, limit, env, argv...)
	row := Row{Scenario: name, Result: "pass", Seconds: time.Since(begin).Seconds()}
	if err != nil {
		row.Result, row.Note = "FAIL", fmt.Sprintf("%v: %s (.lab/%s)", err, tail(out, 3), log)
	}
	s.add(row)
	return out, err == nil
}

// tail is the last n lines of s in one.
func tail(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], " | ")
}

func isRoot() bool { return os.Getuid() == 0 }

// have tells whether all programs are there, and which is not.
func have(programs ...string) (missing string, ok bool) {
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			return p, false
		}
	}
	return "", true
}

// setup reports what build/lab/setup did before this program was started.
func (s *part) setup() {
	row := Row{Scenario: "set-up: the packages of build/lab/packages.txt", Result: "pass"}
	switch os.Getenv("LAB_SETUP") {
	case "0":
	case "3":
		row.Result, row.Note = "skip", "no Debian or Ubuntu; what is missing is skipped below"
	case "":
		row.Result, row.Note = "skip", "labtest was not started by build/lab/suite"
	default:
		row.Result, row.Note = "FAIL", "some packages are missing; run build/lab/setup as root and read what it says"
		if !isRoot() {
			row.Result = "skip"
		}
	}
	s.add(row)

	vectors := Row{Scenario: "reference vectors (GRESEAL_VECTORS)", Result: "pass", Note: os.Getenv("GRESEAL_VECTORS")}
	if vectors.Note == "" {
		vectors.Result, vectors.Note = "skip", "GRESEAL_VECTORS is not set; the tests that need them are skipped"
		if _, err := os.Stat("../shared/vectors"); err == nil && os.Getenv("CI") == "true" {
			vectors.Result, vectors.Note = "FAIL", "GRESEAL_VECTORS is not set although ../shared/vectors is there"
		}
	} else if _, err := os.Stat(vectors.Note); err != nil {
		vectors.Result, vectors.Note = "FAIL", err.Error()
	}
	s.add(vectors)
}

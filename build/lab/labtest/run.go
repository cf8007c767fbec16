package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"greseal/build/lab/labnet"
	"greseal/build/lab/scenario"
)

// Row is one line of the table.
type Row struct {
	Scenario string
	Peer     string
	Datapath string
	Result   string // pass, FAIL, skip
	Note     string // the reason, or the facts noted
	Seconds  float64
	Seen     []string `json:",omitempty"` // of the status schema, see package seen

	order int // of its step in the table
}

// job is a scenario on one datapath.
type job struct {
	scenario.Scenario
	path string
}

// jobs lists what is to be played.
func jobs(where, path string, words []string) []job {
	var list []job
	for _, s := range scenario.All() {
		if !fits(s.Where, where) {
			continue
		}
		paths := s.Paths
		if len(paths) == 0 {
			paths = []string{"-"}
		}
		for _, p := range paths {
			if path != "" && p != path && p != "-" || where == "host" && p == "kernel" {
				continue
			}
			if where == "vm" && p == "userspace" && s.Where == scenario.Anywhere && path == "" {
				continue // played on this machine, faster
			}
			text := strings.Join([]string{s.Name, s.Peer, p}, " ")
			if matches(text, words) {
				list = append(list, job{s, p})
			}
		}
	}
	return list
}

// fits tells whether a scenario is played on "host", "vm" or "router"; "" is
// all of them.
func fits(w scenario.Where, where string) bool {
	switch where {
	case "host":
		return w == scenario.Anywhere || w == scenario.Host
	case "vm":
		return w == scenario.Anywhere || w == scenario.VM
	case "router":
		return w == scenario.Router
	}
	return true
}

func matches(text string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(strings.ToLower(text), strings.ToLower(w)) {
			return false
		}
	}
	return true
}

var unfit = regexp.MustCompile(`[^a-z0-9]+`)

// folder is where a row's logs and captures are, below -dir.
func folder(r Row) string {
	return strings.Trim(unfit.ReplaceAllString(strings.ToLower(r.Scenario+" "+r.Peer+" "+r.Datapath), "-"), "-")
}

// saveLogs copies what helps to understand a failure. An error here would
// only hide that failure, so what cannot be copied is left out.
func saveLogs(from, to string) {
	filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !slices.Contains([]string{".log", ".pcap", ".conf", ".toml"}, filepath.Ext(path)) {
			return nil
		}
		if data, err := os.ReadFile(path); err == nil {
			target := filepath.Join(to, strings.TrimPrefix(path, from))
			os.MkdirAll(filepath.Dir(target), 0o755)
			os.WriteFile(target, data, 0o644)
		}
		return nil
	})
}

// play runs one job and returns its row. What fails is played a second time,
// since a busy machine starts a peer late or drops a packet of a capture; the
// row then tells what the first time was like. A leak is never tried again, nor is
// what takes long.
func play(j job, dir, binary string) Row {
	row, err := playOnce(j, dir, binary)
	if leak := (*labnet.LeakError)(nil); row.Result != "FAIL" || errors.As(err, &leak) || row.Seconds > 300 {
		return row
	}
	again, _ := playOnce(j, dir, binary)
	if again.Note != row.Note {
		again.Note = strings.TrimPrefix(again.Note+", at the second try; the first: "+row.Note, ", ")
	}
	return again
}

func playOnce(j job, dir, binary string) (Row, error) {
	begin := time.Now()
	row := Row{Scenario: j.Name, Peer: j.Peer, Datapath: j.path, Result: "pass"}
	o, err := labnet.Run(dir, folder(row), j.path, binary, j.Run)
	row.Note, row.Seconds, row.Seen = strings.Join(o.Facts, ", "), time.Since(begin).Seconds(), o.Seen
	skip := (*labnet.SkipError)(nil)
	switch {
	case errors.As(err, &skip):
		row.Result, row.Note = "skip", skip.Reason
	case err != nil:
		row.Result, row.Note = "FAIL", err.Error()
	}
	return row, err
}

// playAll runs the jobs, n at a time, those that measure time alone at the
// end, and calls each with every row as it comes.
func playAll(list []job, n int, dir, binary string, each func(Row)) {
	var mu sync.Mutex
	var wait sync.WaitGroup
	slots := make(chan struct{}, max(n, 1))
	one := func(j job) {
		row := play(j, dir, binary)
		mu.Lock()
		defer mu.Unlock()
		each(row)
	}
	for _, j := range list {
		if j.Alone {
			continue
		}
		slots <- struct{}{}
		wait.Add(1)
		go func() {
			defer func() { <-slots; wait.Done() }()
			one(j)
		}()
	}
	wait.Wait()
	for _, j := range list {
		if j.Alone {
			one(j)
		}
	}
}

func runCommand(args []string) int {
	flags := flag.NewFlagSet("labtest run", flag.ExitOnError)
	binary := flags.String("greseal", "", "the greseal under test")
	dir := flags.String("dir", filepath.Join(os.TempDir(), "greseal-lab"), "folder for logs and captures")
	out := flags.String("out", "", "append the results to this file, one JSON object a line")
	save := flags.String("save", "", "copy the logs and captures of failed scenarios below this folder")
	parallel := flags.Int("j", 4, "scenarios at the same time")
	path := flags.String("path", "", "only this datapath")
	where := flags.String("where", "", "host, vm or router; default: what the kernel here has")
	measuring := flags.Bool("measuring", true, "with =false leave out what measures time; given alone, play only that")
	interop := flags.Bool("interop", false, "the rows of make interop")
	second := flags.Bool("second", false, "only what may behave differently on another kernel")
	target := flags.String("target", "", "test or owner: only what this target of the Makefile plays")
	flags.Parse(args)
	if os.Getuid() != 0 {
		fmt.Fprintln(os.Stderr, "labtest: network namespaces need root; run it with sudo")
		return 1
	}
	if *where == "" {
		*where = "host"
		if labnet.KernelESP() {
			*where = "vm"
		}
	}
	if *binary != "" {
		absolute, err := filepath.Abs(*binary)
		if err != nil {
			fmt.Fprintln(os.Stderr, "labtest:", err)
			return 1
		}
		*binary = absolute
	}
	// Ctrl-C: leaving is enough, because namespaces and their processes end
	// with this process (labnet's doc).
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() { <-interrupted; os.Exit(130) }()

	list := jobs(*where, *path, flags.Args())
	list = slices.DeleteFunc(list, func(j job) bool { return *interop != j.Interop && !(j.Interop && j.Quick) })
	list = slices.DeleteFunc(list, func(j job) bool { return !j.PlayedBy(*target, j.path, *second) })
	flags.Visit(func(f *flag.Flag) {
		if f.Name == "measuring" {
			list = slices.DeleteFunc(list, func(j job) bool { return j.Alone != *measuring })
		}
	})
	slices.SortStableFunc(list, func(a, b job) int { // a long one that is begun last has the rest wait for it
		switch {
		case a.Long() == b.Long():
			return 0
		case a.Long():
			return -1
		}
		return 1
	})
	if len(list) == 0 {
		fmt.Fprintln(os.Stderr, "labtest: no scenario has these words; see labtest list")
		return 2
	}
	code := 0
	playAll(list, *parallel, *dir, *binary, func(r Row) {
		fmt.Printf("%-4s %6.1f s  %s × %s × %s", r.Result, r.Seconds, r.Scenario, r.Peer, r.Datapath)
		if r.Note != "" {
			fmt.Printf("  %s", r.Note)
		}
		fmt.Println()
		if r.Result == "FAIL" {
			code = 1
			if *save != "" {
				saveLogs(filepath.Join(*dir, folder(r)), filepath.Join(*save, folder(r)))
			}
		}
		if *out != "" {
			if err := appendRow(*out, r); err != nil {
				fmt.Fprintln(os.Stderr, "labtest:", err)
				code = 1
			}
		}
	})
	return code
}

// appendRow writes a row to a file so that whoever started this on another
// machine can read it.
func appendRow(file string, r Row) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(append(data, '\n'))
	return err
}

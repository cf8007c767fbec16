package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"greseal/build/lab/scenario"
)

// source holds the sources to their form: gofmt, go vet, staticcheck, no
// unreachable code, and generated code that is current.
func (s *part) source() {
	var files []string
	filepath.WalkDir(s.root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != s.root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "out") {
			return filepath.SkipDir
		}
		if err == nil && strings.HasSuffix(path, ".go") {
			files = append(files, path)
		}
		return nil
	})
	begin := time.Now()
	out, err := s.command("gofmt.log", time.Minute, nil, append([]string{"gofmt", "-l"}, files...)...)
	row := Row{Scenario: "gofmt", Result: "pass", Seconds: time.Since(begin).Seconds()}
	if err != nil || strings.TrimSpace(out) != "" {
		row.Result, row.Note = "FAIL", "not formatted: "+out
	}
	s.add(row)
	s.check("go vet", 5*time.Minute, nil, "go", "vet", "./...")
	s.check("staticcheck", 5*time.Minute, nil, "go", "tool", "staticcheck", "./...")
	s.check("unreachable code", 5*time.Minute, nil, "build/unreachable")
	s.generated()
}

// generated runs go generate in a copy of the sources and compares.
func (s *part) generated() {
	row := Row{Scenario: "generated code is current", Result: "pass"}
	begin := time.Now()
	err := func() error {
		tmp, err := os.MkdirTemp("", "greseal-generate")
		if err != nil {
			return err
		}
		defer os.RemoveAll(tmp)
		script := `set -e; tar -cf - --exclude=./.git --exclude=./out --exclude=./.lab . | tar -xf - -C "$0"; cd "$0"; go generate ./...; find . -name '*_gen*.go'`
		out, err := s.command("generate.log", 3*time.Minute, nil, "bash", "-c", script, tmp)
		if err != nil {
			return fmt.Errorf("%w: %s", err, tail(out, 3))
		}
		n := 0
		for _, line := range strings.Fields(out) {
			if !strings.HasPrefix(line, "./") || !strings.HasSuffix(line, ".go") {
				continue
			}
			made, err := os.ReadFile(filepath.Join(tmp, line))
			if err != nil {
				return err
			}
			kept, err := os.ReadFile(filepath.Join(s.root, line))
			if err != nil || string(kept) != string(made) {
				return fmt.Errorf("%s is not what its source generates; run make generate and commit the result", line)
			}
			n++
		}
		row.Note = fmt.Sprintf("%d files", n)
		return nil
	}()
	if err != nil {
		row.Result, row.Note = "FAIL", err.Error()
	}
	row.Seconds = time.Since(begin).Seconds()
	s.add(row)
}

// skippedTest is a test that could not be run on this machine.
type skippedTest struct {
	pkg, test, reason string
}

// event is a line of go test -json.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
	Elapsed float64

	ImportPath  string // of build-output
	FailedBuild string // package whose build-output says why
}

// tally is what the events of one package amount to.
type tally struct {
	passed   []string
	skipped  []skippedTest
	ok       bool // the package's own verdict
	none     bool // no test files
	failures []string
	why      []string // output of the failed tests, or of the failed build
	seconds  float64
}

// count reads go test -json output.
func count(out string) map[string]*tally {
	packages := map[string]*tally{}
	said := map[string][]string{}
	built := map[string][]string{}
	scanner := bufio.NewScanner(strings.NewReader(out))
	scanner.Buffer(nil, 16<<20)
	for scanner.Scan() {
		var e event
		if json.Unmarshal(scanner.Bytes(), &e) != nil {
			continue
		}
		if e.Action == "build-output" {
			built[e.ImportPath] = append(built[e.ImportPath], strings.TrimRight(e.Output, "\n"))
		}
		if e.Package == "" {
			continue
		}
		t := packages[e.Package]
		if t == nil {
			t = &tally{}
			packages[e.Package] = t
		}
		key := e.Package + " " + e.Test
		switch {
		case e.Action == "output":
			said[key] = append(said[key], strings.TrimRight(e.Output, "\n"))
			if e.Test == "" && strings.Contains(e.Output, "[no test files]") {
				t.none = true
			}
		case e.Test == "":
			t.ok = t.ok || e.Action == "pass" || e.Action == "skip"
			if e.Action == "fail" {
				t.ok = false
				t.why = append(t.why, built[e.FailedBuild]...)
				if len(t.failures) == 0 { // TestMain, or a panic
					t.why = append(t.why, said[key]...)
				}
			}
			t.seconds = e.Elapsed
		case e.Action == "pass":
			t.passed = append(t.passed, e.Test)
		case e.Action == "fail":
			t.failures = append(t.failures, e.Test)
			t.why = append(t.why, said[key]...)
		case e.Action == "skip":
			t.skipped = append(t.skipped, skippedTest{e.Package, e.Test, reason(said[key])})
		}
	}
	return packages
}

// reason finds what a test gave to t.Skip among its lines.
func reason(lines []string) string {
	for _, l := range slices.Backward(lines) {
		if _, text, found := strings.Cut(l, ".go:"); found {
			if _, text, found = strings.Cut(text, ": "); found {
				return strings.TrimSpace(text)
			}
		}
	}
	return "no reason given"
}

// unit runs the Go tests, those of packages with goroutines with the race
// detector.
func (s *part) unit() {
	var plain, race []string
	argv := []string{"go", "list", "./..."}
	if s.target == scenario.Owner {
		argv = append(argv[:2], ownerPackages...)
	}
	out, err := s.command("packages.log", time.Minute, nil, argv...)
	if err != nil {
		s.add(Row{Scenario: "unit tests", Result: "FAIL", Note: tail(out, 3)})
		return
	}
	_, gcc := have("gcc")
	for _, p := range strings.Fields(out) {
		if gcc && (strings.Contains(p, "/tunnel") || strings.Contains(p, "/platform")) {
			race = append(race, p)
		} else {
			plain = append(plain, p)
		}
	}
	s.skips = append(s.goTests("unit-tests.log", "unit tests", append([]string{"go", "test", "-json"}, plain...), nil),
		s.goTests("race-tests.log", "unit tests, race detector", append([]string{"go", "test", "-json", "-race"}, race...), nil)...)
}

// goTests runs go test -json, adds a row a package and returns which tests were
// skipped: the virtual machines may be able to run them.
func (s *part) goTests(log, name string, argv, env []string) (skipped []skippedTest) {
	if !slices.ContainsFunc(argv, isPackage) {
		return nil
	}
	out, err := s.command(log, 30*time.Minute, env, argv...)
	packages := count(out)
	names := make([]string, 0, len(packages))
	failed := false
	for p := range packages {
		names = append(names, p)
	}
	slices.Sort(names)
	for _, p := range names {
		t := packages[p]
		if t.none {
			continue
		}
		failed = failed || !t.ok
		first := ""
		if !t.ok || len(t.failures) > 0 {
			// A second try alone, on a machine that has less to do; the row
			// tells what the first was like.
			first = strings.Join(t.failures, " ")
			again := append(slices.DeleteFunc(slices.Clone(argv), isPackage), "-count=1", p)
			out, _ := s.command("again-"+log, 30*time.Minute, env, again...)
			if u := count(out)[p]; u != nil {
				t = u
			}
		}
		skipped = append(skipped, t.skipped...)
		row := t.row(name + ": " + strings.TrimPrefix(p, "greseal/"))
		if first != "" && row.Result == "pass" {
			row.Note += ", at the second try; the first failed in " + first
		}
		s.add(row)
	}
	if err != nil && !failed {
		s.add(Row{Scenario: name, Result: "FAIL", Note: fmt.Sprintf("%v: %s (.lab/%s)", err, tail(out, 5), log)})
	}
	return skipped
}

// isPackage tells packages and their patterns from go test's other arguments.
func isPackage(arg string) bool {
	return strings.HasPrefix(arg, "greseal") || strings.HasPrefix(arg, "./")
}

// row is a package's line of the table. Skipped tests get lines of their own.
func (t *tally) row(name string) Row {
	r := Row{Scenario: name, Result: "pass", Note: fmt.Sprintf("%d tests", len(t.passed)), Seconds: t.seconds}
	if len(t.skipped) > 0 {
		r.Note += fmt.Sprintf(", %d skipped", len(t.skipped))
	}
	if !t.ok || len(t.failures) > 0 {
		r.Result = "FAIL"
		r.Note = strings.Join(t.failures, " ") + "\n" + lastLines(strings.Join(t.why, "\n"), 25)
	}
	return r
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// fuzzTime is how long each target runs.
const fuzzTime = "4s"

// fuzz finds every fuzz target and runs it for a short while.
func (s *part) fuzz() {
	out, err := s.command("fuzz-list.log", 5*time.Minute, nil, "go", "test", "-json", "-list", "^Fuzz", "./...")
	if err != nil {
		s.add(Row{Scenario: "fuzz targets", Result: "FAIL", Note: tail(out, 3)})
		return
	}
	type target struct{ pkg, name string }
	var targets []target
	scanner := bufio.NewScanner(strings.NewReader(out))
	for scanner.Scan() {
		var e event
		if json.Unmarshal(scanner.Bytes(), &e) == nil && e.Action == "output" && strings.HasPrefix(e.Output, "Fuzz") {
			targets = append(targets, target{e.Package, strings.TrimSpace(e.Output)})
		}
	}
	if len(targets) == 0 {
		s.add(Row{Scenario: "fuzz targets", Result: "FAIL", Note: "there are none"})
	}
	for _, t := range targets {
		s.add(s.fuzzTarget(t.pkg, t.name))
	}
}

// fuzzTarget runs one target. The end of the time it was given can come out of
// go test as an error of its own, where it meets a worker in the middle of an
// input: that fails nothing, since a failing input is always named.
func (s *part) fuzzTarget(pkg, name string) Row {
	short := strings.TrimPrefix(pkg, "greseal/")
	row := Row{Scenario: "fuzz " + fuzzTime + ": " + short + " " + name, Result: "pass"}
	begin := time.Now()
	log := "fuzz-" + strings.ReplaceAll(short, "/", "-") + "-" + name + ".log"
	out, err := s.command(log, 3*time.Minute, nil, "go", "test", "-run", "^$", "-fuzz", "^"+name+"$", "-fuzztime", fuzzTime, "-fuzzminimizetime", "10x", pkg)
	row.Seconds = time.Since(begin).Seconds()
	if err != nil && !timeUp.MatchString(out) {
		row.Result, row.Note = "FAIL", fmt.Sprintf("%v (.lab/%s)\n%s", err, log, lastLines(out, 15))
	}
	return row
}

// timeUp is what go test says of a target that failed by nothing else.
var timeUp = regexp.MustCompile(`(?m)^--- FAIL: Fuzz\w+ \([0-9.]+s\)\n    context deadline exceeded\nFAIL$`)

// mips runs the unit tests of what handles bytes and words on a big-endian
// 32-bit machine, under qemu-user, which has no namespaces.
func (s *part) mips() {
	const name = "unit tests, big-endian mips"
	if missing, ok := have("qemu-mips-static"); !ok {
		s.add(Row{Scenario: name, Result: "skip", Note: missing + " is not installed; run build/lab/setup"})
		return
	}
	// What is skipped under emulation says nothing new.
	s.goTests("mips-tests.log", name, []string{"go", "test", "-json", "-short", "-timeout", "25m", "-exec", "qemu-mips-static",
		"./crypto/...", "./ikev2/...", "./platform/gre", "./tunnel", "./tunnel/config", "./tunnel/mtu", "./tunnel/peerconf", "./tunnel/status"}, []string{"GOOS=linux", "GOARCH=mips", "GOMIPS=softfloat", "CGO_ENABLED=0"})
}

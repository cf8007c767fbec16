package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"greseal/build/lab/scenario"
)

// build makes greseal for this machine, which most of the rest plays with.
func (s *part) build() {
	s.check("build for this machine", 10*time.Minute, nil, "make", "-s", "greseal")
}

// cross builds for every target, and measures.
func (s *part) cross() {
	begin := time.Now()
	out, err := s.command("size.log", 30*time.Minute, nil, "make", "-s", "size")
	row := Row{Scenario: "cross build and size", Result: "pass", Seconds: time.Since(begin).Seconds()}
	targets := 0
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if strings.Contains(line, "over its goal") {
			row.Note += "; " + strings.TrimSpace(line)
		}
		if len(f) == 3 && f[0] != "target" {
			targets++
			if f[0] == "mipsle-softfloat" {
				row.Note = fmt.Sprintf("mipsle %s bytes, %s with xz", f[1], f[2])
			}
		}
	}
	row.Note = fmt.Sprintf("%d targets; %s", targets, row.Note)
	if err != nil {
		row.Result, row.Note = "FAIL", fmt.Sprintf("%v: %s", err, lastLines(out, 5))
	}
	s.add(row)
}

// lab plays the scenarios in namespaces of this machine.
func (s *part) lab() { s.here("lab", "scenarios on this machine", "-measuring=false") }

// time plays those that measure time, while nothing else runs.
func (s *part) time() { s.here("time", "measurements on this machine", "-measuring") }

func (s *part) here(name, title, which string) {
	s.onHost(name, title, 15*time.Minute, "host-"+name, which, "-target", s.target)
}

// onHost plays scenarios in namespaces of this machine, with their logs in dir.
func (s *part) onHost(name, title string, limit time.Duration, dir string, flags ...string) {
	if !isRoot() {
		s.add(Row{Scenario: title, Peer: "all", Datapath: "userspace", Result: "skip", Note: "namespaces need root"})
		return
	}
	self, err := os.Executable()
	if err != nil {
		s.add(Row{Scenario: title, Result: "FAIL", Note: err.Error()})
		return
	}
	argv := append([]string{self, "run", "-greseal", "greseal", "-where", "host",
		"-dir", filepath.Join(s.logs, dir), "-out", filepath.Join(s.logs, name+".rows")}, flags...)
	s.played(name, title, "", limit, argv...)
}

// guestEnded is the exit code of build/lab/vm and build/lab/malta when the guest
// did not run the command to its end.
const guestEnded = 125

// played runs a command that plays scenarios and takes its rows over. on is
// put behind the datapath.
func (s *part) played(name, title, on string, limit time.Duration, argv ...string) string {
	file := filepath.Join(s.logs, name+".rows")
	out, err := s.command(name+".log", limit, nil, argv...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == guestEnded {
		// Seen: a kernel that fell over code of its own which another processor
		// was patching just then, as emulated ones do once in a while.
		first := lastLines(out, 15)
		os.Truncate(file, 0)
		out, err = s.command(name+"-again.log", limit, nil, argv...)
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != guestEnded {
			s.add(Row{Scenario: "the virtual machine stays up", Datapath: on, Result: "pass", Note: "at the second try; the first ended with\n" + first})
		}
	}
	rows, rerr := readRows(file)
	failed := false
	for _, r := range rows {
		failed = failed || r.Result == "FAIL"
		s.seen.Add(r.Seen...)
		r.Seen = nil
		if on != "" {
			r.Datapath = strings.TrimPrefix(r.Datapath+" on "+on, "- ")
		}
		s.add(r)
	}
	switch {
	case rerr != nil && len(rows) == 0:
		s.add(Row{Scenario: title, Datapath: on, Result: "FAIL", Note: fmt.Sprintf("no scenario was played: %v\n%s", err, lastLines(out, 15))})
	case err != nil && !failed:
		s.add(Row{Scenario: title, Datapath: on, Result: "FAIL", Note: fmt.Sprintf("%v\n%s", err, lastLines(out, 15))})
	default:
		s.mu.Lock()
		s.whole[name] = true
		s.mu.Unlock()
	}
	return out
}

func readRows(file string) ([]Row, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var rows []Row
	scanner := bufio.NewScanner(f)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		var r Row
		if err := json.Unmarshal(scanner.Bytes(), &r); err != nil {
			return rows, err
		}
		rows = append(rows, r)
	}
	return rows, scanner.Err()
}

// demo runs greseal demo here.
func (s *part) demo() {
	if !isRoot() {
		s.add(Row{Scenario: "greseal demo", Peer: "greseal", Datapath: "userspace", Result: "skip", Note: "namespaces need root"})
		return
	}
	begin := time.Now()
	out, err := s.command("demo.log", time.Minute, nil, "./greseal", "demo")
	row := Row{Scenario: "greseal demo", Peer: "greseal", Datapath: "userspace", Result: "pass", Seconds: time.Since(begin).Seconds(), Note: fmt.Sprintf("%.1f s", time.Since(begin).Seconds())}
	if err != nil {
		row.Result, row.Note = "FAIL", fmt.Sprintf("%v\n%s", err, lastLines(out, 15))
	}
	s.add(row)
}

// vm boots each kernel once and does there, in one boot: the unit tests that
// this machine's kernel had to skip, the scenarios, and the demo. Of packages whose
// tests take the kernel datapath where there is one it plays all tests, of doctor on
// the first kernel; make owner has time for all tests of each package with skipped ones.
func (s *part) vm() {
	const title = "scenarios on a real kernel"
	if missing, ok := have("qemu-system-x86_64", "busybox", "cpio", "depmod"); !ok {
		s.add(Row{Scenario: title, Peer: "all", Datapath: "kernel", Result: "skip", Note: missing + " is not installed; run build/lab/setup"})
		s.stillSkipped(nil)
		return
	}
	binaries := s.testBinaries()
	ran := map[string]bool{}
	for _, kernel := range []string{"6.1", "6.12"} {
		second, short := kernel != "6.1", ""
		if second {
			short = "-test.short"
		}
		out := filepath.Join(s.logs, "vm-"+kernel)
		script := []string{"code=0"}
		for _, b := range binaries {
			base := filepath.Base(b.file)
			run := "."
			if s.target == scenario.Test && b.pkg != "greseal/platform/kernel" && (second || b.pkg != "greseal/tunnel/doctor") {
				run = b.skipped(s.skips)
			}
			script = append(script, fmt.Sprintf("(cd %s && SECONDS=0 && %s -test.v %s -test.run '%s' -test.timeout 900s >$LAB_OUT/%s.out 2>&1; echo $? $SECONDS >$LAB_OUT/%s.code)", b.dir, b.file, short, run, base, base))
		}
		script = append(script,
			fmt.Sprintf("out/lab/labtest run -greseal greseal -where vm -target %s -second=%t -j 3 -dir /tmp/lab -save $LAB_OUT/failed -out $LAB_OUT/rows || code=1", s.target, second),
			"./greseal demo >$LAB_OUT/demo.out 2>&1; echo $? >$LAB_OUT/demo.code",
			"exit $code")
		os.MkdirAll(out, 0o755)
		rows := filepath.Join(out, "rows")
		os.Remove(rows)
		os.Symlink(rows, filepath.Join(s.logs, "vm-"+kernel+".rows"))
		s.played("vm-"+kernel, title, kernel, 40*time.Minute, "build/lab/vm", "run", "--kernel", kernel, "--timeout", "2300", "--out", out, "--", "bash", "-c", strings.Join(script, "\n"))
		for _, b := range binaries {
			s.unitInVM(b, kernel, out, ran)
		}
		s.demoInVM(kernel, out)
	}
	s.stillSkipped(ran)
}

func (s *part) demoInVM(kernel, out string) {
	text, err := os.ReadFile(filepath.Join(out, "demo.out"))
	code, _ := os.ReadFile(filepath.Join(out, "demo.code"))
	row := Row{Scenario: "greseal demo", Peer: "greseal", Datapath: "kernel on " + kernel, Result: "pass"}
	if err != nil || strings.TrimSpace(string(code)) != "0" {
		row.Result, row.Note = "FAIL", fmt.Sprintf("exit code %s\n%s", strings.TrimSpace(string(code)), lastLines(string(text), 15))
	}
	s.add(row)
}

// testBinary is the compiled tests of a package.
type testBinary struct{ pkg, dir, file string }

// skipped is the pattern for -test.run of the package's tests among skips, to stand
// between single quotes.
func (b testBinary) skipped(skips []skippedTest) string {
	var list []string
	for _, k := range skips {
		if k.pkg != b.pkg {
			continue
		}
		levels := strings.Split(k.test, "/")
		for i, name := range levels {
			levels[i] = "^" + regexp.QuoteMeta(name) + "$"
		}
		list = append(list, strings.Join(levels, "/"))
	}
	return strings.ReplaceAll(strings.Join(list, "|"), "'", ".")
}

// testBinaries compiles the tests of every package in which some were skipped
// here.
func (s *part) testBinaries() []testBinary {
	var list []testBinary
	for _, k := range s.skips {
		if slices.ContainsFunc(list, func(b testBinary) bool { return b.pkg == k.pkg }) || strings.Contains(k.reason, "GRESEAL_VECTORS") {
			continue
		}
		short := strings.TrimPrefix(k.pkg, "greseal/")
		b := testBinary{pkg: k.pkg, dir: filepath.Join(s.root, short), file: filepath.Join(s.root, "out", "lab", strings.ReplaceAll(short, "/", "-")+".test")}
		if out, err := s.command("compile-tests.log", 5*time.Minute, []string{"CGO_ENABLED=0"}, "go", "test", "-c", "-o", b.file, k.pkg); err != nil {
			s.add(Row{Scenario: "compile the tests of " + short, Result: "FAIL", Note: tail(out, 3)})
			continue
		}
		list = append(list, b)
	}
	return list
}

// unitInVM turns the output of a test binary into a row, and notes which tests
// were run.
func (s *part) unitInVM(b testBinary, kernel, out string, ran map[string]bool) {
	base := filepath.Base(b.file)
	name := "unit tests on a real kernel: " + strings.TrimPrefix(b.pkg, "greseal/")
	text, err := s.command("vm-"+kernel+"/"+base+".json", time.Minute, nil, "go", "tool", "test2json", "-p", b.pkg, "cat", filepath.Join(out, base+".out"))
	var exit int
	var seconds float64
	code, _ := os.ReadFile(filepath.Join(out, base+".code"))
	if _, cerr := fmt.Sscan(string(code), &exit, &seconds); err != nil || cerr != nil {
		s.add(Row{Scenario: name, Datapath: "kernel on " + kernel, Result: "FAIL", Note: "did not run"})
		return
	}
	t := count(text)[b.pkg]
	if t == nil {
		t = &tally{}
	}
	t.ok, t.seconds = exit == 0, seconds
	row := t.row(name)
	row.Datapath = "kernel on " + kernel
	s.add(row)
	if t.ok {
		for _, test := range t.passed {
			ran[b.pkg+" "+test] = true
		}
	}
}

// stillSkipped adds a row for each unit test that ran nowhere.
func (s *part) stillSkipped(ran map[string]bool) {
	for _, k := range s.skips {
		if !ran[k.pkg+" "+k.test] {
			s.add(Row{Scenario: strings.TrimPrefix(k.pkg, "greseal/") + " " + k.test, Result: "skip", Note: k.reason})
		}
	}
	s.skips = nil
}

// malta boots the MIPS router once: it installs the package that make packages
// would make of this checkout, as opkg does, and plays its scenarios with what
// was installed.
func (s *part) malta() {
	const title = "scenarios on a MIPS router"
	if missing, ok := have("qemu-system-mipsel", "cpio", "depmod"); !ok {
		s.add(Row{Scenario: title, Peer: "greseal", Datapath: "kernel", Result: "skip", Note: missing + " is not installed; run build/lab/setup"})
		return
	}
	out := filepath.Join(s.logs, "malta")
	os.MkdirAll(out, 0o755)
	mips := []string{"GOOS=linux", "GOARCH=mipsle", "GOMIPS=softfloat", "CGO_ENABLED=0"}
	for _, step := range []struct {
		log  string
		env  []string
		argv []string
	}{
		{"malta-build.log", mips, []string{"go", "build", "-trimpath", "-gcflags=all=-l", "-ldflags", "-s -w", "-o", filepath.Join(out, "labtest"), "./build/lab/labtest"}},
		{"malta-package.log", nil, []string{"go", "run", "./build/openwrt/mkpkg", "build", "-arch", "mipsel_24kc", "-version", "v0", "-epoch", "1",
			"-out", filepath.Join(out, "packages"), "-keys", filepath.Join(out, "keys")}},
		{"malta-copy.log", nil, []string{"cp", "-r", "build/lab/router", out}},
		{"malta-ipk.log", nil, []string{"cp", filepath.Join(out, "packages/mipsel_24kc/greseal_0-r1_mipsel_24kc.ipk"), filepath.Join(out, "greseal.ipk")}},
	} {
		if text, err := s.command(step.log, 5*time.Minute, step.env, step.argv...); err != nil {
			s.add(Row{Scenario: title, Result: "FAIL", Note: tail(text, 3)})
			return
		}
	}
	os.Symlink(filepath.Join(out, "rows"), filepath.Join(s.logs, "malta.rows"))
	s.played("malta", title, "mipsle, 64 MB", 10*time.Minute, "build/lab/malta", "run", "--timeout", "300", "--out", out,
		"--put", filepath.Join(out, "labtest"), "--", "sh", "-c",
		"router/install /lab/greseal.ipk && labtest run -greseal /usr/sbin/greseal -where router -dir /tmp/lab -save /lab/failed -out /lab/rows")
}

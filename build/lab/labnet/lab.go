// Package labnet builds the small networks the lab's scenarios run in: network
// namespaces joined by veth pairs, a wire that is captured in the middle,
// daemons of both sides, and pings.
//
// A Lab owns everything it made. A namespace has no name and no file: it is a
// locked thread, and processes started in it are told to die with that thread,
// so nothing stays behind when a scenario fails, is interrupted or is killed.
// Failures end the scenario by a panic that Run turns into an error, which
// keeps scenarios readable: each line either worked or ended the story.
//
// Needs root and /proc, nothing else; it also runs on a router with busybox.
package labnet

import (
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"greseal/build/lab/seen"
)

// Lab is one scenario's world.
type Lab struct {
	Dir      string // scratch files, logs, captures
	Datapath string // datapath the greseal under test is told to use
	Binary   string // path of greseal

	mu      sync.Mutex
	cleanup []func()
	procs   []*Proc
	facts   []string
	log     *os.File
	start   time.Time
	pace    float64
	daemons []*Greseal
	seen    seen.Set
}

// failure is what Failf panics with.
type failure struct{ text string }

// leak is the failure that something showed itself on the wire.
type leak struct{ text string }

// LeakError is a failure that no second try makes good: something that must
// never be seen on the wire was seen.
type LeakError struct{ Seen string }

func (e *LeakError) Error() string { return e.Seen }

// skipped is what Skipf panics with.
type skipped struct{ text string }

// SkipError says why a scenario could not be run here.
type SkipError struct{ Reason string }

func (e *SkipError) Error() string { return e.Reason }

// Run calls story with a fresh Lab under parent and cleans up after it. The
// error is nil, a *SkipError, or the failure. The scratch folder with its logs
// stays when keep is set or the story failed.
func Run(parent, name, datapath, binary string, story func(*Lab)) (o Outcome, err error) {
	l := &Lab{Dir: filepath.Join(parent, name), Datapath: datapath, Binary: binary, start: time.Now()}
	if err := os.RemoveAll(l.Dir); err != nil {
		return o, err
	}
	if err := os.MkdirAll(l.Dir, 0o755); err != nil {
		return o, err
	}
	if len(l.Dir) > longestDir {
		short, err := shortcut(l.Dir)
		if err != nil {
			return o, err
		}
		defer os.Remove(short)
		l.Dir = short
	}
	if l.log, err = os.Create(filepath.Join(l.Dir, "story.log")); err != nil {
		return o, err
	}
	defer l.log.Close()
	l.pace = pace()
	l.Logf("starting a process takes %.0f ms here", (l.pace-1)*usualStart)
	func() {
		defer l.close()
		defer func() {
			switch p := recover().(type) {
			case nil:
			case failure:
				err = fmt.Errorf("%s", p.text)
			case leak:
				err = &LeakError{p.text}
			case skipped:
				err = &SkipError{p.text}
			default:
				err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		story(l)
	}()
	if err != nil {
		fmt.Fprintf(l.log, "ended with: %v\n", err)
	}
	return Outcome{Facts: l.facts, Seen: l.seen.List()}, err
}

// Outcome is what is left of a scenario.
type Outcome struct {
	Facts []string // what the story noted
	Seen  []string // of the status schema, see package seen
}

// longestDir leaves room for a file's name in the 107 bytes that the path of a
// unix socket may have.
const longestDir = 70

// shortcut gives a folder a short name as well.
func shortcut(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %d", dir, os.Getpid())
	short := filepath.Join(os.TempDir(), fmt.Sprintf("gslab-%x", h.Sum64()))
	_ = os.Remove(short)
	return short, os.Symlink(dir, short)
}

// Failf ends the scenario as failed.
func (l *Lab) Failf(format string, args ...any) {
	panic(failure{fmt.Sprintf(format, args...)})
}

// Skipf ends the scenario as not runnable here.
func (l *Lab) Skipf(format string, args ...any) {
	panic(skipped{fmt.Sprintf(format, args...)})
}

// Leakf ends the scenario because something was seen that never may be.
func (l *Lab) Leakf(format string, args ...any) {
	panic(leak{fmt.Sprintf(format, args...)})
}

// Must ends the scenario when err is set.
func (l *Lab) Must(err error, doing string) {
	if err != nil {
		l.Failf("%s: %v", doing, err)
	}
}

// Check ends the scenario unless ok.
func (l *Lab) Check(ok bool, format string, args ...any) {
	if !ok {
		l.Failf(format, args...)
	}
}

// Logf writes to the scenario's log.
func (l *Lab) Logf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.log, "%7.3f %s\n", time.Since(l.start).Seconds(), strings.TrimRight(fmt.Sprintf(format, args...), "\n"))
}

// Fact notes a figure or finding that the table shows beside the result.
func (l *Lab) Fact(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	l.Logf("fact: %s", text)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.facts = append(l.facts, text)
}

// usualStart is how many milliseconds starting a process takes where pace is 2.
const usualStart = 16

// pace tells how slow this machine is at this moment by what starting a
// process takes: about 1.1 on a computer, 3.5 in a virtual machine on it, and
// more when others keep its processors busy; 12 at most.
func pace() float64 {
	var took []time.Duration
	for range 5 {
		begin := time.Now()
		exec.Command("true").Run()
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	return min(1+took[2].Seconds()*1000/usualStart, 12)
}

// Stretch makes a time that fits a fast machine fit this one, for what happens
// by the clock, such as lifetimes that leave room for an exchange.
func (l *Lab) Stretch(d time.Duration) time.Duration {
	return time.Duration(float64(d) * l.pace).Round(time.Millisecond)
}

// patience is how many times longer than usual things may take here.
func (l *Lab) patience() float64 { return max(1, l.pace/3.5) }

// Wait calls ok again and again until it is true, and fails the scenario after
// limit, or later on a machine that is slower than a virtual machine should
// be. what says what was waited for.
func (l *Lab) Wait(limit time.Duration, what string, ok func() bool) time.Duration {
	limit = time.Duration(float64(limit) * l.patience())
	begin := time.Now()
	for {
		asked := time.Now()
		if ok() {
			took := time.Since(begin)
			l.Logf("%s: after %v", what, took.Round(time.Millisecond))
			return took
		}
		if time.Since(begin) > limit {
			l.Failf("waited %v in vain for: %s", limit, what)
		}
		pause(asked)
	}
}

// pause lies between two looks at what is waited for; the last began at asked. It
// is four times as long as that look took: an emulated processor needs so long
// for one that a row that only waits would otherwise keep it busy.
func pause(asked time.Time) {
	time.Sleep(min(max(20*time.Millisecond, 4*time.Since(asked)), 250*time.Millisecond))
}

// File writes a scratch file with mode 0600 and returns its path.
func (l *Lab) File(name, content string) string {
	path := filepath.Join(l.Dir, name)
	l.Must(os.MkdirAll(filepath.Dir(path), 0o755), "make folder")
	l.Must(os.WriteFile(path, []byte(content), 0o600), "write "+name)
	return path
}

// Defer has f called when the lab closes, last first.
func (l *Lab) Defer(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cleanup = append(l.cleanup, f)
}

func (l *Lab) close() {
	l.mu.Lock()
	procs, cleanup, daemons := l.procs, l.cleanup, l.daemons
	l.mu.Unlock()
	for _, g := range daemons {
		g.lookAll()
	}
	for i := len(procs) - 1; i >= 0; i-- {
		procs[i].Kill()
	}
	for i := len(cleanup) - 1; i >= 0; i-- {
		cleanup[i]()
	}
}

package demo

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"greseal/tunnel"
)

// TestMain makes the test binary a daemon too when the demo starts it as one:
// run -c FILE --socket PATH.
func TestMain(m *testing.M) {
	if len(os.Args) == 6 && os.Args[1] == "run" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		err := tunnel.Run(ctx, tunnel.Options{ConfigPath: os.Args[3], Socket: os.Args[5], Version: "test",
			Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func needTUN(t *testing.T) {
	t.Helper()
	needRoot(t)
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skip("needs /dev/net/tun for the userspace datapath")
	}
}

func TestDemoHoldsEveryProof(t *testing.T) {
	needTUN(t)
	t.Setenv("TMPDIR", t.TempDir())
	var out strings.Builder
	err := Run(context.Background(), Options{Out: &out, Datapath: "userspace"})
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{"10 of 10 answered", "aes128gcm16", "its text: 0 times", "after: 0 of ", "pings are answered again", "0 packets of protocol 47"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
	for _, line := range strings.Split(out.String(), "\n") {
		if len([]rune(line)) > 80 {
			t.Errorf("wider than 80 columns: %q", line)
		}
	}
	nothingLeft(t)
}

func TestInterruptedDemoCleansUp(t *testing.T) {
	needTUN(t)
	for _, after := range []time.Duration{50 * time.Millisecond, 300 * time.Millisecond, time.Second} {
		t.Setenv("TMPDIR", t.TempDir())
		ctx, cancel := context.WithTimeout(context.Background(), after)
		err := Run(ctx, Options{Out: io.Discard, Datapath: "userspace"})
		cancel()
		if err == nil || !strings.Contains(err.Error(), "interrupted") {
			t.Errorf("after %v: error %v", after, err)
		}
		nothingLeft(t)
	}
}

// nothingLeft checks for files of the demo and for daemons that still run.
func nothingLeft(t *testing.T) {
	t.Helper()
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	children, _ := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	if len(strings.Fields(string(children))) > 0 {
		t.Errorf("still running: %s", children)
	}
}

func TestOneLeakedPacketFailsTheDemo(t *testing.T) {
	for what, spoil := range map[string]func(*tally){
		"GRE in the clear":  func(c *tally) { c.kinds[kindGRE] = 1 },
		"an ICMP error":     func(c *tally) { c.kinds[kindQuote] = 1 },
		"the payload":       func(c *tally) { c.found[needleText] = 1 },
		"inner addresses":   func(c *tally) { c.found[needleInner] = 1 },
		"a GRE header":      func(c *tally) { c.found[needleGRE] = 1 },
		"no ESP at all":     func(c *tally) { c.kinds[kindESP] = 0 },
		"a deaf capture":    func(c *tally) { c.lost = 1 },
		"nothing: it holds": func(*tally) {},
	} {
		s := &show{report: &report{w: io.Discard}}
		c := tally{packets: 100, found: map[string]int{}}
		c.kinds[kindESP] = 50
		spoil(&c)
		s.wire(c, "")
		if failed := len(s.failed) > 0; failed == (what == "nothing: it holds") {
			t.Errorf("%s: failed proofs %q", what, s.failed)
		}
	}
}

package platform

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// threeCapabilities is keptCapabilities as /proc shows it.
const threeCapabilities = "0000000000003400"

// A child of the test gives its privileges up, since that cannot be taken back.
func TestOnlyThreeCapabilitiesAreLeftInEveryThread(t *testing.T) {
	if dir := os.Getenv("GRESEAL_TEST_DROP"); dir != "" {
		dropAndTell(dir)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("giving up root's privileges needs root")
	}
	dir := t.TempDir()
	for name, uid := range map[string]int{"own": 0, "others": 12345} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, uid, -1); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestOnlyThreeCapabilitiesAreLeftInEveryThread$", "-test.v")
	cmd.Env = append(os.Environ(), "GRESEAL_TEST_DROP="+dir)
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), "built with cgo") {
		t.Skip("this test binary is linked with cgo; run it with CGO_ENABLED=0")
	}
	if err != nil || !strings.Contains(string(out), "all given up") {
		t.Fatalf("%v\n%s", err, out)
	}
}

func dropAndTell(dir string) {
	fail := func(format string, args ...any) {
		fmt.Printf(format+"\n", args...)
		os.Exit(1)
	}
	// Threads that exist before and after.
	stop := make(chan struct{})
	spawn := func() {
		for range 4 {
			go func() { runtime.LockOSThread(); <-stop }()
		}
	}
	spawn()
	if err := ForbidCoreDumps(); err != nil {
		fail("core dumps: %v", err)
	}
	if err := DropPrivileges(); err != nil {
		fail("%v", err)
	}
	spawn()
	runtime.Gosched()
	tasks, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(tasks) < 5 {
		fail("%d threads, %v", len(tasks), err)
	}
	for _, task := range tasks {
		data, err := os.ReadFile(task)
		if err != nil {
			continue // ended
		}
		check(string(data), fail)
	}
	child, err := exec.Command("cat", "/proc/self/status").Output()
	if err != nil {
		fail("a child: %v", err)
	}
	check(string(child), fail)
	if data, err := os.ReadFile(filepath.Join(dir, "own")); err != nil || string(data) != "own" {
		fail("root's own file: %v", err)
	}
	if _, err := os.ReadFile(filepath.Join(dir, "others")); !os.IsPermission(err) {
		fail("somebody else's file can still be read: %v", err)
	}
	limits, _ := os.ReadFile("/proc/self/limits")
	if !strings.Contains(strings.Join(strings.Fields(string(limits)), " "), "Max core file size 0 0 bytes") {
		fail("core files: %s", limits)
	}
	fmt.Println("all given up")
	os.Exit(0)
}

func check(text string, fail func(string, ...any)) {
	got := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(line, ":"); ok {
			got[name] = strings.TrimSpace(value)
		}
	}
	for name, want := range map[string]string{"CapPrm": threeCapabilities, "CapEff": threeCapabilities,
		"CapBnd": threeCapabilities, "CapInh": "0000000000000000", "CapAmb": "0000000000000000", "NoNewPrivs": "1"} {
		if got[name] != want {
			fail("%s of %s is %s, want %s", name, got["Name"], got[name], want)
		}
	}
}

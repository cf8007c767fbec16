package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"greseal/build/lab/labnet"
)

// many brings up n tunnels between two daemons, floods the first and pings
// through others meanwhile. Seen: what a daemon holds at most, at most 40 MB for
// 500, and that no ping is lost.
func (b *bench) many(l *labnet.Lab, n int) {
	one, two := joined(l, "many")
	config := func(me int) string {
		tunnels := make([]string, n)
		for i := range tunnels {
			tunnels[i] = labnet.Tunnel(fmt.Sprintf("t%d", i),
				fmt.Sprintf("remote = %q", []string{outerB, outerA}[me-1]),
				fmt.Sprintf(`psk = "GJTxJYV3W2/9C51ui5Pb1tFyyNiQvMHc3WTxLurJqLM=%d"`, i),
				fmt.Sprintf(`local_id = "h%d-%d.example"`, me, i), fmt.Sprintf(`remote_id = "h%d-%d.example"`, 3-me, i),
				fmt.Sprintf(`address = "10.%d.%d.%d/30"`, 100+i/64, i%64*4, me), fmt.Sprintf("gre.key = %d", i+1))
		}
		return "[daemon]\ndatapath = \"userspace\"\n\n" + strings.Join(tunnels, "\n")
	}
	a, z := one.GresealLater(config(1)), two.GresealLater(config(2))
	begin := time.Now()
	a.Launch()
	z.Launch()
	l.Wait(10*time.Minute, "all tunnels are up", func() bool {
		log, _ := os.ReadFile(filepath.Join(l.Dir, "greseal-"+one.Name+".log"))
		return strings.Count(string(log), `msg="up: `) >= n
	})
	fmt.Printf("%d tunnels up after %v\n", n, time.Since(begin).Round(time.Second))
	p := &peer{name: "greseal", a: one, b: two, to: "10.100.0.2", pids: []int{a.Pid(), z.Pid()}}

	self, err := os.Executable()
	l.Must(err, "find this program")
	one.MustPing(p.to, 1)
	flood := one.Start("flood", self, loadCommand, "-to", p.to, "-time", "1h")
	for i := 1; i < n; i += max(n/20, 1) {
		one.MustPing(fmt.Sprintf("10.%d.%d.2", 100+i/64, i%64*4), 20)
	}
	l.Check(flood.Running(), "the flood ended: %s", flood.Output())
	flood.Signal(syscall.SIGKILL)
	rss, limit := p.peakRSS(), 24+float64(n)*16/500
	fmt.Printf("no ping through others was lost beside a flood; peak memory of the larger daemon %.1f MB, at most %.0f\n", rss, limit)
	l.Check(rss <= limit, "%.1f MB", rss)
}

// Command ike measures how many handshakes a second greseal answers beside
// strongSwan's charon, and what a tunnel costs in memory. Both are whole daemons
// that install their Child SAs in a userspace datapath (charon's is
// kernel-libipsec), pinned to one processor and limited to one thread of Go;
// the load's is another. What counts is the processor time of the responder
// alone, from the load's first handshake of a round to its last. Neither logs what
// goes well. What greseal does when the handshakes are over, its search of the path
// MTU, is not counted; charon has none. They take turns.
//
//	ike [-greseal FILE] [-rounds 5] [-peers 256] [-tunnels 5000] [-only greseal|charon]
//
// With -flood it measures what a flood of strangers costs greseal (flood.go):
//
//	ike [-greseal FILE] -flood init|long|modp|auth|all [-rate 1000] [-from 100] [-memlimit 12MiB]
package main

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"greseal/build/lab/labnet"
)

type options struct {
	greseal        string
	rounds         int
	peers, tunnels int
	only, gogc     string
	flood, memory  string
	rate, from     int
	attempts       int
}

func main() {
	var o options
	flag.StringVar(&o.greseal, "greseal", "./greseal", "the greseal to measure")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds of handshakes for each responder and suite")
	flag.IntVar(&o.peers, "peers", 256, "handshakes in a round")
	flag.IntVar(&o.tunnels, "tunnels", 5000, "tunnels to measure memory with, at most 8192; 0: do not")
	flag.StringVar(&o.gogc, "gogc", "25", "GOGC of greseal while its memory is measured; 100 while its speed is")
	flag.StringVar(&o.only, "only", "", "greseal or charon alone")
	flag.StringVar(&o.flood, "flood", "", "measure what strangers cost instead: init, long, modp, auth or all")
	flag.IntVar(&o.rate, "rate", 1000, "what they begin a second")
	flag.IntVar(&o.from, "from", 100, "addresses of theirs, at most 65536")
	flag.IntVar(&o.attempts, "attempts", 20000, "of auth, at least")
	flag.StringVar(&o.memory, "memlimit", "", "GOMEMLIMIT of greseal in a flood")
	flag.Parse()
	binary, err := filepath.Abs(o.greseal)
	if err == nil {
		var dir string
		if dir, err = filepath.Abs(".lab-bench-ike"); err == nil {
			err = o.run(dir, binary)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-ike:", err)
		os.Exit(1)
	}
}

// suites are what is measured, with the goal for the ratio to charon.
var suites = []struct {
	name, greseal, charon string
	goal                  float64
}{
	{"x25519, AES-GCM, PSK", "aes256gcm16-prfsha384-x25519", "aes256gcm16-prfsha384-x25519", 2},
	{"the same with ML-KEM-768", "aes256gcm16-prfsha384-x25519-mlkem768", "aes256gcm16-prfsha384-x25519-ke1_mlkem768", 4},
}

// responder is one daemon under measurement.
type responder struct {
	name  string
	start func(l *labnet.Lab, n *labnet.NS, peers int, ike string) (pid int)
}

func (o options) run(dir, binary string) error {
	if o.flood != "" {
		kinds := []string{o.flood}
		if o.flood == "all" {
			kinds = []string{"init", "long", "modp", "auth"}
		}
		for _, k := range kinds {
			if err := o.underFlood(dir, binary, k); err != nil {
				return err
			}
		}
		return nil
	}
	root, _ := exec.Command("build/lab/sid", "--cached", "strongswan").Output()
	both := []responder{{"greseal", o.startGreseal}, {"charon", func(l *labnet.Lab, n *labnet.NS, peers int, ike string) int {
		return startCharon(l, n, strings.TrimSpace(string(root)), ike)
	}}}
	both = slices.DeleteFunc(both, func(r responder) bool { return o.only != "" && r.name != o.only })
	for i, s := range suites {
		rate := map[string][]float64{}
		for _, r := range both {
			ike := s.greseal
			if r.name == "charon" {
				ike = s.charon
			}
			_, err := labnet.Run(dir, fmt.Sprintf("%s-%d", r.name, i), "userspace", binary, func(l *labnet.Lab) {
				pid, d := o.pair(l, r, o.peers, ike, s.greseal)
				d.establish(o.peers) // once, so that interfaces are there
				d.close(o.peers)
				for range o.rounds {
					before := processorTime(l, pid)
					d.establish(o.peers)
					used := processorTime(l, pid) - before
					rate[r.name] = append(rate[r.name], float64(o.peers)/used.Seconds())
					d.close(o.peers)
				}
			})
			if err != nil {
				return fmt.Errorf("%s, %s: %w", r.name, s.name, err)
			}
		}
		fmt.Printf("%s, handshakes per processor second of the responder, least/median/most of %d rounds of %d:\n", s.name, o.rounds, o.peers)
		for _, r := range both {
			v := rate[r.name]
			slices.Sort(v)
			fmt.Printf("  %-8s %6.0f /%6.0f /%6.0f\n", r.name, v[0], v[len(v)/2], v[len(v)-1])
		}
		if len(both) == 2 {
			fmt.Printf("  ratio of the medians %.2f, goal %.0f\n", rate["greseal"][o.rounds/2]/rate["charon"][o.rounds/2], s.goal)
		}
	}
	if o.tunnels == 0 {
		return nil
	}
	fmt.Printf("memory of an established tunnel, (RSS at %d - RSS at 0)/%d:\n", o.tunnels, o.tunnels)
	for _, r := range both {
		_, err := labnet.Run(dir, r.name+"-memory", "userspace", binary, func(l *labnet.Lab) {
			ike := suites[0].greseal
			pid, d := o.pair(l, r, o.tunnels, ike, ike)
			time.Sleep(2 * time.Second)
			none := rss(l, pid)
			d.establish(o.tunnels)
			time.Sleep(2 * time.Second)
			all := rss(l, pid)
			fmt.Printf("  %-8s %6.1f kB (%d kB with none, %d kB with all up)\n", r.name, float64(all-none)/float64(o.tunnels), none, all)
		})
		if err != nil {
			return fmt.Errorf("%s, memory: %w", r.name, err)
		}
	}
	fmt.Printf("  greseal runs with GOGC=%s GOMAXPROCS=1 and no GOMEMLIMIT; goal 12 kB\n", o.gogc)
	return nil
}

// pair starts the responder on one end of a network and makes the load on the
// other.
func (o options) pair(l *labnet.Lab, r responder, peers int, ike, loadIKE string) (pid int, d *load) {
	net := l.NewPair()
	net.Wire.Close()
	var locals []netip.Addr
	for i := range sources {
		locals = append(locals, netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + i)}))
		net.A.Addr("wan", locals[i].String()+"/24")
	}
	net.B.Addr("lo", hubGRE+"/32")
	pid = r.start(l, net.B, peers, ike)
	for used := time.Duration(-1); ; time.Sleep(500 * time.Millisecond) { // until it is done with its start
		now := processorTime(l, pid)
		if used >= 0 && now-used < 100*time.Millisecond {
			break
		}
		used = now
	}
	var set unix.CPUSet
	set.Set(0)
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, t := range tasks {
		id, _ := strconv.Atoi(t.Name())
		l.Must(unix.SchedSetaffinity(id, &set), "pin the responder")
	}
	return pid, newLoad(l, net.A, locals, peers, loadIKE)
}

func (o options) startGreseal(l *labnet.Lab, n *labnet.NS, peers int, ike string) int {
	gogc := "100"
	if peers == o.tunnels {
		gogc = o.gogc
	}
	var b strings.Builder
	fmt.Fprintf(&b, "[daemon]\ndatapath = \"userspace\"\nlog_level = \"warn\"\n\n[defaults]\nremote = \"any\"\nlocal_id = %q\npsk = %q\nike = %q\nesp = \"aes128gcm16-noesn\"\ngre_local = %q\n\n",
		hub, psk, ike, hubGRE)
	for i := range peers {
		b.WriteString(labnet.Tunnel(fmt.Sprintf("b%d", i), fmt.Sprintf("remote_id = %q", branch(i)), fmt.Sprintf("gre_remote = %q", endpoint(i))))
	}
	os.Setenv("GOMAXPROCS", "1")
	os.Setenv("GOGC", gogc)
	defer os.Unsetenv("GOMAXPROCS")
	defer os.Unsetenv("GOGC")
	g := n.GresealLater(b.String())
	g.Launch()
	l.Wait(5*time.Minute, "greseal answers", func() bool {
		l.Check(g.Running(), "greseal ended: %s", g.Log())
		return g.Answers()
	})
	return g.Pid()
}

func startCharon(l *labnet.Lab, n *labnet.NS, root, ike string) int {
	s := n.StrongSwan(labnet.Swan{
		Local: labnet.AddrB, Remote: "%any", LocalID: hub, RemoteID: "%any", PSK: psk, IKE: ike, ESP: "aes128gcm16", Libipsec: true, Root: root,
		LocalTS: hubGRE + "/32[47]", RemoteTS: "0.0.0.0/0[47]", Quiet: true, Conn: "unique = never",
		Options: "dos_protection = no\n ikesa_table_size = 8192\n ikesa_table_segments = 16",
	})
	return s.Pid()
}

// processorTime is what all threads of a process have used.
func processorTime(l *labnet.Lab, pid int) time.Duration {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	l.Must(err, "list threads")
	var sum time.Duration
	for _, t := range tasks {
		data, err := os.ReadFile(t)
		if err != nil {
			continue // ended meanwhile
		}
		ns, err := strconv.ParseInt(strings.Fields(string(data))[0], 10, 64)
		l.Must(err, "read "+t)
		sum += time.Duration(ns)
	}
	return sum
}

// rss is a process's resident memory in kB.
func rss(l *labnet.Lab, pid int) int {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	l.Must(err, "read a process's memory")
	_, rest, _ := strings.Cut(string(data), "VmRSS:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	l.Must(err, "read VmRSS")
	return kb
}

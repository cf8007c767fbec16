package kernel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"greseal/platform"
)

// clamps keep the nftables table that lowers the maximum segment size in the
// SYNs of the links that ask for it. The table is one a daemon and known by its
// name: it is always replaced as a whole, in one transaction, so that whatever a
// killed daemon left is gone with the first write. nft(8) runs beside the loop,
// which never waits for it; of several changes only the newest is written.
type clamps struct {
	want map[string]sizes // by link

	latest chan string // rulesets to write; at most one waits
	done   chan struct{}

	mu  sync.Mutex
	err error // of the last write
}

// sizes are what segments are lowered to inside IPv4 and IPv6; 0: not.
type sizes struct{ mss4, mss6 uint16 }

// clampTable is the name and by it the mark of the table.
const clampTable = "inet greseal"

// startClamps starts the writer in the network namespace of the calling thread.
func startClamps() *clamps {
	c := &clamps{want: make(map[string]sizes), latest: make(chan string, 1), done: make(chan struct{})}
	// Only in tests is it another one than that of the process.
	ns, err := os.Open("/proc/thread-self/ns/net")
	go func() {
		defer close(c.done)
		runtime.LockOSThread() // and never unlocked: the thread ends with this
		if err == nil {
			defer ns.Close()
			here, err := os.Stat("/proc/thread-self/ns/net")
			there, errThere := ns.Stat()
			if err == nil && errThere == nil && !os.SameFile(here, there) {
				if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
					c.failed(fmt.Errorf("enter the network namespace: %w", err))
					return
				}
			}
		}
		for text := range c.latest {
			c.failed(runNFT(text))
		}
	}()
	return c
}

func (c *clamps) failed(err error) {
	c.mu.Lock()
	c.err = err
	c.mu.Unlock()
}

// set changes what is wanted of a link and has it written.
func (c *clamps) set(link string, s sizes) {
	if c.want[link] == s {
		return
	}
	c.want[link] = s
	if s == (sizes{}) {
		delete(c.want, link)
	}
	c.write()
}

// write has the table written as wanted now.
func (c *clamps) write() {
	select {
	case <-c.latest: // overtaken
	default:
	}
	select {
	case c.latest <- clampRules(c.want):
	case <-c.done:
	}
}

// close ends the writer once it has written the newest.
func (c *clamps) close() {
	close(c.latest)
	<-c.done
}

// clampRules is the table as a file for nft -f. Without links there is none.
func clampRules(want map[string]sizes) string {
	var b strings.Builder
	fmt.Fprintf(&b, "table %s\ndelete table %[1]s\n", clampTable)
	if len(want) == 0 {
		return b.String()
	}
	fmt.Fprintf(&b, "table %s {\n", clampTable)
	for _, hook := range []string{"prerouting", "postrouting"} {
		fmt.Fprintf(&b, "\tchain %s {\n\t\ttype filter hook %[1]s priority -150; policy accept;\n", hook)
		name := "iifname"
		if hook == "postrouting" {
			name = "oifname"
		}
		for _, link := range slices.Sorted(maps.Keys(want)) {
			s := want[link]
			for _, f := range []struct {
				proto string
				mss   uint16
			}{{"ipv4", s.mss4}, {"ipv6", s.mss6}} {
				if f.mss != 0 { // nft only ever lowers it
					fmt.Fprintf(&b, "\t\t%s %q meta nfproto %s tcp flags & (syn | rst) == syn tcp option maxseg size set %d\n", name, link, f.proto, f.mss)
				}
			}
		}
		b.WriteString("\t}\n")
	}
	b.WriteString("}\n")
	return b.String()
}

var errNoNFT = errors.New("nft is not installed; install nftables, or let the firewall clamp (mtu_fix of the zone)")

func runNFT(text string) error {
	path, err := exec.LookPath("nft")
	if err != nil {
		return errNoNFT
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "-f", "-")
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(text), &stderr
	if err := cmd.Run(); err != nil {
		first, _, _ := strings.Cut(strings.TrimSpace(stderr.String()), "\n")
		return fmt.Errorf("nft -f: %w: %s", err, first)
	}
	return nil
}

// clamp follows what the link wants.
func (d *Datapath) clamp(l platform.Link) {
	if d.clamps != nil {
		d.clamps.set(l.Name, sizes{l.MSS4, l.MSS6})
	}
}

// Clamps is nil when nft took the table, otherwise it says why not.
func (d *Datapath) Clamps() error {
	if d.clamps == nil {
		return errClosed
	}
	d.clamps.mu.Lock()
	defer d.clamps.mu.Unlock()
	return d.clamps.err
}

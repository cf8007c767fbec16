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

// clamps keep the nftables tables that lower the maximum segment size in the
// SYNs of the links that ask for it: one for routed packets, and, where links carry
// Ethernet, one of family bridge for packets between a bridge's ports. The tables are
// recognized by their names: each is always replaced as a whole, in one transaction, so
// that what a killed daemon left is gone with the first write. nft(8) runs in a
// goroutine of its own, since the loop must not wait for it; of several changes only
// the newest is written.
type clamps struct {
	want map[string]sizes // by link

	latest  chan rules // to write; at most one waits
	ordered uint64     // number of the last one put there
	done    chan struct{}

	mu        sync.Mutex
	written   uint64 // number of the last write
	err       error  // of the last write
	bridgeErr error  // of the last write of the bridge's
	standing  standingTables
	mending   string // why it is being written again
}

// rules are both tables as files for nft -f.
type rules struct {
	routed, bridged string
	number          uint64
	again           bool // even if unchanged
}

// sizes are the largest segments inside IPv4 and IPv6; 0: not lowered.
type sizes struct {
	mss4, mss6 uint16
	ethernet   bool
}

// clampTable is the name of the tables, which is also their mark.
const clampTable = "greseal"

// startClamps starts the writer in the network namespace of the calling thread.
func startClamps() *clamps {
	c := &clamps{want: make(map[string]sizes), latest: make(chan rules, 1), done: make(chan struct{})}
	c.standing.open()
	// Only in tests it differs from that of the process.
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
					err = fmt.Errorf("enter the network namespace: %w", err)
					c.wrote(rules{}, err, err)
					return
				}
			}
		}
		bridged := ""
		var bridgeErr error
		for r := range c.latest {
			err := runNFT(r.routed)
			if r.bridged != bridged || r.again && r.bridged != "" { // without links that need it the module is not loaded
				bridged, bridgeErr = r.bridged, runNFT(r.bridged)
			}
			c.wrote(r, err, bridgeErr)
		}
	}()
	return c
}

// wrote notes the result of a write and the tables as they are then.
func (c *clamps) wrote(r rules, err, bridgeErr error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err, c.bridgeErr, c.written = err, bridgeErr, r.number
	c.standing.remember()
}

// set changes what is wanted for a link and has it written.
func (c *clamps) set(link string, s sizes) {
	if c.want[link] == s {
		return
	}
	c.want[link] = s
	if s.mss4 == 0 && s.mss6 == 0 {
		delete(c.want, link)
	}
	c.write(false)
}

// write has the tables written as wanted now; again: even if unchanged.
func (c *clamps) write(again bool) {
	select {
	case old := <-c.latest: // overtaken
		again = again || old.again
	default:
	}
	c.ordered++
	r := clampRules(c.want)
	r.number, r.again = c.ordered, again
	select {
	case c.latest <- r:
	case <-c.done:
	}
}

// close ends the writer once it has written the newest.
func (c *clamps) close() {
	close(c.latest)
	<-c.done
	c.standing.close()
}

// clampRules are the tables that clamp what is wanted.
func clampRules(want map[string]sizes) rules {
	ethernet := maps.Clone(want)
	maps.DeleteFunc(ethernet, func(_ string, s sizes) bool { return !s.ethernet })
	return rules{
		routed: clampFile("inet", want, func(s sizes) []clamped {
			return []clamped{{"meta nfproto ipv4", s.mss4}, {"meta nfproto ipv6", s.mss6}}
		}),
		bridged: clampFile("bridge", ethernet, func(s sizes) []clamped {
			return []clamped{
				{"vlan type ip", s.mss4 - min(s.mss4, vlanLen)}, {"vlan type ip6", s.mss6 - min(s.mss6, vlanLen)},
				{"meta protocol ip", s.mss4}, {"meta protocol ip6", s.mss6},
			}
		}),
	}
}

// clamped are the packets whose segments are lowered to mss.
type clamped struct {
	match string
	mss   uint16
}

// vlanLen is the length of a VLAN tag (IEEE 802.1Q).
const vlanLen = 4

// clampFile is a table as a file for nft -f. Without links there is none.
func clampFile(family string, want map[string]sizes, of func(sizes) []clamped) string {
	var b strings.Builder
	table := family + " " + clampTable
	fmt.Fprintf(&b, "table %s\ndelete table %[1]s\n", table)
	if len(want) == 0 {
		return b.String()
	}
	fmt.Fprintf(&b, "table %s {\n", table)
	for _, hook := range []string{"prerouting", "postrouting"} {
		fmt.Fprintf(&b, "\tchain %s {\n\t\ttype filter hook %[1]s priority -150; policy accept;\n", hook)
		name := "iifname"
		if hook == "postrouting" {
			name = "oifname"
		}
		for _, link := range slices.Sorted(maps.Keys(want)) {
			for _, c := range of(want[link]) {
				if c.mss != 0 { // nft only ever lowers it
					fmt.Fprintf(&b, "\t\t%s %q %s tcp flags & (syn | rst) == syn tcp option maxseg size set %d\n", name, link, c.match, c.mss)
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
		d.clamps.set(l.Name, sizes{l.MSS4, l.MSS6, l.Ethernet})
	}
}

// MSSClampError is nil when nft took the tables that link needs and they were intact at
// the last look, otherwise it says why not.
func (d *Datapath) MSSClampError(link string) error {
	if d.clamps == nil {
		return errClosed
	}
	d.clamps.mu.Lock()
	defer d.clamps.mu.Unlock()
	if err := d.clamps.err; err != nil {
		return err
	}
	if text := d.clamps.standing.changed; text != "" {
		return errors.New(text)
	}
	if !d.clamps.want[link].ethernet || d.clamps.bridgeErr == nil {
		return nil
	}
	return fmt.Errorf("bridged traffic is not clamped: install or load nftables' support for bridges (kmod-nft-bridge) (%w)", d.clamps.bridgeErr)
}

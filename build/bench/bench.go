package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"greseal/build/lab/labnet"
)

// bench is one run.
type bench struct {
	pairs     int
	time      time.Duration
	wireguard string
	only      []string
	rows      []*row
	runs      int // processes started, for the names of their logs
}

// row is one line of the table: a figure of greseal's and of another's, measured
// in turn.
type row struct {
	name, unit string
	other      string // whose the second figure is, none for a figure alone
	mine       []float64
	theirs     []float64
	goal, gate float64 // of the ratio, or of greseal's own figure; 0: none
	less       bool    // less is better
}

func (b *bench) row(name, unit, other string, less bool, goal, gate float64) *row {
	for _, r := range b.rows {
		if r.name == name && r.other == other {
			return r
		}
	}
	r := &row{name: name, unit: unit, other: other, less: less, goal: goal, gate: gate}
	b.rows = append(b.rows, r)
	return r
}

// wanted reports whether a row was asked for.
func (b *bench) wanted(name string) bool {
	return len(b.only) == 0 || slices.ContainsFunc(b.only, func(w string) bool { return strings.Contains(name, w) })
}

// run brings everything up and measures.
func (b *bench) run(l *labnet.Lab) {
	one, two := joined(l, "fast")
	os.Setenv("GODEBUG", "gctrace=1")
	mine := newGreseal(l, one, two)
	os.Unsetenv("GODEBUG")
	wg := newWireGuard(l, one, two, b.wireguard)
	serve(l, two)
	mine.a.MustPing(mine.to, 1)
	// The goal for kernel-libipsec was set where it had no AES instructions; with
	// its plugin for them it is several times faster, and shown beside.
	var ipsec []*peer
	for _, softAES := range []bool{true, false} {
		if !b.wanted("TCP, one stream") {
			break
		}
		if p := newLibipsec(l, softAES); p != nil {
			ipsec = append(ipsec, p)
		} else if softAES {
			fmt.Fprintln(os.Stderr, "strongSwan is not installed: no comparison with kernel-libipsec")
		}
	}
	time.Sleep(time.Second)

	for turn := range b.pairs {
		fmt.Fprintf(os.Stderr, "turn %d of %d\n", turn+1, b.pairs)
		inTurn := func(r *row, f func(p *peer) float64) {
			if !b.wanted(r.name) {
				return
			}
			order := []*peer{mine, wg}
			if turn%2 == 1 {
				slices.Reverse(order)
			}
			for _, p := range order {
				if v := f(p); p == mine {
					r.mine = append(r.mine, v)
				} else {
					r.theirs = append(r.theirs, v)
				}
			}
		}
		tcp := func(extra ...string) func(p *peer) float64 {
			return func(p *peer) float64 { return b.iperf(l, p, extra...) }
		}
		first := b.row("TCP, one stream", "Mbit/s", wg.name, false, 2.3, 1.8)
		inTurn(first, tcp())
		for i, p := range ipsec {
			r := b.row(first.name, "Mbit/s", p.name, false, []float64{70, 0}[i], []float64{40, 0}[i])
			r.mine = append(r.mine, first.mine[turn])
			r.theirs = append(r.theirs, b.iperf(l, p))
		}
		inTurn(b.row("TCP, four streams", "Mbit/s", wg.name, false, 0, 0), tcp("-P", "4"))
		inTurn(b.row("TCP, both directions at once", "Mbit/s", wg.name, false, 0, 0), tcp("--bidir"))
		nicLike(l, one, two, true)
		inTurn(b.row("TCP, a wire as a NIC's", "Mbit/s", wg.name, false, 1.9, 1.5), tcp())
		nicLike(l, one, two, false)

		before := mine.collections(l)
		delivered := 0.0
		inTurn(b.row("64-byte datagrams, flood", "kpps", wg.name, false, 6, 3.5), func(p *peer) float64 {
			pps, count, _ := b.flood(l, p, 0)
			if p == mine {
				delivered = count
			}
			return pps / 1000
		})
		if alloc := b.row("garbage collections in a flood", "", "", true, 0, 0.5); delivered > 0 {
			alloc.mine = append(alloc.mine, float64(mine.collections(l)-before))
		}
		inTurn(b.row("CPU for a datagram at 40 kpps, both ends", "µs", wg.name, true, 0.28, 0.40), func(p *peer) float64 {
			_, count, cpu := b.flood(l, p, 40000)
			return cpu.Seconds() * 1e6 / count
		})
		p99 := map[*peer]float64{}
		inTurn(b.row("round trip, idle, median", "µs", wg.name, true, 0.6, 0.9), func(p *peer) (p50 float64) {
			p50, p99[p] = b.rtt(l, p)
			return p50
		})
		tail := func(name string) {
			if r := b.row(name, "µs", wg.name, true, 0, 0); len(p99) > 0 {
				r.mine, r.theirs = append(r.mine, p99[mine]), append(r.theirs, p99[wg])
				clear(p99)
			}
		}
		tail("round trip, idle, 99th percentile")
		inTurn(b.row("round trip beside a TCP stream, median", "µs", wg.name, true, 0, 0), func(p *peer) (p50 float64) {
			p50, p99[p] = b.rttUnderLoad(l, p)
			return p50
		})
		tail("round trip beside a TCP stream, 99th percentile")
	}
	rss := b.row("peak memory of the larger daemon", "MB", wg.name, true, 0, 0)
	rss.mine, rss.theirs = []float64{mine.peakRSS()}, []float64{wg.peakRSS()}
	own := b.row("peak memory, greseal's own goal", "MB", "", true, 16, 24)
	own.mine = rss.mine
}

// nicLike makes the wire as one between network cards: the sender's kernel cuts
// everything into packets, and the receiver's may join them again.
func nicLike(l *labnet.Lab, a, b *labnet.NS, on bool) {
	for _, ns := range []*labnet.NS{a, b} {
		if err := ns.Do(func() error { return segmentation("wire", !on) }); err != nil {
			l.Failf("switch segmentation of the wire: %v", err)
		}
	}
}

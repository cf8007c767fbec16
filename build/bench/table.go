package main

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	n := len(s)
	if n%2 == 1 {
		return s[n/2]
	}
	return (s[n/2-1] + s[n/2]) / 2
}

// spread is a median with its range.
func spread(v []float64) string {
	if len(v) == 0 {
		return ""
	}
	m := median(v)
	if len(v) == 1 {
		return number(m)
	}
	return fmt.Sprintf("%s (%s to %s)", number(m), number(slices.Min(v)), number(slices.Max(v)))
}

func number(v float64) string {
	switch {
	case v == math.Trunc(v) || math.Abs(v) >= 100:
		return fmt.Sprintf("%.0f", v)
	case math.Abs(v) >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// ratios are greseal's figures over the other's, turn by turn.
func (r *row) ratios() (v []float64) {
	for i := range min(len(r.mine), len(r.theirs)) {
		v = append(v, r.mine[i]/r.theirs[i])
	}
	return v
}

// judged is what goal and gate are about.
func (r *row) judged() float64 {
	if r.other == "" {
		return median(r.mine)
	}
	return median(r.ratios())
}

func (r *row) meets(limit float64) bool {
	if r.less {
		return r.judged() <= limit
	}
	return r.judged() >= limit
}

// verdict compares with goal and gate.
func (r *row) verdict() string {
	if r.gate == 0 || len(r.mine) == 0 {
		return ""
	}
	sign := "≥"
	if r.less {
		sign = "≤"
	}
	goal := fmt.Sprintf("%s %s", sign, number(r.goal))
	switch {
	case r.meets(r.goal):
		return goal + ": met"
	case r.meets(r.gate):
		return fmt.Sprintf("%s: missed, within %s", goal, number(r.gate))
	}
	return fmt.Sprintf("%s: WORSE than %s", goal, number(r.gate))
}

// worse reports that a row is on the wrong side of its gate.
func (b *bench) worse() bool {
	return slices.ContainsFunc(b.rows, func(r *row) bool {
		return r.gate != 0 && len(r.mine) > 0 && !r.meets(r.gate)
	})
}

func (b *bench) print(markdown bool) {
	head := []string{"", "greseal", "other", "ratio", "goal"}
	var lines [][]string
	for _, r := range b.rows {
		if len(r.mine) == 0 || r.other != "" && len(r.theirs) == 0 {
			continue
		}
		name := r.name
		if r.unit != "" {
			name += ", " + r.unit
		}
		other := spread(r.theirs)
		if r.other != "" {
			other += " " + r.other
		}
		lines = append(lines, []string{name, spread(r.mine), other, spread(r.ratios()), r.verdict()})
	}
	if len(lines) == 0 {
		return
	}
	fmt.Println(b.where())
	fmt.Println()
	if markdown {
		fmt.Println("| " + strings.Join(head, " | ") + " |")
		fmt.Println("|" + strings.Repeat("---|", len(head)))
		for _, l := range lines {
			fmt.Println("| " + strings.Join(l, " | ") + " |")
		}
		return
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, l := range append([][]string{head}, lines...) {
		fmt.Fprintln(w, strings.Join(l, "\t"))
	}
	w.Flush()
}

// where says when and on what was measured.
func (b *bench) where() string {
	var uts unix.Utsname
	_ = unix.Uname(&uts)
	cpu := "unknown CPU"
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.HasPrefix(key, "model name") {
			cpu = strings.TrimSpace(value)
			break
		}
	}
	load := "?"
	if data, err := os.ReadFile("/proc/loadavg"); err == nil {
		load = strings.Fields(string(data))[1]
	}
	return fmt.Sprintf("%s, Linux %s, %d CPUs (%s), %s; medians of %d turns of %v, ranges in brackets; load average at the end %s.",
		time.Now().Format("2006-01-02"), unix.ByteSliceToString(uts.Release[:]), runtime.NumCPU(), cpu, runtime.Version(), b.pairs, b.time, load)
}

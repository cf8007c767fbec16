package main

import (
	"cmp"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"
)

// noteWidth is how much of a note stands in the table; a failure's is told in
// full below it.
const noteWidth = 90

// longest is how many rows are told below the table for the time that they took.
const longest = 15

// table prints all rows and then what failed, and returns the exit code.
func (s *suite) table(w io.Writer) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortStableFunc(s.rows, func(a, b Row) int { return a.order - b.order })
	wide := [3]int{len("scenario"), len("peer"), len("datapath")}
	count := map[string]int{}
	for _, r := range s.rows {
		for i, text := range []string{r.Scenario, r.Peer, r.Datapath} {
			wide[i] = max(wide[i], utf8.RuneCountInString(text))
		}
		count[r.Result]++
	}
	line := func(scenario, peer, datapath, result, note string) {
		text := pad(scenario, wide[0]) + "  " + pad(peer, wide[1]) + "  " + pad(datapath, wide[2]) + "  " + pad(result, 6) + "  " + short(note)
		fmt.Fprintln(w, strings.TrimRight(text, " "))
	}
	fmt.Fprintln(w)
	line("scenario", "peer", "datapath", "result", "")
	line(strings.Repeat("-", wide[0]), strings.Repeat("-", wide[1]), strings.Repeat("-", wide[2]), "------", "")
	for _, r := range s.rows {
		line(r.Scenario, r.Peer, r.Datapath, r.Result, r.Note)
	}
	if count["FAIL"] > 0 {
		fmt.Fprintln(w, "\nfailed:")
		for _, r := range s.rows {
			if r.Result == "FAIL" {
				fmt.Fprintf(w, "\n%s × %s × %s\n    %s\n", r.Scenario, r.Peer, r.Datapath, strings.ReplaceAll(strings.TrimSpace(r.Note), "\n", "\n    "))
			}
		}
		fmt.Fprintf(w, "\nlogs and captures are in %s/\n", filepath.Base(s.logs))
	}
	fmt.Fprintln(w, "\nlongest:")
	slices.SortStableFunc(s.rows, func(a, b Row) int { return cmp.Compare(b.Seconds, a.Seconds) })
	for _, r := range s.rows[:min(longest, len(s.rows))] {
		fmt.Fprintf(w, "%6.0f s  %s × %s × %s\n", r.Seconds, r.Scenario, r.Peer, r.Datapath)
	}
	var used syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_CHILDREN, &used)
	fmt.Fprintf(w, "\n%s\ntook %v, and %v of processor time\n", strings.Join(s.took, ", "), time.Since(s.start).Round(time.Second),
		time.Duration(used.Utime.Nano()+used.Stime.Nano()).Round(time.Second))
	fmt.Fprintf(w, "%d passed, %d failed, %d skipped\n", count["pass"], count["FAIL"], count["skip"])
	if count["FAIL"] > 0 || s.ctx.Err() != nil {
		return 1
	}
	return 0
}

func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text)))
}

func short(note string) string {
	note = strings.Join(strings.Fields(note), " ")
	if utf8.RuneCountInString(note) <= noteWidth {
		return note
	}
	return string([]rune(note)[:noteWidth-1]) + "…"
}

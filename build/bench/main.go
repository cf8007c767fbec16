// Command bench measures greseal's userspace datapath against wireguard-go and
// strongSwan's kernel-libipsec: whole daemons, two of each kind, in network
// namespaces that a veth pair joins, both ends and the load on one machine. They
// take turns, so that what disturbs the machine disturbs all; what counts is the
// median of the ratios within a turn. The exit code is 1 when a ratio is worse
// than its gate.
//
//	bench [-pairs 5] [-seconds 3] [-only WORDS] [-markdown]
//	bench -tunnels 500
//
// build/bench/run builds what it needs; the logs are in .lab/bench.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"greseal/build/lab/labnet"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == loadCommand {
		load(os.Args[2:])
		return
	}
	greseal := flag.String("greseal", "./greseal", "the greseal to measure")
	wireguard := flag.String("wireguard", "out/bench/wireguard-go", "wireguard-go")
	pairs := flag.Int("pairs", 5, "turns of each measurement")
	seconds := flag.Int("seconds", 3, "length of each")
	only := flag.String("only", "", "only the rows whose name has one of these, separated by semicolons")
	tunnels := flag.Int("tunnels", 0, "instead: memory and fairness of so many tunnels")
	markdown := flag.Bool("markdown", false, "print the table for build/doc/performance.md")
	flag.Parse()

	binary, err := filepath.Abs(*greseal)
	if err == nil {
		*wireguard, err = filepath.Abs(*wireguard)
	}
	var lab string
	if err == nil {
		lab, err = filepath.Abs(".lab")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	b := &bench{
		pairs: *pairs, time: time.Duration(*seconds) * time.Second, wireguard: *wireguard,
		only: strings.FieldsFunc(*only, func(r rune) bool { return r == ';' }),
	}
	story := b.run
	if *tunnels > 0 {
		story = func(l *labnet.Lab) { b.many(l, *tunnels) }
	}
	_, err = labnet.Run(lab, "bench", "userspace", binary, story)
	b.print(*markdown)
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v (logs in .lab/bench)\n", err)
		os.Exit(1)
	}
	if b.worse() {
		os.Exit(1)
	}
}

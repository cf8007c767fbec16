// Labtest plays the lab's scenarios on this machine and writes one result a
// line.
//
//	labtest run [-greseal FILE] [-dir FOLDER] [-out FILE] [-j N] [-where host|vm|router] [-path userspace|kernel] [words…]
//	labtest list
//	labtest suite [-owner]
//	labtest fields ROWS…
//	labtest interop
//
// Words choose the scenarios whose name, peer and datapath hold all of them.
// A failed scenario's folder below -dir keeps its logs and captures. suite is
// the whole of make test or, with -owner, of make owner, see suite.go; interop is
// make interop. fields judges files that run -out wrote by what the status schema
// has, see fields.go.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
)

func main() {
	command := ""
	if len(os.Args) > 1 {
		command = os.Args[1]
	}
	switch command {
	case "run":
		os.Exit(runCommand(os.Args[2:]))
	case "list":
		for _, j := range jobs("", "", nil) {
			fmt.Println(strings.Join([]string{j.Name, j.Peer, j.path}, " × "))
		}
	case "suite":
		os.Exit(suiteCommand(os.Args[2:]))
	case "fields":
		os.Exit(fieldsCommand(os.Args[2:]))
	case "interop":
		if len(os.Args) > 2 {
			fmt.Fprintln(os.Stderr, "usage: labtest interop")
			os.Exit(2)
		}
		os.Exit(playSuite(interopPhases, ".lab-interop", "", ""))
	default:
		fmt.Fprintln(flag.CommandLine.Output(), "usage: labtest run|list|suite|fields|interop")
		os.Exit(2)
	}
}

package main

import (
	"fmt"
	"os"
	"strings"

	"greseal/build/lab/seen"
)

const schemaFile = "tunnel/status/schema.go"

// neverSeen are entries of the account that no scenario shows, with the reason.
// One that was seen for all that makes the step fail, too.
var neverSeen = map[string]string{
	"greseal_tunnel_open_guards": "no row puts another program's policy in the place of a guard; tunnel's TestEveryGuardThatIsMissingIsListed shows open ones",
}

// fields holds the scenarios against the status schema: what is zero in all of
// them fails.
func (s *part) fields() {
	row := Row{Scenario: "each field of the status schema was seen", Result: "pass"}
	for _, name := range []string{"lab", "time", "vm-6.1", "vm-6.12"} {
		if !s.whole[name] {
			row.Result, row.Note = "skip", "judged only when lab, time and vm have played all their scenarios"
			s.add(row)
			return
		}
	}
	note, err := judgeFields(&s.seen)
	if row.Note = note; err != nil {
		row.Result, row.Note = "FAIL", err.Error()
	}
	s.add(row)
}

func judgeFields(set *seen.Set) (note string, err error) {
	all, err := seen.Everything(schemaFile)
	if err != nil {
		return "", err
	}
	unseen, stale := set.Judge(all, neverSeen)
	var faults []string
	if len(unseen) > 0 {
		faults = append(faults, "zero in every scenario:\n"+strings.Join(unseen, "\n"))
	}
	if len(stale) > 0 {
		faults = append(faults, "seen, or there no more, although neverSeen has them:\n"+strings.Join(stale, "\n"))
	}
	if len(faults) > 0 {
		return "", fmt.Errorf("%s", strings.Join(faults, "\n"))
	}
	return fmt.Sprintf("%d fields, words and series; %d cannot be shown", len(all)-len(neverSeen), len(neverSeen)), nil
}

// fieldsCommand judges files of rows.
func fieldsCommand(files []string) int {
	var set seen.Set
	for _, file := range files {
		rows, err := readRows(file)
		if err != nil {
			fmt.Fprintln(os.Stderr, "labtest:", err)
			return 1
		}
		for _, r := range rows {
			set.Add(r.Seen...)
		}
	}
	note, err := judgeFields(&set)
	if err != nil {
		fmt.Fprintln(os.Stderr, "labtest:", err)
		return 1
	}
	fmt.Println(note)
	return 0
}

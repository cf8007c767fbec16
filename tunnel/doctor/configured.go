package doctor

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
)

// Mistaken examines a tunnel that cannot be used because of what is written of it.
func Mistaken(_ context.Context, s Subject, found func(Step)) error {
	step := Step{ID: "config", Title: "the configuration", Verdict: Fault, Remedy: "fix the file, then apply it; until then this tunnel's networks are closed", Commands: []string{"greseal apply"}}
	for _, p := range s.Tunnel.Mistakes {
		step.Evidence = append(step.Evidence, p.String())
	}
	found(step)
	return nil
}

// checkConfig: a file with a mistake is not taken over, and one that was edited
// has to be applied. The tunnel may well be up all the same.
func checkConfig(x *exam) Step {
	d := &x.now.Daemon
	verdict := warn
	if !x.now.up() {
		verdict = fault
	}
	if len(d.ConfigProblems) > 0 {
		before := "the daemon runs with the one before"
		if d.ConfigInstead != "" {
			before = d.ConfigInstead
		}
		return verdict("fix the file, then apply it; until then "+before, d.ConfigProblems...).
			with("greseal apply")
	}
	// On a router the tunnel may be in a UCI file, alone.
	file := x.Tunnel.Source.File
	if file == "" {
		file = d.ConfigFile
	}
	info, err := os.Stat(file)
	if err != nil {
		return warn("put the file back before the daemon is next started", fmt.Sprintf("%s cannot be read: %v", file, err))
	}
	if changed := info.ModTime().Unix(); changed > d.ConfigLoaded {
		return verdict("apply it", fmt.Sprintf("%s was changed %d s after it was loaded", file, changed-d.ConfigLoaded)).
			with("greseal apply")
	}
	return fine(file + " is what is running")
}

// odd are the warnings about what is written of some keys that say what, a sentence each.
func (x *exam) odd(what string, keys ...string) (says []string) {
	for _, w := range x.Odd {
		if slices.Contains(keys, w.Key) && strings.Contains(w.What, what) {
			says = append(says, w.Key+" "+w.What+": "+w.Remedy)
		}
	}
	return says
}

package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"greseal/platform/names"
	"greseal/tunnel/config"
	"greseal/tunnel/status"
)

// Check reads the config and reports every mistake.
var Check = Command{
	Name: "check", Group: groupChange,
	Instead: "name the file with -c",
	Short:   "report every mistake in the config file; changes nothing",
	Setup: func(fs *flag.FlagSet) func(*Env, []string) error {
		file := fs.String("c", config.DefaultFile, "the config `FILE`")
		asJSON := fs.Bool("json", false, "as JSON")
		keep := fs.Bool("keep", false, "also save a config without mistakes in the history")
		return func(env *Env, _ []string) error {
			cfg, err := LoadWhole(*file, nil)
			var ps config.Problems
			if err != nil && !errors.As(err, &ps) {
				return err
			}
			if err == nil {
				ps = slices.Concat(cfg.Warnings, unasked(cfg), Around(cfg))
				defer cfg.Wipe()
				if *keep {
					Keep(*file)
				}
			}
			if *asJSON {
				if jerr := problemsJSON(env, ps); jerr != nil {
					return jerr
				}
			} else {
				env.printProblems(env.Stdout, ps)
			}
			n := len(ps.Mistakes())
			if n > 0 {
				return refusedConfig{status.Plural(n, "mistake") + " in " + *file}
			}
			if !*asJSON {
				fmt.Fprintf(env.Stdout, "%s: fine, %s, %s\n", *file, status.Plural(len(cfg.Tunnels), "tunnel"), status.Plural(len(ps), "warning"))
			}
			return nil
		}
	},
}

// printProblems prints one a line, for editors, and folded on a terminal.
func (env *Env) printProblems(w io.Writer, ps config.Problems) {
	var b bytes.Buffer
	for _, p := range ps {
		if env.Terminal {
			at := p.Position.String() + ":"
			env.Style.Fill(&b, at+"\n  ", 2, strings.TrimPrefix(p.String(), at))
		} else {
			fmt.Fprintln(&b, p)
		}
	}
	w.Write(b.Bytes())
}

// nameServers are those of other machines that are known here; see names.Servers.
var nameServers = names.Servers

// unasked warns of tunnels whose peer's name could not be looked up while they are
// down, as this machine is now. Names in the hosts file need no name server.
func unasked(cfg *config.Config) (ps config.Problems) {
	servers := nameServers()
	for i := range cfg.Tunnels {
		t := &cfg.Tunnels[i]
		remedy := t.NameServerRemedy(servers)
		if remedy == "" || !t.Enabled || slices.ContainsFunc(t.Remotes, names.InHosts) {
			continue
		}
		ps = append(ps, config.Problem{Position: t.Source, Tunnel: t.Name, Key: "remote", Warning: true,
			What: "there may be no name server to ask for " + strings.Join(t.Remotes, ", "), Remedy: remedy})
	}
	return ps
}

// problem is one row of check --json.
type problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`   // from 1, 0 for the file as a whole
	Column  int    `json:"column"` // in characters, from 1
	Tunnel  string `json:"tunnel"`
	Key     string `json:"key"`
	What    string `json:"what"`
	Remedy  string `json:"remedy"`
	Warning bool   `json:"warning"`
}

func problemsJSON(env *Env, ps config.Problems) error {
	rows := make([]problem, 0, len(ps))
	for _, p := range ps {
		rows = append(rows, problem{p.File, p.Line, p.Column, p.Tunnel, p.Key, p.What, p.Remedy, p.Warning})
	}
	return writeJSON(env, rows)
}

func writeJSON(env *Env, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = env.Stdout.Write(append(b, '\n'))
	return err
}

package config

import (
	"cmp"
	"sort"
	"strings"
)

// Problem is one mistake, or with Warning one thing that works but should be
// looked at.
type Problem struct {
	Position
	Tunnel  string // name of the tunnel, "#2" when it has none, "" outside of any
	Table   string // "[daemon]", "[defaults]", or "" in a tunnel
	Key     string // as in the schema, "" when no single key is meant
	What    string // what is wrong
	Remedy  string // what to write or do instead
	Warning bool
}

// String gives `greseal.toml:12:9: tunnel "hq": key: what; remedy`. Position
// comes first so that editors can jump to it.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.Position.String())
	b.WriteString(": ")
	if p.Warning {
		b.WriteString("warning: ")
	}
	switch {
	case strings.HasPrefix(p.Tunnel, "#"):
		b.WriteString("tunnel " + p.Tunnel + ": ")
	case p.Tunnel != "":
		b.WriteString("tunnel " + quote(p.Tunnel) + ": ")
	case p.Table != "":
		b.WriteString(p.Table + ": ")
	}
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.What)
	if p.Remedy != "" {
		b.WriteString("; " + p.Remedy)
	}
	return b.String()
}

// Problems are the mistakes and warnings of a file in the order of its lines.
// As an error it prints the mistakes, one a line.
type Problems []Problem

func (ps Problems) Error() string {
	var lines []string
	for _, p := range ps.Mistakes() {
		lines = append(lines, p.String())
	}
	return strings.Join(lines, "\n")
}

// Mistakes are those that make the file unusable.
func (ps Problems) Mistakes() Problems { return ps.filter(false) }

// Warnings are those that do not.
func (ps Problems) Warnings() Problems { return ps.filter(true) }

func (ps Problems) filter(warning bool) Problems {
	var out Problems
	for _, p := range ps {
		if p.Warning == warning {
			out = append(out, p)
		}
	}
	return out
}

func (ps Problems) sort() {
	sort.SliceStable(ps, func(i, j int) bool {
		a, b := &ps[i], &ps[j]
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column)) < 0
	})
}

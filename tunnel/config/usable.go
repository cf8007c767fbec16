package config

import (
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// A running daemon keeps the config it has when the file is refused. One that is
// just being started has none, and without a last good copy it uses what is right
// in the file: every tunnel that has no mistake, and of the others what is needed
// to keep their networks from leaving in the clear.

// suspect is a mistake outside of the tunnels that concerns those which do not
// have the key themselves; "" concerns all.
type suspect struct {
	key string
	Problem
}

// LoadUsable is Usable for a config file.
func LoadUsable(path string) (*Config, Problems) {
	f, err := ReadFile(path)
	var found Problems
	if errors.As(err, &found) {
		return Usable(f, found)
	}
	return Usable(f, nil)
}

// Usable builds what can be used of a file with mistakes. A tunnel that has one,
// or could be meant by one that stands elsewhere, has it in Mistakes and is good
// for closing its networks alone. found are the problems met in reading f; all
// problems are returned.
func Usable(f File, found Problems) (*Config, Problems) {
	f.Problems = slices.Concat(found, f.Problems)
	b := &builder{file: f, problems: f.Problems}
	outside := b.outside()
	for _, l := range f.lost {
		if l.all {
			outside = append(outside, suspect{"", l.why})
		}
	}
	c, readings := b.build()
	outside = append(outside, b.unusable...)
	mistakes := f.mistakesByTunnel()
	names := map[string]bool{}
	for _, r := range readings {
		for _, s := range outside {
			if r.concerns(s) {
				r.blame(s.Problem)
			}
		}
		for _, p := range mistakes[r.number-1] {
			r.blame(p)
		}
		// No interface is made for a tunnel with a mistake, so that it can go by
		// its number where its name is none.
		if r.Name == "" || r.bad["name"] || names[r.Name] {
			r.Name = "#" + strconv.Itoa(r.number)
		}
		names[r.Name] = true
		if len(r.wrong) > 0 {
			r.onlyCloses()
		}
		c.Tunnels = append(c.Tunnels, r.Tunnel)
	}
	c.Warnings = b.problems.Warnings()
	return c, b.problems
}

// outside are the mistakes met in reading that stand in [defaults], or outside of
// all tables.
func (b *builder) outside() (out []suspect) {
	for _, p := range b.file.Problems {
		switch {
		case p.Warning:
		case p.Table == "[defaults]":
			out = append(out, suspect{p.Key, p})
		default:
			for _, e := range b.file.Stray {
				if e.KeyAt != p.Position {
					continue
				}
				key := e.Key
				if key == "gre" || key == "defaults" {
					key = "" // any key may be in it
				}
				out = append(out, suspect{key, p})
			}
		}
	}
	return out
}

// concerns tells whether a mistake outside of the tunnels may be about this one.
func (r *reading) concerns(s suspect) bool {
	return s.key == "" || !r.section.Has(s.key) && !slices.ContainsFunc(instead[s.key], r.section.Has)
}

// mistakesByTunnel finds for each tunnel the mistakes met in reading it: those of the section
// itself, those that name a tunnel and stand in the lines of the section, and what
// kept one of its lines from being read.
func (f *File) mistakesByTunnel() [][]Problem {
	out := make([][]Problem, len(f.Tunnels))
	for i := range f.Tunnels {
		out[i] = slices.Clone(f.Tunnels[i].Wrong)
	}
	for _, p := range f.Problems.Mistakes() {
		last := -1
		for i := range f.Tunnels {
			at := f.Tunnels[i].At
			switch {
			case p.Position == at:
				out[i] = append(out[i], p)
			case p.File == at.File && p.Line >= at.Line && (last < 0 || at.Line > f.Tunnels[last].At.Line):
				last = i
			}
		}
		if p.Tunnel != "" && last >= 0 {
			out[last] = append(out[last], p)
		}
	}
	for _, l := range f.lost {
		last := -1
		for i := range f.Tunnels {
			if at := f.Tunnels[i].At; at.File == f.Name && at.Line <= l.line {
				last = i
			}
		}
		if last >= 0 {
			out[last] = append(out[last], l.why)
		}
	}
	return out
}

// onlyCloses leaves of a tunnel what closes its networks.
func (r *reading) onlyCloses() {
	r.Mistakes = r.wrong
	for _, s := range r.secrets() {
		s.Wipe()
		*s = Secret{}
	}
	r.Credentials = Credentials{}
	if r.bad["fallback"] {
		r.Fallback = false
	}
	r.Routes, r.Address = r.networks("routes"), r.networks("address")
	if r.bad["table"] || len(r.misspelt("table")) > 0 {
		// The table that is meant is not known; the main one is closed but for
		// what would take the router from the net altogether.
		r.Routes = slices.DeleteFunc(r.Routes, func(p netip.Prefix) bool { return p.Bits() == 0 })
	}
	if e, ok := r.written["remote"]; ok && r.bad["remote"] {
		for _, text := range texts(e.Value) {
			if a, err := netip.ParseAddr(text); err == nil && !unicast(a).bad() {
				r.Remotes = append(r.Remotes, a.String())
			}
		}
	}
}

// networks are the prefixes of a key that can be read, also where others in it or
// the key's own name cannot, and those of a list that is written as one text.
func (r *reading) networks(key string) (out []netip.Prefix) {
	for _, e := range append(r.misspelt(key), r.written[key]) {
		for _, text := range strings.FieldsFunc(strings.Join(texts(e.Value), ","), func(r rune) bool { return r == ',' || r == ';' || unicode.IsSpace(r) }) {
			if addr, mask, ok := strings.Cut(text, "/"); ok {
				if bits, ok := maskBits(mask); ok {
					text = addr + "/" + strconv.Itoa(bits)
				}
			}
			p, err := netip.ParsePrefix(text)
			if err != nil || p.Addr().Is4In6() {
				continue
			}
			if key == "routes" {
				p = p.Masked()
			}
			if !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	return out
}

// misspelt are the entries that were probably meant for a key.
func (r *reading) misspelt(key string) (out []Entry) {
	for _, e := range r.section.Entries {
		if _, known := LookUp(e.Key); !known && Meant(e.Key) == key {
			out = append(out, e)
		}
	}
	return out
}

// texts are the strings of a value that is one or a list of them.
func texts(value any) (out []string) {
	if s, ok := value.(string); ok {
		return []string{s}
	}
	list, _ := value.([]any)
	for _, item := range list {
		if s, ok := item.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

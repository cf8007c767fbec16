package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"greseal/crypto/suite"
)

// builder turns sections into a Config and collects what is wrong.
type builder struct {
	keys     map[uint32]bool // GRE keys that are written or proposed
	nextKey  uint32
	file     File
	problems Problems
	more     int // problems left out because there are too many
	unusable []suspect
}

// reading is one tunnel being built.
type reading struct {
	*builder
	Tunnel
	section Section
	number  int              // in the order of the file, from 1
	written map[string]Entry // what gave a key its value: the tunnel or the defaults
	bad     map[string]bool  // keys with a mistake: no further conclusions from them
	common  map[string]bool  // keys that come from the defaults
	wrong   Problems         // the mistakes among the problems of this tunnel

	clashes []*clash // with tunnels before
	ownKey  uint32   // GRE key that was proposed, 0: none
	behind  uint32   // the last metric that was proposed to another tunnel, 0: none
}

// Build checks sections and makes a Config of them, with all mistakes of all
// sections in one Problems.
func Build(f File) (*Config, error) {
	b := &builder{file: f, problems: f.Problems}
	c, readings := b.build()
	for _, r := range readings {
		c.Tunnels = append(c.Tunnels, r.Tunnel)
	}
	if len(b.problems.Mistakes()) > 0 {
		c.Wipe()
		return nil, b.problems
	}
	c.Warnings = b.problems
	return c, nil
}

// build makes all but the list of tunnels.
func (b *builder) build() (*Config, []*reading) {
	f := b.file
	c := &Config{File: f.Name}
	b.daemon(&c.Daemon)
	defaults := b.defaults()
	var readings []*reading
	for i, s := range f.Tunnels {
		r := b.tunnel(i+1, s, defaults)
		r.checkTunnel()
		readings = append(readings, r)
	}
	b.checkTogether(readings)
	b.checkSecrecy(readings)
	if len(f.Tunnels) == 0 {
		b.add(Problem{Position: Position{File: f.Name}, What: "there is no tunnel in it", Remedy: "write one, beginning with [[tunnel]]", Warning: true})
	}
	b.problems.sort()
	if b.more > 0 {
		b.problems = append(b.problems, Problem{Position: Position{File: f.Name}, What: fmt.Sprintf("there are %d more problems like these", b.more), Remedy: "fix these first"})
	}
	return c, readings
}

// add takes up a problem of a tunnel.
func (r *reading) add(p Problem) {
	if !p.Warning {
		r.blame(p)
	}
	r.builder.add(p)
}

// blame notes a mistake that keeps this tunnel from being used.
func (r *reading) blame(p Problem) {
	if len(r.wrong) < maxWrong {
		r.wrong = append(r.wrong, p)
	}
}

// add takes up a problem unless the same was said of the same place: a mistake
// in [defaults] shows in every tunnel but is one mistake.
func (b *builder) add(p Problem) {
	for _, q := range b.problems {
		if q.Position == p.Position && q.Key == p.Key && q.What == p.What && p.Line != 0 {
			return
		}
	}
	if len(b.problems) == maxProblems {
		b.more++
		return
	}
	b.problems = append(b.problems, p)
}

// literal is the value of a default as the schema writes it.
func literal(s string) any {
	switch {
	case s == "true", s == "false":
		return s == "true"
	case strings.HasPrefix(s, `"`):
		return strings.Trim(s, `"`)
	}
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}

func (b *builder) daemon(d *Daemon) {
	for i := range daemonKeys {
		if k := &daemonKeys[i]; k.Default != "" {
			k.set(k.dmn(d), literal(k.Default), func(int, fault) {})
		}
	}
	for _, e := range b.file.Daemon.Entries {
		i := slices.IndexFunc(daemonKeys, func(k Key) bool { return k.Name == e.Key })
		if i < 0 {
			b.add(Problem{Position: e.KeyAt, Table: "[daemon]", What: "there is no key " + quote(e.Key), Remedy: notInDaemon(e.Key)})
			continue
		}
		k := &daemonKeys[i]
		k.set(k.dmn(d), e.Value, func(item int, f fault) {
			b.add(Problem{Position: e.at(item), Table: "[daemon]", Key: k.Name, What: f.what, Remedy: f.remedy})
		})
		if k.Name == "status_socket" && b.file.Shown != nil && followed(filepath.Dir(d.StatusSocket)) != followed(runFolder) {
			b.add(Problem{Position: e.ValueAt, Table: "[daemon]", Key: k.Name,
				What: "only the daemon would see this socket, because it runs in a jail", Remedy: "leave it out, or name one in " + runFolder})
		}
	}
}

func notInDaemon(key string) string {
	if _, ok := LookUp(key); ok {
		return "write it in [defaults] or a [[tunnel]]"
	}
	var names []string
	for _, k := range daemonKeys {
		names = append(names, k.Name)
	}
	if near := Nearest(key, names); near != "" {
		return "did you mean " + near + "?"
	}
	return "known are " + strings.Join(names, ", ")
}

// notInTunnel is the remedy for a key that the schema does not have.
func notInTunnel(key string) string {
	if slices.ContainsFunc(daemonKeys, func(k Key) bool { return k.Name == key }) {
		return "write it in [daemon]"
	}
	if near := Meant(key); near != "" {
		return "did you mean " + near + "?"
	}
	return "remove it; no tunnel has such a key"
}

// Meant is the tunnel's key that a word was most likely meant to be, by another
// product's name of it or by its letters; "" when none is close.
func Meant(word string) string {
	if near, ok := elsewhere[strings.ToLower(strings.ReplaceAll(word, "-", "_"))]; ok {
		return near
	}
	var names []string
	for i := range tunnelKeys {
		names = append(names, tunnelKeys[i].Name)
	}
	return Nearest(word, names)
}

// at is the place of a value or of one item of it.
func (e Entry) at(item int) Position {
	if item >= 0 && item < len(e.Items) {
		return e.Items[item]
	}
	return e.ValueAt
}

// defaults checks [defaults] once by itself and returns its good entries.
func (b *builder) defaults() []Entry {
	r := &reading{builder: b, section: b.file.Defaults, bad: map[string]bool{}, written: map[string]Entry{}}
	var good []Entry
	for _, e := range b.file.Defaults.Entries {
		if e.Key == "name" {
			r.bad[e.Key] = true
			b.add(Problem{Position: e.KeyAt, Table: "[defaults]", Key: "name", What: "every tunnel needs its own", Remedy: "write it in each [[tunnel]]"})
			continue
		}
		before := len(r.wrong)
		r.enter(e)
		for _, p := range r.wrong[before:] {
			b.unusable = append(b.unusable, suspect{e.Key, p})
		}
		good = append(good, e)
	}
	return slices.DeleteFunc(good, func(e Entry) bool { return r.bad[e.Key] })
}

// tunnel reads one [[tunnel]] on top of the defaults.
func (b *builder) tunnel(number int, s Section, defaults []Entry) *reading {
	r := &reading{
		builder: b, section: s, number: number,
		written: map[string]Entry{}, bad: map[string]bool{}, common: map[string]bool{},
	}
	r.Source, r.Netifd = s.At, s.Netifd
	for i := range tunnelKeys {
		if k := &tunnelKeys[i]; k.Default != "" {
			k.put(&r.Tunnel, literal(k.Default), func(int, fault) {})
		}
	}
	r.Name = s.Text("name") // for the messages about other keys
	for _, e := range defaults {
		if s.Has(e.Key) || slices.ContainsFunc(instead[e.Key], s.Has) {
			continue
		}
		r.common[e.Key] = true
		r.enter(e)
	}
	for _, e := range s.Entries {
		r.enter(e)
	}
	return r
}

// instead lists the keys that, written in a tunnel, replace one from the
// defaults: a tunnel's own way to authenticate counts whole.
var instead = func() map[string][]string {
	psk, cert, raw := []string{"psk", "psk_file"}, []string{"cert", "key"}, []string{"raw_key", "peer_raw_key"}
	out := map[string][]string{"ppk": {"ppk_file"}, "ppk_file": {"ppk"}}
	for _, k := range psk {
		out[k] = slices.Concat(psk, cert, raw)
	}
	for _, k := range []string{"cert", "key", "ca", "crl"} {
		out[k] = slices.Concat(psk, raw)
	}
	for _, k := range raw {
		out[k] = slices.Concat(psk, cert)
	}
	return out
}()

// enter reads one key into the tunnel.
func (r *reading) enter(e Entry) {
	k, ok := LookUp(e.Key)
	if !ok {
		r.bad[e.Key] = true
		p := r.problem(e.KeyAt, "")
		p.What = "there is no key " + quote(e.Key)
		if len(r.problems) == maxProblems {
			r.more++ // looking for what was meant takes time
			r.blame(p)
			return
		}
		p.Remedy = notInTunnel(e.Key)
		if strings.HasPrefix(e.Key, `"`) {
			p.What = "there is no key " + e.Key
		}
		if e.Key == "gre" {
			p.What, p.Remedy = "gre is "+typeName(e.Value)+", not a table", "write [tunnel.gre] and its keys below, or gre.key = 42"
		}
		r.add(p)
		return
	}
	r.written[e.Key] = e
	k.put(&r.Tunnel, e.Value, func(item int, f fault) {
		r.mistake(e.Key, item, f)
		r.bad[e.Key] = true
	})
	if k.Kind == Path || k.Kind == Paths {
		r.makeAbsolute(k, e)
	}
}

// put reads a value into a tunnel.
func (k *Key) put(t *Tunnel, raw any, fail failFunc) {
	if k.read != nil {
		k.read(k, t, raw, fail)
		return
	}
	k.set(k.field(t), raw, fail)
}

// makeAbsolute resolves paths against the folder of the file that names them.
func (r *reading) makeAbsolute(k *Key, e Entry) {
	absolute := func(p *string) {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(filepath.Dir(e.ValueAt.File), *p)
		}
	}
	switch f := k.field(&r.Tunnel).(type) {
	case *string:
		absolute(f)
	case *[]string:
		for i := range *f {
			absolute(&(*f)[i])
		}
	}
}

// problem begins a message about this tunnel, or about the defaults.
func (r *reading) problem(at Position, key string) Problem {
	p := Problem{Position: at, Key: key}
	switch {
	case r.number == 0 || r.common[key]:
		p.Table = "[defaults]"
	case r.Name != "":
		p.Tunnel = r.Name
	default:
		p.Tunnel = "#" + strconv.Itoa(r.number)
	}
	return p
}

// where is the place of a key's value, of the tunnel when it is not written.
func (r *reading) where(key string, item int) Position {
	if e, ok := r.written[key]; ok {
		return e.at(item)
	}
	return r.section.At
}

func (r *reading) mistake(key string, item int, f fault) {
	p := r.problem(r.where(key, item), key)
	p.What, p.Remedy = f.what, f.remedy
	r.add(p)
}

func (r *reading) warn(key string, item int, f fault) {
	p := r.problem(r.where(key, item), key)
	p.What, p.Remedy, p.Warning = f.what, f.remedy, true
	r.add(p)
}

// has says that a key was written and is right.
func (r *reading) has(key string) bool {
	_, ok := r.written[key]
	return ok && !r.bad[key]
}

// proposals parses what was written and judges it. Texts that are no proposals
// were reported when they were read.
func (r *reading) proposals() {
	for _, l := range []struct {
		key   string
		parse func(string) (suite.Proposal, error)
		into  *[]suite.Proposal
	}{
		{"ike", suite.ParseIKE, &r.IKEProposals},
		{"esp", suite.ParseESP, &r.ESPProposals},
	} {
		e := r.written[l.key]
		texts, _ := e.Value.([]any)
		if one, ok := e.Value.(string); ok {
			texts = []any{one}
		}
		for i, text := range texts {
			text, _ := text.(string)
			p, err := l.parse(text)
			if err != nil {
				continue
			}
			*l.into = append(*l.into, p)
			r.judgeProposal(l.key, i, text, p)
		}
	}
}

func (r *reading) judgeProposal(key string, i int, text string, p suite.Proposal) {
	var weak []suite.Transform
	for _, t := range p.Transforms {
		if t.Weak() {
			weak = append(weak, t)
		}
	}
	if len(weak) > 0 {
		r.warn(key, i, fault{quote(text) + " uses weak algorithms (" + suite.Words(weak) + ")", "keep it only for a peer that can do nothing better"})
	}
	if key == "esp" && r.has("pfs") && !r.PFS && p.Has(suite.TypeKE) {
		r.mistake(key, i, fault{quote(text) + " has a key exchange although pfs is false", "leave out one of the two"})
	}
}

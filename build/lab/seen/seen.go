// Package seen keeps account of what the lab has seen of the status schema. A
// field that is zero in every scenario is one that nobody sets, or that no
// scenario asks for, and either way nobody knows whether it is right.
//
// What belongs to the account is read off the schema itself: its fields by
// reflection, the words that some of them hold from its constants, and
// Prometheus' series from a snapshot in which nothing is zero.
package seen

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"greseal/tunnel/status"
)

// Set is what was seen to be something else than zero: fields by their path in a
// reply, such as snapshot.tunnels.ike.suite, words as snapshot.tunnels.state=up,
// and series of Prometheus. The zero value is empty; it is safe for concurrent
// use.
type Set struct {
	mu sync.Mutex
	in map[string]bool
}

// Add adds entries.
func (s *Set) Add(entries ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.in == nil {
		s.in = map[string]bool{}
	}
	for _, e := range entries {
		s.in[e] = true
	}
}

// List is the whole set in order.
func (s *Set) List() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.in))
}

// few is how many tunnels of a snapshot are looked at: one with hundreds of them
// is asked for often, and they are alike.
const few = 8

// Reply adds what a daemon's reply holds.
func (s *Set) Reply(r *status.Reply) {
	reply := *r
	if r.Snapshot != nil {
		snapshot := *r.Snapshot
		snapshot.Tunnels = snapshot.Tunnels[:min(len(snapshot.Tunnels), few)]
		reply.Snapshot = &snapshot
	}
	s.Add(entries(&reply, " 0")...)
}

// wordsIn are the fields that hold one of a group of the schema's constants, by
// what the constants' names begin with.
var wordsIn = map[string]string{
	"State":   "snapshot.tunnels.state",
	"Wait":    "snapshot.tunnels.waiting_for",
	"Code":    "snapshot.tunnels.code",
	"Side":    "snapshot.tunnels.side",
	"Desired": "snapshot.tunnels.desired",
	"MTU":     "snapshot.tunnels.mtu.decides",
	"Level":   "events.level",
	"Verdict": "job.tunnels.steps.verdict",
}

// differing are the labels whose values are no part of the schema.
var differing = regexp.MustCompile(`(tunnel|error|version|platform|datapath|code|side)="(\\.|[^"\\])*",?`)

// entries are a reply's fields and words that are not zero, and the series of
// its snapshot whose line does not end in but.
func entries(r *status.Reply, but string) (list []string) {
	var walk func(v reflect.Value, path string)
	walk = func(v reflect.Value, path string) {
		switch v.Kind() {
		case reflect.Pointer:
			if !v.IsNil() {
				walk(v.Elem(), path)
			}
		case reflect.Slice:
			for i := range v.Len() {
				walk(v.Index(i), path)
			}
		case reflect.Struct:
			for i := range v.NumField() {
				walk(v.Field(i), strings.TrimPrefix(path+"."+v.Type().Field(i).Tag.Get("msg"), "."))
			}
		default:
			if v.IsZero() {
				return
			}
			list = append(list, path)
			for _, words := range wordsIn {
				if path == words {
					list = append(list, path+"="+v.String())
				}
			}
		}
	}
	walk(reflect.ValueOf(r), "")
	if r.Snapshot == nil {
		return list
	}
	var text bytes.Buffer
	_ = status.Prometheus(&text, r.Snapshot) // a buffer takes everything
	for line := range strings.Lines(text.String()) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "#") && !strings.HasSuffix(line, but) {
			name := line[:strings.LastIndexByte(line, ' ')]
			list = append(list, strings.TrimSuffix(differing.ReplaceAllString(name, ""), "{}"))
		}
	}
	return list
}

// Everything lists what there is to see. schema is the path of its source, for
// the constants.
func Everything(schema string) ([]string, error) {
	full := &status.Reply{}
	fill(reflect.ValueOf(full).Elem())
	all, err := words(schema)
	for _, e := range entries(full, "none") {
		if !strings.HasSuffix(e, "="+filled) {
			all = append(all, e)
		}
	}
	slices.Sort(all)
	return slices.Compact(all), err
}

const filled = "x" // every string

// fill gives every field something else than zero, and every list one element.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.String:
		v.SetString(filled)
	case reflect.Bool:
		v.SetBool(true)
	default:
		v.Set(reflect.ValueOf(1).Convert(v.Type()))
	}
}

// words are the schema's constants that are text, each with the field it is seen
// in.
func words(schema string) (list []string, err error) {
	file, err := parser.ParseFile(token.NewFileSet(), schema, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if text, ok := spec.Values[0].(*ast.BasicLit); ok && text.Kind == token.STRING {
			value, _ := strconv.Unquote(text.Value)
			for begin, path := range wordsIn {
				if strings.HasPrefix(spec.Names[0].Name, begin) {
					list = append(list, path+"="+value)
					return true
				}
			}
			err = fmt.Errorf("%s: wordsIn must name the field that holds %s", schema, spec.Names[0].Name)
		}
		return true
	})
	return list, err
}

// Judge compares what was seen with all there is. never are entries that no
// scenario can show, with the reason; one that was seen for all that, or does not
// exist, is stale.
func (s *Set) Judge(all []string, never map[string]string) (unseen, stale []string) {
	for _, e := range all {
		if !s.in[e] && never[e] == "" {
			unseen = append(unseen, e)
		}
	}
	for e := range never {
		if s.in[e] || !slices.Contains(all, e) {
			stale = append(stale, e)
		}
	}
	slices.Sort(stale)
	return unseen, stale
}

// Package syntax reads and writes the files of OpenWrt's Unified Configuration
// Interface, as libuci does: the same words, sections, names of anonymous
// sections, merging and errors, and byte for byte the same output. It knows
// nothing of what the options mean.
//
// In one respect it is stricter. libuci drops some input without a word (the
// rest of a line behind ";", what follows "#" within a word, an option without a
// value, everything behind a NUL); here that is an error with a remedy, because
// an option that is silently missing from a tunnel is worse than a file that is
// refused. Comments are not kept, as with libuci.
//
// Parse and Package.Bytes are pure; Load and Save take the locks that libuci
// takes.
package syntax

import (
	"fmt"
	"slices"
)

// MaxSize is the largest file that is read, in bytes.
const MaxSize = 1 << 18

// Package is one file of /etc/config.
type Package struct {
	Name     string
	Sections []*Section
}

// Section is a "config" line with the options that follow.
type Section struct {
	Type string
	// Name is what other tools call the section by. Anonymous says that it
	// was made up (cfg…, from position and type) and is not in the file: it
	// changes when sections move, and is never to be stored.
	Name      string
	Anonymous bool
	Options   []Option
	Line      int // where it begins, from 1; 0 when it was not read from a file

	// Err is the first mistake in its lines, nil when there is none. With one,
	// Type is empty where it cannot be told where the lines belong.
	Err *Error
}

// Option is an option with its value, or a list with its items.
type Option struct {
	Name   string
	List   bool
	Values []string // exactly one when List is false
	Line   int      // where it was last set, from 1; 0 when it was not read from a file
}

// Error is a mistake in a file.
type Error struct {
	File   string // as given to Parse, may be empty
	Line   int    // from 1
	Byte   int    // in the line, from 0: where the parser stood
	Reason string // in libuci's words where it has some
	Remedy string
}

func (e *Error) Error() string {
	s := fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Byte, e.Reason)
	if e.File == "" {
		s = fmt.Sprintf("line %d, byte %d: %s", e.Line, e.Byte, e.Reason)
	}
	if e.Remedy != "" {
		s += "; " + e.Remedy
	}
	return s
}

// Section returns the section with this name, nil when there is none.
func (p *Package) Section(name string) *Section {
	for _, s := range p.Sections {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// Add appends a section; with an empty name an anonymous one.
func (p *Package) Add(typ, name string) *Section {
	s := &Section{Type: typ, Name: name}
	if name == "" {
		s.Anonymous = true
		s.Name = anonymousName(len(p.Sections)+1, typ)
	}
	p.Sections = append(p.Sections, s)
	return s
}

// anonymousName is libuci's name of the n-th section of a package when it has
// none of its own: its number and 16 bits of the type's djb2 hash.
func anonymousName(n int, typ string) string {
	hash := uint32(5381)
	for i := range len(typ) {
		hash = hash*33 + uint32(typ[i])
	}
	return fmt.Sprintf("cfg%02x%04x", n, hash&0xffff)
}

func (s *Section) option(name string) *Option {
	for i := range s.Options {
		if s.Options[i].Name == name {
			return &s.Options[i]
		}
	}
	return nil
}

// Get returns the value of an option. A list gives its items joined by spaces,
// as most readers of UCI take it.
func (s *Section) Get(name string) (string, bool) {
	o := s.option(name)
	if o == nil {
		return "", false
	}
	value := o.Values[0]
	for _, v := range o.Values[1:] {
		value += " " + v
	}
	return value, true
}

// Set gives an option its value in place of whatever it had. An empty value
// removes it: UCI has no empty options.
func (s *Section) Set(name, value string) {
	if value == "" {
		s.Delete(name)
		return
	}
	s.put(Option{Name: name, Values: []string{value}})
}

// SetList makes name a list of these items, or removes it when there are none.
func (s *Section) SetList(name string, items []string) {
	if len(items) == 0 {
		s.Delete(name)
		return
	}
	s.put(Option{Name: name, List: true, Values: slices.Clone(items)})
}

func (s *Section) put(o Option) {
	if old := s.option(o.Name); old != nil {
		*old = o
		return
	}
	s.Options = append(s.Options, o)
}

// Delete removes an option or list.
func (s *Section) Delete(name string) {
	s.Options = slices.DeleteFunc(s.Options, func(o Option) bool { return o.Name == name })
}

// ValidName reports whether name can be that of a section or an option.
func ValidName(name string) bool {
	for i := range len(name) {
		if !nameByte(name[i]) {
			return false
		}
	}
	return name != ""
}

// ValidPackage reports whether name can be that of a package.
func ValidPackage(name string) bool {
	for i := range len(name) {
		if !nameByte(name[i]) && name[i] != '-' {
			return false
		}
	}
	return name != ""
}

// ValidType reports whether typ can be that of a section.
func ValidType(typ string) bool {
	for i := range len(typ) {
		if typ[i] < 33 || typ[i] > 126 {
			return false
		}
	}
	return typ != ""
}

func nameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

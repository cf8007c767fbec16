// Package peerconf writes the other side of a tunnel: the complete configuration
// of a strongSwan, libreswan, MikroTik RouterOS 7, Cisco IOS-XE, VyOS or greseal
// peer that fits one [[tunnel]], with names and proposals that product really
// has. What it cannot do, and what only its owner can know, stands on top as
// comments.
//
// It computes text from a config.Tunnel and asks nobody: what is not in the
// config, such as the own address behind a name, the caller gives in Options. A
// secret is written only when ShowSecrets says so.
//
// A product is one file: a vendor with the algorithms it has, and a function that
// writes lines. The facts about them come from their public documentation and
// schemas: libreswan's ipsec.conf(5) and its own parser, RouterOS' IPsec and GRE
// pages, IOS-XE's YANG model, VyOS' interface definitions.
package peerconf

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"greseal/crypto/suite"
	"greseal/tunnel/config"
)

// Options is what is written about.
type Options struct {
	Tunnel *config.Tunnel

	Own    string // outer address or host name of this greseal, "" when unknown
	Peer   string // outer address of the other side, "" for the first remote
	GREOwn string // own GRE endpoint when it is not Own, such as behind a NAT

	Networks    []netip.Prefix // behind this greseal, for the other side's routes
	MTU         int            // of this side's interface, 0 to compute it
	ShowSecrets bool
	CommandLine bool // name the flags of peer-config where it could not know better
}

// vendor is one product.
type vendor struct {
	name, title string
	comment     string // what begins a comment
	ike, esp    string // words of what it can do
	addKE       bool   // RFC 9370
	signs       bool   // certificates and raw keys are written for it
	render      func(*page, *side)
}

var vendors = []vendor{strongSwan, libreswan, mikroTik, cisco, vyOS, greseal, openWrt}

// Vendors lists the names that Render takes.
func Vendors() []string {
	names := make([]string, len(vendors))
	for i, v := range vendors {
		names[i] = v.name
	}
	return names
}

// Render writes the configuration of the other side.
func Render(w io.Writer, name string, o Options) error {
	for _, v := range vendors {
		if v.name != name {
			continue
		}
		s, err := newSide(&v, o)
		if err != nil {
			return err
		}
		body := &page{comment: v.comment}
		v.render(body, s)
		s.placeholders(body.String())
		head := &page{comment: v.comment}
		head.rem("%s, the other side of greseal's tunnel %q", v.title, s.Name)
		s.notes(head)
		head.line("")
		head.Write(body.Bytes())
		_, err = w.Write(head.Bytes())
		return err
	}
	return fmt.Errorf("no peer is called %q; known are %s", name, strings.Join(Vendors(), ", "))
}

// page collects lines.
type page struct {
	bytes.Buffer
	comment string
}

func (p *page) line(format string, args ...any) {
	fmt.Fprintf(p, format+"\n", args...)
}

// begin begins a shell script that can be run again: put writes a file, and keeps
// one that differs beside it. It may hold a key that nobody has elsewhere.
func (p *page) begin() {
	p.line("set -e")
	p.line("umask 077")
	p.line("put() {")
	p.line(`  cat > "$1.new"`)
	p.line(`  if cmp -s "$1.new" "$1"; then rm "$1.new"; return; fi`)
	p.line(`  b=$1.before`)
	p.line(`  while [ -e "$b" ]; do b=$b~; done`)
	p.line(`  [ ! -e "$1" ] || mv "$1" "$b"`)
	p.line(`  mv "$1.new" "$1"`)
	p.line("}")
}

// file begins a file of a shell script, up to a line END.
func (p *page) file(path string) { p.line(`put "%s" <<'END'`, path) }

// rem writes a comment, wrapped at 80 columns.
func (p *page) rem(format string, args ...any) {
	p.wrap(p.comment, p.comment, fmt.Sprintf(format, args...))
}

func (p *page) wrap(first, next, text string) {
	line := first
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
		case len(line)+1+len(word) > 80:
			p.WriteString(line + "\n")
			line = next
		default:
			line += " "
		}
		line += word
	}
	p.WriteString(line + "\n")
}

// notes writes what to replace and what the product cannot do.
func (s *side) notes(p *page) {
	for _, t := range s.before {
		p.wrap(p.comment+"first: ", p.comment+"  ", t)
	}
	for _, t := range s.todo {
		p.wrap(p.comment+"replace: ", p.comment+"  ", t)
	}
	for _, t := range s.warnings {
		p.wrap(p.comment+"warning: ", p.comment+"  ", t)
	}
}

func (s *side) warn(format string, args ...any) {
	s.warnings = append(s.warnings, fmt.Sprintf(format, args...))
}

func (s *side) first(format string, args ...any) {
	s.before = append(s.before, fmt.Sprintf(format, args...))
}

func (s *side) replace(format string, args ...any) {
	s.todo = append(s.todo, fmt.Sprintf(format, args...))
}

// has reports whether a list of words has a transform's word.
func has(list string, t suite.Transform) bool {
	for w := range strings.FieldsSeq(list) {
		if w == t.Word() {
			return true
		}
	}
	return false
}

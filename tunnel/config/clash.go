package config

import (
	"fmt"
	"strings"
)

// clash is all that a tunnel has in common with one before it and must not have. It
// is one mistake with one remedy, after which the two stand beside each other.
type clash struct {
	with *reading
	key  string // where it is reported
	item int
	what []string

	here, peer, other []string // what to write in this tunnel, at its peer, and in the other tunnel and at its peer
}

// clash finds what is already noted against another tunnel, or begins with a key.
func (r *reading) clash(with *reading, key string, item int) *clash {
	for _, c := range r.clashes {
		if c.with == with {
			return c
		}
	}
	c := &clash{with: with, key: key, item: item}
	r.clashes = append(r.clashes, c)
	return c
}

func (c *clash) add(what string, here, peer []string) {
	c.what = append(c.what, what)
	c.here, c.peer = append(c.here, here...), append(c.peer, peer...)
}

// report makes mistakes of what was noted.
func (r *reading) report() {
	for _, c := range r.clashes {
		var parts []string
		for _, p := range []struct {
			lines []string
			where string
		}{{c.here, "here"}, {c.peer, "at the peer"}, {c.other, "in tunnel " + quote(c.with.Name) + " and at its peer"}} {
			if len(p.lines) > 0 {
				parts = append(parts, and(p.lines)+" "+p.where)
			}
		}
		remedy := "this goes with the other metric"
		if len(parts) > 0 {
			remedy = "write " + strings.Join(parts, ", ")
		}
		r.mistake(c.key, c.item, fault{strings.Join(c.what, "; and "), remedy})
	}
}

func and(list []string) string {
	if len(list) < 2 {
		return strings.Join(list, "")
	}
	last := len(list) - 1
	return strings.Join(list[:last], ", ") + " and " + list[last]
}

// freeKey is a GRE key that no tunnel has, the same each time for one of them.
func (b *builder) freeKey(r *reading, all []*reading) string {
	if b.keys == nil {
		b.keys = map[uint32]bool{0: true}
		for _, o := range all {
			b.keys[o.GRE.Key] = true
		}
	}
	if r.ownKey == 0 {
		for b.keys[b.nextKey] {
			b.nextKey++
		}
		r.ownKey, b.keys[b.nextKey] = b.nextKey, true
	}
	return fmt.Sprintf("gre.key = %d", r.ownKey)
}

// ownName is an identity that none of the two sides has yet.
func (r *reading) ownName() string {
	name := r.Name
	if name == "" {
		return "…"
	}
	for name == r.LocalID || name == r.RemoteID {
		name += "-2"
	}
	return name
}

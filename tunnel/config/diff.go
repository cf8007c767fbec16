package config

import "slices"

// Class says what carrying out a change costs the traffic of its tunnel.
type Class uint8

// Classes, in rising order: a change of several keys has the highest of its
// keys' classes.
const (
	Hitless     Class = iota + 1 // nothing is lost, no exchange with the peer
	Rekey                        // new Child or IKE SAs are made before the old ones go
	Beside                       // a new IKE SA is made before the old one goes, which stays until the peer has the new settings too
	Reestablish                  // the tunnel goes down and comes up again
)

func (c Class) String() string {
	switch c {
	case Hitless:
		return "hitless"
	case Rekey:
		return "rekey"
	case Beside:
		return "beside"
	case Reestablish:
		return "re-establish"
	}
	return "none"
}

// ChangeKind tells how a tunnel differs between two configs.
type ChangeKind uint8

// Kinds of change.
const (
	Added ChangeKind = iota + 1
	Removed
	Changed
)

func (k ChangeKind) String() string {
	switch k {
	case Added:
		return "added"
	case Removed:
		return "removed"
	case Changed:
		return "changed"
	}
	return "same"
}

// Change is one tunnel that differs.
type Change struct {
	Name  string
	Kind  ChangeKind
	Keys  []string // of a Changed one: schema names, in the order of the schema
	Class Class    // of a Changed one
}

// Difference is what changed between two configs. Tunnels that are the same in
// both do not occur in it.
type Difference struct {
	Daemon  []string // changed keys of [daemon]; they need a restart of the daemon
	Tunnels []Change // removed ones first, then in the order of the new file
}

// Empty says that nothing changed.
func (d Difference) Empty() bool { return len(d.Daemon) == 0 && len(d.Tunnels) == 0 }

// Diff compares two configs tunnel by tunnel, by name. A secret file whose
// contents changed counts as a change of its key. old may be nil.
func Diff(old, new *Config) Difference {
	if old == nil {
		old = &Config{Daemon: new.Daemon}
	}
	var d Difference
	for i := range daemonKeys {
		if k := &daemonKeys[i]; !sameField(k.dmn(&old.Daemon), k.dmn(&new.Daemon)) {
			d.Daemon = append(d.Daemon, k.Name)
		}
	}
	was, is := old.byName(), new.byName()
	for i := range old.Tunnels {
		if t := &old.Tunnels[i]; is[t.Name] == nil {
			d.Tunnels = append(d.Tunnels, Change{Name: t.Name, Kind: Removed})
		}
	}
	for i := range new.Tunnels {
		t := &new.Tunnels[i]
		before := was[t.Name]
		if before == nil {
			d.Tunnels = append(d.Tunnels, Change{Name: t.Name, Kind: Added})
			continue
		}
		if c := changeOf(before, t); c.Class != 0 {
			d.Tunnels = append(d.Tunnels, c)
		}
	}
	return d
}

// changeOf compares a tunnel with what it was before; Class is 0 when it is the same.
func changeOf(before, t *Tunnel) Change {
	c := Change{Name: t.Name, Kind: Changed}
	if before.Netifd != t.Netifd {
		// The same settings, but another one carries them out.
		c.Keys, c.Class = []string{"address", "routes"}, Hitless
	}
	mistaken := map[string]bool{}
	if before.usable() != t.usable() {
		c.Class = Reestablish
		for _, p := range slices.Concat(before.Mistakes, t.Mistakes) {
			mistaken[p.Key] = true
		}
		before, t = before.bare(), t.bare() // one of them has none
	}
	for i := range tunnelKeys {
		if k := &tunnelKeys[i]; mistaken[k.Name] || !k.sameKey(before, t) {
			if !slices.Contains(c.Keys, k.Name) {
				c.Keys = append(c.Keys, k.Name)
			}
			c.Class = max(c.Class, k.Class)
			if k.Name == "remote" && before.RemoteAny != t.RemoteAny {
				c.Class = Reestablish // the interface has another kind of endpoint
			}
		}
	}
	return c
}

func (t *Tunnel) usable() bool { return len(t.Mistakes) == 0 }

// bare is a copy that nothing can authenticate with, as one with mistakes is.
func (t *Tunnel) bare() *Tunnel {
	bare := t.WithoutSecrets()
	bare.Credentials = Credentials{}
	return bare
}

package config

// Class says what carrying out a change costs the traffic of its tunnel.
type Class uint8

// Classes, in rising order: a change of several keys has the highest of its
// keys' classes.
const (
	Hitless     Class = iota + 1 // nothing is lost, no exchange with the peer
	Rekey                        // new Child or IKE SAs are made before the old ones go
	Reestablish                  // the tunnel goes down and comes up again
)

func (c Class) String() string {
	switch c {
	case Hitless:
		return "hitless"
	case Rekey:
		return "rekey"
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

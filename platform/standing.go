package platform

// Object is a kind of thing that greseal lays on the machine.
type Object string

// The kinds of things that are read back.
const (
	ObjectLink    Object = "interface"
	ObjectAddress Object = "address"
	ObjectRoute   Object = "route"
	ObjectRule    Object = "rule"
	ObjectGuard   Object = "guard"
	ObjectPolicy  Object = "policy"
	ObjectSA      Object = "SA"
	ObjectClamp   Object = "MSS clamp"
	ObjectSysctl  Object = "sysctl"
)

// Deviation is a difference between what is wanted on the machine and what was read
// back from it.
type Deviation struct {
	Link   string // the tunnel's interface; "" for what serves all of them
	Object Object
	Name   string // which one, such as "10.0.0.1/30"; the interface itself has its name
	Text   string // what stands instead, such as "somebody removed it"
	Remedy string // what to do about one that stays
	Fixed  bool   // it was put right; otherwise it still differs
}

// Standing is implemented by whatever lays things on the machine.
type Standing interface {
	// Audit reads back everything that is wanted, puts right what is ours and
	// returns what it found to differ, fixed or not. Asked again when nothing
	// has changed it writes nothing and returns the same deviations, without
	// those it fixed. An object that somebody else changes again and again is
	// put right no more than a few times a minute; its text says so.
	Audit() []Deviation
}

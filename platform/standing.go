package platform

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Object is a kind of thing that greseal installs on the machine.
type Object string

// The kinds of things that are read back.
const (
	ObjectLink    Object = "interface"
	ObjectPort    Object = "bridge port"
	ObjectAddress Object = "address"
	ObjectRoute   Object = "route"
	ObjectRule    Object = "rule"
	ObjectGuard   Object = "guard"
	ObjectPolicy  Object = "policy"
	ObjectSA      Object = "SA"
	ObjectClamp   Object = "MSS clamp"
)

// Deviation is a difference between what is wanted on the machine and what was read
// back from it.
type Deviation struct {
	Link   string // the tunnel's interface; "" for what serves all of them
	Object Object
	Name   string // which one, such as "10.0.0.1/30"; the interface itself has its name
	Text   string // what was found instead, such as "somebody removed it"
	Remedy string // what to do about one that stays
	Fixed  bool   // it was put right; otherwise it still differs
}

// String is the object and how it differs, such as
// "interface hq: somebody set it down; nothing passes".
func (d Deviation) String() string { return d.What() + ": " + d.Text }

// What is the object, such as "interface hq", or its kind where none is named.
func (d Deviation) What() string { return strings.TrimSpace(fmt.Sprintf("%s %s", d.Object, d.Name)) }

// Standing is implemented by whatever installs things on the machine.
type Standing interface {
	// Audit reads back everything that is wanted, puts right what is ours and
	// returns what it found to differ, fixed or not. there are the machine's
	// interfaces now, nil where they cannot be read. Called again when nothing
	// has changed it writes nothing and returns the same deviations, without
	// those it fixed. An object that another program keeps changing is put right
	// no more than a few times a minute; its text says so.
	Audit(there *Interfaces) []Deviation
}

// Repairs puts deviations right, and bounds how often: an object that another program
// keeps changing is left as it is, except for guards, without which a tunnel would be
// open. The zero value is ready; it belongs to one goroutine.
type Repairs struct {
	made  map[Deviation][]time.Time // within repairSpan, oldest first, by what identifies an object
	swept time.Time
}

// At most this many repairs of one object within that time.
const (
	repairsMost = 5
	repairSpan  = time.Minute
)

// Do calls fix to put right what was found, and returns found with the result: Fixed, or
// the error in its text, or that another program keeps changing the object, in which
// case fix may not have been called.
func (r *Repairs) Do(found Deviation, fix func() error) Deviation {
	return r.do(found, time.Now(), fix)
}

func (r *Repairs) do(found Deviation, now time.Time, fix func() error) Deviation {
	object := Deviation{Link: found.Link, Object: found.Object, Name: found.Name}
	made := recent(r.made[object], now)
	contended := len(made) >= repairsMost
	if contended {
		found.Text += "; another program keeps changing it"
		if found.Object != ObjectGuard {
			return found
		}
		made = made[1:]
	}
	if err := fix(); err != nil {
		found.Text += ": " + err.Error()
		return found
	}
	found.Fixed = true
	if r.made == nil || now.Sub(r.swept) > repairSpan {
		r.sweep(now)
	}
	r.made[object] = append(made, now)
	return found
}

// Repair is what is put right of one object together, and counts as one repair.
type Repair struct {
	texts []string
	fixes []func() error
}

// Add notes a difference and what puts it right.
func (r *Repair) Add(text string, fix func() error) {
	r.texts, r.fixes = append(r.texts, text), append(r.fixes, fix)
}

// DoAll puts all of a Repair of the object found right, as Do does; differs is false
// when there is nothing to do.
func (r *Repairs) DoAll(found Deviation, all Repair) (_ Deviation, differs bool) {
	if len(all.fixes) == 0 {
		return found, false
	}
	found.Text = strings.Join(all.texts, "; ")
	return r.Do(found, func() error {
		var errs []error
		for _, fix := range all.fixes {
			errs = append(errs, fix())
		}
		return errors.Join(errs...)
	}), true
}

// sweep forgets the objects that were not put right lately.
func (r *Repairs) sweep(now time.Time) {
	kept := make(map[Deviation][]time.Time)
	for object, made := range r.made {
		if made = recent(made, now); len(made) > 0 {
			kept[object] = made
		}
	}
	r.made, r.swept = kept, now
}

// recent are the times within repairSpan.
func recent(made []time.Time, now time.Time) []time.Time {
	for len(made) > 0 && now.Sub(made[0]) > repairSpan {
		made = made[1:]
	}
	return made
}

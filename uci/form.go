package uci

import (
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strconv"

	"greseal/tunnel/config"
	"greseal/uci/syntax"
)

// Form is an interface as a form holds it, not yet written anywhere: its options
// by name, each a list of values.
type Form struct {
	Name    string
	Options map[string][]string
	Alone   bool // judge it without the other tunnels
}

// Fault is a problem of a form, at the option it stands in; without one it is of
// the interface as a whole.
type Fault struct {
	Option  string `json:"option"`
	What    string `json:"what"`
	Remedy  string `json:"remedy"`
	Warning bool   `json:"warning"`
}

// Check makes the daemon's own checks of a form, together with everything else
// that the configuration at path holds. The configuration returned has the
// interface in it; it is nil when there are mistakes. The caller wipes it.
func (f *Form) Check(path string) (*config.Config, []Fault) {
	s := &syntax.Section{Type: "interface", Name: f.Name}
	for _, name := range slices.Sorted(maps.Keys(f.Options)) {
		if v := f.Options[name]; len(v) > 0 {
			s.Options = append(s.Options, syntax.Option{Name: name, Values: v, List: kindOf(name).List()})
		}
	}
	file, _ := read(folderFor(path), path, nil) // its mistakes are others'
	written := slices.ContainsFunc(file.Tunnels, func(t config.Section) bool { return t.Text("name") == f.Name })
	file.Tunnels = slices.DeleteFunc(file.Tunnels, func(t config.Section) bool { return f.Alone || t.Netifd && t.Text("name") == f.Name })
	t, faults := networkInterface("", s, filepath.Dir(path))
	file.Tunnels = append(file.Tunnels, t)
	file.Problems = faults
	c, err := config.Build(file)
	ps, _ := err.(config.Problems)
	if c != nil {
		ps = c.Warnings
	}
	out := []Fault{}
	if !f.Alone && !written && taken(f.Name) {
		out = append(out, Fault{Option: "name", What: strconv.Quote(f.Name) + " is the name of a network interface that is there already", Remedy: "choose another"})
	}
	for _, p := range ps {
		// Of several places that contradict each other the form's is shown.
		if p.File == "" && p.Tunnel == f.Name {
			out = append(out, Fault{Option(p.Key), p.What, p.Remedy, p.Warning})
		}
	}
	return c, out
}

// taken says whether this machine has an interface of a name; a tunnel that is
// not written yet cannot be the one that it belongs to.
var taken = func(name string) bool {
	_, err := net.InterfaceByName(name)
	return err == nil
}

func kindOf(option string) config.Kind {
	if k, _ := keyOf(config.TunnelKeys(), option); k != nil {
		return k.Kind
	}
	return 0
}

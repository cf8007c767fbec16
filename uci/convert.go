package uci

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"greseal/tunnel/config"
	"greseal/uci/syntax"
)

// Types of the sections of /etc/config/greseal.
const (
	typeDaemon   = "daemon"
	typeDefaults = "defaults"
	typeTunnel   = "tunnel"
)

// Option is the UCI option of a key of the schema.
func Option(key string) string { return strings.ReplaceAll(key, ".", "_") }

// keyOf finds the key that an option writes; the option's name itself when there
// is none, so that the checks report it.
func keyOf(keys []config.Key, option string) (*config.Key, string) {
	for i := range keys {
		if Option(keys[i].Name) == option {
			return &keys[i], keys[i].Name
		}
	}
	return nil, option
}

// sections reads /etc/config/greseal. Relative paths start from the folder
// paths, as those of the TOML file do.
func sections(path string, p *syntax.Package, paths string) (config.File, config.Problems) {
	f := config.File{Name: path}
	var ps config.Problems
	single := map[string]*syntax.Section{}
	for _, s := range p.Sections {
		wrong := unread(path, s)
		if wrong != nil && (s.Type == typeDefaults || s.Type == "") {
			// Any tunnel may lack something that stands here.
			f.Stray = append(f.Stray, config.Entry{Key: typeDefaults, KeyAt: wrong[0].Position})
		}
		if s.Type == "" && !meant(s) {
			continue
		}
		switch s.Type {
		case typeDaemon, typeDefaults:
			if first := single[s.Type]; first != nil {
				ps = append(ps, config.Problem{Position: place(path, s.Line), Table: "[" + s.Type + "]",
					What: "there is a section of this type at line " + strconv.Itoa(first.Line) + " already", Remedy: "make one of the two"})
				continue
			}
			single[s.Type] = s
			keys, into := config.TunnelKeys(), &f.Defaults
			if s.Type == typeDaemon {
				keys, into = config.DaemonKeys(), &f.Daemon
			}
			r := reader{path: path, paths: paths, keys: keys, table: "[" + s.Type + "]"}
			*into = r.section(s)
			ps = append(ps, r.problems...)
		case typeTunnel, "":
			r := reader{path: path, paths: paths, keys: config.TunnelKeys(), tunnel: s.Name}
			t := r.section(s)
			t.Wrong = wrong
			// A section's name cannot have "-" and ".", which an interface may.
			if named := t.Has("name"); !named && !s.Anonymous {
				t.Entries = append([]config.Entry{entry("name", s.Name, t.At)}, t.Entries...)
			}
			f.Tunnels = append(f.Tunnels, t)
			ps = append(ps, r.problems...)
		default:
			remedy := "known are daemon, defaults and tunnel"
			if near := config.Nearest(s.Type, []string{typeDaemon, typeDefaults, typeTunnel}); near != "" {
				remedy = "did you mean config " + near + "?"
			}
			ps = append(ps, config.Problem{Position: place(path, s.Line), What: "there is no section type " + strconv.Quote(s.Type), Remedy: remedy})
		}
	}
	return f, ps
}

// unread is the mistake for which a section could not be read as a whole.
func unread(path string, s *syntax.Section) config.Problems {
	if s.Err == nil {
		return nil
	}
	return config.Problems{problem(path, s.Err)}
}

func entry(key string, value any, at config.Position) config.Entry {
	return config.Entry{Key: key, Value: value, KeyAt: at, ValueAt: at}
}

// reader turns the options of one section into entries.
type reader struct {
	path, paths   string
	keys          []config.Key
	table, tunnel string // for messages
	problems      config.Problems
}

func (r *reader) section(s *syntax.Section) config.Section {
	out := config.Section{At: place(r.path, s.Line)}
	for _, o := range s.Options {
		k, name := keyOf(r.keys, o.Name)
		at := place(r.path, o.Line)
		e := entry(name, o.Values[0], at)
		switch {
		case k == nil:
		case o.List && !k.Kind.List():
			r.problems = append(r.problems, config.Problem{Position: at, Table: r.table, Tunnel: r.tunnel, Key: name,
				What: "is a list", Remedy: "write option instead of list, with one value"})
			continue
		default:
			e.Value = r.value(k, o)
			if items, ok := e.Value.([]any); ok {
				e.Items = slices.Repeat([]config.Position{at}, len(items))
			}
		}
		out.Entries = append(out.Entries, e)
	}
	return out
}

// value gives the words of an option the type that the key has in TOML. What is
// no such word is left as it is, for the checks to say so.
func (r *reader) value(k *config.Key, o syntax.Option) any {
	text := o.Values[0]
	switch k.Kind {
	case config.Switch:
		// What OpenWrt's scripts take for a boolean.
		switch text {
		case "1", "true", "yes", "on", "enabled":
			return true
		case "0", "false", "no", "off", "disabled":
			return false
		}
	case config.Number, config.NumberOr:
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n
		}
		if hex, ok := strings.CutPrefix(text, "0x"); ok {
			if n, err := strconv.ParseInt(hex, 16, 64); err == nil {
				return n
			}
		}
	case config.Size:
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n
		}
	case config.Path:
		return r.absolute(text)
	case config.Texts, config.Paths, config.Prefixes:
		words := o.Values
		if !o.List && k.Kind != config.Paths {
			words = strings.Fields(text) // an option given for a list is split, as netifd does
		}
		if len(words) == 1 && words[0] == "" {
			words = nil // UCI has no empty lists: one empty item stands for it
		}
		items := make([]any, len(words))
		for i, w := range words {
			items[i] = w
			if k.Kind == config.Paths {
				items[i] = r.absolute(w)
			}
		}
		return items
	}
	return text
}

func (r *reader) absolute(path string) string {
	if r.paths == "" || path == "" || filepath.IsAbs(path) {
		return path
	}
	path = filepath.Join(r.paths, path)
	// One that is still relative would be taken from the UCI file's folder next.
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// write is the reverse of sections: a package with everything in f.
func write(f config.File) (*syntax.Package, error) {
	p := &syntax.Package{Name: "greseal"}
	if len(f.Daemon.Entries) > 0 {
		options(p.Add(typeDaemon, "daemon"), config.DaemonKeys(), f.Daemon)
	}
	if len(f.Defaults.Entries) > 0 {
		options(p.Add(typeDefaults, "defaults"), config.TunnelKeys(), f.Defaults)
	}
	for _, t := range f.Tunnels {
		name := t.Text("name")
		// The names of the other two sections are taken.
		if syntax.ValidName(name) && name != "daemon" && name != "defaults" {
			t.Entries = slices.DeleteFunc(slices.Clone(t.Entries), func(e config.Entry) bool { return e.Key == "name" })
			options(p.Add(typeTunnel, name), config.TunnelKeys(), t)
			continue
		}
		options(p.Add(typeTunnel, ""), config.TunnelKeys(), t)
	}
	_, err := p.Bytes() // refuses what would not be read back
	return p, err
}

func options(s *syntax.Section, keys []config.Key, from config.Section) {
	for _, e := range from.Entries {
		name := Option(e.Key)
		switch v := e.Value.(type) {
		case bool:
			s.Set(name, map[bool]string{false: "0", true: "1"}[v])
		case string:
			if k, _ := keyOf(keys, name); k != nil && k.Kind.List() && !slices.Equal(strings.Fields(v), []string{v}) {
				s.SetList(name, []string{v}) // an option would be split
				continue
			}
			s.Set(name, v)
		case []any:
			items := make([]string, len(v))
			for i, item := range v {
				items[i] = text(item)
			}
			if len(items) == 0 {
				items = []string{""}
			}
			s.SetList(name, items)
		default:
			s.Set(name, number(v))
		}
	}
}

func text(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return number(v)
}

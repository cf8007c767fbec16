// Package uci lets tunnels be written in OpenWrt's configuration files: as
// "config tunnel" in /etc/config/greseal and as interfaces with "option proto
// 'greseal'" in /etc/config/network. They are merged with those of the TOML
// file, go through the same checks, and each knows file and line it came from.
//
// The mapping is made from the schema of tunnel/config (its Keys), so an option
// cannot exist in one of the two and be missing in the other: an option has the
// key's name, with "_" for the dot of gre.key. Nothing here writes a file but
// the commands export and import with -o.
//
// uci/syntax reads and writes the files, uci/netifd speaks to the network
// daemon, uci/rpcd is the plugin for LuCI.
package uci

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"greseal/tunnel/cli"
	"greseal/tunnel/config"
	"greseal/uci/syntax"
)

// Folder is where OpenWrt keeps its configuration.
const Folder = "/etc/config"

// Proto is the protocol of an interface that is a tunnel.
const Proto = "greseal"

// Load reads the configuration at path together with the tunnels written in
// UCI; see tunnel.Options.Load. Several daemons of one machine have a file each,
// so UCI belongs to the one with the default file, or to any whose environment
// names a folder in UCI_CONFIG_DIR, as OpenWrt's own scripts take it.
func Load(path string, candidate []byte) (*config.Config, error) {
	return load(folderFor(path), path, candidate)
}

// LoadUsable is what can be used of the same configuration where Load refuses it,
// with all that is wrong; see config.Usable.
func LoadUsable(path string, candidate []byte) (*config.Config, config.Problems) {
	f, err := read(folderFor(path), path, candidate)
	var found config.Problems
	if errors.As(err, &found) {
		f.Problems = nil // they are among those
	}
	return config.Usable(f, found)
}

func folderFor(path string) string {
	if dir := os.Getenv("UCI_CONFIG_DIR"); dir != "" {
		return dir
	}
	if abs, err := filepath.Abs(path); err == nil && abs == config.DefaultFile {
		return Folder
	}
	return ""
}

func load(folder, path string, candidate []byte) (*config.Config, error) {
	f, err := read(folder, path, candidate)
	if err != nil {
		return nil, err
	}
	// What else is wrong with half a section follows from that.
	f.Tunnels = slices.DeleteFunc(f.Tunnels, func(s config.Section) bool { return len(s.Wrong) > 0 })
	return config.Build(f)
}

// read is load without the checks of what was written.
func read(folder, path string, candidate []byte) (config.File, error) {
	var f config.File
	var err error
	if candidate == nil {
		f, err = config.ReadFile(path)
	} else if g, ps := config.Read(path, candidate); len(ps) > 0 {
		f, err = g, ps
	} else {
		f = g
	}
	if folder == "" {
		return f, err
	}
	if f.Hidden = config.HiddenByUnit("/"); jailed() {
		f.Shown = JailFolders
	}
	m := merger{File: f, paths: filepath.Dir(path)}
	found := m.tunnels(filepath.Join(folder, "greseal"))
	found = m.interfaces(filepath.Join(folder, "network")) || found
	var ps config.Problems
	switch {
	case errors.Is(err, fs.ErrNotExist) && found:
	case errors.Is(err, fs.ErrNotExist) && len(m.Problems) == 0:
		return m.File, err
	case errors.As(err, &ps):
		return m.File, append(ps, m.Problems...)
	case err != nil:
		return m.File, err
	}
	return m.File, nil
}

// merger adds what UCI files hold to a configuration.
type merger struct {
	config.File
	paths string // folder that relative paths start from
}

func (m *merger) fail(p config.Problem) { m.Problems = append(m.Problems, p) }

// file reads one UCI file, as far as it can be read; nil when there is none. What
// cannot be read is a Problem.
func (m *merger) file(path string) *syntax.Package {
	p, err := syntax.Load(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		if p == nil {
			m.fail(problem(path, err))
			return nil
		}
		for _, s := range p.Sections {
			m.Problems = append(m.Problems, unread(path, s)...)
		}
	}
	return p
}

func problem(path string, err error) config.Problem {
	p := config.Problem{Position: config.Position{File: path}, What: err.Error(), Remedy: "fix the file"}
	var se *syntax.Error
	if errors.As(err, &se) {
		p.Position = config.Position{File: path, Line: se.Line, Column: se.Byte + 1}
		p.What, p.Remedy = se.Reason, se.Remedy
	}
	return p
}

// tunnels takes in /etc/config/greseal and says whether it is there.
func (m *merger) tunnels(path string) bool {
	p := m.file(path)
	if p == nil {
		return false
	}
	f, ps := sections(path, p, m.paths)
	m.Problems = append(m.Problems, ps...)
	m.Daemon = m.join("[daemon]", m.Daemon, f.Daemon)
	m.Defaults = m.join("[defaults]", m.Defaults, f.Defaults)
	m.Tunnels = append(m.Tunnels, f.Tunnels...)
	m.Stray = append(m.Stray, f.Stray...)
	m.secrecy(path, f)
	return true
}

// join adds the keys of a table that is written in both files; each at one place
// only, or nobody could tell which of them counts.
func (m *merger) join(table string, a, b config.Section) config.Section {
	if len(a.Entries) == 0 {
		return b
	}
	for _, e := range b.Entries {
		if i := slices.IndexFunc(a.Entries, func(o config.Entry) bool { return o.Key == e.Key }); i >= 0 {
			m.fail(config.Problem{Position: e.KeyAt, Table: table, Key: e.Key,
				What: "is also set at " + a.Entries[i].KeyAt.String(), Remedy: "leave out one of the two"})
			continue
		}
		a.Entries = append(a.Entries, e)
	}
	return a
}

// interfaces takes in the interfaces of /etc/config/network that are tunnels,
// and says whether there are any.
func (m *merger) interfaces(path string) bool {
	p := m.file(path)
	if p == nil {
		return false
	}
	var f config.File
	for _, s := range p.Sections {
		if !tunnelInterface(s) {
			continue
		}
		t, ps := networkInterface(path, s, m.paths)
		m.Problems = append(m.Problems, ps...)
		f.Tunnels = append(f.Tunnels, t)
	}
	m.Tunnels = append(m.Tunnels, f.Tunnels...)
	m.secrecy(path, f)
	return len(f.Tunnels) > 0
}

// tunnelInterface tells whether a section of /etc/config/network is a tunnel, or with
// a mistake in it seems to be meant as one.
func tunnelInterface(s *syntax.Section) bool {
	proto, known := s.Get("proto")
	if s.Err != nil && !known {
		return (s.Type == "interface" || s.Type == "") && meant(s)
	}
	return proto == Proto && (s.Type == "interface" || s.Type == "")
}

// meant tells whether a section without a heading has lines of a tunnel.
func meant(s *syntax.Section) bool {
	_, remote := s.Get("remote")
	return remote || slices.ContainsFunc(s.Options, func(o syntax.Option) bool { return o.Name == "routes" })
}

// secrecy looks after secrets in a file that others can read. A warning only:
// OpenWrt makes some of these files itself.
func (m *merger) secrecy(path string, f config.File) {
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm()&0o077 == 0 {
		return
	}
	for _, s := range append([]config.Section{f.Defaults}, f.Tunnels...) {
		for _, e := range s.Entries {
			if k, ok := config.LookUp(e.Key); ok && k.Kind == config.SecretKey {
				m.fail(config.Problem{Position: e.KeyAt, Key: e.Key, Warning: true,
					What:   fmt.Sprintf("others can read this secret (file mode %04o)", st.Mode().Perm()),
					Remedy: "run chmod 600 " + path + ", or use " + e.Key + "_file"})
				return
			}
		}
	}
}

// Configured says whether a tunnel is written anywhere that is to come up, and
// whether one may carry GRE behind ESP in transport mode. With mistakes in the
// configuration, which are the error, it speaks of what a daemon would start with.
func Configured(path string) (any, transport bool, err error) {
	c, err := cli.LoadWhole(path, nil)
	if err != nil {
		var none error
		if c, none = cli.Instead(path); none != nil {
			return false, false, err
		}
	}
	defer c.Wipe()
	for i := range c.Tunnels {
		t := &c.Tunnels[i]
		any = any || t.Enabled || t.Netifd
		transport = transport || (t.Enabled || t.Netifd) && t.Transport() && c.Daemon.Datapath != config.DatapathUserspace
	}
	return any, transport, err
}

// place is a line of a file.
func place(path string, line int) config.Position { return config.Position{File: path, Line: line} }

// number writes an integer or a fraction as UCI and TOML both have it.
func number(v any) string {
	if n, ok := v.(int64); ok {
		return strconv.FormatInt(n, 10)
	}
	return fmt.Sprint(v)
}

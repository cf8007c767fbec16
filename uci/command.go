package uci

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"unicode/utf8"

	"greseal/tunnel/cli"
	"greseal/tunnel/config"
	"greseal/uci/syntax"
)

// Command is greseal uci: conversion between TOML and UCI, and what OpenWrt's
// scripts ask.
var Command = cli.Command{
	Name: "uci", Args: "export|import|options|configured|netifd …", Group: cli.GroupRouter,
	Short: "export TOML to UCI, import UCI to TOML; what OpenWrt's scripts ask",
	Setup: func(fs *flag.FlagSet) func(*cli.Env, []string) error {
		c := conversion{}
		fs.StringVar(&c.config, "c", config.DefaultFile, "the config `FILE` in TOML")
		fs.StringVar(&c.folder, "folder", Folder, "`FOLDER` of the UCI files")
		fs.StringVar(&c.out, "o", "", "`FILE` to write; it is replaced, and readable by its owner only")
		fs.BoolVar(&c.network, "network", false, "import: also the interfaces with proto greseal of FOLDER/network")
		socket := fs.String("socket", "", "`PATH` of the status socket (default: from the config)")
		return func(env *cli.Env, args []string) error {
			what := ""
			if len(args) > 0 {
				what = args[0]
			}
			if what == "netifd" {
				return netifdCommand(env, c.config, *socket, args[1:])
			}
			if len(args) > 1 {
				return cli.Usagef("%s takes no arguments", what)
			}
			switch what {
			case "export":
				return c.export(env)
			case "import":
				return c.imports(env)
			case "options":
				return printOptions(env)
			case "configured":
				return configured(env, c.config)
			}
			return cli.Usagef("export, import, options, configured or netifd?")
		}
	},
}

type conversion struct {
	config, folder, out string
	network             bool
}

// export writes the TOML file as UCI.
func (c *conversion) export(env *cli.Env) error {
	f, err := config.ReadFile(c.config)
	if err != nil {
		return err
	}
	if err := sound(f); err != nil {
		return err
	}
	p, err := write(f)
	if err != nil {
		return fmt.Errorf("%s can't be written as UCI: %w", c.config, err)
	}
	b, err := p.Bytes()
	if err != nil {
		return err
	}
	return c.give(env, f, b)
}

// imports writes the UCI files as TOML.
func (c *conversion) imports(env *cli.Env) error {
	// Paths stay as written: they start from the TOML file's folder in both.
	path := filepath.Join(c.folder, "greseal")
	p, err := syntax.Load(path)
	switch {
	case errors.Is(err, os.ErrNotExist) && c.network:
		p = &syntax.Package{Name: "greseal"}
	case err != nil:
		return err
	}
	f, ps := sections(path, p, "")
	if c.network {
		path := filepath.Join(c.folder, "network")
		p, err := syntax.Load(path)
		if err != nil {
			return err
		}
		for _, s := range p.Sections {
			if proto, _ := s.Get("proto"); s.Type == "interface" && proto == Proto {
				t, more := networkInterface(path, s, "")
				t.Netifd = false
				f.Tunnels, ps = append(f.Tunnels, t), append(ps, more...)
			}
		}
	}
	f.Problems = ps
	checked := f
	checked.Tunnels = nil
	for _, t := range f.Tunnels {
		checked.Tunnels = append(checked.Tunnels, located(t, filepath.Dir(c.config)))
	}
	checked.Defaults = located(f.Defaults, filepath.Dir(c.config))
	if err := sound(checked); err != nil {
		return err
	}
	for _, s := range append([]config.Section{f.Daemon, f.Defaults}, f.Tunnels...) {
		for _, e := range s.Entries {
			if v, ok := e.Value.(string); ok && !utf8.ValidString(v) {
				return fmt.Errorf("%s: %s is not UTF-8, which TOML must be; leave it in UCI", e.ValueAt, e.Key)
			}
		}
	}
	return c.give(env, f, toml(f))
}

// located is a section whose relative paths are looked for in folder.
func located(s config.Section, folder string) config.Section {
	out := s
	out.Entries = nil
	r := reader{paths: folder}
	for _, e := range s.Entries {
		if k, ok := config.LookUp(e.Key); ok && k.Kind == config.Path {
			if v, ok := e.Value.(string); ok {
				e.Value = r.absolute(v)
			}
		} else if items, ok := e.Value.([]any); ok && k != nil && k.Kind == config.Paths {
			abs := make([]any, len(items))
			for i := range items {
				abs[i] = r.absolute(text(items[i]))
			}
			e.Value = abs
		}
		out.Entries = append(out.Entries, e)
	}
	return out
}

// sound refuses what has mistakes: a conversion must not hide them.
func sound(f config.File) error {
	cfg, err := config.Build(f)
	if err == nil {
		cfg.Wipe()
	}
	return err
}

// give prints the result, or writes it to -o. Comments are lost either way, and
// a secret is written to a file only.
func (c *conversion) give(env *cli.Env, f config.File, b []byte) error {
	fmt.Fprintln(env.Stderr, "note: comments are not carried over")
	if c.out == "" {
		for _, s := range append([]config.Section{f.Defaults}, f.Tunnels...) {
			for _, e := range s.Entries {
				if k, ok := config.LookUp(e.Key); ok && k.Kind == config.SecretKey {
					return fmt.Errorf("%s: %s is a secret and is not printed; write it to a file with -o FILE", e.KeyAt, e.Key)
				}
			}
		}
		_, err := env.Stdout.Write(b)
		return err
	}
	return cli.Replace(c.out, b)
}

// configured is for the init script: whether there is a tunnel to run a daemon
// for, and what its firewall needs. It stands outside of the jail in which the
// daemon runs, so that it is the one to keep the config for a start that finds
// mistakes in the file.
func configured(env *cli.Env, path string) error {
	any, transport, err := Configured(path)
	if err == nil {
		cli.Keep(path)
	}
	switch {
	case !any && err == nil:
		return errors.New("no tunnel is configured; write one and run: /etc/init.d/greseal reload")
	case transport:
		fmt.Fprintln(env.Stdout, "transport")
	case any:
		fmt.Fprintln(env.Stdout, "tunnel")
	}
	return err
}

// option is one row of greseal uci options: what a form needs to know.
type option struct {
	Option  string   `json:"option"`
	Key     string   `json:"key"`
	Table   string   `json:"table"` // tunnel or daemon
	Kind    string   `json:"kind"`
	List    bool     `json:"list"`
	Default string   `json:"default"` // as written in TOML
	Choices []string `json:"choices"`
	Min     int64    `json:"min"`
	Max     int64    `json:"max"`
	Doc     string   `json:"doc"`
}

// printOptions lists every option with what the schema says of it. LuCI's forms
// are tested against this list.
func printOptions(env *cli.Env) error {
	var rows []option
	for _, t := range []struct {
		table string
		keys  []config.Key
	}{{"daemon", config.DaemonKeys()}, {"tunnel", config.TunnelKeys()}} {
		for i := range t.keys {
			k := &t.keys[i]
			rows = append(rows, option{Option(k.Name), k.Name, t.table, k.Kind.String(), k.Kind.List(), k.Default,
				k.Choices, k.Min, k.Max, k.Manual()})
		}
	}
	b, err := json.MarshalIndent(rows, "", "  ")
	if err == nil {
		_, err = env.Stdout.Write(append(b, '\n'))
	}
	return err
}

// Package cli is greseal's commands: one file each, thin renderers and requests
// over tunnel, tunnel/status, tunnel/config and tunnel/mtu. It decides nothing
// about tunnels and keeps no state. main.go lists the commands and calls Main.
//
// Every command takes its flags before or after its arguments, -c and --socket
// where they matter and --json where it prints facts. Exit codes: 0 fine, 1
// failed, 2 wrong usage or a config that is refused.
package cli

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"greseal/tunnel/config"
	"greseal/tunnel/status"

	"golang.org/x/sys/unix"
)

// Exit codes.
const (
	ExitOK     = 0
	ExitFailed = 1
	ExitUsage  = 2
)

// Version is the version of this greseal, set by main.
var Version = "unknown"

// Built is when its source was last changed, in Unix seconds; 0: not known.
var Built int64

// Command is one word after greseal.
type Command struct {
	Name  string
	Args  string // what follows the name in its usage line
	Short string // one line for the list of commands
	Group string // heading in the list of commands

	// Instead is, for a command without arguments, where to say what one was to say.
	Instead string

	Setup func(*flag.FlagSet) func(*Env, []string) error
}

// Headings of the list of commands.
const (
	groupDaemon = "the daemon"
	groupLook   = "inspect"
	groupChange = "change"
	groupTools  = "tools"
)

// Env is what a command sees of the world.
type Env struct {
	Stdin          io.Reader // nil when there is no terminal to ask at
	Stdout, Stderr io.Writer
	Terminal       bool // Stdout is one
	Style          status.Style
	Commands       []Command // all there are
}

// usageError is a wrong call of a command.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return usageError{fmt.Sprintf(format, args...)} }

// refusedConfig is a config with mistakes, which were printed.
type refusedConfig struct{ text string }

func (e refusedConfig) Error() string { return e.text }

// Main runs the command that args name and returns the exit code.
func Main(args []string, commands []Command) int {
	return dispatch(newEnv(), args, commands)
}

func newEnv() *Env {
	e := &Env{Stdout: os.Stdout, Stderr: os.Stderr}
	if _, err := unix.IoctlGetTermios(int(os.Stdin.Fd()), unix.TCGETS); err == nil {
		e.Stdin = os.Stdin
	}
	ws, err := unix.IoctlGetWinsize(int(os.Stdout.Fd()), unix.TIOCGWINSZ)
	e.Terminal = err == nil
	e.Style.Color = e.Terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	if e.Terminal {
		e.Style.Width = int(ws.Col)
	}
	return e
}

func dispatch(env *Env, args []string, commands []Command) int {
	env.Commands = commands
	if len(args) == 0 {
		usage(env.Stderr, commands)
		return ExitUsage
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		if len(args) > 1 {
			if c := find(commands, args[1]); c != nil {
				return c.run(env, []string{"--help"})
			}
		}
		usage(env.Stdout, commands)
		return ExitOK
	case "-v", "-V", "-version", "--version":
		args = []string{"version"}
	}
	c := find(commands, args[0])
	if c == nil {
		return unknown(env, args[0], commands)
	}
	return c.run(env, args[1:])
}

func find(commands []Command, name string) *Command {
	i := slices.IndexFunc(commands, func(c Command) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return &commands[i]
}

func unknown(env *Env, word string, commands []Command) int {
	var names []string
	for _, c := range commands {
		names = append(names, c.Name)
	}
	fmt.Fprintf(env.Stderr, "greseal: there is no command %.40q", word)
	if n := config.Nearest(word, names); n != "" {
		fmt.Fprintf(env.Stderr, "; did you mean: greseal %s", n)
	}
	fmt.Fprintln(env.Stderr, "\nAll commands: greseal --help")
	return ExitUsage
}

// run parses a command's flags and runs it.
func (c *Command) run(env *Env, args []string) int {
	fs := flag.NewFlagSet(c.Name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	do := c.Setup(fs)
	rest, err := parse(fs, args)
	if errors.Is(err, flag.ErrHelp) {
		c.help(env.Stdout, fs)
		return ExitOK
	}
	if err != nil {
		err = usageError{err.Error()}
	} else if err = c.checkArgs(rest); err == nil {
		err = do(env, rest)
	}
	var usage usageError
	var refused refusedConfig
	var problems config.Problems
	var silent silently
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &silent):
		return silent.code
	case errors.As(err, &usage):
		fmt.Fprintf(env.Stderr, "greseal %s: %s\nusage: %s\n", c.Name, usage.text, c.line(fs))
		return ExitUsage
	case errors.As(err, &problems):
		env.printProblems(env.Stderr, problems.Mistakes())
		return ExitUsage
	case errors.As(err, &refused):
		fmt.Fprintf(env.Stderr, "greseal %s: %s\n", c.Name, refused.text)
		return ExitUsage
	}
	printError(env.Stderr, c.Name, err)
	return ExitFailed
}

// checkArgs refuses more arguments than the command takes.
func (c *Command) checkArgs(args []string) error {
	switch {
	case c.Args == "" && len(args) > 0 && c.Instead != "":
		return usagef("takes no arguments; %s", c.Instead)
	case c.Args == "" && len(args) > 0:
		return usagef("takes no arguments")
	case strings.Trim(c.Args, "[]") == "NAME" && len(args) > 1:
		return usagef("at most one tunnel's name can be given")
	}
	return nil
}

// parse takes flags before, between and after the arguments; what follows "--"
// is arguments only.
func parse(fs *flag.FlagSet, args []string) ([]string, error) {
	var rest []string
	for {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		left := fs.Args()
		if len(left) == 0 {
			return rest, nil
		}
		if n := len(args) - len(left); n > 0 && args[n-1] == "--" {
			return append(rest, left...), nil
		}
		rest, args = append(rest, left[0]), left[1:]
	}
}

func printError(w io.Writer, name string, err error) {
	var re *status.RequestError
	if errors.As(err, &re) {
		printLines(w, re.Lines)
	}
	fmt.Fprintf(w, "greseal %s: %v\n", name, err)
}

func printLines(w io.Writer, lines []string) {
	for _, l := range lines {
		fmt.Fprintln(w, l)
	}
}

// line is the usage line of a command.
func (c *Command) line(fs *flag.FlagSet) string {
	s := "greseal " + c.Name
	fs.VisitAll(func(*flag.Flag) {
		if !strings.HasSuffix(s, " [flags]") {
			s += " [flags]"
		}
	})
	if c.Args != "" {
		s += " " + c.Args
	}
	return s
}

func dashes(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

func (c *Command) help(w io.Writer, fs *flag.FlagSet) {
	fmt.Fprintf(w, "%s\n\nusage: %s\n", c.Short, c.line(fs))
	first := true
	fs.VisitAll(func(f *flag.Flag) {
		if first {
			fmt.Fprintln(w)
			first = false
		}
		arg, text := flag.UnquoteUsage(f)
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" {
			text += " (default " + f.DefValue + ")"
		}
		var b bytes.Buffer
		status.Style{}.Fill(&b, fmt.Sprintf("  %-18s ", strings.TrimSpace(dashes(f.Name)+" "+arg)), 21, text)
		w.Write(b.Bytes())
	})
}

func usage(w io.Writer, commands []Command) {
	fmt.Fprint(w, "greseal: GRE and IPsec in one. Each [[tunnel]] in the config is a network\n"+
		"interface that is keyed, encrypted and kept up.\n\n"+
		"usage: greseal COMMAND [flags] [arguments]\n"+
		"config: "+config.DefaultFile+"\n")
	var groups []string
	for _, c := range commands {
		if !slices.Contains(groups, c.Group) {
			groups = append(groups, c.Group)
		}
	}
	for _, g := range groups {
		fmt.Fprintf(w, "\n%s\n", g)
		for _, c := range commands {
			if c.Group == g {
				fmt.Fprintf(w, "  %-11s %s\n", c.Name, c.Short)
			}
		}
	}
	fmt.Fprint(w, "\nA command's flags: greseal COMMAND --help\n"+
		"Exit codes: 0 success, 1 failure, 2 wrong usage or a refused config.\n")
}

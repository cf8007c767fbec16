// Command man makes greseal(8) and greseal.toml(5): the commands from what the
// program itself prints with --help, the keys from the schema that the program
// checks them by, and the rest from build/doc. The pages are committed beside it, and a test holds that they
// are current; go generate writes them again.
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:generate go run .

func main() {
	pages, err := render()
	if err == nil {
		for name, text := range pages {
			if err = os.WriteFile(name, text, 0o644); err != nil {
				break
			}
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "man:", err)
		os.Exit(1)
	}
}

// program builds greseal in a folder, and gives what it prints.
func program(dir string) (func(...string) (string, error), error) {
	binary := filepath.Join(dir, "greseal")
	if out, err := exec.Command("go", "build", "-o", binary, "greseal").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build greseal: %w\n%s", err, out)
	}
	return func(args ...string) (string, error) {
		out, err := exec.Command(binary, args...).Output()
		return string(out), err
	}, nil
}

// render makes both pages by their file names.
func render() (map[string][]byte, error) {
	dir, err := os.MkdirTemp("", "greseal-man")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	help, err := program(dir)
	if err != nil {
		return nil, err
	}
	commands, err := readCommands(help)
	if err != nil {
		return nil, err
	}
	eight, err := page8(commands)
	if err != nil {
		return nil, err
	}
	five, err := page5()
	if err != nil {
		return nil, err
	}
	return map[string][]byte{"greseal.8": eight, "greseal.toml.5": five}, nil
}

// command is one command as its --help shows it.
type command struct {
	group, name, short, usage string
	flags                     []option
}

// option is a flag with its argument, such as "-c FILE".
type option struct{ name, text string }

func readCommands(help func(...string) (string, error)) ([]command, error) {
	text, err := help("--help")
	if err != nil {
		return nil, err
	}
	var all []command
	_, list, _ := strings.Cut(text, "\n\n")
	for _, block := range strings.Split(list, "\n\n") {
		lines := strings.Split(strings.TrimSpace(block), "\n")
		for _, line := range lines[1:] {
			if !strings.HasPrefix(line, "  ") {
				continue
			}
			name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			c := command{group: lines[0], name: name}
			own, err := help(name, "--help")
			if err != nil {
				return nil, fmt.Errorf("%s --help: %w", name, err)
			}
			c.read(own)
			all = append(all, c)
		}
	}
	if len(all) < 10 {
		return nil, fmt.Errorf("the list of commands was not understood:\n%s", text)
	}
	return all, nil
}

// read takes a command's own help apart.
func (c *command) read(text string) {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	c.short = lines[0]
	for _, line := range lines[1:] {
		if usage, ok := strings.CutPrefix(line, "usage: "); ok {
			c.usage = usage
			continue
		}
		if last := len(c.flags) - 1; last >= 0 && strings.HasPrefix(line, "   ") { // goes on
			c.flags[last].text += " " + strings.TrimSpace(line)
		}
		line, ok := strings.CutPrefix(line, "  -")
		if !ok {
			continue
		}
		// A flag and its argument, then its text, at least one space between.
		name, rest, _ := strings.Cut(line, " ")
		if argument, after, ok := strings.Cut(rest, " "); ok && argument != "" && argument == strings.ToUpper(argument) && strings.ContainsAny(argument, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") {
			name, rest = name+" "+argument, after
		}
		c.flags = append(c.flags, option{"-" + name, strings.TrimSpace(rest)})
	}
}

// roff collects a page.
type roff struct{ bytes.Buffer }

func (r *roff) macro(format string, args ...any) { fmt.Fprintf(r, "."+format+"\n", args...) }

// text writes prose, a line a sentence.
func (r *roff) text(s string) {
	for _, line := range strings.Split(strings.ReplaceAll(s, ". ", ".\n"), "\n") {
		r.WriteString(escape(line) + "\n")
	}
}

// item is a term and what it means.
func (r *roff) item(term, meaning string) {
	r.macro("TP")
	r.macro("B %s", escape(term))
	r.text(meaning)
}

// code writes lines as they are.
func (r *roff) code(s string) {
	r.macro("PP")
	r.macro("RS 4")
	r.macro("nf")
	for _, line := range strings.Split(strings.TrimRight(s, "\n"), "\n") {
		r.WriteString(escape(line) + "\n")
	}
	r.macro("fi")
	r.macro("RE")
}

// escape keeps characters that roff would change or obey.
func escape(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", "\\`", "^", `\(ha`, "~", `\(ti`).Replace(s)
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	return s
}

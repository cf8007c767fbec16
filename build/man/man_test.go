package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
	"unicode/utf8"

	"greseal/tunnel/config"
)

func TestThePagesAreCurrent(t *testing.T) {
	pages, err := render()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range pages {
		if have, err := os.ReadFile(name); err != nil || !bytes.Equal(have, text) {
			t.Errorf("%s is not what the program says now; run: go generate ./build/man (%v)", name, err)
		}
	}
	for _, k := range config.TunnelKeys() {
		if !strings.Contains(string(pages["greseal.toml.5"]), "\n.B "+escape(k.Name)+"\n") {
			t.Errorf("%s is missing", k.Name)
		}
	}
}

// Whatever a command says of itself fits a terminal of 80 columns.
func TestHelpFitsEightyColumns(t *testing.T) {
	help, err := program(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	commands, err := readCommands(help)
	if err != nil {
		t.Fatal(err)
	}
	pages := [][]string{{"--help"}}
	for _, c := range commands {
		pages = append(pages, []string{c.name, "--help"})
	}
	for _, args := range pages {
		text, err := help(args...)
		if err != nil || len(text) < 40 {
			t.Errorf("%v: %q (%v)", args, text, err)
		}
		for line := range strings.Lines(text) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
				t.Errorf("%v: %d columns: %s", args, n, line)
			}
		}
	}
}

func TestManShowsThePagesWithoutAWarning(t *testing.T) {
	if _, err := exec.LookPath("man"); err != nil {
		t.Skip("man is not installed")
	}
	for _, name := range []string{"greseal.8", "greseal.toml.5"} {
		cmd := exec.Command("man", "--warnings", "-l", "./"+name)
		cmd.Env = append(os.Environ(), "MANWIDTH=80", "MAN_KEEP_FORMATTING=", "LC_ALL=C.UTF-8", "MANPAGER=cat", "PAGER=cat")
		var warnings bytes.Buffer
		cmd.Stderr = &warnings
		out, err := cmd.Output()
		if err != nil || warnings.Len() > 0 {
			t.Errorf("%s: %v\n%s", name, err, warnings.String())
		}
		if !strings.Contains(string(out), "SEE ALSO") {
			t.Errorf("%s shows %d bytes and no end", name, len(out))
		}
	}
}

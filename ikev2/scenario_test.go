package ikev2

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite what testdata/ike expects")

// TestScenarios plays the conversations in testdata/ike. A line that starts with
// > is a command, those after it are what must come out; # is for the reader.
// The commands are in scenario_commands_test.go, one function each.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("../testdata/ike/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios in testdata/ike (%v)", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) { playFile(t, f) })
	}
}

// scene is one scenario being played.
type scene struct {
	t   *testing.T
	net *network
	out []string

	probes uint64
}

func playFile(t *testing.T, file string) {
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := &scene{t: t, net: newNetwork(7)}
	s.net.log = func(f string, a ...any) { s.out = append(s.out, fmt.Sprintf(f, a...)) }
	s.net.fault = func(f string, a ...any) { s.out = append(s.out, "FAULT: "+fmt.Sprintf(f, a...)) }

	var result []string
	lines := strings.Split(strings.TrimRight(string(raw), "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		result = append(result, line)
		if !strings.HasPrefix(line, "> ") {
			if line != "" && !strings.HasPrefix(line, "#") {
				t.Fatalf("%s:%d: expected output without a command: %q", file, i+1, line)
			}
			continue
		}
		s.out = nil
		s.command(fmt.Sprintf("%s:%d", file, i+1), strings.Fields(line[2:]))
		var want []string
		for i+1 < len(lines) && lines[i+1] != "" && lines[i+1][0] != '>' && lines[i+1][0] != '#' {
			i++
			want = append(want, lines[i])
		}
		result = append(result, s.out...)
		if got, want := strings.Join(s.out, "\n"), strings.Join(want, "\n"); got != want && !*update {
			t.Errorf("%s: %s\ngot:\n%s\nwant:\n%s", file, line, got, want)
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(strings.Join(result, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

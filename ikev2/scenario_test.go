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
	t   testing.TB
	net *network
	out []string

	probes uint64
}

func newScene(t testing.TB) *scene {
	s := &scene{t: t, net: newNetwork(7)}
	s.net.log = func(f string, a ...any) { s.out = append(s.out, fmt.Sprintf(f, a...)) }
	s.net.fault = func(f string, a ...any) { s.out = append(s.out, "FAULT: "+fmt.Sprintf(f, a...)) }
	return s
}

func playFile(t *testing.T, file string) {
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	result, wrong := newScene(t).play(file, string(raw))
	if *update {
		if err := os.WriteFile(file, []byte(result), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, w := range wrong {
		t.Error(w)
	}
}

// play plays a scenario and returns it with what came out, and where that is not
// what stands there.
func (s *scene) play(name, text string) (result string, wrong []string) {
	var all []string
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		all = append(all, line)
		if !strings.HasPrefix(line, "> ") {
			if line != "" && !strings.HasPrefix(line, "#") {
				s.t.Fatalf("%s:%d: expected output without a command: %q", name, i+1, line)
			}
			continue
		}
		s.out = nil
		s.command(fmt.Sprintf("%s:%d", name, i+1), strings.Fields(line[2:]))
		var want []string
		for i+1 < len(lines) && lines[i+1] != "" && lines[i+1][0] != '>' && lines[i+1][0] != '#' {
			i++
			want = append(want, lines[i])
		}
		all = append(all, s.out...)
		if got, want := strings.Join(s.out, "\n"), strings.Join(want, "\n"); got != want {
			wrong = append(wrong, fmt.Sprintf("%s: %s\ngot:\n%s\nwant:\n%s", name, line, got, want))
		}
	}
	return strings.Join(all, "\n") + "\n", wrong
}

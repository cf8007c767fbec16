// Package talk plays the conversations in testdata for the tests of ikev2
// and tunnel. A line that starts with > is a command, those after it are what must
// come out; # is for the reader. The commands are the tests' own.
package talk

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite what the conversations expect")

// Each has a subtest for each file of the pattern, named after it.
func Each(t *testing.T, pattern string, test func(t *testing.T, file string)) {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no conversations in %s (%v)", pattern, err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) { test(t, f) })
	}
}

// File plays the conversation in a file. What comes out otherwise than it stands
// there fails t, or with -update is written into the file.
func File(t testing.TB, file string, command func(where, line string) (out []string)) {
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	result, wrong := Text(t, file, string(raw), command)
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

// Text plays a conversation and returns it with what came out, and where that is not
// what stands there. command carries out a line without its > and returns the lines
// that come out; where is the name with the line's number.
func Text(t testing.TB, name, text string, command func(where, line string) (out []string)) (result string, wrong []string) {
	var all []string
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		where := fmt.Sprintf("%s:%d", name, i+1)
		all = append(all, line)
		if !strings.HasPrefix(line, "> ") {
			if line != "" && !strings.HasPrefix(line, "#") {
				t.Fatalf("%s: expected output without a command: %q", where, line)
			}
			continue
		}
		out := command(where, line[2:])
		var want []string
		for i+1 < len(lines) && lines[i+1] != "" && lines[i+1][0] != '>' && lines[i+1][0] != '#' {
			i++
			want = append(want, lines[i])
		}
		all = append(all, out...)
		if got, want := strings.Join(out, "\n"), strings.Join(want, "\n"); got != want {
			wrong = append(wrong, fmt.Sprintf("%s: %s\ngot:\n%s\nwant:\n%s", where, line, got, want))
		}
	}
	return strings.Join(all, "\n") + "\n", wrong
}

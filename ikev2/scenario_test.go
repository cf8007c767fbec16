package ikev2

import (
	"fmt"
	"strings"
	"testing"

	"greseal/build/talk"
)

// TestScenarios plays the conversations in testdata/ike. Their commands are in
// scenario_commands_test.go, one function each.
func TestScenarios(t *testing.T) {
	talk.Each(t, "../testdata/ike/*.txt", func(t *testing.T, file string) {
		talk.File(t, file, newScene(t).play)
	})
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

// play carries out one line of a scenario and returns what comes out.
func (s *scene) play(where, line string) (out []string) {
	s.out = nil
	s.command(where, strings.Fields(line))
	return s.out
}

package scenario

import (
	"slices"
	"testing"
)

func TestListsNameScenariosThatThereAre(t *testing.T) {
	for _, begin := range slices.Concat(ownersDay, decided, alike, long) {
		if !slices.ContainsFunc(All(), func(s Scenario) bool { return s.among([]string{begin}) }) {
			t.Errorf("no scenario's name begins with %q", begin)
		}
	}
}

func TestEachScenarioIsPlayedByATarget(t *testing.T) {
	for _, s := range All() {
		for _, path := range s.Paths {
			for _, second := range []bool{false, true} {
				if played := s.PlayedBy(Test, path, second) || s.PlayedBy(Owner, path, second); played == (second && s.Once) {
					t.Errorf("%s × %s × %s, on the second kernel: %t, is played: %t", s.Name, s.Peer, path, second, played)
				}
			}
			// The account of the status fields is make test's, and needs each once.
			if !s.Interop && s.Where == Anywhere && slices.Contains(s.Paths, "userspace") && !s.PlayedBy(Test, "userspace", false) {
				t.Errorf("%s × %s is played by make owner alone", s.Name, s.Peer)
			}
		}
	}
}

package scenario

import (
	"slices"
	"strings"
	"testing"
)

func TestOwnersDayNamesScenariosThatThereAre(t *testing.T) {
	for _, begin := range ownersDay {
		if !slices.ContainsFunc(All(), func(s Scenario) bool { return strings.HasPrefix(s.Name, begin) }) {
			t.Errorf("no scenario's name begins with %q", begin)
		}
	}
}

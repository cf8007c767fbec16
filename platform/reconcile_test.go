package platform

import (
	"errors"
	"maps"
	"slices"
	"testing"
)

func set(s string) map[rune]bool {
	m := make(map[rune]bool)
	for _, r := range s {
		m[r] = true
	}
	return m
}

func letters(m map[rune]bool) string { return string(slices.Sorted(maps.Keys(m))) }

func TestWhatIsLaidBecomesWhatIsWanted(t *testing.T) {
	refused := errors.New("refused")
	for _, c := range []struct {
		what               string
		laid, stands, want string
		swept              bool
		refuse             string
		stood, then        string // what stands after, and what counts as laid by us
		does               string
		fails              bool
	}{
		{what: "nothing is to do", laid: "a", stands: "a", want: "a", stood: "a", then: "a"},
		{what: "one is missing", stands: "a", laid: "a", want: "ab", stood: "ab", then: "ab", does: "+b"},
		{what: "somebody took one away", laid: "ab", stands: "a", want: "ab", stood: "ab", then: "ab", does: "+b"},
		{what: "one is wanted no more", laid: "ab", stands: "ab", want: "a", stood: "a", then: "a", does: "-b"},
		{what: "one goes before the other comes", laid: "a", stands: "a", want: "b", stood: "b", then: "b", does: "-a+b"},
		{what: "an earlier daemon's is left until the sweep", stands: "x", want: "a", stood: "ax", then: "a", does: "+a"},
		{what: "an earlier daemon's goes with the sweep", stands: "x", want: "a", swept: true, stood: "a", then: "a", does: "-x+a"},
		{what: "an earlier daemon's that is wanted is taken over", stands: "x", want: "x", stood: "x", then: "x"},
		{what: "unwanted and gone is forgotten", laid: "a", want: "", stood: "", then: ""},
		{what: "one that is refused keeps no other out", want: "ab", refuse: "a", stood: "b", then: "b", does: "+b", fails: true},
		{what: "one that cannot go is tried again", laid: "a", stands: "a", want: "b", refuse: "a", stood: "ab", then: "ab", does: "+b", fails: true},
	} {
		l, there := laid[rune](set(c.laid)), set(c.stands)
		did := ""
		change := func(sign string, on bool) func(rune) error {
			return func(k rune) error {
				if set(c.refuse)[k] {
					return refused
				}
				did += sign + string(k)
				if there[k] = true; !on {
					delete(there, k)
				}
				return nil
			}
		}
		once := func() error {
			present, err := l.drop(slices.Sorted(maps.Keys(there)), set(c.want), c.swept, change("-", false))
			add := change("+", true)
			return errors.Join(err, l.lay([]rune(c.want), present, add, func(k rune) bool { return add(k) == nil }))
		}
		if err := once(); (err != nil) != c.fails {
			t.Errorf("%s: %v", c.what, err)
		}
		if did != c.does || letters(there) != c.stood || letters(l) != c.then {
			t.Errorf("%s: did %q, %q stand, %q are laid; want %q, %q, %q", c.what, did, letters(there), letters(l), c.does, c.stood, c.then)
		}
		did = ""
		if _ = once(); did != "" {
			t.Errorf("%s: a second time it did %q", c.what, did)
		}
	}
}

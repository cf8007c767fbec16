package tunnel

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A router without a clock is not locked out, and says what it goes by.
func TestClockThatWasNeverSetIsNotTrusted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "greseal.toml")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	built := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	edited := built.AddDate(0, 2, 0)
	for _, c := range []struct {
		name       string
		edit, wall time.Time
		want       time.Time
		said       string
	}{
		{"set", edited, edited.Add(time.Hour), edited.Add(time.Hour), ""},
		{"at boot, config newer", edited, time.Unix(60, 0), edited, "configuration"},
		{"at boot, config older", built.AddDate(-1, 0, 0), time.Unix(60, 0), built, "built"},
	} {
		if err := os.Chtimes(file, c.edit, c.edit); err != nil {
			t.Fatal(err)
		}
		k := newClock(built.Unix(), file)
		if got, unset := k.now(c.wall); !got.Equal(c.want) || unset != (c.said != "") {
			t.Errorf("%s: %v", c.name, got)
		}
		if note := k.note(c.wall); (note == "") != (c.said == "") || !strings.Contains(note, c.said) {
			t.Errorf("%s: %q", c.name, note)
		}
	}
}

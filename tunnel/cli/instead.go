package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"greseal/tunnel/config"
)

// Keep puts a config file that was loaded into its history, so that there is one
// to start with when the file is refused. Where it cannot be written, as from
// inside a sandbox, whoever starts the daemon keeps it.
func Keep(path string) {
	file := realFile(path)
	if data, err := os.ReadFile(file); err == nil {
		_ = historyOf(file).add(data)
	}
}

// LoadWhole is Load for a file that runs. One that is empty although earlier
// configs of it are kept lost its text, to a full disk or a power cut: refused.
func LoadWhole(path string, candidate []byte) (*config.Config, error) {
	if ps := emptied(path, candidate); ps != nil {
		return nil, ps
	}
	return Load(path, candidate)
}

func emptied(path string, text []byte) config.Problems {
	file := realFile(path)
	if text == nil {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil
		}
		text = data
	}
	if !blank(text) {
		return nil
	}
	if kept, _ := historyOf(file).list(); len(kept) == 0 {
		return nil
	}
	return config.Problems{{Position: config.Position{File: path}, What: "is empty but was not before",
		Remedy: "run: greseal rollback; to run without any tunnel from this file, put a comment into it"}}
}

// blank reports whether a file holds nothing, not even a comment: such a one is
// never kept, so that it is not what a daemon goes back to.
func blank(text []byte) bool { return len(bytes.TrimSpace(text)) == 0 }

// realFile is the file itself, symbolic links followed: its history is in the same folder.
func realFile(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	return path
}

// Instead is what a daemon starts with when the config file is refused: the newest
// config in its history, or with that refused too (a key file may be missing)
// those tunnels of the file that have no mistake. The networks of all others are
// closed, including those in the file that are not in the history.
func Instead(path string) (*config.Config, error) {
	file := realFile(path)
	usable, problems := LoadUsable(path, nil)
	problems = append(problems, emptied(path, nil)...)
	all, err := historyOf(file).list()
	if err != nil || len(all) == 0 {
		return instead(usable, problems, "no earlier config is kept")
	}
	newest := all[0]
	text, err := os.ReadFile(newest.path)
	if err != nil {
		return instead(usable, problems, "the config kept in "+newest.path+" cannot be read")
	}
	kept, err := Load(path, text)
	if err == nil {
		kept.Instead = fmt.Sprintf("the last good one, %s of %s, is in use", newest.path, newest.when.Format(time.DateTime))
		closeOthers(kept, usable)
		return kept, nil
	}
	if _, err := config.ReadFile(file); err != nil {
		// Nothing is known of the file itself.
		if half, ps := LoadUsable(path, text); len(half.Tunnels) > len(usable.Tunnels) {
			return instead(half, ps, "the last good one, "+newest.path+", has mistakes too")
		}
	}
	return instead(usable, problems, "the last good one, "+newest.path+", has mistakes too")
}

// instead says what happens to the tunnels of a config with mistakes.
func instead(c *config.Config, ps config.Problems, why string) (*config.Config, error) {
	if len(c.Tunnels) == 0 {
		return nil, ps
	}
	closed := 0
	for i := range c.Tunnels {
		if len(c.Tunnels[i].Mistakes) > 0 {
			closed++
		}
	}
	c.Instead = fmt.Sprintf("%s; %d of the file's tunnels run, and the networks of the %d with mistakes are closed", why, len(c.Tunnels)-closed, closed)
	return c, nil
}

// closeOthers adds the tunnels of the refused file that a config does not have.
func closeOthers(c, refused *config.Config) {
	for _, t := range refused.Tunnels {
		if c.Tunnel(t.Name) != nil {
			continue
		}
		if len(t.Mistakes) == 0 {
			t.Mistakes = config.Problems{{Position: t.Source, Tunnel: t.Name,
				What: "is not in the last good config", Remedy: "fix the rest of the file"}}
		}
		c.Tunnels = append(c.Tunnels, t)
	}
}

package cli

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"greseal/tunnel/config"
	"greseal/tunnel/status"
)

// Edit changes the config without the fear of being locked out.
var Edit = Command{
	Name: "edit", Group: groupChange,
	Instead: "name the file with -c",
	Short:   "edit the config and run it on trial until you confirm it",
	Setup: func(fs *flag.FlagSet) func(*Env, []string) error {
		var p place
		p.flags(fs)
		seconds := trialFlag(fs)
		yes := fs.Bool("yes", false, "start the trial without asking")
		return func(env *Env, _ []string) error {
			if err := checkTrialFlag(*seconds); err != nil {
				return err
			}
			e := &editing{env: env, place: p, seconds: *seconds, yes: *yes}
			return e.run()
		}
	},
}

func trialFlag(fs *flag.FlagSet) *int {
	return fs.Int("seconds", 60, "`TIME` to confirm before the previous config comes back")
}

func checkTrialFlag(seconds int) error {
	if seconds < 10 || seconds > status.MaxSeconds {
		return usagef("--seconds takes 10 to %d", status.MaxSeconds)
	}
	return nil
}

// firstConfig is what a file that does not exist yet begins with.
const firstConfig = `[[tunnel]]
name    = "hq"
remote  = "vpn.example.net"
psk     = ""                  # greseal genpsk
address = ["10.255.0.2/30"]
routes  = ["10.0.0.0/16"]
`

// editing is one greseal edit.
type editing struct {
	env     *Env
	place   place
	seconds int
	yes     bool

	daemon bool   // one runs
	file   string // the config file
	old    []byte // what it holds, nil when it does not exist
	copied string // what the editor works on
	cand   candidate
	ask    *bufio.Scanner // nil when there is no terminal to ask at
}

func (e *editing) run() error {
	socket := e.place.path()
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		return err
	}
	if status.OthersMayReplace(socket) {
		return fmt.Errorf("others can write to %s, where the text would wait next to the socket, and could change it; give the daemon a --socket in a folder that only root can write to", filepath.Dir(socket))
	}
	var err error
	if e.cand, err = lockCandidate(socket); err != nil {
		return err
	}
	defer e.cand.file.Close()
	if err := e.find(); err != nil { // with the lock, so that no trial begins behind our back
		return err
	}
	if e.env.Stdin != nil {
		e.ask = bufio.NewScanner(e.env.Stdin)
	}

	// Beside the socket, in memory: no secret is left on flash, by editors'
	// backups neither.
	dir, err := os.MkdirTemp(filepath.Dir(socket), "edit-")
	if err != nil {
		return err
	}
	e.copied = filepath.Join(dir, filepath.Base(e.file))
	text := e.old
	if text == nil {
		text = []byte(firstConfig)
	}
	if err := os.WriteFile(e.copied, text, 0o600); err != nil {
		os.RemoveAll(dir)
		return err
	}
	keep, err := e.loop()
	if keep {
		fmt.Fprintf(e.env.Stderr, "your text is kept in %s until the next reboot\n", e.copied)
	} else {
		os.RemoveAll(dir)
	}
	return err
}

// find learns which file to edit, and whether that can be now.
func (e *editing) find() error {
	e.file = e.place.config
	snap, err := e.place.snapshot()
	switch {
	case err == nil:
		e.daemon = true
		if p := snap.Daemon.Pending; p != nil {
			return fmt.Errorf("another change is on trial for %d s more; greseal confirm keeps it, greseal rollback takes it back", status.Seconds(snap.Time, p.Until))
		}
		file, err := daemonFile(snap)
		if err != nil {
			return err
		}
		if e.place.config != config.DefaultFile && !sameFile(e.place.config, file) {
			return usagef("the daemon that answers runs with %s, not %s; name its socket with --socket", file, e.place.config)
		}
		e.file = file
	case errors.Is(err, status.ErrNoDaemon):
		if real, err := filepath.EvalSymlinks(e.file); err == nil {
			e.file = real
		}
	default:
		return err
	}
	e.old, err = os.ReadFile(e.file)
	if errors.Is(err, fs.ErrNotExist) {
		e.old, err = nil, nil
	}
	return err
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// loop edits until the text is taken or given up; keep says that it is worth
// keeping.
func (e *editing) loop() (keep bool, err error) {
	for {
		if err := e.editor(); err != nil {
			return true, err
		}
		text, err := os.ReadFile(e.copied)
		if err != nil {
			return false, fmt.Errorf("the editor left no file: %w", err)
		}
		if e.old != nil && bytes.Equal(text, e.old) {
			fmt.Fprintln(e.env.Stdout, "nothing changed")
			return false, nil
		}
		again, err := e.judge(text)
		if again {
			continue
		}
		var gone dropped
		if errors.As(err, &gone) {
			fmt.Fprintln(e.env.Stdout, "discarded; nothing was changed")
			return false, nil
		}
		return err != nil, err
	}
}

// dropped is the choice to discard the text.
type dropped struct{}

func (dropped) Error() string { return "dropped" }

// judge checks the text and hands it over, or says that it is to be edited again.
func (e *editing) judge(text []byte) (again bool, err error) {
	c, err := LoadWhole(e.file, text)
	if err != nil {
		fmt.Fprintln(e.env.Stderr, err)
		switch e.answer("mistakes: e edits again, q discards the text", "e", "q") {
		case "e":
			return true, nil
		case "q":
			return false, dropped{}
		}
		return false, refusedConfig{"the text has mistakes; nothing was changed"}
	}
	c.Wipe()
	if !e.daemon {
		return false, e.save(text, "saved; no daemon is running, so nothing was put on trial")
	}
	if err := e.cand.write(text); err != nil {
		return false, err
	}
	r, err := e.place.call(status.Request{Op: status.OpPlanCandidate, Client: sshClient()})
	if err != nil {
		return false, refusal(e.env, err)
	}
	for _, l := range r.Lines {
		fmt.Fprintln(e.env.Stdout, l)
	}
	if len(r.Lines) == 1 && r.Lines[0] == "nothing changed" {
		return false, e.save(text, "saved; no tunnel is touched")
	}
	if !e.yes {
		switch e.answer("y runs this on trial, e edits again, q discards it", "y", "e", "q") {
		case "e":
			return true, nil
		case "q":
			return false, dropped{}
		}
	}
	if err := e.unchanged(); err != nil {
		return false, err
	}
	return false, e.place.startTrial(e.env, e.seconds)
}

// unchanged refuses to overwrite what another process wrote meanwhile.
func (e *editing) unchanged() error {
	now, err := os.ReadFile(e.file)
	if errors.Is(err, fs.ErrNotExist) && e.old == nil {
		return nil
	}
	if err != nil {
		return err
	}
	if e.old == nil || !bytes.Equal(now, e.old) {
		return fmt.Errorf("someone else changed %s meanwhile; edit it again", e.file)
	}
	return nil
}

// save replaces the file without a trial.
func (e *editing) save(text []byte, how string) error {
	if err := e.unchanged(); err != nil {
		return err
	}
	if err := replaceConfig(e.file, text); err != nil {
		return err
	}
	if e.daemon {
		if _, err := e.place.call(status.Request{Op: status.OpReload}); err != nil {
			return err
		}
	}
	remember(e.env, e.file, e.old, text)
	fmt.Fprintln(e.env.Stdout, how)
	return nil
}

// answer asks until one of the choices comes; "" without a terminal.
func (e *editing) answer(question string, choices ...string) string {
	if e.ask == nil {
		return ""
	}
	for {
		fmt.Fprintf(e.env.Stdout, "%s: ", question)
		if !e.ask.Scan() {
			return ""
		}
		word := strings.ToLower(strings.TrimSpace(e.ask.Text()))
		for _, c := range choices {
			if word == c {
				return c
			}
		}
	}
}

// editor runs $EDITOR on the copy.
func (e *editing) editor() error {
	editor := "vi"
	for _, name := range []string{"VISUAL", "EDITOR"} {
		if v := strings.TrimSpace(os.Getenv(name)); v != "" {
			editor = v
			break
		}
	}
	// By the shell, because the variable may hold flags.
	cmd := exec.Command("/bin/sh", "-c", editor+` "$1"`, "sh", e.copied)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// Ctrl-C in the editor is the editor's.
	swallowed := make(chan os.Signal, 1)
	signal.Notify(swallowed, syscall.SIGINT, syscall.SIGQUIT)
	defer signal.Stop(swallowed)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("the editor %q ended with an error, nothing was changed: %w", editor, err)
	}
	return nil
}

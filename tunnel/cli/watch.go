package cli

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"greseal/tunnel/status"
)

// Watch follows the snapshots: on a terminal it redraws the screen, elsewhere it
// writes a line for each tunnel whose state changed.
var Watch = Command{
	Name: "watch", Args: "[NAME]", Group: groupLook,
	Short: "show the status, redrawn as it changes, until Ctrl-C",
	Setup: func(fs *flag.FlagSet) func(*Env, []string) error {
		var p place
		p.flags(fs)
		every := fs.Int("n", 1, "`SECONDS` between updates")
		asJSON := fs.Bool("json", false, "one JSON snapshot per line")
		return func(env *Env, args []string) error {
			name := first(args)
			if *every < 1 || *every > 3600 {
				return usagef("-n takes 1 to 3600 seconds")
			}
			c, err := p.dial()
			if err != nil {
				return err
			}
			defer c.Close()
			interrupted := closeOnSignal(c)
			if err := c.Send(status.Request{Op: status.OpWatch, Tunnel: name, Interval: *every}); err != nil {
				return err
			}
			w := watcher{env: env, details: name != "", json: *asJSON, states: map[string]string{}}
			defer w.end()
			for {
				raw, r, err := c.NextRaw()
				if err == nil {
					err = w.show(raw, r.Snapshot)
				}
				if err != nil {
					if interrupted() {
						return nil
					}
					return err
				}
			}
		}
	},
}

// closeOnSignal closes c at SIGINT or SIGTERM; the function reports whether it did.
func closeOnSignal(c *status.Client) func() bool {
	sig := make(chan os.Signal, 1)
	signal.Notify(sig, syscall.SIGINT, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		<-sig
		close(done)
		c.Close()
	}()
	return func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	}
}

type watcher struct {
	env           *Env
	details, json bool
	drawing       bool
	states        map[string]string
}

func (w *watcher) show(raw []byte, s *status.Snapshot) error {
	switch {
	case w.json:
		return status.JSONLine(w.env.Stdout, raw, "snapshot")
	case w.env.Terminal:
		return w.draw(s)
	}
	return w.lines(s)
}

// draw replaces the picture without a blank in between: cursor home, each line
// cleared to its end, then everything below.
func (w *watcher) draw(s *status.Snapshot) error {
	var text, out bytes.Buffer
	if err := status.Human(&text, s, w.details, w.env.Style); err != nil {
		return err
	}
	if !w.drawing {
		out.WriteString("\x1b[?1049h\x1b[?25l") // alternate screen, no cursor
		w.drawing = true
	}
	out.WriteString("\x1b[H")
	out.Write(bytes.ReplaceAll(text.Bytes(), []byte("\n"), []byte("\x1b[K\n")))
	out.WriteString("\x1b[J")
	_, err := w.env.Stdout.Write(out.Bytes())
	return err
}

func (w *watcher) end() {
	if w.drawing {
		fmt.Fprint(w.env.Stdout, "\x1b[?25h\x1b[?1049l")
	}
}

func (w *watcher) lines(s *status.Snapshot) error {
	for i := range s.Tunnels {
		t := &s.Tunnels[i]
		line := status.Line(t)
		if w.states[t.Name] == line {
			continue
		}
		w.states[t.Name] = line
		at := time.Unix(s.Time, 0).Format("2006-01-02 15:04:05")
		if _, err := fmt.Fprintf(w.env.Stdout, "%s %s\n", at, line); err != nil {
			return err
		}
	}
	return nil
}

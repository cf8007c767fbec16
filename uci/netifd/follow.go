package netifd

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"time"

	"greseal/tunnel/status"
	"greseal/uci/syntax"
)

const (
	lookEach = 10 // seconds between looks at the tunnels when nothing happens
	retry    = 5 * time.Second
)

// follower keeps netifd informed of the tunnels that are its interfaces.
type follower struct {
	socket, bus, network string
	log                  *slog.Logger

	conn  *Bus
	lines map[string]*line
	known bool   // netifd's view was seen at least once
	last  string // complaint that was logged last
}

// Follow tells netifd what becomes of the tunnels that are its interfaces, until
// ctx ends. folder is that of the UCI files. Without ubusd it does nothing; it
// outlives restarts of ubusd and netifd.
func Follow(ctx context.Context, socket, folder string, log *slog.Logger) {
	f := &follower{socket: socket, bus: BusSocket, network: filepath.Join(folder, "network"), log: log, lines: map[string]*line{}}
	f.run(ctx)
}

func (f *follower) run(ctx context.Context) {
	defer f.hangUp()
	for ctx.Err() == nil {
		err := f.watch(ctx)
		if err != nil && ctx.Err() == nil {
			f.complain(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(retry):
		}
	}
	f.leave()
}

// leave tells netifd that the interfaces go down with their daemon. It would go
// on taking them for up, and nobody who follows it would look for another way.
func (f *follower) leave() {
	if len(f.lines) == 0 {
		return
	}
	f.hangUp() // whatever was under way
	views, err := f.views()
	for name, v := range views {
		if f.lines[name] != nil && v.up && err == nil {
			_, err = f.conn.Call("network.interface", "notify_proto", downMessage(name))
		}
		if errors.Is(err, busError(6)) {
			err = nil // it is being taken down
		}
	}
	if err != nil {
		f.complain(err)
	}
}

// watch looks at each snapshot the daemon sends, and between them when a
// decision is due.
func (f *follower) watch(ctx context.Context) error {
	c, err := status.Dial(f.socket)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer func() {
		stop()
		c.Close()
	}()
	if err := c.Send(status.Request{Op: status.OpWatch, Interval: lookEach}); err != nil {
		return err
	}
	snaps := make(chan *status.Snapshot, 1)
	failed := make(chan error, 1)
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		for {
			r, err := c.Next()
			if err != nil {
				failed <- err
				return
			}
			select {
			case snaps <- r.Snapshot:
			case <-ended:
				return
			}
		}
	}()
	var snap *status.Snapshot
	var due <-chan time.Time
	for {
		select {
		case err := <-failed:
			return err
		case snap = <-snaps:
		case <-due:
		}
		due = nil
		if after, err := f.sync(snap); err != nil {
			f.hangUp()
			f.complain(err)
			due = time.After(retry)
		} else if after > 0 {
			due = time.After(after)
		}
	}
}

// sync compares what netifd knows with what is, and tells it the difference. It
// returns when to look again at the latest, 0 for the next snapshot.
func (f *follower) sync(snap *status.Snapshot) (time.Duration, error) {
	var ours []*status.Tunnel
	for i := range snap.Tunnels {
		if snap.Tunnels[i].Netifd {
			ours = append(ours, &snap.Tunnels[i])
		}
	}
	if len(ours) == 0 {
		clear(f.lines)
		return 0, nil
	}
	views, err := f.views()
	if err != nil {
		return 0, err
	}
	now := time.Now()
	next := time.Duration(0)
	for _, t := range ours {
		view, there := views[t.Name]
		if !there {
			continue // not yet known to netifd, or not any more
		}
		if !f.known && t.Desired == status.DesiredUp && !view.autostart && !view.up && !view.pending {
			// Somebody took it down before this daemon was started.
			if err := f.request(status.OpDown, t.Name); err != nil {
				return 0, err
			}
			continue
		}
		if !f.known && t.Desired == status.DesiredDown && view.pending {
			// Somebody brought it up by hand before this daemon was started.
			if err := f.request(status.OpUp, t.Name); err != nil {
				return 0, err
			}
			continue
		}
		l := f.lines[t.Name]
		if l == nil {
			l = &line{told: view.up, toldAt: now}
			f.lines[t.Name] = l
		}
		v := l.judge(now, t, view.up)
		if v.after > 0 && (next == 0 || v.after < next) {
			next = v.after
		}
		if !view.up && !view.pending {
			continue // netifd does not want it up: it listens to nothing
		}
		if err := f.carryOut(t, v); err != nil {
			return 0, err
		}
		l.tell(now, v, t)
	}
	f.known = true
	f.last = ""
	return next, nil
}

func (f *follower) carryOut(t *status.Tunnel, v verdict) error {
	var messages []Table
	switch {
	case v.up:
		messages = append(messages, update(t, placeOf(f.network, t.Name)))
	case v.down:
		messages = append(messages, downMessage(t.Name))
	}
	if v.code != "" {
		messages = append(messages, errorMessage(t.Name, v.code))
	}
	for _, m := range messages {
		_, err := f.conn.Call("network.interface", "notify_proto", m)
		if err != nil && !errors.Is(err, busError(6)) { // refused while it is being taken down
			return err
		}
	}
	return nil
}

// view is an interface as netifd sees it.
type view struct{ up, pending, autostart bool }

// views asks netifd for its interfaces of our protocol.
func (f *follower) views() (map[string]view, error) {
	if f.conn == nil {
		c, err := DialBus(f.bus)
		if err != nil {
			return nil, err
		}
		f.conn = c
	}
	reply, err := f.conn.Call("network.interface", "dump", nil)
	if err != nil {
		return nil, err
	}
	out := map[string]view{}
	list, _ := reply.Get("interface").([]any)
	for _, item := range list {
		if t, ok := item.(Table); ok && t.Text("proto") == "greseal" {
			out[t.Text("interface")] = view{t.True("up"), t.True("pending"), t.True("autostart")}
		}
	}
	return out, nil
}

func (f *follower) request(op, tunnel string) error {
	c, err := status.Dial(f.socket)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Call(status.Request{Op: op, Tunnel: tunnel, Netifd: true})
	return err
}

func (f *follower) hangUp() {
	if f.conn != nil {
		f.conn.Close()
		f.conn = nil
	}
}

// complain logs an error once.
func (f *follower) complain(err error) {
	if text := err.Error(); text != f.last {
		f.last = text
		f.log.Warn("netifd is not told about its interfaces", "error", err)
	}
}

// placeOf reads what netifd's interface says of its zone and table.
func placeOf(network, name string) place {
	p, err := syntax.Load(network)
	if err != nil {
		return place{}
	}
	s := p.Section(name)
	if s == nil {
		return place{}
	}
	var out place
	out.zone, _ = s.Get("zone")
	_, four := s.Get("ip4table")
	_, six := s.Get("ip6table")
	if table, ok := s.Get("table"); ok && table != "main" && !four && !six {
		out.table = table
	}
	return out
}

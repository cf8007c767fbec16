package tunnel

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"greseal/tunnel/status"
)

// event writes the log line and publishes the event that says the same.
func (l *loop) event(t *tunnel, level slog.Level, kind, text string) {
	name := ""
	if t != nil {
		name = t.name
		l.log.Log(context.Background(), level, text, "tunnel", name)
	} else {
		l.log.Log(context.Background(), level, text)
	}
	e := status.NewEvent(time.Now(), name, levelWord(level), kind, text)
	if t != nil {
		t.events.Add(e)
	}
	l.server.Publish(e)
}

// report turns an error into an event, and reports whether there was one.
func (l *loop) report(t *tunnel, kind string, err error) bool {
	if err != nil {
		l.event(t, slog.LevelError, kind, err.Error())
	}
	return err != nil
}

func levelWord(level slog.Level) string {
	switch {
	case level >= slog.LevelError:
		return status.LevelError
	case level >= slog.LevelWarn:
		return status.LevelWarn
	}
	return status.LevelInfo
}

// strangerEvent is event for what unauthenticated input can cause.
func (l *loop) strangerEvent(p *peer, level slog.Level, kind, text string) {
	ok, muted := p.strangers.take(l.now())
	if !ok {
		l.ike.Unlogged++
		return
	}
	if muted > 0 {
		text = fmt.Sprintf("%s (%d more were not logged before this one)", text, muted)
	}
	l.event(p.tunnel, level, kind, text)
}

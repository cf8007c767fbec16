package tunnel

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"greseal/ikev2"
	"greseal/tunnel/config"
	"greseal/tunnel/status"
	"greseal/tunnel/trial"
)

// A config on trial runs until it is confirmed (tunnel/trial). It is read from a file beside
// the status socket; the config file on flash is replaced by the client, between
// OpHold and OpConfirm, and that replacement is the moment from which on the trial
// counts as confirmed: a crash or a loss of power or connection before it leaves the
// previous config, one after it the new one.

// onTrial is the config that runs on trial. It belongs to the loop.
type onTrial struct {
	*trial.Trial
	before *config.Config
	digest string // of the candidate, SHA-256 in hex
	since  time.Time

	watched map[string]bool // tunnels that were up
	client  netip.Addr      // whose session must not be lost; may be unset
	way     string          // interface that led to client

	// wanted is what operators had asked for, where the trial overrides it.
	wanted map[string]bool
}

// rollback is why the last trial was rolled back.
type rollback struct {
	at  time.Time
	why string
}

// errTrial refuses what must wait for the end of a trial.
const errTrial, trialRemedy = "another change is on trial", "greseal confirm keeps it, greseal rollback takes it back"

// loadCandidate reads and checks the candidate. Paths and messages are those of
// the config file that it is to replace.
func (l *loop) loadCandidate() (*config.Config, string, error) {
	f, err := status.OpenCandidate(l.opt.Socket, os.O_RDONLY)
	if err != nil {
		return nil, "", fmt.Errorf("reading the candidate: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, status.MaxCandidate))
	if err != nil {
		return nil, "", fmt.Errorf("reading the candidate: %w", err)
	}
	defer clear(data)
	c, err := l.opt.Load(l.opt.ConfigPath, data)
	return c, status.Digest(data), err
}

// fileDigest is the digest of the config file, "" when it cannot be read.
func (l *loop) fileDigest() string {
	f, err := os.Open(l.opt.ConfigPath)
	if err != nil {
		return ""
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, status.MaxCandidate))
	if err != nil {
		return ""
	}
	defer clear(data)
	return status.Digest(data)
}

// refuse is the answer to a config with mistakes.
func refuse(err error) status.Reply {
	lines := []string{err.Error()}
	var ps config.Problems
	if errors.As(err, &ps) {
		lines = lines[:0]
		for _, p := range ps.Mistakes() {
			lines = append(lines, p.String())
		}
	}
	r := status.Fail("fix the file and run: greseal apply", "the configuration has mistakes; nothing was changed")
	r.Lines = lines
	return r
}

// plan says what applying the config file, or the candidate, would do.
func (l *loop) plan(q *status.Query) status.Reply {
	var next *config.Config
	var err error
	if q.Op == status.OpPlanCandidate {
		if l.trial != nil {
			return status.Fail(trialRemedy, errTrial)
		}
		next, _, err = l.loadCandidate()
	} else {
		next, err = l.opt.Load(l.opt.ConfigPath, nil)
	}
	if err != nil {
		return refuse(err)
	}
	defer next.Wipe()
	diff := config.Diff(l.cfg, next)
	lines := outline(diff)
	for _, w := range next.Warnings {
		lines = append(lines, w.String())
	}
	if client, err := netip.ParseAddr(q.Client); err == nil {
		if way, err := l.net.Leaves(client); err == nil && l.tunnels[way] != nil {
			lines = append(lines, "this SSH session comes through "+way)
		}
	}
	return status.Done(lines...)
}

// outline describes a difference in one line per tunnel.
func outline(diff config.Difference) []string {
	var lines []string
	for _, key := range diff.Daemon {
		if key != "log_level" {
			lines = append(lines, fmt.Sprintf("[daemon] %s changed: it takes effect when the daemon is restarted", key))
		}
	}
	for _, ch := range diff.Tunnels {
		if ch.Kind == config.Changed {
			lines = append(lines, fmt.Sprintf("%s: %s (%s)", ch.Name, ch.Class, strings.Join(ch.Keys, ", ")))
		} else {
			lines = append(lines, ch.Name+": "+ch.Kind.String())
		}
	}
	if diff.Empty() {
		lines = append(lines, "nothing changed")
	}
	return lines
}

// beginTrial runs the candidate on trial.
func (l *loop) beginTrial(q *status.Query) status.Reply {
	if l.trial != nil {
		return status.Fail(trialRemedy, errTrial)
	}
	if q.Seconds < status.MinSeconds {
		return status.Fail("", "a trial takes %d to %d seconds", status.MinSeconds, status.MaxSeconds)
	}
	next, digest, err := l.loadCandidate()
	if err != nil {
		return refuse(err)
	}
	d := time.Duration(q.Seconds) * time.Second
	tr := &onTrial{
		Trial: trial.New(l.now(), d), before: l.cfg, digest: digest, since: time.Now(),
		watched: map[string]bool{}, wanted: map[string]bool{},
	}
	for name, t := range l.tunnels {
		tr.watched[name] = t.shown().phase == phaseUp
	}
	if client, err := netip.ParseAddr(q.Client); err == nil {
		if way, err := l.net.Leaves(client); err == nil {
			tr.client, tr.way = client.Unmap(), way
		}
	}
	for _, ch := range config.Diff(l.cfg, next).Tunnels {
		if ch.Kind == config.Removed || slices.Contains(ch.Keys, "enabled") {
			tr.wanted[ch.Name] = l.tunnels[ch.Name].wanted
		}
	}
	l.event(nil, slog.LevelInfo, "trial", fmt.Sprintf("a changed configuration is on trial for %v", d))
	l.rolled = rollback{}
	l.trial = tr
	return status.Done(l.take(next)...)
}

// checkTrial ends a trial whose time is over, or that has brought a tunnel down.
func (l *loop) checkTrial(now ikev2.Time) {
	tr := l.trial
	if tr == nil {
		return
	}
	l.observe(now)
	why := tr.Over(now)
	switch {
	case why == "":
	case l.fileDigest() == tr.digest:
		l.settleTrial("its client replaced the config file and disconnected")
	default:
		l.takeBack(why)
	}
}

// observe reports to the trial what is wrong with what it watches.
func (l *loop) observe(now ikev2.Time) {
	tr := l.trial
	for name, was := range tr.watched {
		what := ""
		if t := l.tunnels[name]; was && t != nil && t.wanted && t.shown().phase != phaseUp {
			what = fmt.Sprintf("tunnel %s was up before the change and is %s", name, t.shown().word())
		}
		tr.Observe(now, "tunnel "+name, what)
	}
	if tr.way != "" && !tr.Forced() {
		tr.Observe(now, "session", l.sessionFault())
	}
}

// sessionFault says what is wrong with the path of the client's SSH session, "" for
// nothing.
func (l *loop) sessionFault() string {
	tr := l.trial
	way, err := l.net.Leaves(tr.client)
	through := l.tunnels[way]
	switch {
	case err != nil:
		return fmt.Sprintf("the SSH session from %s came through %s and has no way back", tr.client, tr.way)
	case way != tr.way:
		return fmt.Sprintf("the SSH session from %s came through %s and its way back is %s", tr.client, tr.way, way)
	case through != nil && through.shown().phase != phaseUp:
		return fmt.Sprintf("tunnel %s, which carries the SSH session from %s, is %s", way, tr.client, through.shown().word())
	}
	return ""
}

// noTrial is the answer when nothing is on trial, with how the last one ended.
func (l *loop) noTrial() status.Reply {
	if l.rolled.why != "" {
		return status.Fail("run greseal edit again", "nothing is on trial: the change was taken back %s ago, because %s",
			time.Since(l.rolled.at).Round(time.Second), l.rolled.why)
	}
	return status.Fail("", "nothing is on trial")
}

// extendTrial gives a client the time to replace the config file.
func (l *loop) extendTrial(q *status.Query) status.Reply {
	tr := l.trial
	if tr == nil {
		return l.noTrial()
	}
	l.observe(l.now())
	if what, _ := tr.Faults(); len(what) > 0 && !q.Force {
		return status.Fail("wait, take the change back with greseal rollback, or keep it anyway with greseal confirm --force",
			"something is still wrong: %s", strings.Join(what, ", "))
	}
	tr.Extend(l.now(), q.Force)
	r := status.Done()
	r.Digest = tr.digest
	return r
}

// confirm keeps the candidate, once it is the config file.
func (l *loop) confirm(q *status.Query) status.Reply {
	switch {
	case l.trial == nil:
		return l.noTrial()
	case q.Digest != l.trial.digest:
		return status.Fail("run: greseal confirm", "the confirmed config is not the one running")
	case l.fileDigest() != l.trial.digest:
		return status.Fail("run: greseal confirm", "the config file is not the one on trial")
	}
	l.settleTrial("")
	lines := []string{"confirmed: this is the config now"}
	for _, name := range l.order {
		if l.tunnels[name].shown().changeover.due {
			lines = append(lines, name+": the other side does not have the new settings yet; those from before stay in use until it has")
		}
	}
	return status.Done(lines...)
}

func (l *loop) settleTrial(how string) {
	text := "the configuration on trial was confirmed"
	if how != "" {
		text += ": " + how
	}
	l.trial = nil
	l.refused = refusal{}
	l.dropCandidate()
	l.event(nil, slog.LevelInfo, "trial", text)
}

// takeBack restores the config from before the trial.
func (l *loop) takeBack(why string) []string {
	tr := l.trial
	l.trial = nil
	l.rolled = rollback{time.Now(), why}
	l.event(nil, slog.LevelWarn, "trial", "the configuration on trial is taken back: "+why)
	lines := l.take(tr.before)
	for id, wanted := range tr.wanted {
		t := l.tunnels[id]
		switch {
		case t == nil || t.wanted == wanted:
		case wanted:
			l.up(t, asBefore)
		default:
			l.down(t, false, asBefore)
		}
	}
	l.settle(entirely)
	l.dropCandidate()
	return lines
}

func (l *loop) dropCandidate() {
	f, err := status.OpenCandidate(l.opt.Socket, os.O_WRONLY)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err == nil {
		err = errors.Join(f.Truncate(0), f.Close())
	}
	if err != nil {
		l.log.Warn("emptying the candidate", "file", status.Candidate(l.opt.Socket), "error", err)
	}
}

func (l *loop) describeTrial() *status.Pending {
	tr := l.trial
	if tr == nil {
		return nil
	}
	now := l.now()
	l.observe(now)
	p := &status.Pending{Since: unix(tr.since), Until: endOf(tr.Left(now))}
	if left := tr.Patience(now); left > 0 {
		p.Patient = endOf(left)
	}
	for _, name := range l.order {
		if tr.watched[name] || tr.way == name {
			p.Watched = append(p.Watched, name)
		}
	}
	p.Waiting, _ = tr.Faults()
	return p
}

// trialQuery answers the requests about configs on trial; false for any other.
func (l *loop) trialQuery(q *status.Query) bool {
	switch q.Op {
	case status.OpPlan, status.OpPlanCandidate:
		q.Answer(l.plan(q))
	case status.OpCandidate:
		q.Answer(l.beginTrial(q))
	case status.OpHold:
		q.Answer(l.extendTrial(q))
	case status.OpConfirm:
		q.Answer(l.confirm(q))
	case status.OpRollback:
		if l.trial == nil {
			q.Answer(l.noTrial())
			break
		}
		q.Answer(status.Done(l.takeBack("greseal rollback was asked for")...))
	default:
		return false
	}
	return true
}

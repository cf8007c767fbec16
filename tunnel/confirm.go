package tunnel

import (
	"crypto/sha256"
	"encoding/hex"
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
)

// A config on trial runs until it is confirmed. It is read from a file beside
// the status socket; the config file on flash is replaced by the client, between
// hold and confirm, and that replacement is the moment from which on the trial
// counts as confirmed: whatever crashes, loses power or its connection before it
// leaves the config of before, and after it the new one.

const (
	// maxGrace is how long a tunnel that was up before the change may be down.
	maxGrace = 30 * time.Second
	// holdTime is what a client gets to replace the config file.
	holdTime = 15 * time.Second
	// trialPoll is how often a trial looks at its tunnels.
	trialPoll = time.Second
)

// trial is a config that runs until it is confirmed. It belongs to the loop.
type trial struct {
	before *config.Config
	digest string // of the candidate, SHA-256 in hex
	since  time.Time
	until  ikev2.Time    // then the config of before comes back
	grace  time.Duration // for each of watched

	watched map[string]*ailment // tunnels that were up
	client  netip.Addr          // whose session must not be lost; may be unset
	way     string              // interface that led to client
	session ailment
	forced  bool // nobody minds watched and session any more

	// wanted has the wishes of operators that the change overrides.
	wanted map[string]bool
}

// ailment is since when something is not well, 0 while it is.
type ailment struct {
	since ikev2.Time
	what  string
}

func (a *ailment) note(now ikev2.Time, what string) {
	switch {
	case what == "":
		*a = ailment{}
	case a.since == 0:
		*a = ailment{now, what}
	default:
		a.what = what
	}
}

// rollback is why the last trial ended that way.
type rollback struct {
	at  time.Time
	why string
}

// errTrial refuses what must wait for the end of a trial.
const errTrial, trialRemedy = "another change is on trial", "greseal confirm keeps it, greseal rollback takes it back"

// loadCandidate reads and checks the candidate. Paths and messages are those of
// the config file whose place it is to take.
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
	return c, digestOf(data), err
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
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
	return digestOf(data)
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
	r := status.Fail("mend the file and run: greseal apply", "the configuration has mistakes; nothing was changed")
	r.Lines = lines
	return r
}

// plan says what taking over the config file, or the candidate, would do.
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

// outline is a difference in a line for each tunnel.
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

// try runs the candidate on trial.
func (l *loop) try(q *status.Query) status.Reply {
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
	tr := &trial{
		before: l.cfg, digest: digest, since: time.Now(), until: l.now() + d, grace: min(maxGrace, d/2),
		watched: map[string]*ailment{}, wanted: map[string]bool{},
	}
	for id, t := range l.tunnels {
		if t.shown().phase == phaseUp {
			tr.watched[id] = &ailment{}
		}
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
	l.event(nil, slog.LevelInfo, "trial", fmt.Sprintf("a changed configuration runs on trial for %v", d))
	l.rolled = rollback{}
	l.trial = tr
	return status.Done(l.take(next)...)
}

// checkTrial ends a trial whose time is over, or that has cost a tunnel.
func (l *loop) checkTrial(now ikev2.Time) {
	tr := l.trial
	if tr == nil {
		return
	}
	l.examine(now)
	why := ""
	for _, id := range l.order {
		if a := tr.watched[id]; a != nil && a.since != 0 && now-a.since >= tr.grace {
			why = fmt.Sprintf("%s, for %v", a.what, tr.grace)
			break
		}
	}
	if a := tr.session; a.since != 0 && now-a.since >= tr.grace {
		why = fmt.Sprintf("%s, for %v", a.what, tr.grace)
	}
	if why == "" && now >= tr.until {
		why = "it was not confirmed in time"
	}
	if why == "" {
		return
	}
	if l.fileDigest() == tr.digest {
		l.settleTrial("its client replaced the config file and went without a word")
		return
	}
	l.takeBack(why)
}

// examine notes what is not well.
func (l *loop) examine(now ikev2.Time) {
	tr := l.trial
	for id, a := range tr.watched {
		t := l.tunnels[id]
		switch {
		case tr.forced || t == nil || !t.wanted || t.shown().phase == phaseUp:
			a.note(now, "")
		default:
			a.note(now, fmt.Sprintf("tunnel %s was up before the change and is %s", id, t.shown().phase))
		}
	}
	if tr.way == "" || tr.forced {
		tr.session = ailment{}
		return
	}
	way, err := l.net.Leaves(tr.client)
	through := l.tunnels[way]
	switch {
	case err != nil:
		tr.session.note(now, fmt.Sprintf("the SSH session from %s came through %s and has no way back", tr.client, tr.way))
	case way != tr.way:
		tr.session.note(now, fmt.Sprintf("the SSH session from %s came through %s and its way back is %s", tr.client, tr.way, way))
	case through != nil && through.shown().phase != phaseUp:
		tr.session.note(now, fmt.Sprintf("tunnel %s, which carries the SSH session from %s, is %s", way, tr.client, through.shown().phase))
	default:
		tr.session.note(now, "")
	}
}

// ailing lists what is not well, and since when the oldest of it.
func (tr *trial) ailing() (what []string, since ikev2.Time) {
	all := []*ailment{&tr.session}
	for _, a := range tr.watched {
		all = append(all, a)
	}
	for _, a := range all {
		if a.since == 0 {
			continue
		}
		what = append(what, a.what)
		if since == 0 || a.since < since {
			since = a.since
		}
	}
	slices.Sort(what)
	return what, since
}

// noTrial is the answer when nothing is on trial, with what became of the last.
func (l *loop) noTrial() status.Reply {
	if l.rolled.why != "" {
		return status.Fail("run greseal edit again", "nothing is on trial: the change was taken back %s ago, because %s",
			time.Since(l.rolled.at).Round(time.Second), l.rolled.why)
	}
	return status.Fail("", "nothing is on trial")
}

// hold gives a client the time to replace the config file.
func (l *loop) hold(q *status.Query) status.Reply {
	tr := l.trial
	if tr == nil {
		return l.noTrial()
	}
	l.examine(l.now())
	if what, _ := tr.ailing(); len(what) > 0 && !q.Force {
		return status.Fail("wait until it is, take the change back with greseal rollback, or keep it all the same with greseal confirm --force",
			"not everything is well yet: %s", strings.Join(what, ", "))
	}
	tr.forced = tr.forced || q.Force
	tr.until = max(tr.until, l.now()+holdTime)
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
		return status.Fail("run: greseal confirm", "what was confirmed is not what runs")
	case l.fileDigest() != l.trial.digest:
		return status.Fail("run: greseal confirm", "the config file is not what runs on trial")
	}
	l.settleTrial("")
	return status.Done("confirmed: this is the config now")
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

// takeBack brings back the config of before the trial.
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
			l.up(t)
		default:
			l.down(t, false)
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

// trialDue is when a trial has to be looked at.
func (l *loop) trialDue(now ikev2.Time) ikev2.Time {
	return min(l.trial.until, now+trialPoll)
}

func (l *loop) describeTrial() *status.Pending {
	tr := l.trial
	if tr == nil {
		return nil
	}
	now := l.now()
	l.examine(now)
	p := &status.Pending{Since: tr.since.Unix(), LeftS: seconds(max(tr.until-now, 0))}
	for _, id := range l.order {
		if tr.watched[id] != nil || tr.way == id {
			p.Watched = append(p.Watched, id)
		}
	}
	var since ikev2.Time
	if p.Waiting, since = tr.ailing(); since != 0 {
		p.PatientS = seconds(max(since+tr.grace-now, 0))
	}
	return p
}

// trialQuery answers the requests about configs on trial; false for any other.
func (l *loop) trialQuery(q *status.Query) bool {
	switch q.Op {
	case status.OpPlan, status.OpPlanCandidate:
		q.Answer(l.plan(q))
	case status.OpCandidate:
		q.Answer(l.try(q))
	case status.OpHold:
		q.Answer(l.hold(q))
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

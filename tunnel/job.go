package tunnel

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"greseal/ikev2"
	"greseal/platform"
	"greseal/tunnel/doctor"
	"greseal/tunnel/status"
)

// Long work is a job: a goroutine that a client starts and then polls. What it needs
// from the loop it sends there as a function; it never touches the loop's state itself.

const (
	maxJobsRunning = 3
	maxJobs        = 8 // finished ones are kept for their clients
	jobTime        = 2 * time.Minute
	jobAbandoned   = 30 * time.Second // without a poll
)

// jobs are the loop's.
type jobs struct {
	last    int
	list    []*job // oldest first
	asked   chan func()
	running sync.WaitGroup
	stop    context.CancelFunc
	ctx     context.Context
}

type job struct {
	status.Job
	cancel  context.CancelFunc
	askedAt ikev2.Time // when its client last polled
	given   bool       // up, because its client stopped polling
}

func newJobs() jobs {
	ctx, stop := context.WithCancel(context.Background())
	return jobs{asked: make(chan func(), 4), ctx: ctx, stop: stop}
}

// end cancels all jobs and waits for their goroutines.
func (j *jobs) end() {
	j.stop()
	j.running.Wait()
}

func (j *jobs) find(id int) *job {
	i := slices.IndexFunc(j.list, func(x *job) bool { return x.ID == id })
	if i < 0 {
		return nil
	}
	return j.list[i]
}

// busy counts the running jobs. One too many cancels the one that was polled longest
// ago: its client has gone.
func (j *jobs) busy(now ikev2.Time) int {
	n := 0
	var oldest *job
	for _, x := range j.list {
		if x.Done || x.given {
			continue
		}
		n++
		if now-x.askedAt >= jobAbandoned && (oldest == nil || x.askedAt < oldest.askedAt) {
			oldest = x
		}
	}
	if n >= maxJobsRunning && oldest != nil {
		oldest.given = true
		oldest.cancel()
		n--
	}
	return n
}

// jobQuery answers requests about jobs; false means that it is none.
func (l *loop) jobQuery(q *status.Query) bool {
	switch q.Op {
	case status.OpDoctorStart:
		q.Answer(l.startJob("doctor", q, doctor.Run))
	case status.OpLeakStart:
		q.Answer(l.startJob("leak-test", q, doctor.LeakTest))
	case status.OpDoctorPoll:
		j := l.jobs.find(q.Job)
		if j == nil {
			q.Answer(status.Fail("start it again", "there is no job %d any more", q.Job))
			break
		}
		j.askedAt = l.now()
		q.Answer(status.Reply{OK: true, Job: j.view()})
	default:
		return false
	}
	return true
}

// view is a copy that later findings do not change.
func (j *job) view() *status.Job {
	v := j.Job
	v.Checks = slices.Clone(j.Checks)
	for i := range v.Checks {
		v.Checks[i].Findings = slices.Clone(v.Checks[i].Findings)
	}
	return &v
}

// examination is doctor.Run or doctor.LeakTest.
type examination func(context.Context, doctor.Subject, func(doctor.Step)) error

func (l *loop) startJob(what string, q *status.Query, run examination) status.Reply {
	var target netip.Addr
	if q.Target != "" {
		a, err := netip.ParseAddr(q.Target)
		if err != nil {
			return status.Fail("give an address inside the tunnel", "%q is no IP address", q.Target)
		}
		target = a.Unmap()
	}
	names := l.order
	if q.Tunnel != "" {
		names = []string{q.Tunnel}
		if l.tunnels[names[0]] == nil {
			return status.NoTunnel(q.Tunnel, l.order)
		}
	}
	if busy := l.jobs.busy(l.now()); busy >= maxJobsRunning {
		return status.Fail("wait until one of them is done", "%d examinations are running, which is the maximum", busy)
	}
	if len(l.jobs.list) >= maxJobs {
		if i := slices.IndexFunc(l.jobs.list, func(j *job) bool { return j.Done }); i >= 0 {
			l.jobs.list = slices.Delete(l.jobs.list, i, i+1)
		}
	}
	l.jobs.last++
	ctx, cancel := context.WithTimeout(l.jobs.ctx, jobTime*time.Duration(max(len(names), 1)))
	j := &job{Job: status.Job{ID: l.jobs.last, What: what}, cancel: cancel, askedAt: l.now()}
	l.jobs.list = append(l.jobs.list, j)
	var subjects []doctor.Subject
	var edits []int
	for _, name := range names {
		s := l.subject(l.tunnels[name].shown())
		s.Target = target
		subjects, edits = append(subjects, s), append(edits, l.tunnels[name].edits)
		j.Checks = append(j.Checks, status.Diagnosis{Tunnel: name})
	}
	l.jobs.running.Go(func() { l.runJob(ctx, j, subjects, edits, run) })
	return status.Reply{OK: true, Job: j.view()}
}

// runJob is the job's goroutine. The loop records what it finds.
func (l *loop) runJob(ctx context.Context, j *job, subjects []doctor.Subject, edits []int, run examination) {
	defer j.cancel()
	for i, s := range subjects {
		run := run
		if len(s.Tunnel.Mistakes) > 0 {
			run = doctor.Mistaken
		}
		err := run(ctx, s, func(step doctor.Step) {
			_, _ = onLoop(l, ctx, func() struct{} { j.found(i, step); return struct{}{} })
		})
		// A job that runs out of time still says so, unless the daemon stops.
		_, _ = onLoop(l, l.jobs.ctx, func() struct{} {
			if err != nil {
				j.found(i, doctor.Step{ID: "job", Title: "the examination itself", Verdict: doctor.Skipped, Evidence: []string{err.Error()}})
			}
			j.Checks[i].Done = true
			if p := l.peers[ikev2.PeerID(s.Tunnel.Name)]; err == nil && j.What == "doctor" && p != nil && p.tunnel.edits == edits[i] && !p.tunnel.wrong() {
				l.examined(p, &j.Checks[i])
			}
			j.Done = i == len(subjects)-1
			return struct{}{}
		})
	}
}

// examined gives a peer what an examination found about it.
func (l *loop) examined(p *peer, d *status.Diagnosis) {
	before := p.cause.Is().Text
	c := doctor.Cause(l.moment(p), d.Findings, d.First)
	p.cause.Find(time.Now(), c)
	p.examined = l.cameIn(p)
	if c.Text != "" && c.Text != before {
		l.event(p.tunnel, slog.LevelWarn, "doctor", c.String())
	}
}

// found adds a step to the job's findings.
func (j *job) found(i int, s doctor.Step) {
	d := &j.Checks[i]
	if s.Verdict == doctor.Fault && d.First == "" {
		d.First = s.ID
		j.Faults++
	}
	d.Findings = append(d.Findings, s.Finding())
}

// onLoop has the loop call f and returns what it returned.
func onLoop[T any](l *loop, ctx context.Context, f func() T) (T, error) {
	answer := make(chan T, 1)
	var none T
	select {
	case l.jobs.asked <- func() { answer <- f() }:
	case <-ctx.Done():
		return none, ctx.Err()
	}
	select {
	case v := <-answer:
		return v, nil
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// subject is what doctor gets to begin with. It holds no secret.
func (l *loop) subject(p *peer) doctor.Subject {
	o, why := l.proposalsOf(p)
	s := doctor.Subject{
		Tunnel: *p.cfg.WithoutSecrets(), IKE: o.ike, ESP: o.esp, ESPWhy: why,
		Daemon: &watchedTunnel{l, p.id},
	}
	for _, w := range l.cfg.Warnings {
		if w.Tunnel == p.tunnel.name {
			s.Odd = append(s.Odd, w)
		}
	}
	for _, name := range l.order {
		if name != p.tunnel.name {
			s.Others = append(s.Others, *l.tunnels[name].cfg.WithoutSecrets())
		}
	}
	return s
}

// watchedTunnel is one tunnel as doctor sees the daemon: each call is one turn of the
// loop, CheckLiveness several.
type watchedTunnel struct {
	l  *loop
	id ikev2.PeerID
}

// on calls f with the tunnel on the loop.
func (w *watchedTunnel) on(ctx context.Context, f func(*peer)) error {
	there, err := onLoop(w.l, ctx, func() bool {
		p := w.l.peers[w.id]
		if p != nil {
			f(p)
		}
		return p != nil
	})
	if err == nil && !there {
		err = fmt.Errorf("tunnel %q was removed from the configuration", w.id)
	}
	return err
}

// Observe is doctor.Daemon's.
func (w *watchedTunnel) Observe(ctx context.Context) (doctor.Moment, error) {
	found := make(chan doctor.Moment, 1)
	if err := w.on(ctx, func(p *peer) { found <- w.l.moment(p) }); err != nil {
		return doctor.Moment{}, err
	}
	return <-found, nil
}

// Retry is doctor.Daemon's.
func (w *watchedTunnel) Retry(ctx context.Context) error {
	return w.on(ctx, func(p *peer) {
		if p.tunnel.wanted {
			w.l.up(p.tunnel, byRequest)
			w.l.settle(entirely)
		}
	})
}

// CheckLiveness is doctor.Daemon's.
func (w *watchedTunnel) CheckLiveness(ctx context.Context) (bool, error) {
	begun := make(chan ikev2.Time, 1)
	err := w.on(ctx, func(p *peer) {
		now := w.l.now()
		w.l.do(w.l.engine.Check(now, p.id))
		begun <- now
	})
	if err != nil {
		return false, err
	}
	asked := <-begun
	for end := time.Now().Add(4 * time.Second); time.Now().Before(end); {
		heard := make(chan bool, 1)
		err := w.on(ctx, func(p *peer) {
			i, ok := w.l.freshIKE(p)
			heard <- ok && i.LastHeard > asked
		})
		if err != nil {
			return false, err
		}
		if <-heard {
			return true, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return false, nil
}

func (l *loop) moment(p *peer) doctor.Moment {
	m := doctor.Moment{Time: time.Now().Unix(), Daemon: l.describeDaemon(), Tunnel: l.describe(p.tunnel), Local: p.underlay.Local(), Silence: -1}
	m.Wall, _ = l.clock.now(time.Now())
	m.ClockNote = l.clock.note(time.Now())
	if r := p.remote(); r.IsValid() {
		m.Remote = netip.AddrPortFrom(r, p.cfg.RemotePort)
	}
	if i, ok := l.freshIKE(p); ok {
		m.Local, m.Remote = i.Local.Addr(), i.Remote
		m.Silence = l.now() - i.LastHeard
	}
	if m.Cause = *p.cause.Known(); m.Cause.Failure != nil {
		f := *m.Cause.Failure
		m.Failure, m.Age = &f, time.Since(m.Cause.Confirmed)
	}
	if v1 := l.engine.IKEv1(); v1.From.IsValid() {
		m.IKEv1, m.IKEv1Age = v1.From, l.now()-v1.At
	}
	m.Drops, m.DropsErr = l.dp.LinkDrops(p.tunnel.name)
	if sas := p.current(); sas != nil {
		for _, out := range []bool{false, true} {
			key := platform.SAKey{Link: p.tunnel.name, Out: out, SPI: sas.SPI(out)}
			if _, err := l.dp.SACounters(key); err != nil && m.Installed == nil {
				m.Installed = err
			}
		}
	}
	return m
}

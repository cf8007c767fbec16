// Package tunnel keeps every [[tunnel]] of the configuration in its wanted
// state: it is the only package that knows the IKEv2 engine, the datapaths and
// the configuration together.
//
// One goroutine, the loop, owns the engine, the tunnels and all writes to the
// kernel. Everything else (sockets, the datapath's events, the name resolver,
// the watcher of addresses and routes, status clients, signals) sends it
// messages on bounded channels; there is no lock. Each message goes into the
// engine or a tunnel's state, the engine's actions are carried out in order
// (actions.go), and then every tunnel whose circumstances changed is advanced
// (advance.go): the one place that decides what a tunnel does next.
package tunnel

import (
	"cmp"
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	sys "golang.org/x/sys/unix"

	"greseal/ikev2"
	"greseal/platform"
	"greseal/platform/names"
	"greseal/tunnel/config"
	"greseal/tunnel/status"
)

// Options say what a daemon is run with.
type Options struct {
	ConfigPath string
	Socket     string // overrides [daemon] status_socket when set
	Version    string
	Built      int64 // Unix seconds of the source, 0: not known
	Logger     *slog.Logger
	Level      *slog.LevelVar  // follows [daemon] log_level; may be nil
	Reload     <-chan struct{} // SIGHUP

	// Load reads the configuration at path together with other places where
	// tunnels are configured; a candidate replaces the text of the file. nil
	// reads the file alone.
	Load func(path string, candidate []byte) (*config.Config, error)

	// Instead returns what to start with when Load refuses the file. nil: nothing.
	Instead func(path string) (*config.Config, error)

	// Keep is called when the file was loaded; may be nil.
	Keep func(path string)

	// Companion runs in a goroutine, as a client of the status socket, until ctx
	// ends; may be nil.
	Companion func(ctx context.Context, socket string, log *slog.Logger)
}

func loadFile(path string, candidate []byte) (*config.Config, error) {
	if candidate != nil {
		return config.Parse(path, candidate, 0)
	}
	return config.Load(path)
}

// Run loads the configuration, brings its tunnels up and keeps them so until
// ctx ends; then it deletes SAs and interfaces, leaves the guards, and returns
// nil. An error means that the daemon could not start: a config.Problems when
// the file is wrong.
func Run(ctx context.Context, opt Options) error {
	socket := cmp.Or(opt.Socket, status.DefaultSocket)
	if !pace(ctx, socket) {
		return nil
	}
	err := runAt(ctx, opt, &socket)
	if !errors.Is(err, status.ErrAnswered) { // whose daemon is well
		if err := status.LeaveLastWords(socket, err); err != nil && !errors.Is(err, fs.ErrNotExist) {
			opt.Logger.Warn("the last words cannot be kept", "error", err)
		}
	}
	return err
}

// pace waits where the daemon before has lived briefly; false: ctx has ended meanwhile.
func pace(ctx context.Context, socket string) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(status.LivedBriefly(socket)):
		return true
	}
}

// runAt is Run; it tells the status socket, which the configuration may name.
func runAt(ctx context.Context, opt Options, socket *string) error {
	// Clients get this path, and relative paths in the file start from it.
	if path, err := filepath.Abs(opt.ConfigPath); err == nil {
		opt.ConfigPath = path
	}
	if err := platform.ForbidCoreDumps(); err != nil {
		opt.Logger.Warn("a core dump could hold secrets", "error", err)
	}
	if opt.Load == nil {
		opt.Load = loadFile
	}
	cfg, refused, err := begin(opt)
	if err != nil {
		return err
	}
	l := &loop{
		opt:     opt,
		log:     opt.Logger,
		origin:  time.Now().Add(-time.Second), // so that 0 is never a present time
		rand:    crand.Reader,
		cfg:     cfg,
		engine:  newEngine(),
		inside:  probes{},
		names:   newNameTable(names.Lookup),
		jobs:    newJobs(),
		tunnels: map[string]*tunnel{},
		peers:   map[ikev2.PeerID]*peer{},
		dirty:   map[ikev2.PeerID]bool{},
		started: time.Now(),
	}
	l.clock = newClock(opt.Built, opt.ConfigPath)
	l.warn(cfg)
	l.setLevel()
	l.opt.Socket = cmp.Or(opt.Socket, cfg.Daemon.StatusSocket)
	*socket = l.opt.Socket
	if opt.Socket == "" && *socket != status.DefaultSocket && !pace(ctx, *socket) {
		return nil
	}
	return l.start(ctx, refused)
}

// start sets up what the loop works with, runs it, and tears it down. refused is what
// is wrong with the config file, where something else runs instead.
func (l *loop) start(ctx context.Context, refused error) error {
	opt, cfg := l.opt, l.cfg

	// The socket comes first: it refuses a second daemon before that touches
	// anything of the first.
	server, err := status.Listen(l.opt.Socket, cfg.Daemon.StatusGroup)
	if errors.Is(err, status.ErrNoGroup) {
		l.log.Error("only root may read the status", "error", err)
		server, err = status.Listen(l.opt.Socket, "")
	}
	if errors.Is(err, status.ErrAnswered) {
		return err // whose networks are that daemon's
	}
	if err != nil {
		return leaveClosed(opt, cfg, err)
	}
	defer server.Close()
	l.server = server
	if n, last, err := status.Crashes(l.opt.Socket); err != nil {
		l.log.Warn("the crashes cannot be counted", "error", err)
	} else if l.crashes = n; last {
		l.log.Warn("the daemon before was killed, or panicked", "crashes", n)
	}
	if err := status.AwaitLastWords(l.opt.Socket); err != nil {
		l.log.Warn("the last words of a panic could not be kept", "error", err)
	}
	if status.OthersMayReplace(l.opt.Socket) {
		l.log.Warn("others can write to the folder of the status socket, and keep clients from it; choose another --socket", "socket", l.opt.Socket)
	}

	if l.dp, l.dpWhy, err = openDatapath(cfg.Daemon.Datapath, opt.Logger); err != nil {
		return leaveClosed(opt, cfg, err)
	}
	defer l.dp.Close()
	l.log.Info("datapath chosen", "datapath", l.dp.Kind(), "why", l.dpWhy)
	network, err := platform.OpenNetwork(opt.Logger)
	if err != nil {
		return err
	}
	l.net = network
	l.names.servers = names.Servers
	defer l.net.Close()
	watch, err := platform.Watch(opt.Logger)
	if err != nil {
		return leaveClosed(opt, cfg, fmt.Errorf("watching addresses and routes: %w", err))
	}
	defer watch.Close()
	l.around = watch.Changes()
	l.dropPrivileges()

	if err := l.adopt(); err != nil {
		return err
	}
	if refused != nil {
		l.refusedAtStart(refused)
	}
	if err := tellReady(); err != nil {
		l.log.Warn("telling the service manager", "error", err)
	}

	serving, stop := context.WithCancel(ctx)
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := server.Serve(serving); err != nil {
			l.log.Error("status socket", "error", err)
		}
	}()
	defer func() { stop(); <-served }()
	if opt.Companion != nil {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			opt.Companion(serving, l.opt.Socket, l.log)
		}()
		defer func() { stop(); <-ended }()
	}

	l.run(ctx)
	l.jobs.end()
	l.shutdown()
	return nil
}

// dropPrivileges keeps what the loop needs of root (contract 18): the probe of the
// datapath and the socket's group were the last to need more.
func (l *loop) dropPrivileges() {
	if err := platform.DropPrivileges(); err != nil {
		l.log.Warn(err.Error())
	}
	// Root read any file until now.
	if f, err := os.Open(l.opt.ConfigPath); err == nil {
		f.Close()
	} else if errors.Is(err, fs.ErrPermission) {
		l.log.Warn("the config cannot be read again without full privileges, so it cannot be reloaded; run: chown root "+l.opt.ConfigPath, "error", err)
	}
}

// adopt takes over what an earlier daemon left and closes every tunnel, guards and
// unreachable routes, before anything else happens (contract 8).
func (l *loop) adopt() error {
	l.loadedAt = time.Now()
	for i := range l.cfg.Tunnels {
		l.add(&l.cfg.Tunnels[i])
	}
	l.net.Batch()
	for _, name := range l.order {
		l.close(l.tunnels[name])
	}
	laying := l.net.Commit()
	if laying != nil {
		l.log.Error("routes", "error", laying)
	}
	l.takeOver()
	if err := l.dp.Sweep(l.order); err != nil {
		l.log.Warn("removing what an earlier run left", "error", err)
	}
	if err := l.net.Sweep(); err != nil {
		l.log.Warn("removing routes an earlier run left", "error", err)
	}
	l.audit()
	switch open := l.notClosed(); {
	case len(open) == 0:
		l.log.Info("closed: from now on no tunnel packet leaves in the clear", "tunnels", len(l.order))
	case errors.Is(laying, sys.EPERM):
		return fmt.Errorf("NOT CLOSED: tunnels %s: %w; %s", strings.Join(open, ", "), laying, platform.NeedAdmin)
	default:
		l.log.Error("NOT CLOSED: packets of these tunnels can leave in the clear", "tunnels", strings.Join(open, ", "))
	}
	for _, name := range l.order {
		t := l.tunnels[name]
		if t.wrong() {
			l.event(t, slog.LevelError, "start", "closed, because of a mistake in the configuration: "+t.shown().cause.Is().String())
		}
		for _, p := range t.peers {
			l.markDirty(p)
		}
	}
	return nil
}

// run is the loop.
func (l *loop) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		l.settle(turn)
		timer.Reset(l.untilDue())
		known := false // all peers whose times may have changed are in rescheduled
		select {
		case <-ctx.Done():
			return
		case <-l.opt.Reload:
			if r := l.reload(); r.OK && l.opt.Keep != nil {
				l.opt.Keep(l.opt.ConfigPath) // a client that reloads keeps it itself
			}
		case d := <-l.dp.IKE():
			l.receive(d)
			known = true
		case d := <-l.dp.IKEOpening(): // no more often than those, when both wait
			l.receive(d)
			known = true
		case ev := <-l.dp.Events():
			l.datapathEvent(ev)
		case c := <-l.around:
			l.surroundingsChanged(c)
		case r := <-l.names.answers:
			l.resolved(r)
		case q := <-l.server.Queries():
			l.query(q)
		case f := <-l.jobs.asked:
			f()
		case <-timer.C:
			known = true
		}
		if !known {
			l.dueAt = 0
		}
		l.tick()
	}
}

func (l *loop) receive(d platform.Datagram) {
	l.ike.Received++
	l.tellTime()
	l.do(l.engine.Receive(l.now(), d))
}

// datapathEvent handles an event of the datapath (contract 5).
func (l *loop) datapathEvent(ev platform.Event) {
	now := l.now()
	if ev.Kind == platform.LinkLost {
		if t := l.tunnels[ev.Link]; t != nil && t.index != 0 {
			l.linkLost(t)
		}
		return
	}
	if ev.Kind == platform.OuterTooBig {
		l.tooBig(ev)
		return
	}
	p, sas := l.find(ev)
	if sas == nil {
		return // removed meanwhile
	}
	if sas.inherited() {
		if ev.Kind == platform.HardExpire {
			l.lostInherited(p, sas)
		}
		return // the handshake that replaces it goes on already
	}
	switch ev.Kind {
	case platform.FirstUse:
		l.do(l.engine.ChildUsed(now, ev.SPI))
	case platform.SoftExpire, platform.SequenceLow:
		l.event(p.tunnel, slog.LevelInfo, "limit", "soft limit of a Child SA reached: rekeying")
		l.do(l.engine.RekeyChild(now, sas.ID))
	case platform.HardExpire:
		l.event(p.tunnel, slog.LevelWarn, "limit", "hard limit of a Child SA reached: it is gone")
		l.do(l.engine.ChildLost(now, sas.ID))
	case platform.Mapping:
		// An ESP packet alone moves nothing: a liveness check shows the new address
		// by its authenticated answer (RFC 7296 section 2.23).
		l.do(l.engine.Mapped(now, ev.SPI, ev.Remote))
	}
}

func (l *loop) find(ev platform.Event) (*peer, *childSA) {
	for _, p := range l.peers {
		if ev.Link != "" && ev.Link != p.tunnel.name {
			continue
		}
		if sas := p.spi(ev.SPI, ev.Out); sas != nil {
			return p, sas
		}
	}
	return nil, nil
}

// shutdown deletes SAs and interfaces; guards and unreachable routes stay. The
// peers get a second to answer the Deletes, so that neither side keeps a dead
// SA until its liveness check finds out.
func (l *loop) shutdown() {
	l.log.Info("closing all tunnels")
	for _, name := range l.order {
		t := l.tunnels[name]
		t.wanted = false
		for _, p := range t.peers {
			l.do(l.engine.RemovePeer(l.now(), p.id))
		}
	}
	deadline := time.NewTimer(time.Second)
	defer deadline.Stop()
	for l.engine.Pending() > 0 {
		l.settle(entirely) // none is wanted: this only clears the marks
		wake := time.NewTimer(l.untilDue())
		select {
		case <-deadline.C:
			wake.Stop()
			goto over
		case d := <-l.dp.IKE():
			l.receive(d)
		case <-wake.C:
			l.tick()
		}
		wake.Stop()
	}
over:
	for _, name := range l.order {
		l.dismantle(l.tunnels[name])
	}
	l.notePeers()
	l.log.Info("stopped; guards stay in place", "tunnels", len(l.order))
}

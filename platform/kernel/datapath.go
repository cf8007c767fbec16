// Package kernel is the datapath that leaves the packets to Linux: GRE
// interfaces, XFRM states (RFC 4301's SAD) and policies (its SPD), set up by
// netlink. It carries no packet itself and knows no IKE.
//
// Open first asks the kernel what it can do (Probe): each ESP algorithm is run
// over a known packet in a throw-away network namespace. A tunnel is then driven
// through platform.Datapath: Guard, SetLink, InstallIn, InstallOut, SetRunning,
// and back. Whatever the order of these calls, protocol 47 in the clear is blocked
// for a remote before a device, an SA or an allowing policy names it (guard.go
// has the two layers of policies). Our objects carry a mark (ifalias, policy
// priority, reqid range), by which Sweep finds what a killed daemon left.
package kernel

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"greseal/crypto/suite"
	"greseal/platform"
	"greseal/platform/ikesock"
	"greseal/platform/netlink"
)

// Options are what Open needs.
type Options struct {
	Logger *slog.Logger

	PortIKE, PortNAT uint16 // 0: 500 and 4500
	Mark             uint32 // of the IKE messages sent

	// Probe is an earlier result, such as one read from a file when the daemon
	// may not make namespaces itself; nil: Open probes.
	Probe *Result
	// Algorithms are the ESP algorithms to probe, nil for DefaultAlgorithms.
	Algorithms []Algorithm
}

// Datapath implements platform.Datapath. Its methods belong to one goroutine.
type Datapath struct {
	*ikesock.Sockets // IKE; nil without a running datapath

	log   *slog.Logger
	route *netlink.Conn
	xfrm  *netlink.Conn
	probe *Result

	guards    map[netip.Addr]bool            // blocked in the kernel
	asked     map[string]map[netip.Addr]bool // by Guard
	remotes   map[string]netip.Addr          // of links, until Unguard
	flows     map[endpoints]*flow
	lastReqid uint32
	repairs   platform.Repairs
	notes     []string
	clamps    *clamps             // nil without a running datapath
	echoers   map[string]*echoer  // answer GRE keepalives, by link
	left      map[string]leftover // of a daemon that was killed, by link

	mu    sync.Mutex // also the listeners'
	links map[string]*device
	sas   map[platform.SAKey]*installed

	events chan platform.Event
	done   chan struct{}
	wg     sync.WaitGroup
	subs   []*netlink.Subscription
	poll   chan struct{} // an SA is watched for its first use

	closed   sync.Once
	closeErr error
}

var _ platform.Datapath = (*Datapath)(nil)

// Open starts the kernel datapath in the network namespace of the calling
// thread. The error says what the kernel is missing.
func Open(o Options) (*Datapath, error) {
	d, err := open(o.Logger)
	if err != nil {
		return nil, err
	}
	if err := d.start(o); err != nil {
		_ = d.Close()
		return nil, fmt.Errorf("kernel datapath: %w", err)
	}
	return d, nil
}

// open makes a Datapath that can write netlink and nothing else.
func open(log *slog.Logger) (*Datapath, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	d := &Datapath{
		log:     log,
		guards:  make(map[netip.Addr]bool),
		asked:   make(map[string]map[netip.Addr]bool),
		remotes: make(map[string]netip.Addr),
		flows:   make(map[endpoints]*flow),
		links:   make(map[string]*device),
		sas:     make(map[platform.SAKey]*installed),
		probe:   &Result{},
		echoers: make(map[string]*echoer),
		events:  make(chan platform.Event, 64),
		done:    make(chan struct{}),
		poll:    make(chan struct{}, 1),
	}
	var err error
	if d.route, err = netlink.Open(unix.NETLINK_ROUTE); err != nil {
		return nil, fmt.Errorf("kernel datapath: %w", err)
	}
	if d.xfrm, err = netlink.Open(unix.NETLINK_XFRM); err != nil {
		d.route.Close()
		return nil, fmt.Errorf("kernel datapath: %w", explain(err))
	}
	return d, nil
}

func (d *Datapath) start(o Options) error {
	d.probe = o.Probe
	if d.probe == nil {
		d.probe = Probe(o.Algorithms)
	}
	if err := d.probe.Usable(); err != nil {
		return err
	}
	if err := d.listen(); err != nil {
		return err
	}
	d.clamps = startClamps()
	var err error
	d.Sockets, err = ikesock.Open(ikesock.Config{
		PortIKE: o.PortIKE, PortNAT: o.PortNAT, ReadNAT: true, UDPEncap: true, Mark: o.Mark, Logger: d.log,
	})
	return err
}

// Kind is platform.KindKernel.
func (d *Datapath) Kind() string { return platform.KindKernel }

// Probed is what the kernel was found capable of.
func (d *Datapath) Probed() *Result { return d.probe }

// Supports returns nil when the kernel computes this ESP algorithm correctly. It probes
// those that were not probed yet.
func (d *Datapath) Supports(encr, integ suite.Transform) error {
	a := Algorithm{Encr: encr, Integ: integ}
	if _, known := d.probe.find(a); !known {
		d.probe.add(a, Probe([]Algorithm{a}))
	}
	return d.probe.Supports(encr, integ)
}

// Events delivers what the kernel reports.
func (d *Datapath) Events() <-chan platform.Event { return d.events }

// Notes say which algorithms and features the kernel lacks and why.
func (d *Datapath) Notes() []string {
	return append(slices.Clone(d.notes), d.probe.Notes()...)
}

func (d *Datapath) note(text string) {
	if !slices.Contains(d.notes, text) {
		d.notes = append(d.notes, text)
	}
}

// Close ends the listeners and closes the sockets. Interfaces, SAs and policies
// stay: bare ESP goes on, ESP in UDP needs a socket to be received.
func (d *Datapath) Close() error {
	d.closed.Do(d.close)
	return d.closeErr
}

func (d *Datapath) close() {
	close(d.done)
	for _, s := range d.subs {
		s.Close()
	}
	for link := range d.echoers {
		d.dropEchoer(link)
	}
	d.wg.Wait()
	if d.clamps != nil {
		d.clamps.close()
	}
	if d.Sockets != nil {
		d.closeErr = d.Sockets.Close()
	}
	d.xfrm.Close()
	d.route.Close()
}

// errClosed ends a listener.
var errClosed = errors.New("closed")

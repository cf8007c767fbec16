// Package userspace is the datapath that needs nothing of the kernel but TUN
// and sockets: packets go from a TUN or TAP through GRE and ESP (tunnel or
// transport mode) into UDP or raw IP, and back. It implements
// platform.Datapath.
//
// It never sends GRE outside ESP and never takes GRE that did not come out of
// an SA whose selectors it matches: there is no such code. It never holds a
// queue of packets: what the kernel's queues cannot take is dropped there.
//
// The methods are for one goroutine, the daemon's loop. Packets are carried by
// workers, each one goroutine that runs every packet to its end (egress.go,
// ingress.go). An egress worker alone owns the counters and sequence numbers of
// its links' SAs; the loop reaches them between two batches (worker.go). What
// the inbound SAs of a link hold is behind the link's lock, which is free but
// when a peer's packets have just begun to reach another worker (share.go).
package userspace

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"greseal/crypto/suite"
	"greseal/platform"
	"greseal/platform/ikesock"
	"greseal/platform/netlink"
	"greseal/platform/userspace/vnet"
)

// Offload names what the kernel does for us, as bits.
type Offload uint

// Offloads. Each is used where the kernel has it; Options.Off refuses them.
const (
	OffTSO   Offload = 1 << iota // TUN gives large TCP packets and leaves checksums to us
	OffUSO                       // TUN gives large runs of UDP datagrams
	OffGSO                       // one send for many datagrams (UDP_SEGMENT)
	OffGRO                       // one receive for many datagrams (UDP_GRO)
	OffMerge                     // large packets are written to the TUN
	OffVnet                      // no vnet header: none of TSO, USO and merging
)

// Options say how to open the datapath.
type Options struct {
	Logger           *slog.Logger
	PortIKE, PortNAT uint16  // 0: 500 and 4500
	Mark             uint32  // SO_MARK of IKE messages, 0 for none
	Inbox            int     // IKE datagrams that wait at most, 0 for 256
	Off              Offload // offloads not to use
	Workers          int     // that send, and that receive; 0: half of the CPUs, at most 4
}

// Datapath carries packets in userspace. It implements platform.Datapath.
type Datapath struct {
	*ikesock.Sockets // IKE

	log     *slog.Logger
	kernel  kernel
	off     Offload
	portNAT uint16
	netlink *netlink.Conn
	events  *eventQueue
	sas     spiTable // inbound
	sending spiTable // outbound
	ingress []*ingress
	egress  []*egress
	workers sync.WaitGroup

	// What follows belongs to the loop.
	sockets   []boundSocket
	devices   map[string]*device
	inherited map[string]bool // were running when their daemon was killed
	ins       map[platform.SAKey]*inSA
	outs      map[platform.SAKey]*outSA
	guards    map[string][]netip.Addr
	probed    map[[2]suite.Transform]error // what Supports has found
	closed    bool
	repairs   platform.Repairs

	notesMu sync.Mutex
	notes   []string
}

var _ platform.Datapath = (*Datapath)(nil)

// Open opens the sockets in the calling thread's network namespace and starts
// the workers.
func Open(o Options) (*Datapath, error) {
	return open(o, linux{})
}

func open(o Options, k kernel) (_ *Datapath, err error) {
	d := &Datapath{
		log: o.Logger, kernel: k, off: o.Off, portNAT: cmp.Or(o.PortNAT, ikesock.DefaultPortNAT),
		devices: make(map[string]*device), inherited: make(map[string]bool),
		ins:    make(map[platform.SAKey]*inSA),
		outs:   make(map[platform.SAKey]*outSA),
		guards: make(map[string][]netip.Addr),
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if d.netlink, err = netlink.Open(unix.NETLINK_ROUTE); err != nil {
		return nil, err
	}
	d.Sockets, err = ikesock.Open(ikesock.Config{
		PortIKE: o.PortIKE, PortNAT: o.PortNAT, Mark: o.Mark, Inbox: o.Inbox, Logger: o.Logger,
	})
	if err != nil {
		d.netlink.Close()
		return nil, err
	}
	d.events = newEventQueue()
	if o.Workers == 0 {
		o.Workers = min(max(runtime.NumCPU()/2, 1), 4)
	}
	if err := d.start(o.Workers); err != nil {
		_ = d.Close()
		return nil, fmt.Errorf("start the packet workers: %w", err)
	}
	return d, nil
}

// start makes the workers, n each way.
func (d *Datapath) start(n int) error {
	// Workers keep their processor while they wait briefly; the rest of the
	// daemon has one of its own.
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), 2*n+1))
	for range n {
		merge := vnet.NewMerger(d.kernel, d.mergeOff)
		if d.off&OffMerge != 0 {
			merge.Off = vnet.TCP | vnet.UDP
		}
		in, err := newIngress(d, merge)
		if err != nil {
			return err
		}
		d.ingress = append(d.ingress, in)
		d.workers.Go(in.run)
	}
	for _, v6 := range []bool{false, true} {
		nat := d.NATSocket(v6)
		if nat == nil {
			continue
		}
		s := d.udpSocket(nat.FD, v6)
		d.sockets = append(d.sockets, boundSocket{s, inOne, false})
		if err := d.shareUDP(s, d.portNAT); err != nil {
			d.note("one CPU receives the packets of all peers: the kernel does not spread them (%v)", err)
		}
		if err := d.ingress[0].addSocket(s); err != nil {
			return err
		}
		s, err := d.icmpSocket(v6)
		if err != nil {
			d.note("routers' messages about packets that are too big are not received (%v); the path MTU search finds out by itself", err)
			continue
		}
		d.sockets = append(d.sockets, boundSocket{s, inOne, true})
		if err := d.ingress[0].addSocket(s); err != nil {
			return err
		}
	}
	for range n {
		out, err := newEgress(d.kernel, d.events)
		if err != nil {
			return err
		}
		d.egress = append(d.egress, out)
		d.workers.Go(out.run)
	}
	return nil
}

// mergeOff is called by the ingress worker.
func (d *Datapath) mergeOff(kind vnet.Kinds, e unix.Errno) {
	what, since := "TCP", ""
	if kind == vnet.UDP {
		what, since = "UDP", ", Linux 6.2 does"
	}
	d.note("joining %s packets for the interface is off: the kernel takes none%s (%v)", what, since, e)
}

// note writes a line for status and the log, once.
func (d *Datapath) note(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	d.notesMu.Lock()
	defer d.notesMu.Unlock()
	if !slices.Contains(d.notes, line) {
		d.notes = append(d.notes, line)
		d.log.Warn(line)
	}
}

// Notes are the offloads that are off, and why.
func (d *Datapath) Notes() []string {
	d.notesMu.Lock()
	defer d.notesMu.Unlock()
	return slices.Clone(d.notes)
}

// Kind is platform.KindUserspace.
func (d *Datapath) Kind() string { return platform.KindUserspace }

// Guard has nothing to close: nothing here sends or takes protocol 47 in the clear.
// It remembers its arguments so that Unguard of a link that was never guarded
// stays harmless.
func (d *Datapath) Guard(link string, remotes []netip.Addr) error {
	d.guards[link] = slices.Clone(remotes)
	return nil
}

// Unguard ends Guard.
func (d *Datapath) Unguard(link string) error {
	delete(d.guards, link)
	return nil
}

// Events delivers what the workers saw.
func (d *Datapath) Events() <-chan platform.Event { return d.events.out }

// Close stops the workers and closes sockets and devices. Interfaces are
// persistent and stay, without carrier.
func (d *Datapath) Close() error {
	if d.closed {
		return nil
	}
	d.closed = true
	for _, w := range d.ingress {
		w.stop()
	}
	for _, w := range d.egress {
		w.stop()
	}
	d.workers.Wait()
	var errs []error
	for _, dev := range d.devices {
		errs = append(errs, unix.Close(dev.FD))
	}
	for _, s := range d.sockets {
		if s.ours { // the others are ikesock's
			errs = append(errs, unix.Close(s.fd))
		}
	}
	for _, w := range d.ingress {
		w.release()
	}
	for _, w := range d.egress {
		w.release()
	}
	d.events.close()
	errs = append(errs, d.Sockets.Close())
	d.netlink.Close()
	return errors.Join(errs...)
}

// Package platform is what a tunnel needs of a machine: the Datapath interface
// with its two implementations in the folders kernel and userspace, the capability
// probe, and addresses, routes and their changes. It knows no IKE.
package platform

import (
	"net/netip"
	"time"

	"greseal/crypto/esp"
	"greseal/crypto/suite"
)

// Link is the wanted state of one tunnel's network interface.
type Link struct {
	Name     string // interface name, at most 15 bytes
	Ethernet bool   // gretap or TAP instead of an IP device

	// Local and Remote are the GRE endpoints. Remote is unset until the peer
	// of a remote = "any" tunnel is known.
	Local, Remote netip.Addr

	Key        uint32 // GRE key (RFC 2890), sent and required when HasKey
	HasKey     bool
	Sequence   bool
	Checksum   bool
	TTL        uint8 // outer TTL, 0 inherits
	TOS        uint8 // outer TOS when not TOSInherit
	TOSInherit bool
	IgnoreDF   bool
	MTU        int // of the interface, bytes
	// MaxUnfragmented is the largest packet that the path carries whole, bytes. Where the
	// interface takes larger ones the userspace datapath refuses or fragments
	// them as a router does. 0: as the MTU.
	MaxUnfragmented int
	// Neighbor4 and Neighbor6 are the inner addresses of the router at the other
	// end, where known: the source of the userspace datapath's ICMP errors about
	// packets that are too big; unset: the host they were for.
	Neighbor4, Neighbor6 netip.Addr
	// MSS4 and MSS6 are the largest TCP segments inside IPv4 and IPv6, bytes;
	// the MSS option of SYNs is lowered to them in both directions. 0: not.
	MSS4, MSS6 uint16
	Bridge     string
	FWMark     uint32 // mark of the outer packets
}

// SA is one direction of a Child SA to be installed. The datapath owns and
// wipes Params' keys.
type SA struct {
	esp.ChildSA
	Link   string // name of the Link it carries
	Out    bool
	Params esp.Params // of this direction

	ReplayWindow int // packets, inbound only

	// Limits, 0 for none. Soft ones raise SoftExpire once; hard ones remove
	// the SA and raise HardExpire.
	SoftBytes, HardBytes     uint64
	SoftPackets, HardPackets uint64

	WatchFirstUse bool // raise FirstUse at the first authenticated inbound packet
}

// SAKey names an installed SA.
type SAKey struct {
	Link string
	Out  bool
	SPI  uint32
}

// Key is the SA's name.
func (sa *SA) Key() SAKey { return SAKey{sa.Link, sa.Out, sa.Params.SPI} }

// Counters are the totals of one SA. Bytes are those of the protected packets
// (the GRE packet, without ESP).
type Counters struct {
	Packets, Bytes uint64
	Replay         uint64 // dropped by the anti-replay window
	Integrity      uint64 // dropped because the ICV was wrong
	Selector       uint64 // dropped by the inbound check of RFC 4301 section 5.2
	Malformed      uint64 // dropped as no valid ESP, padding or GRE packet
}

// Drops are the packets of one interface dropped outside any SA, since the interface
// was made or adopted.
type Drops struct {
	NoSA   uint64 // outbound without an SA to carry them
	TooBig uint64 // outbound, larger than the MTU and not to be fragmented
	Queue  uint64 // either way: a queue was full or the kernel refused
	Key    uint64 // inbound, with another GRE key than the link's, or an unexpected or missing one
	GRE    uint64 // inbound, wrong GRE checksum, out of sequence or of an unknown protocol type
}

// GREKeepalives are keepalives inside GRE, not those of a NAT.
type GREKeepalives struct {
	Returned uint64 // sent by this side, and come back
	Answered uint64 // the peer's, sent back
}

// Add adds o to c.
func (c *Counters) Add(o Counters) {
	c.Packets += o.Packets
	c.Bytes += o.Bytes
	c.Replay += o.Replay
	c.Integrity += o.Integrity
	c.Selector += o.Selector
	c.Malformed += o.Malformed
}

// EventKind tells the events of a datapath apart.
type EventKind uint8

// Events (contract 5).
const (
	FirstUse    EventKind = iota + 1 // first authenticated packet on a watched inbound SA
	SoftExpire                       // soft limit of bytes or packets
	HardExpire                       // hard limit: the SA is gone
	Mapping                          // authenticated packet from a new address or port
	SequenceLow                      // the sequence space of an outbound SA nears its end
	LinkLost                         // the interface was deleted
	OuterTooBig                      // an outbound packet did not fit the path, as an ICMP message about it claims
)

// Event is something that a datapath observed.
type Event struct {
	Kind   EventKind
	Link   string // may be empty when only the SPI is known
	Out    bool
	SPI    uint32
	Remote netip.AddrPort // Mapping: the new one
	// MTU of OuterTooBig is the size of the outer packet that fits, bytes. The
	// message quoted the SPI and a sequence number sent lately, but nothing in
	// it is authenticated: a hint, never proof. 0: this machine's own kernel
	// refused the packet.
	MTU int
}

// Datagram is an IKE message that came in on one of the IKE ports, without the
// non-ESP marker. It is the same type as the engine's, ikev2.Datagram, though neither
// package knows the other.
type Datagram = struct {
	Local, Remote netip.AddrPort
	Data          []byte // owned by the receiver
}

// Kinds of datapath.
const (
	KindKernel    = "kernel"
	KindUserspace = "userspace"
)

// Guards block protocol 47 in the clear. Failing closed is the datapath's own duty: no
// order of calls, and no failure or kill between them, lets protocol 47 leave or enter
// in the clear for a guarded remote, or makes an interface that sends outside ESP.
type Guards interface {
	// Guard blocks protocol 47 in the clear between this machine and remotes, for
	// a link; it may be called again with more or other addresses. Unguard
	// removes the guards that no other link needs. Guards outlive the daemon.
	Guard(link string, remotes []netip.Addr) error
	Unguard(link string) error
}

// Links are the tunnels' interfaces.
type Links interface {
	// SetLink makes the interface or changes it in place (same index wherever
	// the kernel allows it), brings it up administratively with link state
	// "not running" when new, and returns its index. A foreign interface of
	// that name is an error and is left untouched. An error names the interface.
	SetLink(Link) (index int, err error)

	// DeleteLink removes the interface and every SA and allowing policy of it;
	// its guards stay.
	DeleteLink(name string) error

	// SetRunning shows the peer's authenticated liveness as link state.
	SetRunning(name string, running bool) error

	// LinkDrops reads what an interface dropped outside any SA.
	LinkDrops(name string) (Drops, error)

	// MSSClampError is nil when the MSS is lowered on a link that asks for it,
	// otherwise it says what is missing. The link works without.
	MSSClampError(link string) error

	// SendGREKeepalive sends a keepalive in Cisco's form into a link's SA.
	// The peer's are always answered. GREKeepalives counts both since the
	// interface was made or adopted.
	SendGREKeepalive(link string) error
	GREKeepalives(link string) GREKeepalives
}

// SAs are the ESP SAs.
type SAs interface {
	// Supports returns nil when the datapath computes this ESP algorithm
	// correctly (known-answer probe), otherwise an error that names it and what
	// is missing (such as the kernel module or OpenWrt package).
	Supports(encr, integ suite.Transform) error

	// InstallIn installs an inbound SA; InstallOut installs an outbound one
	// and moves the traffic to it. RemoveSA returns the final counters, zero
	// counters and nil for an SA that is not there.
	InstallIn(SA) error
	InstallOut(SA) error
	RemoveSA(SAKey) (Counters, error)

	// MoveSA changes the outer addresses or ports of an installed SA.
	MoveSA(key SAKey, local, remote netip.AddrPort) error

	// SACounters reads the counters of an installed SA.
	SACounters(SAKey) (Counters, error)
}

// IKE are the IKE datagrams on UDP 500 and 4500 (package ikesock). Its methods may be
// called from any goroutine.
type IKE interface {
	// Listening names the open IKE sockets, such as "0.0.0.0:500".
	Listening() []string

	// IKE delivers the datagrams of both ports, IKEOpening those among them
	// that are IKE_SA_INIT requests, which anyone can send. IKEDropped counts
	// those for which there was no room in either.
	IKE() <-chan Datagram
	IKEOpening() <-chan Datagram
	IKEDropped() uint64

	// SendIKE sends a datagram, with the non-ESP marker when local's port is the
	// NAT port. df sets the don't-fragment bit. SendIKEFragmented sends it in IP
	// fragments of at most 576 bytes.
	SendIKE(local, remote netip.AddrPort, data []byte, df bool) error
	SendIKEFragmented(local, remote netip.AddrPort, data []byte) error

	// SendKeepalive sends a NAT keepalive, the one byte 0xff (RFC 3948 section 2.3).
	SendKeepalive(local, remote netip.AddrPort) error
}

// Leftover is the interface of a tunnel whose daemon was killed, with the SAs that
// carry its packets still.
type Leftover struct {
	Link    Link          // name, kind, endpoints, key and MTU
	Running bool          // the peer was alive
	SAs     []esp.ChildSA // newest first; SPI 0: there is none in that direction
	Since   time.Time     // the newest was installed
}

// Leftovers are what a daemon that was killed has left, and another may go on with.
type Leftovers interface {
	// Leftovers finds what can be inherited, before Sweep.
	Leftovers() ([]Leftover, error)

	// Inherit takes over the interface and SAs of a leftover, which is to become link:
	// its endpoints and key must be the leftover's. SetLink follows, and keeps the link
	// state. The SAs are then like installed ones: the next InstallOut moves the traffic
	// away from them, and RemoveSA removes them.
	Inherit(link Link) error
}

// Datapath carries packets: one per daemon. The methods that it does not inherit from
// IKE are called from one goroutine (the tunnel loop); the channels are read anywhere.
type Datapath interface {
	Standing
	Guards
	Links
	SAs
	Leftovers
	IKE
	Standing

	// Kind is KindKernel or KindUserspace.
	Kind() string

	// Events delivers what the datapath observed.
	Events() <-chan Event

	// Notes are lines for status: which offloads or algorithms are off and why.
	Notes() []string

	// Sweep removes what earlier daemons left (contract 8), but for what was
	// inherited: SAs and allowing policies, then interfaces and at last guards of links
	// that keep does not name.
	Sweep(keep []string) error

	// Close stops the workers and closes the sockets. Interfaces and guards
	// stay as they are.
	Close() error
}

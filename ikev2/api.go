// Package ikev2 is IKEv2 (RFC 7296) as a pure machine: datagrams, timers and
// commands go in with the current time, an ordered list of actions comes out. It
// has no sockets, no goroutines, no clock and no global randomness, and it knows
// nothing of tunnels, TOML or Linux.
//
// Register peers with SetPeer, start with Initiate or wait, hand every datagram
// to Receive and call Tick when WakeAt says so; carry out what each call returns,
// in its order. A message comes in through receive.go, which authenticates it. A
// request of the peer's leads to the file of its exchange: init_responder,
// auth_responder, create_child, rekey_ike, followup, informational. A request of
// ours is an exchange (exchange.go), a type with a file of its own:
//
//	init_initiator   IKE_SA_INIT                    rekey_ike  a new IKE SA in the place of one
//	intermediate     IKE_INTERMEDIATE               delete     Deletes
//	auth_initiator   IKE_AUTH                       liveness   whether the peer lives
//	rekey_child      a Child SA in the place of one move       MOBIKE: our address is another
//	new_child        a Child SA from scratch        pathtest   whether the peer receives there
//	create_child     what both have in common       probe      whether a packet of a size arrives
//
// Our requests are not queued: when its one request is answered, the state of an SA
// says which is next (due.go). child.go and negotiate.go hold the Child SAs,
// duplicates.go the rule for several IKE SAs with one peer. The conversations in
// testdata/ike show each of these at work.
//
// An IKE SA is in one of these states (state.go):
//
//	 Initiate                            IKE_SA_INIT request of the peer
//	    |                                           |
//	initiating                                  half-open
//	    | response                                  | IKE_AUTH request
//	    +----------> authenticating <---------------+
//	                    |      | without a Child SA
//	          IKE_AUTH  |      +---> childless ----------------+
//	                    v               | one is made          | none was
//	+--------------> established <------+                      |
//	|                |  |     |                                |
//	| it is heard    |  |     | rekeyed by either side         |
//	|                |  |     +----------------> replaced ---->+
//	|                |  |                                      |
//	|   another IKE SA with the peer stays (duplicates.go)     |
//	|                |  +---> redundant: ours to delete ------>+
//	|                |  +---> redundant: theirs to delete ---->+
//	|                |  +---> redundant: forgotten by the peer |
//	|                |           | the other one is gone       |
//	|                +<----------+                             v
//	|                +---- closed, failed or expired ----> deleting ---> gone
//	|
//	|   rekeying by the peer makes a new one that is
//	+-- unconfirmed: the peer may not have our answer
//	|       ^ the peer's new IKE SA stays
//	+-- colliding: our own rekeying is unanswered
//	        | ours stays
//	        +---> redundant: lost the collision ---> gone
//
// Any state ends in gone when the peer deletes the IKE SA or is dead.
package ikev2

import (
	"io"
	"net/netip"
	"time"

	"greseal/crypto/esp"
	"greseal/crypto/sign"
	"greseal/crypto/sign/cert"
	"greseal/crypto/suite"
)

// Time is monotonic time since an origin the caller chose once. The engine has
// no clock of its own.
type Time = time.Duration

// PeerID is the caller's name for a Peer. The engine only copies it into
// actions and events.
type PeerID string

// SAID names an IKE SA within one engine; never reused.
type SAID uint64

// ChildID names a Child SA within one engine; never reused.
type ChildID uint64

// Config is what an engine needs once.
type Config struct {
	// Rand yields SPIs, nonces, key exchange secrets and jitter.
	Rand io.Reader
	// PortIKE and PortNAT are the local UDP ports, 500 and 4500 by default.
	// Datagrams on PortNAT carry the non-ESP marker on the wire; the caller
	// strips and adds it (RFC 3948 section 2.2).
	PortIKE, PortNAT uint16
	// StrangersOctets bounds the memory of half-open IKE SAs and their fragments,
	// octets; 0: 1.5 MiB. Computing is how many key exchanges of Curve25519 a second
	// unauthenticated peers may cause; 0: 2000.
	StrangersOctets int
	Computing       float64
	// NATKeepalive is the interval of NAT keepalives, 20 s by default.
	NATKeepalive time.Duration
	// Run is a random number that identifies this run of the program to peers, by
	// which they recognize IKE SAs from other addresses and identities as the same
	// peer's. 0: not sent.
	Run uint64
}

// EncapMode says when ESP travels in UDP.
type EncapMode uint8

// Encapsulation modes.
const (
	EncapAuto  EncapMode = iota // when NAT detection finds a NAT
	EncapForce                  // UDP encapsulation is forced: both sides are made to see a NAT
	EncapNever                  // NAT detection is neither sent nor evaluated
)

// Peer is one configured other side with everything that is offered to it and
// expected of it. The engine keeps its own copy.
type Peer struct {
	ID PeerID

	// Local restricts the own address where LocalOnly is set: an empty
	// list, of an interface without an address, accepts nobody. Remotes restricts the
	// peer's; an empty list means any. They choose the candidates of an
	// IKE_SA_INIT request (contract 9).
	Local     []netip.Addr
	LocalOnly bool
	Remotes   []netip.Addr

	LocalID  Identity // unset: the subject of the own certificate, or the own address of the IKE SA
	RemoteID Pattern  // zero: any identity is accepted

	// How both sides authenticate: exactly one of the three is set.
	PSK          []byte
	Certificates *Certificates
	RawKeys      *RawKeys

	// Earlier is how both sides authenticated before their settings were changed, nil: as
	// they do now. The peer is let in by it too; it is asked by it when it refuses the
	// present one and no IKE SA with it stands. Its settings may not have been changed yet.
	Earlier *Credentials

	// PPK is a post-quantum pre-shared key (RFC 8784) and PPKID its name; both
	// empty: none. PPKRequired refuses a peer that does not use it.
	PPKID       string
	PPK         []byte
	PPKRequired bool

	IKE []suite.Proposal
	ESP []suite.Proposal
	PFS bool // offer the IKE groups when rekeying Child SAs; as responder accept without

	// Elsewhere are the inbound SPIs of Child SAs that an earlier run made, and that carry
	// the traffic still: they are not drawn again, no INITIAL_CONTACT is sent, and a Child
	// SA that the peer begins carries nothing before the peer has shown that it has it,
	// unless the peer says by INITIAL_CONTACT that it has no other.
	Elsewhere []uint32

	Transport bool      // ask for, and as responder accept, transport mode
	Encap     EncapMode // EncapForce is also how a datapath gets UDP on purpose

	// GRELocal and GRERemote are the GRE endpoints: the /32 or /128 of the
	// traffic selectors, protocol 47, all ports. Unset means the outer
	// endpoints of the IKE SA; GRERemoteAny accepts any single address of the
	// peer's choice (remote = "any"), reported in Child.GRERemote.
	GRELocal, GRERemote netip.Addr
	GRERemoteAny        bool

	IKELifetime   time.Duration // IKE SA rekeyed before this age; 0 never
	ChildLifetime time.Duration // Child SA rekeyed before this age; 0 never
	Reauth        time.Duration // age by which both sides authenticate again; 0 never

	// PathMTU is the largest IP packet that IKE messages may be sent in, bytes;
	// longer ones are fragmented (RFC 7383). 0: 1280; at least 576.
	PathMTU int

	DPD     time.Duration // liveness check after this silence of IKE
	Suspect time.Duration // without an answer for this long: Liveness{Suspect}
	Dead    time.Duration // without an answer for this long: the IKE SA is given up
}

// Credentials are what two sides authenticate with: exactly one of the three is set.
type Credentials struct {
	LocalID      Identity
	PSK          []byte
	Certificates *Certificates
	RawKeys      *RawKeys
}

// Certificates authenticates both sides by X.509 certificates (RFC 4945, RFC
// 7427). What it points to is never changed.
type Certificates struct {
	Own     *cert.Credential
	Anchors *cert.Anchors
	CRLs    *cert.CRLs // nil: revocation is not checked
}

// RawKeys authenticates both sides by public keys that each has of the other
// (RFC 7670). What it points to is never changed.
type RawKeys struct {
	Own  *sign.PrivateKey
	Peer *sign.PublicKey
}

// Datagram is an IKE message with its addresses, without the non-ESP marker. As an alias
// of a plain struct it is the type in which the sockets deliver it, too.
type Datagram = struct {
	Local, Remote netip.AddrPort
	Data          []byte // owned by the receiver of the Datagram
}

// Child is a Child SA as negotiated, without its keys.
type Child struct {
	esp.ChildSA
	ID        ChildID
	Peer      PeerID
	IKE       SAID
	Initiator bool    // we asked for it
	Replaces  ChildID // the Child SA that it rekeys, 0 for a first one
	Created   Time
	RekeyAt   Time // 0: not by time
}

// Action is one step the caller carries out, in the order it was returned.
type Action interface{ isAction() }

// Send asks for a datagram to be sent; from PortNAT with the non-ESP marker.
type Send struct {
	Datagram
	Peer PeerID // may be empty: an answer to an unknown source
	// DF asks for the don't-fragment bit. A datagram that is larger than our own
	// interface takes is reported through Engine.ProbeRefused.
	DF bool
	// Split asks for IP fragments of at most 576 bytes, made here rather than on
	// the path.
	Split bool
}

// SendKeepalive asks for a NAT keepalive, one octet 0xff without marker, from
// PortNAT (RFC 3948 section 2.3).
type SendKeepalive struct{ Local, Remote netip.AddrPort }

// InstallIn asks for the inbound SA of a Child SA to be installed. A failure is
// reported through Engine.InstallFailed.
type InstallIn struct {
	Child  *Child // shared with later actions, never changed
	Params esp.Params
	// WatchFirstUse asks for Engine.ChildUsed at the first authenticated
	// packet on this SA (contract 11).
	WatchFirstUse bool
}

// InstallOut asks for the outbound SA to be installed; from then on it is the
// one that carries the traffic (contract 11).
type InstallOut struct {
	Child  *Child
	Params esp.Params
}

// RemoveIn asks for an inbound SA to be removed. Removing what was never
// installed is not an error.
type RemoveIn struct{ Child *Child }

// RemoveOut asks for an outbound SA to be removed.
type RemoveOut struct{ Child *Child }

// WakeAt asks for Engine.Tick at At; it replaces any earlier WakeAt. A list of
// actions holds at most one.
type WakeAt struct{ At Time }

// IKESA is what is known of an IKE SA; it holds no secret.
type IKESA struct {
	ID         SAID
	Replaces   SAID // rekeyed from, 0 for a first one
	Initiator  bool // original initiator of this IKE SA
	SPIi, SPIr uint64
	Suite      suite.Suite
	Authenticated
	NAT
	Fragmentation bool // both sides support IKE fragmentation (RFC 7383)
	Established   Time
	LastHeard     Time   // last authenticated message from the peer
	Retransmits   uint64 // requests repeated so far
}

// AuthInfo says how both sides of an IKE SA proved who they are. It holds no
// secret.
type AuthInfo struct {
	Ours, Theirs string    // "pre-shared key", "Ed25519", "RSASSA-PSS with SHA2-256"
	Subject      string    // of the peer's certificate
	Issuer       string    // of the peer's certificate
	Expires      time.Time // when the first certificate of the peer's path does
	Key          string    // fingerprint of the peer's raw public key
	Earlier      bool      // by the credentials from before the settings were changed (Peer.Earlier)
}

// Authenticated is who both sides are, and how it was proved.
type Authenticated struct {
	LocalID, RemoteID Identity
	Auth              AuthInfo
	PPK               bool // a post-quantum pre-shared key is in the keys
}

// NAT is what NAT detection found.
type NAT struct {
	NATLocal          bool // we are behind a NAT
	NATRemote         bool // the peer is behind a NAT
	EncapForcedByPeer bool // or forces UDP encapsulation, in the form of this program
	EncapForced       bool // UDP encapsulation forced by us
}

// PeerBehindNAT reports whether the peer is behind a NAT, and does not only force UDP
// encapsulation.
func (n NAT) PeerBehindNAT() bool { return n.NATRemote && !n.EncapForcedByPeer }

// Found reports whether there is a NAT in between.
func (n NAT) Found() bool { return n.NATLocal || n.PeerBehindNAT() }

// IKEInfo describes an IKE SA at one moment.
type IKEInfo struct {
	IKESA
	Peer          PeerID
	Local, Remote netip.AddrPort
	RekeyAt       Time // 0: not by time
	MOBIKE        bool // both sides can move it to other addresses
	TellsMTU      bool // the peer sends the MTU of its interface: PeerMTU
}

// IKEUp reports an authenticated IKE SA (also one made by rekeying).
type IKEUp struct{ IKEInfo }

// IKEDown reports that an IKE SA is gone. Its Child SAs' Remove actions came
// before. Reason is nil when it was rekeyed or closed by the caller.
type IKEDown struct {
	IKEInfo
	Reason *Failure
}

// Failed reports that an attempt (Initiate, or one of the peer's once it was
// authenticated) has finally failed, or that a Child SA could not be made. The
// engine does not try again: the caller does. An attempt that ends
// because the peer's own came up first, or because of Close, is not reported.
type Failed struct {
	Peer   PeerID
	Reason *Failure
}

// Noted reports something of interest to whoever looks for a fault, while the engine
// goes on: an unauthenticated error notify, no answer yet, a peer rejected because it
// could not authenticate itself, a refused rekeying.
type Noted struct {
	Peer   PeerID
	Reason *Failure
}

// LivenessState is how sure we are of the peer.
type LivenessState uint8

// Liveness states.
const (
	Alive LivenessState = iota
	Suspect
)

// Liveness reports a change of an IKE SA's liveness. Dead is an IKEDown.
type Liveness struct {
	Peer  PeerID
	IKE   SAID
	State LivenessState
}

// Reachable reports that IKE_SA_INIT was answered from the address of a
// ProbeReachability. The answer is not authenticated.
type Reachable struct {
	Peer   PeerID
	Remote netip.AddrPort
}

// Moved reports that the outer addresses of an IKE SA have changed: we moved
// (Move), or an authenticated message showed a new address or port of the peer
// (NAT mapping, MOBIKE). Children are those that move along; their Local and Remote
// already hold the new addresses.
type Moved struct {
	Peer              PeerID
	IKE               SAID
	OldLocal, Local   netip.AddrPort
	OldRemote, Remote netip.AddrPort
	Children          []*Child
}

// Probed reports the result of a Probe: whether a packet of Size bytes reached the
// peer. Not arrived means that the peer answered when the same was sent in a form
// that passes every path.
type Probed struct {
	Peer    PeerID
	Size    int    // of the IP packet, bytes; at most what was asked for
	Token   uint64 // as given to Probe
	Arrived bool
	// Hopeless: what is too large is lost in every form that the peer accepts, so
	// nothing was sent and there is no point in probing this path again.
	Hopeless bool
}

func (Send) isAction()          {}
func (SendKeepalive) isAction() {}
func (InstallIn) isAction()     {}
func (InstallOut) isAction()    {}
func (RemoveIn) isAction()      {}
func (RemoveOut) isAction()     {}
func (WakeAt) isAction()        {}
func (IKEUp) isAction()         {}
func (IKEDown) isAction()       {}
func (Failed) isAction()        {}
func (Noted) isAction()         {}
func (Liveness) isAction()      {}
func (Moved) isAction()         {}
func (Probed) isAction()        {}
func (Reachable) isAction()     {}

// The engine is driven through these methods, each with the current time, each
// returning the actions to carry out:
//
//	New(Config) *Engine
//	SetPeer(now, Peer) []Action              register or replace; existing SAs are kept
//	RemovePeer(now, PeerID) []Action         closes its SAs and forgets it
//	SetWall(now, time.Time)                  the wall time, for certificates
//	Initiate(now, PeerID, local, remote netip.AddrPort) []Action
//	ProbeReachability(now, PeerID, local, remote netip.AddrPort) []Action   whether IKE is answered there
//	Close(now, PeerID) []Action              delete all its SAs, tell the peer, keep the Peer
//	Receive(now, Datagram) []Action
//	Tick(now) []Action
//	InstallFailed(now, ChildID, error) []Action
//	ChildUsed(now, spiIn uint32) []Action    first authenticated packet on a watched inbound SA
//	RekeyChild(now, ChildID) []Action        soft limit of bytes or packets reached, or asked for
//	RekeyIKE(now, SAID) []Action
//	ChildLost(now, ChildID) []Action         the datapath lost an SA of a Child SA (hard limit, deleted by hand)
//	Check(now, PeerID) []Action              a liveness check at once
//	Move(now, PeerID, netip.Addr) []Action   our address towards the peer is another one
//	Mapped(now, spiIn uint32, from netip.AddrPort) []Action  an authenticated ESP packet came from elsewhere
//	Mobile(PeerID) bool                      whether Move takes the Child SAs along
//	Probe(now, PeerID, size int, token uint64) []Action  whether packets of size bytes reach the peer
//	TellMTU(now, PeerID, mtu int) []Action   the MTU of our interface, for a peer of the same program
//	ProbeRefused(now, PeerID) []Action       a Send with DF was too large for our own interface
//	SAs(PeerID) []IKEInfo                    for status
//	Children(PeerID) []*Child                for status
//	Pending() int                            Deletes not answered yet: what a daemon that shuts down may wait for
//	Stats() Stats                            counters of what came in

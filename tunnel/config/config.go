// Package config is the file a router's owner edits: the TOML schema, its
// defaults, every check of it, and the difference of two configs.
//
// One table (TunnelKeys, DaemonKeys) holds the exact name, type, range,
// default and description of every key. The decoder and the checks work from
// it, and so do the man page, build/doc/config.md and every other way a tunnel can be
// written down. A mistake is a Problem with file, line and column, what is
// wrong and what to write instead; all mistakes of a file are found in one
// run.
//
// The package never talks to the network: host names are checked as words, not
// resolved. It reads the file itself and the secret files it names, and
// nothing else. Load and Parse give a complete Config or an error, never half
// of one; Diff says what changed between two.
package config

import (
	"net/netip"
	"strconv"
	"time"

	"greseal/crypto/suite"
)

// DefaultFile is where every command looks without -c.
const DefaultFile = "/etc/greseal/greseal.toml"

// Config is a whole configuration, checked, with every default filled in.
type Config struct {
	File    string // as it was named on the command line
	Daemon  Daemon
	Tunnels []Tunnel // in the order of the file, disabled ones too

	Warnings Problems // what is allowed but should be looked at

	// Instead says what this is when a daemon had to start without the file as
	// it stands, "" for the file itself.
	Instead string
}

// Tunnel returns the tunnel of that name, nil when there is none.
func (c *Config) Tunnel(name string) *Tunnel {
	for i := range c.Tunnels {
		if c.Tunnels[i].Name == name {
			return &c.Tunnels[i]
		}
	}
	return nil
}

// byName finds tunnels of a config of any size.
func (c *Config) byName() map[string]*Tunnel {
	out := make(map[string]*Tunnel, len(c.Tunnels))
	for i := range c.Tunnels {
		out[c.Tunnels[i].Name] = &c.Tunnels[i]
	}
	return out
}

// Wipe overwrites the secrets held by c. What the TOML library copied on the
// way in is beyond reach until the garbage collector reuses it.
func (c *Config) Wipe() {
	for i := range c.Tunnels {
		for _, s := range c.Tunnels[i].secrets() {
			s.Wipe()
		}
	}
}

// secrets are all keys that stand in a tunnel's settings, or in files that they name.
func (t *Tunnel) secrets() []*Secret { return []*Secret{&t.PSK, &t.PSKOld, &t.PPK} }

// WithoutSecrets is a copy that holds none of these; Credentials stay.
func (t *Tunnel) WithoutSecrets() *Tunnel {
	bare := *t
	for _, s := range bare.secrets() {
		*s = Secret{}
	}
	return &bare
}

// Values of Daemon.Datapath.
const (
	DatapathAuto      = "auto"
	DatapathKernel    = "kernel"
	DatapathUserspace = "userspace"
)

// Daemon is the [daemon] table.
type Daemon struct {
	Datapath     string // one of the Datapath constants
	LogLevel     string // "debug", "info", "warn", "error"
	StatusSocket string // path
	StatusGroup  string // group that may read the status, "" for root only
}

// Values of Tunnel.Mode.
const (
	ModeTunnel    = "tunnel"
	ModeTransport = "transport"
)

// Values of Tunnel.Encap.
const (
	EncapAuto   = "auto"
	EncapAlways = "always"
	EncapNever  = "never"
)

// Values of Tunnel.LinkDown.
const (
	LinkDownWithdraw = "withdraw"
	LinkDownMetric   = "metric"
)

// TableMain is the number of the main routing table.
const TableMain = 254

// Tunnel is one [[tunnel]] with the [defaults] and the built-in defaults
// filled in. Comments give the key where the field's name does not.
type Tunnel struct {
	Source Position // of the [[tunnel]] line, or where else it is written
	Name   string   // also the interface name

	// Netifd says that the router's network daemon lays the addresses and
	// routes of the interface.
	Netifd bool

	Enabled bool

	// Mistakes keep the tunnel from being used: its networks are closed, and
	// nothing else is done with it. Only a Config of Usable has such.
	Mistakes Problems

	Remotes    []string // addresses and host names in order of preference; empty with RemoteAny
	RemoteAny  bool     // remote = "any": only answers, never initiates
	RemotePort uint16   // UDP port of the peer, 500 by default
	Local      string   // own address or interface name, "" by route

	// Exactly one of PSK, Cert and RawKey is the way to authenticate. PSK
	// holds the secret, whether it was written as psk or read from psk_file.
	PSK         Secret
	PSKOld      Secret   // accepted until the peer has the new one
	PSKFile     string   // absolute path, "" when the secret stands in the config
	Cert        string   // absolute paths from here on
	Key         string   // private key of Cert
	CA          []string // trust anchors
	CRL         []string
	RawKey      string // own private key
	PeerRawKey  string // the peer's public key
	Credentials        // what these files hold
	LocalID     string // as written, "" for the default
	RemoteID    string // as written or, with Cert, Remotes[0]; "" for any

	PPKID       string
	PPK         Secret
	PPKFile     string
	PPKRequired bool

	Mode  string // one of the Mode constants
	Encap string // one of the Encap constants

	// IKE and ESP are the proposals as written, and parsed. All are nil when
	// the key was left out: the built-in list applies, filtered by what the
	// datapath can do.
	IKE, ESP                   []string
	IKEProposals, ESPProposals []suite.Proposal

	IKELifetime   time.Duration
	ChildLifetime time.Duration
	ChildBytes    uint64        // 0 no limit
	ChildPackets  uint64        // 0 no limit
	Reauth        time.Duration // 0 never
	PFS           bool
	ReplayWindow  int // packets

	DPD        time.Duration
	DPDSuspect time.Duration
	DPDDead    time.Duration
	Failback   time.Duration

	Address  []netip.Prefix // with host bits
	Routes   []netip.Prefix // canonical
	Metric   uint32
	Table    uint32 // routing table number, TableMain by default
	FWMark   uint32 // 0 none
	LinkDown string // one of the LinkDown constants
	Fallback bool

	MTU      int // bytes, 0 for "auto"
	MSSClamp bool

	GRELocal, GRERemote netip.Addr // unset: the outer endpoints
	GRE                 GRE
}

// GRE is the [tunnel.gre] table.
type GRE struct {
	Ethernet   bool // type = "ethernet"
	Key        uint32
	HasKey     bool
	Sequence   bool
	Checksum   bool
	TTL        uint8 // of the outer header, 0 copies the inner one's
	TOS        uint8 // of the outer header when not TOSInherit
	TOSInherit bool
	Keepalive  time.Duration // 0 none
	IgnoreDF   bool
	Bridge     string // bridge the interface joins, "" none
}

// UpCommand is what brings the tunnel up: an interface of netifd comes up by it.
func (t *Tunnel) UpCommand() string {
	if t.Netifd {
		return "ifup " + t.Name
	}
	return "greseal up " + t.Name
}

// Transport says whether transport mode is asked for.
func (t *Tunnel) Transport() bool { return t.Mode == ModeTransport }

// Position is a place in a file; lines and columns count from 1, columns in
// characters. The zero Line means the file as a whole, the zero Column the line.
type Position struct {
	File   string
	Line   int
	Column int
}

func (p Position) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return p.File + ":" + strconv.Itoa(p.Line)
	}
	return p.File + ":" + strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Column)
}

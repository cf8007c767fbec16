package status

//msgp:limit arrays:65536 maps:1024

// Version is the version of the schema. It changes only if a field changes its
// meaning, which is not planned.
const Version = 1

// States of a tunnel.
const (
	StateDisabled   = "disabled"   // enabled = false, or taken down by a request
	StateWaiting    = "waiting"    // for something of this machine: WaitingFor says what
	StateConnecting = "connecting" // an IKE SA or its first Child SA is being made
	StateUp         = "up"         // there is a Child SA and the peer answers
	StateSuspect    = "suspect"    // there is a Child SA, but the peer has been silent for too long
	StateDown       = "down"       // no Child SA: Reason and Remedy say why; retried automatically
	StateListening  = "listening"  // responder without a peer yet (remote = "any")
)

// What a tunnel in StateWaiting waits for.
const (
	WaitAddress   = "address"   // the local address to come from
	WaitRoute     = "route"     // a route to the peer
	WaitName      = "name"      // the peer's host name to resolve
	WaitInterface = "interface" // the local interface
)

// Kinds of failure, for programs that show a text of their own.
const (
	CodeNoAnswer    = "NO_ANSWER"          // the peer never answered, or does no more
	CodeAuth        = "AUTH_FAILED"        // wrong key, or an identity that is not the expected one
	CodeNoProposal  = "NO_PROPOSAL_CHOSEN" // no common algorithms, or modes
	CodeSelectors   = "TS_UNACCEPTABLE"    // no common traffic selectors, which are the GRE endpoints
	CodeRefused     = "PEER_REFUSED"       // the peer gave another error, or deleted the SA
	CodeUnavailable = "MACHINE_FAILED"     // something on this machine is in the way, or missing
	CodeConfig      = "CONFIG_INVALID"     // what is written of it has a mistake
	CodeNoPath      = "NO_PATH"            // no address to come from, no name's address, no route to the peer, or none for large packets
)

// The side of the fault that Reason gives.
const (
	SideHere    = "here"    // this machine or its configuration
	SidePeer    = "peer"    // the peer
	SidePath    = "path"    // between them
	SideUnknown = "unknown" // cannot be told from here, such as which of two keys is the wrong one
)

// Wishes about a tunnel.
const (
	DesiredUp   = "up"
	DesiredDown = "down"
)

// Snapshot is everything a daemon knows at one moment.
type Snapshot struct {
	Version int      `msg:"v"`       // of the schema
	Time    int64    `msg:"time"`    // when it was taken, Unix seconds
	Daemon  Daemon   `msg:"daemon"`  // the process
	Tunnels []Tunnel `msg:"tunnels"` // in the order of the config file
}

// Daemon describes the process.
type Daemon struct {
	Version     string   `msg:"version"`      // of greseal
	Platform    string   `msg:"platform"`     // such as linux/mipsle
	PID         int      `msg:"pid"`          // process id
	Started     int64    `msg:"started"`      // Unix seconds
	UptimeS     int64    `msg:"uptime_s"`     // deprecated, see Ages
	Datapath    string   `msg:"datapath"`     // kernel or userspace
	DatapathWhy string   `msg:"datapath_why"` // why that one, one sentence
	Notes       []string `msg:"notes"`        // algorithms and offloads that are off, and why
	Listen      []string `msg:"listen"`       // IKE ports, such as "0.0.0.0:500"
	Socket      string   `msg:"socket"`       // path of the status socket

	ConfigFile      string   `msg:"config_file"`       // as given
	ConfigLoaded    int64    `msg:"config_loaded"`     // when the running config was loaded, Unix seconds
	ConfigProblems  []string `msg:"config_problems"`   // why the file was refused the last time, at a reload or the start; empty when it was not
	ConfigRefusedAt int64    `msg:"config_refused_at"` // when that was, Unix seconds
	ConfigInstead   string   `msg:"config_instead"`    // what runs when the file was refused at the start, one sentence; else empty

	Crashes uint64 `msg:"crashes"` // daemons before this one that were killed or panicked, since the machine started

	IKE  IKETotals `msg:"ike"`
	XFRM []Count   `msg:"xfrm"` // the kernel's XFRM errors in this namespace, of the kernel datapath

	Pending    *Pending `msg:"pending"`     // a config that runs on trial, nil without one
	RolledBack string   `msg:"rolled_back"` // why the last one on trial was taken back, one sentence; empty when it was not
	RolledAt   int64    `msg:"rolled_at"`   // when that was, Unix seconds
}

// Count is a counter with the name its owner gave it.
type Count struct {
	Name  string `msg:"name"` // such as XfrmInNoStates
	Value uint64 `msg:"value"`
}

// Pending is a config that runs until it is confirmed or its time is over.
type Pending struct {
	Since    int64    `msg:"since"`     // Unix seconds
	Until    int64    `msg:"until"`     // when the config before it comes back, Unix seconds
	LeftS    int64    `msg:"left_s"`    // deprecated, see Ages
	Watched  []string `msg:"watched"`   // tunnels that must be up again: they were, or carry the editor's SSH session
	Waiting  []string `msg:"waiting"`   // what of these is not well yet, one sentence each
	Patient  int64    `msg:"patient"`   // when Waiting leads to a rollback, Unix seconds; 0 when it is empty
	PatientS int64    `msg:"patient_s"` // deprecated, see Ages
}

// IKETotals counts the IKE datagrams of the whole daemon.
type IKETotals struct {
	Received    uint64 `msg:"received"`    // datagrams
	Sent        uint64 `msg:"sent"`        // datagrams, retransmissions included
	Malformed   uint64 `msg:"malformed"`   // dropped as no valid IKE message
	Dropped     uint64 `msg:"dropped"`     // dropped although well-formed: a queue was full, no IKE SA or peer matched, or the integrity check failed
	HalfOpen    int    `msg:"half_open"`   // IKE SAs being made at this moment, as responder
	SendErrors  uint64 `msg:"send_errors"` // refused by the kernel
	Retransmits uint64 `msg:"retransmits"` // requests repeated
	Unlogged    uint64 `msg:"unlogged"`    // log lines left out because strangers caused too many
}

// Tunnel is one [[tunnel]] of the config.
type Tunnel struct {
	Name       string `msg:"name"`        // and name of the interface
	Source     string `msg:"source"`      // file and line where it is written
	Netifd     bool   `msg:"netifd"`      // the router's network daemon sets its addresses and routes
	Enabled    bool   `msg:"enabled"`     // as configured
	Desired    string `msg:"desired"`     // up or down: what the config or the last request wants
	State      string `msg:"state"`       // one of the State words
	WaitingFor string `msg:"waiting_for"` // one of the Wait words in StateWaiting, else empty
	Since      int64  `msg:"since"`       // when State was entered, Unix seconds
	InStateS   int64  `msg:"in_state_s"`  // deprecated, see Ages
	Reason     string `msg:"reason"`      // why it is not up, or up and nothing passes, one sentence that may end with Remedy; else empty
	Remedy     string `msg:"remedy"`      // what to change, one sentence; may be empty
	Code       string `msg:"code"`        // kind of fault, one of the Code words; empty when Reason is none

	Side      string   `msg:"side"`      // where it lies, one of the Side words; empty without Code
	Evidence  []string `msg:"evidence"`  // what else shows it, a sentence each; may be empty
	Commands  []string `msg:"commands"`  // what to run on this machine for Remedy; may be empty
	Found     int64    `msg:"found"`     // when Reason was found, Unix seconds
	Confirmed int64    `msg:"confirmed"` // when it was found again for the last time, Unix seconds

	Attempts       uint64 `msg:"attempts"`          // handshakes begun since it was last up
	NextAttempt    int64  `msg:"next_attempt"`      // Unix seconds, 0 when none is planned
	NextAttemptInS int64  `msg:"next_attempt_in_s"` // deprecated, see Ages
	UpCount        uint64 `msg:"up_count"`          // times it came up since the daemon started

	Peer      Peer      `msg:"peer"`
	IKE       *IKESA    `msg:"ike"`   // nil without one
	Child     *ChildSA  `msg:"child"` // nil without one
	Outside   Outside   `msg:"outside"`
	Interface Interface `msg:"interface"`
	MTU       MTU       `msg:"mtu"`
	In        Traffic   `msg:"in"`  // all Child SAs since the daemon started
	Out       Traffic   `msg:"out"` // all Child SAs since the daemon started
	Drops     Drops     `msg:"drops"`
	Addresses []Placed  `msg:"addresses"`
	Routes    []Placed  `msg:"routes"`
	Guards    []Guard   `msg:"guards"`
	Differs   []string  `msg:"differs"` // what on the machine is not as wanted and cannot be put right, one sentence each
	Events    []Event   `msg:"events"`  // the latest, oldest first

	Keepalives Keepalives `msg:"gre_keepalives"`

	Contention *Contention `msg:"contention"` // nil unless a second peer was turned away lately

	History []Point `msg:"history"` // the latest of its interface, oldest first, at most 60; empty unless it was asked for
}

// Point is one of a tunnel's history: what its interface carried on average since the
// point before, 30 s or more. The last one ends with the snapshot and may be shorter.
type Point struct {
	Time int64  `msg:"time"`     // its end, Unix seconds
	In   uint32 `msg:"in_rate"`  // bytes per second, without GRE and ESP
	Out  uint32 `msg:"out_rate"` // bytes per second, without GRE and ESP
}

// Contention tells of a peer that authenticated itself and was turned away, because
// another one has the tunnel and answers.
type Contention struct {
	Holder          string `msg:"holder"`           // identity of who has the tunnel
	HolderAddress   string `msg:"holder_address"`   // outer address and port
	Newcomer        string `msg:"newcomer"`         // identity of who was turned away
	NewcomerAddress string `msg:"newcomer_address"` // outer address and port
	Times           uint64 `msg:"times"`            // peers turned away since the daemon started
	Last            int64  `msg:"last"`             // the last time, Unix seconds
	LastS           int64  `msg:"last_s"`           // deprecated, see Ages
	Remedy          string `msg:"remedy"`           // what to change, one sentence
}

// Keepalives are those inside GRE, in Cisco's form.
type Keepalives struct {
	IntervalS int64  `msg:"interval_s"` // of our own, seconds; 0 for none
	Sent      uint64 `msg:"sent"`
	Returned  uint64 `msg:"returned"` // of those sent, since the interface was made
	Answered  uint64 `msg:"answered"` // the peer's that were sent back, since the interface was made
}

// Peer is the other side: as configured and as met.
type Peer struct {
	Configured []string `msg:"configured"`    // remote, in order of preference; "any"
	Address    string   `msg:"address"`       // real outer address and port; empty when unknown
	LocalAddr  string   `msg:"local_address"` // own outer address and port
	LocalID    string   `msg:"local_id"`      // identity we send, type and value
	RemoteID   string   `msg:"remote_id"`     // identity the peer proved; else the one required; else "any"
	Proved     bool     `msg:"proved"`        // RemoteID is authenticated
	Auth       string   `msg:"auth"`          // psk, certificate or raw key
	AuthDetail string   `msg:"auth_detail"`   // how the peer signed, its certificate or key; empty before, and with psk
	LastHeard  int64    `msg:"last_heard"`    // last authenticated message or packet, Unix seconds
	SilentS    int64    `msg:"silent_s"`      // deprecated, see Ages
	Liveness   string   `msg:"liveness"`      // alive, suspect, or empty without an IKE SA
}

// IKESA is the IKE SA in use.
type IKESA struct {
	Role        string `msg:"role"`         // initiator or responder
	SPIi        string `msg:"spi_i"`        // 16 hex digits
	SPIr        string `msg:"spi_r"`        // 16 hex digits
	Suite       string `msg:"suite"`        // in the config's words, such as aes256gcm16-prfsha384-x25519
	SuiteIANA   string `msg:"suite_iana"`   // transforms with IANA's names
	PPK         bool   `msg:"ppk"`          // a post-quantum pre-shared key is in the keys
	Established int64  `msg:"established"`  // Unix seconds
	AgeS        int64  `msg:"age_s"`        // deprecated, see Ages
	Rekey       int64  `msg:"rekey"`        // Unix seconds, 0 for never
	RekeyInS    int64  `msg:"rekey_in_s"`   // deprecated, see Ages
	Rekeys      uint64 `msg:"rekeys"`       // times this SA was replaced since it was authenticated
	NATLocal    bool   `msg:"nat_local"`    // we are behind a NAT
	NATRemote   bool   `msg:"nat_remote"`   // the peer is behind a NAT
	EncapForced bool   `msg:"encap_forced"` // UDP encapsulation forced by us
	Retransmits uint64 `msg:"retransmits"`  // requests repeated
	MOBIKE      bool   `msg:"mobike"`       // both sides can move it to other addresses (RFC 4555)
	Children    int    `msg:"children"`     // Child SAs, more than one during rekeying
}

// ChildSA is the Child SA in use, both of its ESP SAs.
type ChildSA struct {
	SPIIn       string `msg:"spi_in"`      // 8 hex digits
	SPIOut      string `msg:"spi_out"`     // 8 hex digits
	Suite       string `msg:"suite"`       // in the config's words, such as aes128gcm16
	SuiteIANA   string `msg:"suite_iana"`  // transforms with IANA's names
	ESN         bool   `msg:"esn"`         // extended sequence numbers
	Established int64  `msg:"established"` // Unix seconds
	AgeS        int64  `msg:"age_s"`       // deprecated, see Ages
	Rekey       int64  `msg:"rekey"`       // Unix seconds, 0 for never by time
	RekeyInS    int64  `msg:"rekey_in_s"`  // deprecated, see Ages
	Rekeys      uint64 `msg:"rekeys"`      // times replaced since the tunnel came up
	ReplayWin   int    `msg:"replay_window"`
	BytesIn     uint64 `msg:"bytes_in"` // of this Child SA alone, GRE packets without ESP
	BytesOut    uint64 `msg:"bytes_out"`
	PacketsIn   uint64 `msg:"packets_in"`
	PacketsOut  uint64 `msg:"packets_out"`
	SelectorIn  string `msg:"selector_local"`  // traffic selector of this side, such as 192.0.2.1/32 proto 47
	SelectorOut string `msg:"selector_remote"` // traffic selector of the peer
}

// Outside says how the tunnel looks on the wire.
type Outside struct {
	Family        int    `msg:"family"`         // 4 or 6, 0 when unknown
	Encap         string `msg:"encap"`          // "udp" (port 4500), "esp" (IP protocol 50), empty when unknown
	EncapAsked    string `msg:"encap_asked"`    // auto, always, never
	EncapWhy      string `msg:"encap_why"`      // why that one, one sentence
	Mode          string `msg:"mode"`           // tunnel or transport in use, empty without a Child SA
	ModeAsked     string `msg:"mode_asked"`     // as configured
	GRELocal      string `msg:"gre_local"`      // GRE endpoint of this side
	GRERemote     string `msg:"gre_remote"`     // GRE endpoint of the peer
	GREKey        string `msg:"gre_key"`        // decimal, empty without
	OverheadBytes int    `msg:"overhead_bytes"` // largest for one packet, outer header included
}

// Interface is the network interface.
type Interface struct {
	Name    string `msg:"name"`
	Index   int    `msg:"index"`   // 0 while there is none
	Kind    string `msg:"kind"`    // gre, ip6gre, gretap, ip6gretap, tun, tap
	Up      bool   `msg:"up"`      // administrative state
	Running bool   `msg:"running"` // link state: operational
	Bridge  string `msg:"bridge"`  // bridge it is a port of, or empty
}

// MTU is the size of the interface and where it comes from.
type MTU struct {
	Bytes     int    `msg:"bytes"`      // of the interface
	How       string `msg:"how"`        // configured, computed, searched
	Why       string `msg:"why"`        // one line, such as "1500 of eth0 - 73 for ..."
	Sum       []Step `msg:"sum"`        // how Bytes is come by, from the path's MTU down
	OuterMTU  int    `msg:"outer_mtu"`  // bytes of the path or interface below, 0 when unknown
	OuterLink string `msg:"outer_link"` // interface below
	MSS4      int    `msg:"mss4"`       // TCP MSS clamp for IPv4, bytes, 0 for none
	MSS6      int    `msg:"mss6"`       // TCP MSS clamp for IPv6, bytes, 0 for none
	Search    string `msg:"search"`     // of the path MTU: disabled, base, searching, complete, error (RFC 8899)
	Unclamped string `msg:"unclamped"`  // why the TCP MSS is let be, empty when it is clamped
	Own       int    `msg:"own"`        // what this side came to alone, or has configured, bytes
	Peer      int    `msg:"peer"`       // what the peer would choose, as it sent; 0 when it does not send it
	Decides   string `msg:"decides"`    // whose MTU Bytes is, one of the MTU words
	Differs   string `msg:"differs"`    // what makes both sides' the same, one sentence; empty when they are or the peer's is not known
}

// Who decides about the MTU of the interface.
const (
	MTUOfOwn      = "own"        // this side's, which is not the larger one
	MTUOfPeer     = "peer"       // the peer's, which is the lower one
	MTUConfigured = "configured" // the configuration
)

// Step is one line of a sum.
type Step struct {
	Name  string `msg:"name"`
	Bytes int    `msg:"bytes"` // negative for what is taken away
}

// Traffic is one direction.
type Traffic struct {
	Packets uint64 `msg:"packets"`
	Bytes   uint64 `msg:"bytes"` // GRE packets without ESP
}

// Drops counts packets thrown away, since the daemon started.
type Drops struct {
	Replay    uint64 `msg:"replay"`    // in: seen before or left of the anti-replay window
	Integrity uint64 `msg:"integrity"` // in: wrong ICV
	Selector  uint64 `msg:"selector"`  // in: the inner header matched no selector (RFC 4301 section 5.2)
	Malformed uint64 `msg:"malformed"` // in: no valid ESP, padding or GRE packet
	NoSA      uint64 `msg:"no_sa"`     // out: no SA to carry them
	TooBig    uint64 `msg:"too_big"`   // out: larger than the MTU and not to be fragmented
	Queue     uint64 `msg:"queue"`     // either way: a queue was full or the kernel refused
	Key       uint64 `msg:"key"`       // in: another GRE key than the tunnel's, or one too many or too few
	GRE       uint64 `msg:"gre"`       // in: wrong GRE checksum, out of sequence, or of an unknown protocol type
}

// Placed is an address or a route that belongs on the interface.
type Placed struct {
	Prefix  string `msg:"prefix"`
	InPlace bool   `msg:"in_place"`
	Why     string `msg:"why"` // why not, when it is not
}

// Guard is what keeps a remote's GRE, or a route's traffic, out of the clear.
type Guard struct {
	What    string `msg:"what"`   // "gre" for protocol 47, "route" for an unreachable route
	Target  string `msg:"target"` // address or prefix
	InPlace bool   `msg:"in_place"`
	How     string `msg:"how"` // such as "xfrm block policy", "no code path", "unreachable route", or why it is not in place
}

// Levels of events, as log/slog has them.
const (
	LevelInfo  = "info"
	LevelWarn  = "warn"
	LevelError = "error"
)

// Event is something that happened.
type Event struct {
	Time   int64  `msg:"time"`   // Unix seconds
	Millis int    `msg:"millis"` // thousandths of the second
	Tunnel string `msg:"tunnel"` // empty for the daemon's own
	Level  string `msg:"level"`  // one of the Level words
	Kind   string `msg:"kind"`   // one word, such as up, down, rekey, moved, install, reload
	Text   string `msg:"text"`   // one sentence
}

// HandshakeStep is a message of a handshake, or the result of those before it. It
// holds no secret.
type HandshakeStep struct {
	Time      int64    `msg:"time"`       // Unix seconds
	Millis    int      `msg:"millis"`     // thousandths of the second
	Tunnel    string   `msg:"tunnel"`     // empty: from a peer whose tunnel is not known
	IKE       uint64   `msg:"ike"`        // number of the IKE SA since the daemon was started, 0: none was made
	Role      string   `msg:"role"`       // ours in it: initiator or responder; empty without one
	Local     string   `msg:"local"`      // own address and port; may be empty for an outcome
	Remote    string   `msg:"remote"`     // the peer's
	Direction string   `msg:"direction"`  // sent or received; empty for an outcome
	Exchange  string   `msg:"exchange"`   // such as IKE_AUTH; empty for an outcome
	Response  bool     `msg:"response"`   // else a request
	MessageID uint32   `msg:"message_id"` // of the IKE header
	Octets    int      `msg:"octets"`     // of the IKE message, all fragments together
	Fragments int      `msg:"fragments"`  // 1 when it was not fragmented
	Payloads  []string `msg:"payloads"`   // names as in RFC 7296 section 1.2, transforms and notifies as IANA spells them
	Text      string   `msg:"text"`       // of an outcome: what was agreed, or why it failed; one sentence
}

// Reply answers a request. OK false has Error and, where a person can act, Remedy.
type Reply struct {
	Version  int       `msg:"v"`
	OK       bool      `msg:"ok"`
	Error    string    `msg:"error"`
	Remedy   string    `msg:"remedy"`
	Lines    []string  `msg:"lines"`    // what was done, or the problems of a refused config, one a line
	Snapshot *Snapshot `msg:"snapshot"` // of status and watch
	Events   []Event   `msg:"events"`   // of events
	Job      *Job      `msg:"job"`      // of doctor-start, leak-start and doctor-poll
	Digest   string    `msg:"digest"`   // of hold: SHA-256 of the candidate that runs, 64 hex digits

	Handshakes []HandshakeStep `msg:"handshakes"` // of handshakes, oldest first
}

// Verdicts of a Finding.
const (
	VerdictOK      = "ok"
	VerdictFault   = "fault"
	VerdictWarning = "warning" // not why the tunnel is down, but worth a look
	VerdictSkipped = "skipped" // could not be judged; Evidence says why
)

// Job is long work that a client starts and then polls until it is done.
type Job struct {
	ID     int         `msg:"id"`      // what to poll for
	What   string      `msg:"what"`    // doctor or leak-test
	Done   bool        `msg:"done"`    // nothing will be added any more
	Faults int         `msg:"faults"`  // tunnels with a fault so far
	Checks []Diagnosis `msg:"tunnels"` // in the order they are examined
}

// Diagnosis is what was found out about one tunnel.
type Diagnosis struct {
	Tunnel   string    `msg:"tunnel"`
	Done     bool      `msg:"done"`
	First    string    `msg:"first_fault"` // ID of the first failing step, empty when none fails
	Findings []Finding `msg:"steps"`       // in order from one end to the other
}

// Finding is the outcome of one step of a diagnosis.
type Finding struct {
	ID       string   `msg:"id"`       // one word that never changes, such as udp-500
	Title    string   `msg:"title"`    // what was looked at
	Verdict  string   `msg:"verdict"`  // one of the Verdict words
	Evidence []string `msg:"evidence"` // what was seen, a sentence each
	Remedy   string   `msg:"remedy"`   // what to change, empty unless fault or warning
	Commands []string `msg:"commands"` // what to run on this machine for the remedy; may be empty
}

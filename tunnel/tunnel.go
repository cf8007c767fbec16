package tunnel

import (
	"cmp"
	"fmt"
	"net/netip"
	"time"

	"greseal/ikev2"
	"greseal/platform"
	"greseal/tunnel/attempt"
	"greseal/tunnel/cause"
	"greseal/tunnel/config"
	"greseal/tunnel/endpoint"
	"greseal/tunnel/esppath"
	"greseal/tunnel/guard"
	"greseal/tunnel/mtu"
	"greseal/tunnel/standby"
	"greseal/tunnel/status"
	"greseal/tunnel/underlay"
)

// phase is what a tunnel is doing about its wanted state.
type phase uint8

const (
	phaseDisabled   phase = iota // enabled = false
	phaseClosed                  // taken down by its operator
	phaseWaiting                 // for a name, a route, an address, or the peer's first word
	phaseConnecting              // an exchange is under way
	phaseUp                      // a Child SA carries packets and the peer answers
	phaseSuspect                 // the Child SA is up but the peer has not answered for the suspect threshold
	phaseDown                    // the last attempt failed; the next one is due
)

func (p phase) String() string {
	return [...]string{"disabled", "closed", "waiting", "connecting", "up", "suspect", "down"}[p]
}

// trying reports whether it is not up and meant to be.
func (p phase) trying() bool { return p == phaseWaiting || p == phaseConnecting || p == phaseDown }

// childSA is a Child SA as the datapath has it.
type childSA struct {
	*ikev2.Child
	in, out espSA
	outs    uint64 // outbound SAs installed before and with its own
}

// espSA is one of the two ESP SAs of a Child SA.
type espSA struct {
	key   platform.SAKey    // zero: not installed
	count platform.Counters // as last read
}

func (sa *espSA) installed() bool { return sa.key != platform.SAKey{} }

// installed are those of the two that are.
func (c *childSA) installed() (all []*espSA) {
	for _, sa := range []*espSA{&c.in, &c.out} {
		if sa.installed() {
			all = append(all, sa)
		}
	}
	return all
}

// tunnel is the interface of one [[tunnel]]: what is wanted, and what is installed on
// the machine. It belongs to the loop, as its peers do.
type tunnel struct {
	cfg    *config.Tunnel
	was    *config.Tunnel // before the last reload
	name   string
	wanted bool    // not taken down by its operator
	edits  int     // how often its settings were changed
	peers  []*peer // today always one
	events status.EventLog

	guards  guard.Guards
	link    platform.Link
	behind  bool // link's remote is the peer's own choice, not where it is reached
	index   int  // of the interface, 0: not made
	running bool

	standing standing
	history  history
	sizing   sizing

	// GRE keepalives of our own.
	keepaliveAt    ikev2.Time
	keepalivesSent uint64

	// Revocation lists as last read.
	lists   time.Time
	listsOf *config.Tunnel
}

// sizing is how the MTU of a tunnel's interface was found.
type sizing struct {
	how, why  string
	sum       []mtu.Line // what fits, line by line
	largest   int        // packet inside
	overhead  int
	outer     int // MTU outside
	outerLink string
}

// peer is one of the machines at a tunnel's other end: what is known of it, which SAs
// there are with it, and what to try next. It asks its tunnel whether that is wanted,
// and adapts the interface to its Child SA.
type peer struct {
	tunnel *tunnel        // that leads to it
	cfg    *config.Tunnel // what is configured of it
	id     ikev2.PeerID

	promise endpoint.Promise // an endpoint that another tunnel has given up for it

	phase     phase
	since     time.Time  // of phase, wall time
	cause     cause.Held // why it is not up, or carries nothing
	examined  uint64     // packets that had come in when an examination found the cause
	said      string     // the engine's last remark about the attempt under way, or since it is up
	wait      wait       // while it is not up
	passed    []string   // why other remotes were skipped at the last attempt
	hindrance string     // what on this machine was the obstacle last
	strangers lineLimit  // for lines that unauthenticated input can cause

	// What is known of the underlay.
	attempt   attempt.Attempt
	underlay  underlay.Underlay
	locals    []netip.Addr // that local allows, as the engine knows them
	localOnly bool
	search    mtu.PathSearch
	ikeSize   int // as the engine knows it

	// SAs with the peer.
	ike                    map[ikev2.SAID]ikev2.IKEInfo
	children               map[ikev2.ChildID]*childSA
	initiated              bool // we began the newest IKE SA, or the one it was rekeyed from
	inherited              inheritance
	standby                standby.Standby // another IKE SA that is to take over
	carrying               ikev2.ChildID   // the Child SA whose outbound SA carries the traffic, 0: none
	total                  struct{ in, out platform.Counters }
	ikeRekeys, childRekeys uint64 // since it came up

	changeover changeover

	esp        esppath.Path
	contention contention
	agreed     agreement

	ups uint64 // how often it came up
}

// tunnelEvents is how many events a tunnel remembers for its status.
const tunnelEvents = 8

// newTunnel makes a tunnel with its one peer, which has the same name.
func newTunnel(c *config.Tunnel) *tunnel {
	t := &tunnel{
		cfg:    c,
		name:   c.Name,
		wanted: c.Enabled,
		events: status.NewEventLog(tunnelEvents),
	}
	p := &peer{
		tunnel:    t,
		cfg:       c,
		id:        ikev2.PeerID(c.Name),
		ike:       map[ikev2.SAID]ikev2.IKEInfo{},
		children:  map[ikev2.ChildID]*childSA{},
		strangers: newLineLimit(),
		since:     time.Now(),
	}
	t.peers = []*peer{p}
	switch {
	case t.wrong():
		t.stop()
	case c.Enabled:
		p.set(phaseWaiting, cause.Progress("starting"))
	default:
		p.set(phaseDisabled, disabled)
	}
	return t
}

// configure applies another configuration to the tunnel and its peers.
func (t *tunnel) configure(c *config.Tunnel) {
	t.was, t.cfg = t.cfg, c
	for _, p := range t.peers {
		p.cfg = c
	}
}

// shown is the peer whose state is the tunnel's.
func (t *tunnel) shown() *peer { return t.peers[0] }

var disabled = cause.Cause{Text: "enabled = false in the configuration", Remedy: "set enabled = true, then apply it", Commands: []string{"greseal apply"}}

// set moves p to another phase; since only changes with the phase. What an
// examination found holds for as long as the tunnel tries to come up, or is up.
func (p *peer) set(next phase, why cause.Cause) {
	if p.inherits() && next.trying() {
		next = p.phase // its packets pass meanwhile
	}
	if p.phase != next {
		if !p.phase.trying() || !next.trying() {
			p.cause.Find(time.Now(), cause.Cause{})
		}
		p.phase, p.since = next, time.Now()
	}
	p.cause.Set(time.Now(), why)
}

// forget gives up a cause that was found under other settings.
func (p *peer) forget() {
	p.cause.Find(time.Now(), cause.Cause{})
	if p.phase.trying() {
		p.set(p.phase, cause.Progress("settings changed"))
	}
}

// established reports whether a Child SA carries packets.
func (p *peer) established() bool { return p.carrying != 0 }

// current returns the Child SA that carries the traffic, or nil.
func (p *peer) current() *childSA { return p.children[p.carrying] }

// child is the Child SA as the datapath has it, none of it at first.
func (p *peer) child(c *ikev2.Child) *childSA {
	if p.children[c.ID] == nil {
		p.children[c.ID] = &childSA{Child: c}
	}
	return p.children[c.ID]
}

// currentIKE returns the IKE SA of the carrying Child SA, or the newest one.
func (p *peer) currentIKE() (ikev2.IKEInfo, bool) {
	if sas := p.current(); sas != nil {
		if i, ok := p.ike[sas.IKE]; ok {
			return i, true
		}
	}
	var newest ikev2.IKEInfo
	found := false
	for _, i := range p.ike {
		if !found || i.ID > newest.ID {
			newest, found = i, true
		}
	}
	return newest, found
}

// spi finds the Child SA with an SPI in one direction.
func (p *peer) spi(spi uint32, out bool) *childSA {
	for _, sas := range p.children {
		if sas.SPI(out) == spi {
			return sas
		}
	}
	return nil
}

// remote is the address to try, or an unset one.
func (p *peer) remote() netip.Addr { return p.attempt.Remote() }

// wrong reports a tunnel that cannot be used because of mistakes in its configuration.
func (t *tunnel) wrong() bool { return len(t.cfg.Mistakes) > 0 }

// stop is the state of such a tunnel.
func (t *tunnel) stop() {
	t.wanted = false
	t.shown().set(phaseDown, mistaken(t.cfg))
}

// mistaken names the first mistake of a tunnel.
func mistaken(c *config.Tunnel) cause.Cause {
	p := c.Mistakes[0]
	text := p.Position.String() + ": "
	if p.Key != "" {
		text += p.Key + ": "
	}
	text += p.What
	if n := len(c.Mistakes) - 1; n > 0 {
		text += fmt.Sprintf(" (and %d more, see greseal check)", n)
	}
	return cause.Here(status.CodeConfig, text, cmp.Or(p.Remedy, "correct it")+", then apply it", "greseal apply")
}

package tunnel

import (
	"encoding/binary"
	"io"
	"log/slog"
	"time"

	"greseal/ikev2"
	"greseal/platform"
	"greseal/tunnel/config"
	"greseal/tunnel/status"
)

// loop owns all state of the daemon.
type loop struct {
	opt    Options
	log    *slog.Logger
	origin time.Time // of ikev2.Time
	rand   io.Reader
	cfg    *config.Config
	engine *ikev2.Engine
	dp     platform.Datapath
	dpWhy  string
	net    network
	inside inside
	around <-chan platform.Change // of the machine's network
	server *status.Server
	names  nameTable
	jobs   jobs

	tunnels     map[string]*tunnel
	order       []string // names of tunnels, as in the file
	peers       map[ikev2.PeerID]*peer
	wake        ikev2.Time // of the engine, 0: none
	dueAt       ikev2.Time // nothing of a tunnel is due before; 0: unknown
	upAt        ikev2.Time // when the last tunnel came up
	rescheduled []*peer    // their times may be earlier now
	listsAt     ikev2.Time // when to check revocation lists
	outs        uint64     // outbound SAs installed so far
	givers      []giver    // tunnels that lose their endpoint to another
	looked      machineSeen
	audits      audits
	standing    standing // of what serves all tunnels

	clock      clock
	clockUnset bool
	dirty      map[ikev2.PeerID]bool // to be advanced

	started     time.Time
	loadedAt    time.Time
	refused     refusal
	trial       *onTrial // nil without a config on trial
	rolled      rollback // how the last trial ended, when it was taken back
	ike         status.IKETotals
	crashes     uint64 // of daemons before
	whereabouts string // of peers, as peersFile has them
}

// refusal is the last configuration that was refused.
type refusal struct {
	at       time.Time
	problems []string
}

func (l *loop) now() ikev2.Time { return time.Since(l.origin) }

// wall turns the engine's time into wall time; zero stays zero.
func (l *loop) wall(t ikev2.Time) time.Time {
	if t == 0 {
		return time.Time{}
	}
	return time.Now().Add(t - l.now())
}

// random returns a number in [0, 1).
func (l *loop) random() float64 {
	var b [8]byte
	_, _ = io.ReadFull(l.rand, b[:]) // crypto/rand never fails
	return float64(binary.NativeEndian.Uint64(b[:])>>11) / (1 << 53)
}

// markDirty has a peer advanced after the current message.
func (l *loop) markDirty(p *peer) { l.dirty[p.id] = true }

// reschedule has the times of a peer read again before the loop waits.
func (l *loop) reschedule(p *peer) {
	if l.dueAt != 0 {
		l.rescheduled = append(l.rescheduled, p)
	}
}

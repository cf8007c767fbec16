package tunnel

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"greseal/crypto/suite"
	"greseal/ikev2"
	"greseal/ikev2/wire"
	"greseal/platform"
)

// node is the other end of tunnels: an engine at one or more addresses. It belongs
// to the loop's goroutine.
type node struct {
	w     *world
	name  string
	addrs []netip.Addr
	peer  *ikev2.Engine
	ident func(*ikev2.Peer) // what is said of its peer, beyond the usual

	run       uint64 // how it names its run to others of its kind, 0: it is of another
	silent    bool   // it does not answer
	deaf      map[netip.Addr]bool
	wrongKey  bool // or refuses
	throwsOut bool // or can't install what was agreed
	wake      *time.Timer
}

// ahead is how far a node's clock is ahead of the loop's.
const ahead = time.Hour

func (n *node) now() ikev2.Time { return n.w.l.now() + ahead }

// seeded is a source of randomness that is the same each time.
func seeded(name string) *rand.ChaCha8 {
	var s [32]byte
	copy(s[:], "greseal supervisor "+name)
	return rand.NewChaCha8(s)
}

// setPeer makes the node's engine again: it has forgotten all.
func (n *node) setPeer() {
	if n.wake != nil {
		n.wake.Stop()
	}
	n.peer = ikev2.New(ikev2.Config{Rand: seeded(n.name), Run: n.run})
	n.settings()
}

// settings are those of the node's peer.
func (n *node) settings() {
	key := worldKey
	if n.wrongKey {
		key = "another"
	}
	p := ikev2.Peer{
		ID: "branch", PSK: []byte(key), GRERemoteAny: true, IKE: cheapIKE(), ESP: cheapESP(),
		IKELifetime: 24 * time.Hour, ChildLifetime: time.Hour,
	}
	if n.ident != nil {
		n.ident(&p)
	}
	n.do(n.peer.SetPeer(ahead, p))
}

func cheapIKE() []suite.Proposal {
	p, err := suite.ParseIKE("aes128gcm16-prfsha256-x25519")
	if err != nil {
		panic(err)
	}
	return []suite.Proposal{p}
}

func cheapESP() []suite.Proposal {
	p, err := suite.ParseESP("aes128gcm16")
	if err != nil {
		panic(err)
	}
	return []suite.Proposal{p}
}

// receive takes a datagram that was sent to the node.
func (n *node) receive(local, remote netip.AddrPort, data []byte) {
	if n.silent || n.deaf[local.Addr()] {
		return
	}
	n.do(n.peer.Tick(n.now()))
	n.do(n.peer.Receive(n.now(), ikev2.Datagram{Local: local, Remote: remote, Data: data}))
}

// do carries out what the node's engine wants.
func (n *node) do(actions []ikev2.Action) {
	for i := 0; i < len(actions); i++ {
		switch a := actions[i].(type) {
		case ikev2.InstallIn:
			if n.throwsOut {
				actions = append(actions, n.peer.InstallFailed(n.now(), a.Child.ID, errors.New("no room"))...)
			}
		case ikev2.Send:
			n.w.arrive(n, a)
		case ikev2.WakeAt:
			n.wakeAt(a.At)
		}
	}
}

func (n *node) wakeAt(at ikev2.Time) {
	if n.wake != nil {
		n.wake.Stop()
	}
	if at == 0 || n.w.l == nil {
		return
	}
	engine := n.peer
	n.wake = time.AfterFunc(max(at-n.now(), 0), func() {
		n.w.post(func() {
			if n.peer == engine {
				n.do(n.peer.Tick(n.now()))
			}
		})
	})
}

// arrive brings a node's message to the loop.
func (w *world) arrive(n *node, m ikev2.Send) {
	if n.silent || n.deaf[m.Local.Addr()] || !w.has(m.Remote.Addr()) {
		return
	}
	w.sawIKE("from", m.Local, m.Data)
	to := w.ike
	if h, err := wire.ParseHeader(m.Data); err == nil && h.Exchange == wire.IKESAInit && !h.Response() {
		to = w.opening
	}
	d := platform.Datagram{Local: m.Remote, Remote: m.Local, Data: m.Data}
	bring := func() {
		select {
		case to <- d:
		default: // lost
		}
	}
	if w.latency == 0 {
		bring()
		return
	}
	now := w.l.now()
	w.arrival = max(w.arrival+time.Microsecond, now+w.latency) // in their order
	time.AfterFunc(w.arrival-now, bring)
}

// at is the node with an address, nil where nothing answers.
func (w *world) at(a netip.Addr) *node {
	i := slices.IndexFunc(w.nodes, func(n *node) bool { return slices.Contains(n.addrs, a) })
	if i < 0 {
		return nil
	}
	return w.nodes[i]
}

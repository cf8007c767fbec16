package main

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"net/netip"
	"time"

	"greseal/build/lab/labnet"
	"greseal/crypto/suite"
	"greseal/ikev2"
	"greseal/platform/ikesock"
)

// load is many initiators in one engine: each with its identity and GRE
// endpoint, some with one source address, as branches behind one carrier. Child
// SAs are agreed on but carry nothing. One goroutine drives it.
type load struct {
	lab    *labnet.Lab
	engine *ikev2.Engine
	socks  *ikesock.Sockets
	start  time.Time
	wake   ikev2.Time
	locals []netip.Addr
	remote netip.AddrPort

	up       map[ikev2.PeerID]bool
	failures map[string]int
}

// Identities and addresses of the branch number i.
func branch(i int) string   { return fmt.Sprintf("b%d.bench.example", i) }
func endpoint(i int) string { return fmt.Sprintf("10.%d.%d.%d", 20+i>>16, i>>8&255, i&255) }

const (
	hub     = "hub.bench.example"
	hubGRE  = "10.10.0.1"
	psk     = "bench-K3qWz8RvN5tYx2Lp7Mc9"
	sources = 64 // addresses of the load
)

func newLoad(l *labnet.Lab, n *labnet.NS, locals []netip.Addr, count int, ike string) *load {
	d := &load{lab: l, start: time.Now(), remote: netip.AddrPortFrom(netip.MustParseAddr(labnet.AddrB), 500),
		locals: locals, up: map[ikev2.PeerID]bool{}, failures: map[string]int{}}
	n.Must("open the IKE sockets", func() (err error) {
		d.socks, err = ikesock.Open(ikesock.Config{ReadNAT: true, Inbox: 4096})
		return err
	})
	l.Defer(func() { d.socks.Close() })
	d.engine = ikev2.New(ikev2.Config{Rand: bufio.NewReaderSize(rand.Reader, 1<<16), NATKeepalive: 24 * time.Hour})
	ikeP, err := suite.ParseIKE(ike)
	l.Must(err, "parse "+ike)
	esp, err := suite.ParseESP("aes128gcm16-noesn")
	l.Must(err, "parse the ESP suite")
	id, err := ikev2.ParsePattern(hub)
	l.Must(err, "parse an identity")
	for i := range count {
		own, err := ikev2.ParseIdentity(branch(i))
		l.Must(err, "parse an identity")
		d.do(d.engine.SetPeer(d.now(), ikev2.Peer{
			ID: ikev2.PeerID(branch(i)), Local: []netip.Addr{d.local(i)}, LocalOnly: true, Remotes: []netip.Addr{d.remote.Addr()}, LocalID: own, RemoteID: id, PSK: []byte(psk),
			IKE: []suite.Proposal{ikeP}, ESP: []suite.Proposal{esp}, Encap: ikev2.EncapForce,
			GRELocal: netip.MustParseAddr(endpoint(i)), GRERemote: netip.MustParseAddr(hubGRE),
			DPD: 24 * time.Hour, Suspect: 48 * time.Hour, Dead: 72 * time.Hour,
		}))
	}
	return d
}

func (d *load) local(i int) netip.Addr { return d.locals[i%len(d.locals)] }
func (d *load) now() ikev2.Time        { return time.Since(d.start) }

// do carries out what the engine asks for.
func (d *load) do(actions []ikev2.Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case ikev2.Send:
			_ = d.socks.SendIKE(a.Local, a.Remote, a.Data, false) // lost: it is repeated
		case ikev2.WakeAt:
			d.wake = a.At
		case ikev2.InstallOut:
			d.up[a.Child.Peer] = true
		case ikev2.IKEDown:
			delete(d.up, a.Peer)
		case ikev2.Failed:
			d.failures[a.Reason.Error()]++
		}
	}
}

// step waits for one datagram or the next wake-up, a tenth of a second at most.
func (d *load) step() {
	wait := min(max(d.wake-d.now(), 0), 100*time.Millisecond)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case in := <-d.socks.IKE():
		d.do(d.engine.Receive(d.now(), in))
	case <-timer.C:
		d.do(d.engine.Tick(d.now()))
	}
}

// window is how many handshakes are under way at once: below where greseal asks
// for cookies.
const window = 24

// establish brings the first n up.
func (d *load) establish(n int) {
	deadline := time.Now().Add(5 * time.Minute)
	for begun := 0; len(d.up) < n; {
		for begun < n && begun-len(d.up) < window {
			d.do(d.engine.Initiate(d.now(), ikev2.PeerID(branch(begun)), netip.AddrPortFrom(d.local(begun), 500), d.remote))
			begun++
		}
		d.step()
		d.lab.Check(len(d.failures) == 0, "handshakes failed: %v", d.failures)
		d.lab.Check(time.Now().Before(deadline), "%d of %d are up after 5 minutes", len(d.up), n)
	}
}

// close ends them all again.
func (d *load) close(n int) {
	for i := range n {
		d.do(d.engine.Close(d.now(), ikev2.PeerID(branch(i))))
		for d.engine.Pending() > window {
			d.step()
		}
	}
	deadline := time.Now().Add(time.Minute)
	for d.engine.Pending() > 0 {
		d.step()
		d.lab.Check(time.Now().Before(deadline), "%d Deletes are unanswered", d.engine.Pending())
	}
	clear(d.up)
}

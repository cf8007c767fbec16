package main

import (
	"bufio"
	"crypto/rand"
	"fmt"
	mrand "math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"greseal/build/lab/labnet"
	"greseal/crypto/kex"
	"greseal/crypto/suite"
	"greseal/ikev2"
	"greseal/ikev2/wire"
	"greseal/platform/ikesock"
)

// flood measures what strangers cost a responder while a tunnel of its carries
// pings and new peers come. What is sent:
//
//	init   IKE_SA_INIT requests that return cookies and end there
//	long   the same, each of 4 kB
//	modp   the same as init, with MODP-3072 only
//	auth   whole handshakes with a wrong pre-shared key
type flood struct {
	kind     string
	rate     int // a second
	from     []netip.Addr
	to       netip.AddrPort
	socks    *ikesock.Sockets
	stop     chan struct{}
	done     chan struct{}
	sent     atomic.Int64
	answered atomic.Int64
}

// Ports of the flood, so that it can run beside others.
const floodIKE, floodNAT = 40500, 44500

func newFlood(l *labnet.Lab, n *labnet.NS, kind string, rate, sources int) *flood {
	f := &flood{kind: kind, rate: rate, to: netip.AddrPortFrom(netip.MustParseAddr(labnet.AddrB), 500), stop: make(chan struct{}), done: make(chan struct{})}
	for i := range sources {
		f.from = append(f.from, netip.AddrFrom4([4]byte{10, 66, byte(i >> 8), byte(i)}))
		n.Addr("lo", f.from[i].String()+"/32")
	}
	n.Must("open the flood's sockets", func() (err error) {
		f.socks, err = ikesock.Open(ikesock.Config{ReadNAT: true, Inbox: 4096, PortIKE: floodIKE, PortNAT: floodNAT})
		return err
	})
	l.Defer(func() { f.socks.Close() })
	return f
}

// tick calls f as often as the rate says until the flood ends.
func (f *flood) tick(one func(i int)) {
	start, i := time.Now(), 0
	for {
		select {
		case <-f.stop:
			return
		default:
		}
		for due := int(time.Since(start).Seconds() * float64(f.rate)); i < due; i++ {
			one(i)
			f.sent.Add(1)
		}
		time.Sleep(time.Millisecond)
	}
}

// run sends until stop is closed.
func (f *flood) run() {
	defer close(f.done)
	if f.kind == "auth" {
		f.runAuth()
		return
	}
	words, method := "aes256gcm16-prfsha384-x25519", uint16(suite.KE_CURVE25519)
	if f.kind == "modp" {
		words, method = "aes256gcm16-prfsha384-modp3072", suite.KE_MODP_3072
	}
	p, err := suite.ParseIKE(words)
	if err != nil {
		return
	}
	ke, err := kex.New(method, rand.Reader)
	if err != nil {
		return
	}
	offer := wire.NewProposal(1, nil, p)
	request := func(spi uint64, cookie []byte) []byte {
		ps := []wire.Payload{
			&wire.SA{Proposals: []wire.Proposal{offer}}, &wire.KE{Method: method, Data: ke.Public()},
			&wire.Nonce{Data: fmt.Appendf(nil, "%032d", spi)}, wire.NewNotify(wire.FragmentationSupported, nil),
		}
		if cookie != nil {
			ps = append([]wire.Payload{wire.NewNotify(wire.Cookie, cookie)}, ps...)
		}
		if f.kind == "long" {
			ps = append(ps, &wire.VendorID{Data: make([]byte, 3700)})
		}
		m := wire.Message{Header: wire.Header{SPIi: spi, Exchange: wire.IKESAInit, Flags: wire.FlagInitiator}, Payloads: ps}
		data, _ := m.Append(nil)
		return data
	}
	go func() { // returns cookies
		for {
			select {
			case <-f.stop:
				return
			case d := <-f.socks.IKE():
				m, err := wire.Parse(d.Data)
				if err != nil {
					continue
				}
				c, err := wire.Collect(m.Payloads)
				if err != nil {
					continue
				}
				if n := c.Notify(wire.Cookie); n != nil {
					_ = f.socks.SendIKE(d.Local, d.Remote, request(m.SPIi, n.Data), false)
				} else if c.SA != nil {
					f.answered.Add(1)
				}
			}
		}
	}()
	f.tick(func(i int) {
		_ = f.socks.SendIKE(netip.AddrPortFrom(f.from[i%len(f.from)], floodIKE), f.to, request(mrand.Uint64()|1, nil), false)
	})
}

// runAuth makes whole handshakes by an engine of its own.
func (f *flood) runAuth() {
	d := &load{start: time.Now(), remote: f.to, socks: f.socks, up: map[ikev2.PeerID]bool{}, failures: map[string]int{}}
	d.engine = ikev2.New(ikev2.Config{Rand: bufio.NewReaderSize(rand.Reader, 1<<16), PortIKE: floodIKE, PortNAT: floodNAT, NATKeepalive: 24 * time.Hour})
	ike, _ := suite.ParseIKE("aes256gcm16-prfsha384-x25519")
	esp, _ := suite.ParseESP("aes128gcm16-noesn")
	id, _ := ikev2.ParsePattern(hub)
	own, _ := ikev2.ParseIdentity("nobody.bench.example")
	peer := func(i int) ikev2.PeerID { return ikev2.PeerID(fmt.Sprint(i)) }
	const peers = 4000
	for i := range peers {
		d.do(d.engine.SetPeer(d.now(), ikev2.Peer{
			ID: peer(i), Remotes: []netip.Addr{f.to.Addr()}, LocalID: own, RemoteID: id, PSK: []byte("wrong"),
			IKE: []suite.Proposal{ike}, ESP: []suite.Proposal{esp}, Encap: ikev2.EncapNever,
			GRELocal: netip.MustParseAddr(endpoint(i)), GRERemote: netip.MustParseAddr(hubGRE), DPD: 24 * time.Hour,
		}))
	}
	f.tick(func(i int) {
		d.do(d.engine.Close(d.now(), peer(i%peers)))
		d.do(d.engine.Initiate(d.now(), peer(i%peers), netip.AddrPortFrom(f.from[i%len(f.from)], floodIKE), f.to))
		for len(d.socks.IKE()) > 0 {
			d.step()
		}
		refused := 0
		for _, n := range d.failures {
			refused += n
		}
		f.answered.Store(int64(refused))
	})
}

// newcomers is how many peers come during a flood, one a second, each of which has
// patience for so long.
const (
	newcomers = 20
	patience  = 10 * time.Second
)

// underFlood runs one flood and prints what it did.
func (o options) underFlood(dir, binary, kind string) error {
	_, err := labnet.Run(dir, "flood-"+kind, "userspace", binary, func(l *labnet.Lab) {
		net := l.NewPair()
		net.Wire.Close()
		net.B.Addr("lo", hubGRE+"/32")
		var b strings.Builder
		fmt.Fprintf(&b, "[daemon]\ndatapath = \"userspace\"\nlog_level = \"warn\"\n\n[defaults]\nremote = \"any\"\nlocal_id = %q\npsk = %q\nesp = \"aes128gcm16-noesn\"\n\n", hub, psk)
		b.WriteString(labnet.Tunnel("west", `remote = "192.0.2.1"`, `remote_id = "west.bench.example"`, `address = "10.255.0.1/30"`))
		for i := range newcomers {
			b.WriteString(labnet.Tunnel(fmt.Sprintf("b%d", i), fmt.Sprintf("gre_local = %q", hubGRE), fmt.Sprintf("remote_id = %q", branch(i)), fmt.Sprintf("gre_remote = %q", endpoint(i))))
		}
		os.Setenv("GOMAXPROCS", "1")
		if o.memory != "" {
			os.Setenv("GOMEMLIMIT", o.memory)
		}
		hubD := net.B.GresealLater(b.String())
		hubD.Start()
		os.Unsetenv("GOMEMLIMIT")
		os.Unsetenv("GOMAXPROCS")
		west := net.A.Greseal("[daemon]\ndatapath = \"userspace\"\nlog_level = \"warn\"\n\n" + labnet.Tunnel("west",
			fmt.Sprintf("remote = %q", labnet.AddrB), `local_id = "west.bench.example"`, fmt.Sprintf("remote_id = %q", hub), fmt.Sprintf("psk = %q", psk), `address = "10.255.0.2/30"`))
		west.WaitUp("west", 30*time.Second)
		net.A.WaitPing("10.255.0.1", 30*time.Second)

		var own []netip.Addr
		for i := range newcomers {
			own = append(own, netip.AddrFrom4([4]byte{172, 20, byte(i), 1}))
			net.Router.Addr("lo", own[i].String()+"/32")
		}
		d := newLoad(l, net.Router, own, newcomers, "aes256gcm16-prfsha384-x25519")
		f := newFlood(l, net.Router, kind, o.rate, o.from)
		time.Sleep(3 * time.Second)

		pid := hubD.Pid()
		before, cpu, begun := rss(l, pid), processorTime(l, pid), time.Now()
		most := before
		ping := net.A.StartPing("10.255.0.1", 50*time.Millisecond)
		go f.run()
		var took []time.Duration
		shut := 0
		for i := range newcomers {
			next := time.Now().Add(time.Second)
			start := time.Now()
			id := ikev2.PeerID(branch(i))
			d.do(d.engine.Initiate(d.now(), id, netip.AddrPortFrom(own[i], 500), d.remote))
			for !d.up[id] && time.Since(start) < patience {
				d.step()
				most = max(most, rss(l, pid))
			}
			if d.up[id] {
				took = append(took, time.Since(start))
			} else {
				shut++
			}
			for time.Now().Before(next) {
				d.step()
				most = max(most, rss(l, pid))
			}
		}
		for kind == "auth" && f.sent.Load() < int64(o.attempts) {
			d.step()
			most = max(most, rss(l, pid))
		}
		close(f.stop)
		<-f.done
		used, lasted := processorTime(l, pid)-cpu, time.Since(begun)
		got := ping.Stop()
		slices.Sort(took)
		median, longest := time.Duration(0), time.Duration(0)
		if n := len(took); n > 0 {
			median, longest = took[n/2], took[n-1]
		}
		fmt.Printf("%-5s %d/s from %d addresses for %.0f s: %d begun, %d answered or refused; processor %.0f %%, memory %d kB and %d kB more; pings lost %d of %d; new peers up after %d ms, %d ms at most, %d of %d never\n",
			kind, o.rate, o.from, lasted.Seconds(), f.sent.Load(), f.answered.Load(), 100*used.Seconds()/lasted.Seconds(), before, most-before,
			got.Sent-got.Received, got.Sent, median.Milliseconds(), longest.Milliseconds(), shut, newcomers)
	})
	return err
}

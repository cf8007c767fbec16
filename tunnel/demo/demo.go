// Package demo is the demonstration that shows, on the machine at hand, that a
// tunnel works and that nothing of it can be read outside: two network namespaces
// play two routers, a third one the provider between them, which captures every
// frame on both of its links. Each router runs a full daemon, this very binary.
//
// What it claims it measures on the capture: first that the capture finds what it
// looks for (a GRE packet in the clear, sent on purpose before there is a tunnel),
// then that it finds nothing from the first packet of the tunnel to the last, also
// while the SAs are deleted under a running ping and while a daemon is killed.
// Everything it makes ends with it: the namespaces have no name, and the daemons
// die with the process.
package demo

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"greseal/crypto/suite"
	"greseal/platform/gre"
	"greseal/tunnel/status"

	"golang.org/x/sys/unix"
)

// Options of a demonstration.
type Options struct {
	Out      io.Writer
	Style    status.Style
	Datapath string // auto, kernel or userspace
}

const tunnelName = "hq"

// What is looked for on the wire.
const (
	needleText  = "text"
	needleInner = "inner addresses"
	needleGRE   = "GRE header"
)

const (
	upTimeout   = 60 * time.Second // emulated machines are slow
	noticeAfter = 3 * time.Second  // before a word of patience
	pingEvery   = 20 * time.Millisecond
	pingTimeout = 2 * time.Second
)

// show is a running demonstration.
type show struct {
	*report
	world       *world
	capture     *capture
	left, right *daemon
	ping        *pinger
	text        []byte
}

// Run shows everything and returns nil when every proof holds. It cleans up
// before it returns, also when ctx ends.
func Run(ctx context.Context, o Options) error {
	if os.Geteuid() != 0 {
		return errors.New("the demo makes network namespaces and captures packets; run it as root")
	}
	s := &show{report: &report{w: o.Out, style: o.Style, start: time.Now()}}
	err := s.run(ctx, o.Datapath)
	if ctx.Err() != nil {
		return errors.New("interrupted; everything was cleaned up")
	}
	if err != nil {
		return err
	}
	if n := len(s.failed); n > 0 {
		return fmt.Errorf("%d of %d proofs failed; the first: %s", n, s.proofs, s.failed[0])
	}
	s.printf("\n%s\n", s.style.Good(fmt.Sprintf("All %d proofs hold; %.1f seconds. Nothing was left behind.", s.proofs, time.Since(s.start).Seconds())))
	return nil
}

func (s *show) run(ctx context.Context, datapath string) (err error) {
	dir, err := os.MkdirTemp("", "greseal-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if s.world, err = newWorld(); err != nil {
		return err
	}
	defer s.world.close()

	var tag [8]byte
	rand.Read(tag[:]) // never fails
	s.text = []byte("greseal demo: who can read this has found a leak, " + hex.EncodeToString(tag[:]))
	s.printf("%s\n\n", s.style.Bold("greseal demo: two routers, one tunnel, and a provider who captures everything"))
	s.printf("   %-24s %-26s %s\n", "left", "the provider", "right")
	s.printf("   %-24s %-26s %s\n", leftOuter.Addr().String()+" ---------", "captures both links ------", rightOuter.Addr().String())
	s.printf("   %-51s %s\n", "network "+leftLAN.Masked().String(), "network "+rightLAN.Masked().String())

	s.capture, err = startCapture(s.world.wire, []needle{
		{needleText, s.text},
		{needleInner, append(leftLAN.Addr().AsSlice(), rightLAN.Addr().AsSlice()...)},
		{needleInner, append(rightLAN.Addr().AsSlice(), leftLAN.Addr().AsSlice()...)},
		{needleGRE, greHeader()},
	})
	if err != nil {
		return err
	}
	defer s.capture.stop()
	if s.ping, err = newPinger(s.world.left, leftLAN.Addr(), rightLAN.Addr(), s.text); err != nil {
		return err
	}
	defer s.ping.close()

	if err := s.control(ctx); err != nil {
		return err
	}
	if err := s.prepare(dir, datapath); err != nil {
		return err
	}
	defer s.stopDaemons()
	followers, stop := context.WithCancel(ctx)
	defer stop()
	for _, part := range []func(context.Context, context.Context) error{s.bringUp, s.pings, s.statuses, s.deletion, s.crash, s.end} {
		if err := part(ctx, followers); err != nil {
			return err
		}
	}
	return nil
}

// stopDaemons ends what still runs, both at once.
func (s *show) stopDaemons() {
	var wg sync.WaitGroup
	for _, d := range []*daemon{s.left, s.right} {
		wg.Go(func() { d.signal(syscall.SIGTERM, 3*time.Second) })
	}
	wg.Wait()
}

// greHeader is a GRE header of version 0 for IPv4 and the first byte of the
// packet inside (RFC 2784).
func greHeader() []byte { return []byte{0, 0, 8, 0, 0x45} }

// control shows that the capture finds what it is looking for.
func (s *show) control(ctx context.Context) error {
	s.title("Does the capture see a leak when there is one?")
	inner := make([]byte, 20, 20+8+len(s.text))
	inner[0], inner[8], inner[9] = 0x45, 64, unix.IPPROTO_ICMP
	binary.BigEndian.PutUint16(inner[2:], uint16(cap(inner)))
	copy(inner[12:], leftLAN.Addr().AsSlice())
	copy(inner[16:], rightLAN.Addr().AsSlice())
	binary.BigEndian.PutUint16(inner[10:], gre.Checksum(inner))
	inner = append(append(inner, 8, 0, 0, 0, 0, 0, 0, 0), s.text...)
	clear := append(greHeader()[:4], inner...)
	err := s.world.left.do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_GRE)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, clear, 0, &unix.SockaddrInet4{Addr: rightOuter.Addr().As4()})
	})
	if err != nil {
		return fmt.Errorf("send a GRE packet in the clear: %w", err)
	}
	// It crosses both links, and most kernels answer with an ICMP error. Both have
	// to be in before the counters are set to zero.
	await := func(k kind, limit time.Duration) {
		end := time.Now().Add(limit)
		for s.capture.sum().kinds[k] < 2 && time.Now().Before(end) && sleep(ctx, time.Millisecond) {
		}
	}
	await(kindGRE, pingTimeout)
	await(kindICMP, 300*time.Millisecond)
	for before := -1; before != s.capture.sum().packets; {
		before = s.capture.sum().packets
		sleep(ctx, 20*time.Millisecond)
	}
	t := s.capture.sum()
	s.note("A ping inside GRE without IPsec was sent from left to right, on purpose:")
	s.prove(t.kinds[kindGRE] == 2 && t.found[needleText] >= 2 && t.found[needleInner] >= 2 && t.found[needleGRE] >= 2,
		"protocol 47 counted; text, inner addresses and GRE header found")
	s.capture.forget()
	return ctx.Err()
}

// prepare writes both configs.
func (s *show) prepare(dir, datapath string) (err error) {
	var key [32]byte
	rand.Read(key[:])
	psk := base64.StdEncoding.EncodeToString(key[:])
	if s.left, err = newDaemon("left", dir, s.world.left, datapath, psk, rightOuter.Addr(), leftTunnel, rightLAN); err != nil {
		return err
	}
	s.right, err = newDaemon("right", dir, s.world.right, datapath, psk, leftOuter.Addr(), rightTunnel, leftLAN)
	return err
}

// bringUp starts both daemons at the same moment.
func (s *show) bringUp(ctx, followers context.Context) error {
	s.title("Both daemons start, counters at zero; the tunnel comes up")
	began := time.Now()
	for _, d := range []*daemon{s.left, s.right} {
		if err := d.start(); err != nil {
			return err
		}
	}
	go s.left.follow(followers, s.event)
	go s.right.follow(followers, s.event)
	limit, cancel := context.WithTimeout(ctx, upTimeout)
	defer cancel()
	patience := time.AfterFunc(noticeAfter, func() {
		s.note("(still waiting: finding out what a kernel can do takes long on a slow machine)")
	})
	defer patience.Stop()
	for _, d := range []*daemon{s.left, s.right} {
		if err := d.waitUp(limit); err != nil {
			s.prove(false, "the tunnel is not up on the %s after %.0f s", d.name, time.Since(began).Seconds())
			return fmt.Errorf("the daemon on the %s: %w", d.name, err)
		}
	}
	took := time.Since(began)
	sleep(ctx, 30*time.Millisecond) // let the last events be printed
	s.mute(true)
	s.prove(true, "up on both sides %d ms after the daemons were started", took.Milliseconds())
	return ctx.Err()
}

// pings sends some, one after the other.
func (s *show) pings(ctx, _ context.Context) error {
	s.title(fmt.Sprintf("Pings from %s to %s, through the tunnel", leftLAN.Addr(), rightLAN.Addr()))
	const n = 10
	answered := 0
	var least, most time.Duration
	for range n {
		rtt, ok := s.ping.answer(ctx, s.ping.send(), pingTimeout)
		if !ok {
			continue
		}
		answered++
		most = max(most, rtt)
		if least == 0 || rtt < least {
			least = rtt
		}
		sleep(ctx, pingEvery)
	}
	s.note("their payload: %q", s.text)
	s.prove(answered == n, "%d of %d answered, in %.2f to %.2f ms", answered, n, ms(least), ms(most))
	s.wire(s.capture.sum(), "")
	return ctx.Err()
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// wire proves what the capture holds; when is empty for all of it.
func (s *show) wire(t tally, when string) {
	if when == "" {
		s.prove(t.esp() > 0, "%d ESP packets on the provider's two links%s", t.esp(), inUDP(t))
	}
	s.prove(t.kinds[kindGRE] == 0, "%d packets of protocol 47 (GRE in the clear)%s", t.kinds[kindGRE], when)
	s.prove(t.kinds[kindQuote] == 0, "%d ICMP errors that quote GRE%s", t.kinds[kindQuote], when)
	s.prove(t.found[needleText]+t.found[needleInner]+t.found[needleGRE] == 0,
		"payload found %d times, inner addresses %d, GRE headers %d (%d frames)", t.found[needleText], t.found[needleInner], t.found[needleGRE], t.packets)
	if t.lost > 0 {
		s.prove(false, "the capture lost %d frames, so it proves nothing", t.lost)
	}
}

func inUDP(t tally) string {
	switch {
	case t.kinds[kindESP] == 0:
		return ", all in UDP port 4500"
	case t.kinds[kindESPUDP] == 0:
		return ", IP protocol 50"
	}
	return fmt.Sprintf(", %d of them in UDP port 4500", t.kinds[kindESPUDP])
}

// statuses prints what both daemons say, then what the provider can read.
func (s *show) statuses(ctx, _ context.Context) error {
	iv := 0 // bytes of the ESP initialization vector, which is public
	for _, d := range []*daemon{s.left, s.right} {
		s.title("What greseal status says on the " + d.name)
		r, err := d.ask(ctx, status.Request{Op: status.OpStatus, Tunnel: tunnelName})
		if err != nil {
			return err
		}
		t := &r.Snapshot.Tunnels[0]
		t.Events = nil // they were shown as they happened
		if t.Child != nil {
			if p, err := suite.ParseESP(t.Child.Suite); err == nil {
				iv = p.Of(suite.TypeEncr)[0].IVBytes()
			}
		}
		s.printf("\n")
		if err := status.Human(s.w, r.Snapshot, true, s.style); err != nil {
			return err
		}
	}
	s.title("What the provider can read")
	t := s.capture.sum()
	if len(t.sample.packet) == 0 {
		s.prove(false, "no ESP packet from the left was captured")
		return nil
	}
	s.visibility(&t.sample, &t, iv, len(s.text))
	return ctx.Err()
}

// deletion takes the SAs away under running pings, and brings them back.
func (s *show) deletion(ctx, _ context.Context) error {
	s.title("The SAs are deleted in mid-flight: \"greseal down " + tunnelName + "\" on the right")
	before := s.capture.sum()
	stop := s.keepPinging(ctx)
	first := s.ping.last()
	sleep(ctx, 300*time.Millisecond)
	running := s.ping.last()
	s.ping.answer(ctx, running, pingTimeout) // what comes before is judged whole
	if _, err := s.right.ask(ctx, status.Request{Op: status.OpDown, Tunnel: tunnelName}); err != nil {
		stop()
		return err
	}
	deleted := s.ping.last()
	at := s.capture.sum()
	sleep(ctx, time.Second)
	stop()
	sent, answered, _ := s.ping.count(first, running)
	s.prove(answered >= sent-1 && answered > 0, "before: %d of %d pings answered", answered, sent)
	sent, answered, refused := s.ping.count(deleted, s.ping.last())
	s.prove(answered == 0 && sent > 0, "after: %d of %d pings answered (%d refused by the left's own kernel)", answered, sent, refused)
	t := s.capture.sum()
	s.wire(t.since(before), " before, during and after")
	s.note("ESP packets after the deletion: %d; IKE messages: %d.", t.since(at).esp(), t.since(at).kinds[kindIKE])
	if l, err := s.left.tunnel(ctx); err == nil {
		s.note("The left says: %s", status.Line(l))
	}

	s.title("And back: \"greseal up " + tunnelName + "\" on the right")
	began := time.Now()
	if _, err := s.right.ask(ctx, status.Request{Op: status.OpUp, Tunnel: tunnelName}); err != nil {
		return err
	}
	for time.Since(began) < upTimeout && ctx.Err() == nil {
		if _, ok := s.ping.answer(ctx, s.ping.send(), pingEvery); ok {
			s.prove(true, "pings are answered again after %d ms", time.Since(began).Milliseconds())
			return nil
		}
		sleep(ctx, time.Millisecond)
	}
	s.prove(false, "no ping was answered within %.0f s", upTimeout.Seconds())
	return ctx.Err()
}

// keepPinging pings until the returned function is called.
func (s *show) keepPinging(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			s.ping.send()
			if !sleep(ctx, pingEvery) {
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
		sleep(context.Background(), pingEvery) // for the last answer
	}
}

// crash kills one daemon the hard way under running pings.
func (s *show) crash(ctx, _ context.Context) error {
	s.title("The daemon on the left is killed (SIGKILL), pings go on")
	before := s.capture.sum()
	stop := s.keepPinging(ctx)
	sleep(ctx, 100*time.Millisecond)
	s.left.signal(syscall.SIGKILL, time.Second)
	killed := s.ping.last()
	sleep(ctx, 500*time.Millisecond)
	stop()
	sent, answered, _ := s.ping.count(killed, s.ping.last())
	why := "no daemon, no packets"
	if answered > 0 {
		why = "the kernel still has the SAs"
	}
	s.note("%d of %d pings answered without the daemon: %s.", answered, sent, why)
	s.wire(s.capture.sum().since(before), " before and after")
	return ctx.Err()
}

// end stops what still runs and looks at the whole capture.
func (s *show) end(ctx, _ context.Context) error {
	s.title("The other daemon is stopped; the whole capture, first frame to last")
	stop := s.keepPinging(ctx)
	if s.right.signal(syscall.SIGTERM, 3*time.Second) {
		s.prove(false, "the daemon on the right did not end within 3 s of SIGTERM")
	}
	sleep(ctx, 100*time.Millisecond)
	stop()
	t := s.capture.sum()
	line := ""
	for k := range kinds {
		if n := t.kinds[k]; n > 0 && k != kindGRE && k != kindQuote {
			line += fmt.Sprintf(", %d %s", n, k)
		}
	}
	s.note("%d frames: %s", t.packets, line[min(2, len(line)):])
	s.wire(t, "")
	return ctx.Err()
}

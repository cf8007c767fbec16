package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"greseal/platform/inet"
	"greseal/tunnel/config"
	"greseal/tunnel/status"
)

// LeakTest tries to send one GRE packet in the clear from this machine to the peer,
// as another program would, and shows where it was dropped. It never sends what
// nothing is seen to stop.
func LeakTest(ctx context.Context, s Subject, emit func(Step)) error {
	x, err := newExam(ctx, s)
	if err != nil {
		return err
	}
	defer x.close()
	if !x.remote.IsValid() {
		checkName(x)
	}
	step := x.leakOutside()
	step.ID, step.Title = "outside", "protocol 47 in the clear to the peer"
	emit(step)
	step = x.leakInside()
	step.ID, step.Title = "inside", "the tunnel's networks without the tunnel"
	emit(step)
	return nil
}

// ends are the GRE endpoints, or the outer addresses before any are known.
func (x *exam) ends() (local, remote netip.Addr) {
	local, _ = netip.ParseAddr(x.now.Tunnel.Outside.GRELocal)
	remote, _ = netip.ParseAddr(x.now.Tunnel.Outside.GRERemote)
	if !remote.IsValid() {
		remote = x.remote
	}
	if !local.IsValid() || local.Is4() != remote.Is4() || !x.isLocal(local) {
		local = x.local()
	}
	return local, remote
}

func (x *exam) leakOutside() Step {
	local, remote := x.ends()
	if !remote.IsValid() || !local.IsValid() {
		return skip("the peer's address is not known: there is no one to send GRE to")
	}
	own := "greseal sends no GRE in the clear: the kernel's policies decide"
	if x.userspace() {
		own = "greseal itself cannot send GRE in the clear: in the userspace datapath packets go from the interface into ESP, and there is no other way out"
	}
	all, err := listPolicies()
	policy := best(all, 1, local, remote, unix.IPPROTO_GRE, 0)
	if err != nil || policy == nil || !policy.block && !policy.protects {
		says := []string{own,
			fmt.Sprintf("no XFRM policy blocks protocol 47 from %s to %s, so a GRE packet of another program on this machine would leave in the clear: none was sent to prove it", local, remote)}
		if x.userspace() {
			return warn("keep other GRE interfaces to that peer off this machine, or block them: a kernel with XFRM needs no ESP for it", says...).
				with(blockCommand(remote))
		}
		return fault("restart the daemon, and find out what deletes XFRM policies on this machine", says...)
	}
	return x.sendClear(local, remote, policy).and(own)
}

func blockCommand(remote netip.Addr) string {
	return fmt.Sprintf("ip xfrm policy add dir out src %s dst %s proto 47 action block priority 3000",
		inet.Of(remote).All(), inet.Host(remote))
}

// sendClear sends the probe and watches the wire, the error and the counters.
func (x *exam) sendClear(local, remote netip.Addr, policy *xfrmPolicy) Step {
	way, err := x.net.RouteTo(remote, local, "", 0)
	if err != nil {
		return skip("there is no route to the peer that GRE could take: " + err.Error())
	}
	w, err := watchWire(way.IfIndex, remote)
	if err != nil {
		return skip("the wire cannot be watched: " + err.Error())
	}
	before := readCounters()
	sent := sendGRE(local, remote)
	time.Sleep(150 * time.Millisecond)
	seen := w.end()
	rose := readCounters().since(before)
	says := []string{
		fmt.Sprintf("one GRE packet was sent from %s to %s through a plain raw socket", local, remote),
		"the policy that decides: " + policy.String(),
	}
	if n := rose["XfrmOutPolBlock"]; n > 0 {
		says = append(says, fmt.Sprintf("XfrmOutPolBlock increased by %d: the kernel blocked it", n))
	}
	if n := rose["XfrmOutNoStates"]; n > 0 {
		says = append(says, fmt.Sprintf("XfrmOutNoStates increased by %d: its policy wants ESP, and there is no SA", n))
	}
	says = append(says, fmt.Sprintf("%s of protocol 47 to the peer seen on %s", status.Plural(seen, "packet"), way.IfName))
	switch {
	case seen > 0:
		return fault("stop the tunnel's traffic and report this: greseal's guard does not hold on this kernel", says...)
	case errors.Is(sent, unix.EPERM):
		return fine(append(says, "the sender got EPERM: dropped before it left")...)
	case sent != nil:
		return fine(append(says, fmt.Sprintf("the sender got an error: %v", sent))...)
	case policy.protects:
		return fine(append(says, "it left inside ESP, or not at all")...)
	}
	return fine(says...)
}

// sendGRE sends an empty GRE packet. A plain socket is asked for on purpose: one
// with IP_HDRINCL passes the policies by.
func sendGRE(local, remote netip.Addr) error {
	fd, err := inet.Of(remote).Socket(unix.SOCK_RAW, unix.IPPROTO_GRE)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, inet.Sockaddr(netip.AddrPortFrom(local, 0))); err != nil {
		return err
	}
	return unix.Sendto(fd, []byte{0, 0, 0x08, 0x00}, 0, inet.Sockaddr(netip.AddrPortFrom(remote, 0)))
}

// tap counts packets of protocol 47 that leave by one interface to one address.
type tap struct {
	file  *os.File
	to    netip.Addr
	seen  int // read after ended is closed
	ended chan struct{}
}

func watchWire(ifindex int, to netip.Addr) (*tap, error) {
	fd, err := inet.Tap(unix.SOCK_DGRAM, ifindex)
	if err != nil {
		return nil, err
	}
	t := &tap{file: os.NewFile(uintptr(fd), "packet socket"), to: to, ended: make(chan struct{})}
	go t.run()
	return t, nil
}

func (t *tap) run() {
	defer close(t.ended)
	buf := make([]byte, 128)
	for {
		n, err := t.file.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		if err == nil && clearGRE(buf[:n], t.to) {
			t.seen++
		}
	}
}

// end returns the count, with what waits still to be read.
func (t *tap) end() int {
	_ = t.file.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	<-t.ended
	_ = t.file.Close()
	return t.seen
}

// clearGRE recognizes an IP packet of protocol 47 to an address.
func clearGRE(b []byte, to netip.Addr) bool {
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		return b[9] == unix.IPPROTO_GRE && inet.Addr(b[16:20]) == to
	case len(b) >= 40 && b[0]>>4 == 6:
		return b[6] == unix.IPPROTO_GRE && inet.Addr(b[24:40]) == to
	}
	return false
}

// leakInside checks that there is an unreachable twin of each of the tunnel's
// routes, so that its traffic never follows another route while it is down.
func (x *exam) leakInside() Step {
	if x.Tunnel.Fallback {
		return fine("fallback = true: while the tunnel is down its networks may use other routes in the clear, as configured")
	}
	if len(x.Tunnel.Routes) == 0 {
		return fine("the tunnel has no routes")
	}
	table := x.Tunnel.Table
	if table == 0 {
		table = config.TableMain
	}
	all, err := x.routesOf(table, unix.RTN_UNREACHABLE)
	if err != nil {
		return skip("the routes cannot be read: " + err.Error())
	}
	var under []netip.Prefix
	for _, h := range all {
		under = append(under, h.Dst)
	}
	var missing []string
	for _, p := range x.Tunnel.Routes {
		if !inet.Covered(p, under) {
			missing = append(missing, "there is no unreachable route under "+p.String())
		}
	}
	if len(missing) > 0 {
		return fault("restart the daemon, and find out what deletes its routes", missing...)
	}
	return fine(fmt.Sprintf("there is an unreachable route under each of its routes (%d): while it is down they lead nowhere", len(x.Tunnel.Routes)))
}

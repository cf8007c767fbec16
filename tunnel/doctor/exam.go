package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"greseal/ikev2/wire"
	"greseal/platform"
	"greseal/platform/rtnl"
	"greseal/tunnel/config"
	"greseal/tunnel/status"
)

// exam is one examination under way. What several steps need is found out once,
// when the first of them asks.
type exam struct {
	Subject
	ctx     context.Context
	began   time.Time
	now     Moment // before the present step
	net     *platform.Network
	trouble counters // of the kernel, at the beginning

	remote   netip.Addr // the peer's outer address, unset for an unmet "any"
	route    *platform.RouteInfo
	routeErr error

	rules    *ruleset
	rulesErr error

	ike, nat, v1 *answer // to probes on UDP 500, on UDP 4500, and in IKEv1
	ikeFiltered  uint64  // packets the reverse path filter took while UDP 500 was probed
	hurried      bool
	pinged       *echoes
}

func newExam(ctx context.Context, s Subject) (*exam, error) {
	x := &exam{Subject: s, ctx: ctx, began: time.Now(), trouble: readCounters()}
	var err error
	if x.net, err = platform.OpenNetwork(nil); err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	if err := x.refresh(); err != nil {
		x.close()
		return nil, err
	}
	if x.now.Remote.IsValid() {
		x.remote = x.now.Remote.Addr().Unmap()
	}
	return x, nil
}

func (x *exam) close() { x.net.Close() }

// refresh asks the daemon again.
func (x *exam) refresh() error {
	m, err := x.Daemon.Observe(x.ctx)
	if err != nil {
		return err
	}
	x.now = m
	return nil
}

// wait looks until ok, at most for limit, and reports whether it became so.
func (x *exam) wait(limit time.Duration, ok func() bool) bool {
	end := time.Now().Add(limit)
	for {
		if x.refresh() != nil {
			return false
		}
		if ok() {
			return true
		}
		if time.Now().After(end) || !x.sleep(100*time.Millisecond) {
			return false
		}
	}
}

func (x *exam) sleep(d time.Duration) bool {
	select {
	case <-x.ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// way is the route outside, looked up as the daemon does.
func (x *exam) way() (*platform.RouteInfo, error) {
	if x.route == nil && x.routeErr == nil {
		if !x.remote.IsValid() {
			x.routeErr = errors.New("the peer's address is not known")
			return nil, x.routeErr
		}
		hint, ifname := x.localHint()
		if hint.IsValid() && !x.isLocal(hint) {
			hint = netip.Addr{} // the step about the local address says so
		}
		if ifname != "" {
			if _, err := rtnl.LinkByName(x.net.Netlink(), ifname); err != nil {
				ifname = ""
			}
		}
		info, err := x.net.RouteTo(x.remote, hint, ifname, x.Tunnel.FWMark)
		x.route, x.routeErr = &info, err
	}
	return x.route, x.routeErr
}

// localHint is the key local: an address or the name of an interface.
func (x *exam) localHint() (addr netip.Addr, ifname string) {
	if a, err := netip.ParseAddr(x.Tunnel.Local); err == nil {
		return a.Unmap(), ""
	}
	return netip.Addr{}, x.Tunnel.Local
}

func (x *exam) isLocal(a netip.Addr) bool {
	all, err := rtnl.LocalAddrs(x.net.Netlink())
	if err != nil {
		return false
	}
	for _, l := range all {
		if l.Unmap() == a {
			return true
		}
	}
	return false
}

// local is the own outer address, unset while unknown.
func (x *exam) local() netip.Addr {
	if x.now.up() && x.now.Local.IsValid() {
		return x.now.Local.Unmap()
	}
	if r, err := x.way(); err == nil {
		return r.Local.Unmap()
	}
	return netip.Addr{}
}

// port is the UDP port the peer is first spoken to on.
func (x *exam) port() uint16 {
	return cmp.Or(x.Tunnel.RemotePort, wire.PortIKE)
}

// udp reports whether ESP is expected to travel in UDP: for certain while the tunnel
// is up, else as the configuration and the datapath would have it.
func (x *exam) udp() bool {
	if x.now.up() {
		return x.now.Tunnel.Outside.Encap == "udp"
	}
	switch x.Tunnel.Encap {
	case config.EncapAlways:
		return true
	case config.EncapNever:
		return false
	}
	return x.userspace()
}

func (x *exam) userspace() bool { return x.now.Daemon.Datapath == platform.KindUserspace }

func (x *exam) name() string { return x.Tunnel.Name }

// wanted reports whether the daemon keeps trying.
func (x *exam) wanted() bool { return x.now.Tunnel.Desired == status.DesiredUp }

// passive reports whether the peer must initiate: then nothing can be tried.
func (x *exam) passive() bool { return x.Tunnel.RemoteAny && !x.now.up() }

package scenario

import (
	"net/netip"

	"greseal/build/lab/labnet"
)

// Inner addresses of the tunnel: A is greseal under test, B the peer.
const (
	innerA = "10.255.0.2"
	innerB = "10.255.0.1"
	psk    = "lab-Tq4nVw7PzLc2RkXs9Jd5"
)

// swanPeer is strongSwan with a GRE interface on top: kernel ESP and a kernel
// GRE link where the kernel has them, else kernel-libipsec and the lab's own
// GRE endpoint.
type swanPeer struct {
	*labnet.StrongSwan
	lab    *labnet.Lab
	ns     *labnet.NS
	config labnet.Swan
	gre    labnet.GREOptions
	end    *labnet.GREEnd // without kernel GRE
	inner  string

	greLocal, greRemote string // GRE endpoints other than the outer addresses
}

// newSwan starts strongSwan in the namespace. c's Local and Remote are the GRE
// endpoints too.
func newSwan(l *labnet.Lab, n *labnet.NS, c labnet.Swan, inner string) *swanPeer {
	if c.PSK == "" {
		c.PSK = psk
	}
	c.Libipsec = !labnet.KernelESP()
	if c.Libipsec && c.Transport {
		l.Skipf("kernel-libipsec knows no transport mode")
	}
	s := &swanPeer{lab: l, ns: n, config: c, inner: inner}
	s.StrongSwan = n.StrongSwan(c)
	return s
}

// raiseGRE makes the GRE interface "gre1". In the kernel it must not be done
// before the policies stand: a hand-made GRE link speaks in the clear until then.
func (s *swanPeer) raiseGRE() {
	local, remote := s.config.Local, s.config.Remote
	if s.greLocal != "" {
		local, remote = s.greLocal, s.greRemote
	}
	if s.config.Libipsec {
		s.end = s.ns.GREEnd(local, remote, s.inner+"/30", "ipsec0", s.gre)
		return
	}
	kind := "gre"
	if netip.MustParseAddr(local).Is6() {
		kind = "ip6gre"
	}
	argv := []string{"ip", "link", "add", "gre1", "type", kind, "local", local, "remote", remote}
	if kind == "ip6gre" {
		argv = append(argv, "encaplimit", "none")
	}
	if s.gre.HasKey {
		argv = append(argv, "key", netip.AddrFrom4([4]byte{byte(s.gre.Key >> 24), byte(s.gre.Key >> 16), byte(s.gre.Key >> 8), byte(s.gre.Key)}).String())
	}
	if s.gre.Sequence {
		argv = append(argv, "seq")
	}
	if s.gre.Checksum {
		argv = append(argv, "csum")
	}
	s.ns.BlockGRE(remote)
	s.ns.MustRun(argv...)
	s.ns.Addr("gre1", s.inner+"/30")
	s.ns.MTU("gre1", 1300)
	s.ns.LinkUp("gre1")
}

// moveGRE gives the GRE interface other endpoints.
func (s *swanPeer) moveGRE(local, remote string) {
	s.greLocal, s.greRemote = local, remote
	if s.end != nil {
		s.end.Close()
		s.raiseGRE()
		return
	}
	s.ns.BlockGRE(remote)
	s.ns.MustRun("ip", "link", "set", "gre1", "type", "gre", "local", local, "remote", remote)
}

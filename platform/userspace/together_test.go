package userspace

import (
	"testing"

	"greseal/platform"
	"greseal/platform/rtnl"
)

// TestAnSALeadsToItsOwnLinkAlone has two links of B between the same GRE
// endpoints, of different peers: A has the SAs of the first, and sends with the
// key of the second.
func TestAnSALeadsToItsOwnLinkAlone(t *testing.T) {
	for _, f := range []form{
		{name: "two keys", encap: true, link: platform.Link{HasKey: true, Key: 1}},
		{name: "none and a key", encap: true},
		{name: "transport mode", transport: true, link: platform.Link{HasKey: true, Key: 1}},
	} {
		t.Run(f.name, func(t *testing.T) {
			a, b := twoHosts(t)
			f.tunnel(a, b)
			a.ping(inner4(2), 3, 56)
			second := f.link
			second.Name, second.Local, second.Remote, second.MTU = "second", f.gre(b), f.gre(a), innerMTU
			second.HasKey, second.Key = true, 2
			in, out := f.sa(b, a, false, 0x2001), f.sa(b, a, true, 0x2002)
			in.Link, out.Link = second.Name, second.Name
			b.must(func() error { _, err := b.dp.SetLink(second); return err })
			b.must(func() error { return b.dp.InstallIn(in) })
			b.must(func() error { return b.dp.InstallOut(out) })
			b.must(func() error { return b.dp.SetRunning(second.Name, true) })
			a.ping(inner4(2), 3, 56)
			rogue := f.link
			rogue.Name, rogue.Local, rogue.Remote, rogue.MTU = ifName, f.outer(a), f.outer(b), innerMTU
			rogue.HasKey, rogue.Key = true, 2
			a.must(func() error { _, err := a.dp.SetLink(rogue); return err })
			took, dropped := b.rx(second.Name), b.keyDrops()
			a.noPing(inner4(2))
			if n := b.rx(second.Name) - took; n != 0 {
				t.Errorf("%d packets that came by the SA of the first link came out of the second", n)
			}
			if n := b.keyDrops() - dropped; n < 2 {
				t.Errorf("of 2 packets with another key %d counted as such", n)
			}
		})
	}
}

// rx is how many packets came out of a link.
func (h *host) rx(link string) (n uint64) {
	h.t.Helper()
	h.must(func() error {
		info, err := rtnl.LinkByName(h.dp.netlink, link)
		if err == nil {
			n = info.Stats.RxPackets
		}
		return err
	})
	return n
}

// keyDrops is how many packets of the first link had another key.
func (h *host) keyDrops() uint64 {
	h.t.Helper()
	var drops platform.Drops
	h.must(func() (err error) { drops, err = h.dp.LinkDrops(ifName); return err })
	return drops.Key
}

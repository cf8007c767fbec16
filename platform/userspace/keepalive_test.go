package userspace

import (
	"testing"
	"time"

	"greseal/platform"
)

func TestGREKeepalivesGoThereAndBack(t *testing.T) {
	for _, f := range []form{
		{name: "tunnel mode", encap: true},
		{name: "transport mode, raw ESP", transport: true},
		{name: "MikroTik's form between IPv6 endpoints", encap: true, outer6: true, gre6: true},
		{name: "key and checksum", encap: true, link: platform.Link{HasKey: true, Key: 7, Checksum: true}},
		{name: "sequence numbers", encap: true, link: platform.Link{Sequence: true}},
	} {
		t.Run(f.name, func(t *testing.T) {
			a, b := twoHosts(t)
			wire := a.capture(t)
			f.tunnel(a, b)
			keepalives := func(h *host) (k platform.GREKeepalives) {
				h.do(func() { k = h.dp.GREKeepalives(ifName) })
				return k
			}
			for sent := uint64(1); sent <= 5; sent++ {
				a.must(func() error { return a.dp.SendGREKeepalive(ifName) })
				for keepalives(a).Returned < sent {
					time.Sleep(time.Millisecond)
				}
			}
			if k := keepalives(a); k != (platform.GREKeepalives{Returned: 5}) {
				t.Errorf("the sender counts %+v", k)
			}
			if k := keepalives(b); k != (platform.GREKeepalives{Answered: 5}) {
				t.Errorf("the other side counts %+v", k)
			}
			for _, h := range []*host{a, b} {
				if d := h.drops(); d != (platform.Drops{}) {
					t.Errorf("dropped: %+v", d)
				}
			}
			a.ping(inner4(2), 3, 56) // ordinary packets still pass
			if kinds := wire.stop(); kinds["GRE"] != 0 {
				t.Errorf("on the wire: %v", kinds)
			}
		})
	}
}

func TestGREKeepaliveNeedsAnSA(t *testing.T) {
	a, b := twoHosts(t)
	f := form{encap: true}
	a.start(Options{})
	f.makeLink(a, b)
	var err error
	a.do(func() { err = a.dp.SendGREKeepalive(ifName) })
	if err == nil {
		t.Error("a keepalive was sent without an SA")
	}
	a.do(func() { err = a.dp.SendGREKeepalive("nobody") })
	if err == nil {
		t.Error("a keepalive was sent without an interface")
	}
}

package userspace

import (
	"testing"
	"time"

	"greseal/build/packet"
	"greseal/platform"
	"greseal/platform/gre"
)

// Several links between two endpoints have keys of their own. A packet belongs to
// the link whose SA brought it, and is dropped when it has another's key.
func TestAPacketBelongsToTheLinkOfItsSA(t *testing.T) {
	a, b := twoHosts(t)
	f := form{encap: true, link: platform.Link{HasKey: true, Key: 7}}
	f.tunnel(a, b)
	s := f.stranger(a, spiAB)
	user := packet.Spec{UDP: true, TTL: 9, Payload: packet.Pattern(30, 0)}.Build()
	send := func(key uint32) {
		h := gre.Header{Proto: gre.ProtoIPv4, HasKey: true, Key: key}
		s.send(t, b.v4, inIP4(a.v4, b.v4, 47, h.Append(nil, user)), 4)
	}
	delivered := func(name string) uint64 { return uint64(b.dp.devices[name].Delivered.Load()) }
	wait := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: %d and %+v", what, delivered(ifName), b.drops())
			}
		}
	}

	second := platform.Link{Name: "seal1", Local: b.v4, Remote: a.v4, HasKey: true, Key: 8, MTU: innerMTU}
	b.must(func() error { _, err := b.dp.SetLink(second); return err })
	first := delivered(ifName)
	send(8)
	wait("a packet for a link without an SA is not dropped for its key", func() bool { return b.drops().Key == 1 })

	out := f.sa(b, a, true, 0x1000c0c0)
	out.Link = "seal1"
	b.must(func() error { return b.dp.InstallOut(out) })
	send(8)
	wait("a packet with the key of a link that is up is not dropped", func() bool { return b.drops().Key == 2 })
	send(7)
	wait("the SA's own link gets no packets any more", func() bool { return delivered(ifName) == first+1 })
	send(9)
	wait("a packet with nobody's key is not dropped", func() bool { return b.drops().Key == 3 })
	if delivered("seal1") != 0 || delivered(ifName) != first+1 {
		t.Errorf("delivered %d and %d", delivered(ifName)-first, delivered("seal1"))
	}

	b.must(func() error { return b.dp.DeleteLink("seal1") })
	send(8)
	wait("a packet for a link that is gone is not dropped", func() bool { return b.drops().Key == 4 })
}

package kernel

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"greseal/platform"
	"greseal/platform/gre"
)

func TestGREKeepalivesGoThereAndBack(t *testing.T) {
	for _, s := range []setup{
		{name: "tunnel mode", inner: 1},
		{name: "transport mode with a key", inner: 1, transport: true, key: 7},
		{name: "MikroTik's form between IPv6 endpoints", inner: 1, v6: true},
	} {
		t.Run(s.name, func(t *testing.T) {
			l := newLab(t)
			l.links(s)
			// Without an SA nothing leaves, and what goes the other way in the clear
			// finds nobody who answers.
			l.a.do(func() { _ = l.a.dp.SendGREKeepalive("hq") })
			l.wire.noGRE(t, "a keepalive before there is an SA")
			l.sas(s, 0x1000)
			keepalives := func(n *node) (k platform.GREKeepalives) {
				n.do(func() { k = n.dp.GREKeepalives("hq") })
				return k
			}
			for sent := uint64(1); sent <= 5; sent++ {
				var err error
				l.a.do(func() { err = l.a.dp.SendGREKeepalive("hq") })
				must(t, err)
				for until := time.Now().Add(20 * time.Second); keepalives(l.a).Returned < sent; time.Sleep(time.Millisecond) {
					if time.Now().After(until) {
						t.Fatalf("keepalive %d never came back: %+v and %+v", sent, keepalives(l.a), keepalives(l.b))
					}
				}
			}
			if a, b := keepalives(l.a), keepalives(l.b); a != (platform.GREKeepalives{Returned: 5}) || b != (platform.GREKeepalives{Answered: 5}) {
				t.Errorf("counted %+v here and %+v there", a, b)
			}
			if got := l.ping(s, 3); got != 3 {
				t.Errorf("%d of 3 pings beside keepalives", got)
			}
			l.wire.noGRE(t, "keepalives")
			// The counts last while the interface does.
			changed := s.linkAt(false)
			changed.TTL = 9
			changed.FWMark = 3
			l.b.setLink(changed)
			if k := keepalives(l.b); k.Answered != 5 {
				t.Errorf("after a change %+v", k)
			}
		})
	}
}

// The filter decides in the kernel; here each packet is put through a socket pair
// that has it.
func TestKeepaliveFilterIsAccepted(t *testing.T) {
	filter := keepaliveFilter()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	must(t, err)
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	must(t, unix.SetsockoptSockFprog(fds[1], unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}))
	// Packets of a unix socket have no protocol, which is type 0: accepted.
	must(t, unix.Send(fds[0], []byte{1}, 0))
	var b [8]byte
	if n, _, err := unix.Recvfrom(fds[1], b[:], unix.MSG_DONTWAIT); n != 1 || err != nil {
		t.Errorf("a packet of protocol type 0: %d octets, %v", n, err)
	}
	if gre.MaxKeepalive < gre.MaxLen {
		t.Error("a keepalive with every field would not be answered")
	}
}

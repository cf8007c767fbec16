package userspace

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"greseal/build/packet"
	"greseal/platform"
	"greseal/platform/gre"
)

func TestPacketFragmentedBeforeEncryptionArrives(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		a, b := twoHosts(t)
		f := form{encap: true, fixGRE: true, gre6: v6}
		f.tunnel(a, b)
		var server *net.UDPConn
		b.must(func() (err error) {
			server, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(inner4(2)+":443")))
			return err
		})
		user := packet.Spec{UDP: true, TTL: 9, Payload: packet.Pattern(1200, 0)}.Build()
		copy(user[12:], []byte{10, 77, 0, 1, 10, 77, 0, 2})
		clear(user[10:12])
		clear(user[26:28]) // no UDP checksum
		binary.BigEndian.PutUint16(user[10:], ^gre.Fold(gre.Sum(user[:20], 0)))
		h := gre.Header{Proto: gre.ProtoIPv4, HasChecksum: true}
		whole := h.Append(nil, user)
		s := f.stranger(a, spiAB)
		for _, part := range [][2]int{{800, len(whole)}, {0, 400}, {400, 800}} {
			more := part[1] < len(whole)
			data := whole[part[0]:part[1]]
			if v6 {
				head := []byte{47, 0, 0, 0, 1, 2, 3, 4}
				binary.BigEndian.PutUint16(head[2:], uint16(part[0]))
				if more {
					head[3] |= 1
				}
				p := []byte{0x60, 0, 0, 0, 0, 0, 44, 64}
				binary.BigEndian.PutUint16(p[4:], uint16(8+len(data)))
				p = append(append(p, f.gre(a).AsSlice()...), f.gre(b).AsSlice()...)
				s.send(t, b.v4, append(append(p, head...), data...), 41)
				continue
			}
			p := inIP4(f.gre(a), f.gre(b), 47, data)
			binary.BigEndian.PutUint16(p[6:], uint16(part[0]/8))
			if more {
				p[6] |= 0x20
			}
			s.send(t, b.v4, p, 4)
		}
		got := make([]byte, 2000)
		_ = server.SetReadDeadline(time.Now().Add(3 * time.Second))
		n, _, err := server.ReadFromUDPAddrPort(got)
		if err != nil || !bytes.Equal(got[:n], packet.Pattern(1200, 0)) {
			t.Errorf("IPv6 %v: %d octets, %v; %+v", v6, n, err, b.counters(false, spiAB))
		}
		server.Close()
		b.wantCounters(spiAB, func(c platform.Counters) bool { return c.Malformed == 0 && c.Packets >= 3 })
	}
}

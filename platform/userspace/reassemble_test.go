package userspace

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"greseal/build/packet"
	"greseal/platform"
	"greseal/platform/gre"
)

func TestPiecesInAnyOrderMakeTheWhole(t *testing.T) {
	var r reassembler
	dev := new(device)
	now := time.Now()
	for seed := range uint64(500) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		want := packet.Pattern(1+rnd.IntN(9000), int(seed))
		var pieces []piece
		for off := 0; off < len(want); {
			n := min(8*(1+rnd.IntN(200)), len(want)-off)
			pieces = append(pieces, piece{id: uint32(seed), off: off, more: off+n < len(want), data: want[off : off+n]})
			off += n
		}
		rnd.Shuffle(len(pieces), func(i, j int) { pieces[i], pieces[j] = pieces[j], pieces[i] })
		for i := range pieces {
			got, ecn := r.add(dev, &pieces[i], uint8(i&2), now)
			if last := i == len(pieces)-1; (got != nil) != last {
				t.Fatalf("seed %d: whole after %d of %d pieces: %v", seed, i+1, len(pieces), got != nil)
			} else if last && (!bytes.Equal(got[reassemblyRoom:], want) || ecn == 1) {
				t.Fatalf("seed %d: %d octets, ECN %d", seed, len(got), ecn)
			}
		}
	}
	if len(r.slots) != 1 {
		t.Errorf("%d buffers for one packet at a time", len(r.slots))
	}
}

func TestPiecesThatContradictAreDropped(t *testing.T) {
	data := packet.Pattern(64, 0)
	now := time.Now()
	for name, pieces := range map[string][]piece{
		"twice the same":        {{off: 0, more: true, data: data}, {off: 0, more: true, data: data}, {off: 64, data: data}},
		"overlap":               {{off: 0, more: true, data: data}, {off: 56, data: data}},
		"overlap before":        {{off: 64, data: data}, {off: 8, more: true, data: data}, {off: 0, more: true, data: data[:8]}},
		"two ends":              {{off: 64, data: data}, {off: 128, data: data}, {off: 0, more: true, data: data}},
		"end before what came":  {{off: 128, more: true, data: data}, {off: 64, data: data}, {off: 0, more: true, data: data}},
		"more behind the end":   {{off: 64, data: data}, {off: 128, more: true, data: data}, {off: 0, more: true, data: data}},
		"another protocol's id": {{off: 0, more: true, data: data}, {v6: true, off: 64, data: data}},
	} {
		var r reassembler
		dev := new(device)
		for i := range pieces {
			if got, _ := r.add(dev, &pieces[i], 0, now); got != nil {
				t.Errorf("%s: made a packet", name)
			}
		}
	}
}

func TestReassemblyIsBoundedAndForgets(t *testing.T) {
	var r reassembler
	dev := new(device)
	now := time.Now()
	data := packet.Pattern(64, 0)
	for id := range uint32(1000) {
		r.add(dev, &piece{id: id, more: true, data: data}, 0, now.Add(time.Duration(id)))
	}
	if len(r.slots) != maxReassemblies {
		t.Errorf("%d buffers", len(r.slots))
	}
	// The newest have stayed.
	if got, _ := r.add(dev, &piece{id: 999, off: 64, data: data}, 0, now); got == nil {
		t.Error("the newest packet was given up")
	}
	if got, _ := r.add(dev, &piece{id: 998, off: 64, data: data}, 0, now.Add(reassemblyTime+time.Second)); got != nil {
		t.Error("an old packet was still waited for")
	}
}

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

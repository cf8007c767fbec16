package userspace

import (
	"encoding/binary"

	"greseal/platform/gre"
	"greseal/platform/userspace/vnet"
)

// What an IPv6 header chain may hold before TCP.
const (
	ip6HopByHop    = 0
	ip6Routing     = 43
	ip6Fragment    = 44
	ip6Destination = 60
)

// mssOf chooses by IP version, less the VLAN tags of a frame whose IP header stands at
// offset at; 0 when nothing is to be clamped.
func mssOf(at int, version uint8, mss4, mss6 uint16) (mss uint16) {
	switch version {
	case 4:
		mss = mss4
	case 6:
		mss = mss6
	}
	if mss != 0 && at > vnet.EtherLen {
		mss -= uint16(at - vnet.EtherLen)
	}
	return mss
}

// tcpOf finds the TCP header of the IP packet at p[at:]: its offset and where the
// packet ends, which in an Ethernet frame may be before the padding. Of a
// fragmented packet only the first fragment has one.
func tcpOf(p []byte, at int, version uint8) (tcp, end int, ok bool) {
	switch version {
	case 4:
		tcp, end = at+int(p[at]&15)*4, at+int(binary.BigEndian.Uint16(p[at+2:]))
		ok = p[at+9] == vnet.ProtoTCP && binary.BigEndian.Uint16(p[at+6:])&0x1fff == 0 && tcp >= at+vnet.IP4Len
	case 6:
		tcp, end = at+vnet.IP6Len, at+vnet.IP6Len+int(binary.BigEndian.Uint16(p[at+4:]))
		next := p[at+6]
		for next != vnet.ProtoTCP {
			if len(p) < tcp+8 {
				return 0, 0, false
			}
			size := int(p[tcp+1])*8 + 8
			switch next {
			case ip6HopByHop, ip6Routing, ip6Destination:
			case ip6Fragment:
				size = 8
				if binary.BigEndian.Uint16(p[tcp+2:])&^7 != 0 {
					return 0, 0, false
				}
			default:
				return 0, 0, false
			}
			next = p[tcp]
			tcp += size
		}
		ok = true
	}
	return tcp, end, ok && end <= len(p) && tcp+vnet.TCPLen <= end
}

// clampMSS lowers the maximum segment size that a SYN at p[at:] announces (RFC
// 9293 section 3.7.1) to mss. With partial the checksum field holds no more than
// the sum of the pseudo-header, which the option is no part of. What is no SYN,
// or announces less, or nothing, stays as it is.
func clampMSS(p []byte, at int, version uint8, mss uint16, partial bool) {
	tcp, end, ok := tcpOf(p, at, version)
	if !ok || p[tcp+13]&(vnet.TcpSYN|vnet.TcpRST) != vnet.TcpSYN {
		return
	}
	options := tcp + vnet.TCPLen
	end = min(end, tcp+int(p[tcp+12]>>4)*4)
	for i := options; i < end; {
		const endOfList, noOperation, maxSegment = 0, 1, 2
		switch p[i] {
		case endOfList:
			return
		case noOperation:
			i++
			continue
		}
		if i+2 > end || p[i+1] < 2 || i+int(p[i+1]) > end {
			return
		}
		if p[i] != maxSegment || p[i+1] != 4 {
			i += int(p[i+1])
			continue
		}
		field := p[i+2 : i+4]
		old := binary.BigEndian.Uint16(field)
		if old <= mss {
			return
		}
		binary.BigEndian.PutUint16(field, mss)
		if partial {
			return
		}
		now := mss
		if (i-tcp)%2 != 0 { // astride two words of the checksum
			old, now = old<<8|old>>8, now<<8|now>>8
		}
		// RFC 1624: HC' = ~(~HC + ~m + m')
		check := p[tcp+16 : tcp+18]
		sum := uint32(^binary.BigEndian.Uint16(check)) + uint32(^old) + uint32(now)
		binary.BigEndian.PutUint16(check, ^gre.Fold(sum))
		return
	}
}

package wire

import (
	"encoding/binary"
	"errors"
	"os"
)

// frame is one captured frame, from its link layer header on.
type frame struct {
	link int
	data []byte
}

// readCapture reads a pcap or pcapng file as far as it goes.
func readCapture(name string) ([]frame, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	if len(b) < 24 {
		return nil, errors.New("too short for a capture")
	}
	switch binary.LittleEndian.Uint32(b) {
	case 0x0a0d0d0a:
		return readPcapng(b), nil
	case 0xa1b2c3d4, 0xa1b23c4d:
		return readPcap(b, binary.LittleEndian), nil
	case 0xd4c3b2a1, 0x4d3cb2a1:
		return readPcap(b, binary.BigEndian), nil
	}
	return nil, errors.New("no capture")
}

func readPcap(b []byte, o binary.ByteOrder) (out []frame) {
	link := int(o.Uint32(b[20:]) & 0xffff)
	for b = b[24:]; len(b) >= 16; {
		n := min(int(o.Uint32(b[8:])), len(b)-16)
		out = append(out, frame{link, b[16 : 16+n]})
		b = b[16+n:]
	}
	return out
}

func readPcapng(b []byte) (out []frame) {
	var o binary.ByteOrder = binary.LittleEndian
	var links []int
	for len(b) >= 12 {
		if binary.LittleEndian.Uint32(b) == 0x0a0d0d0a && binary.BigEndian.Uint32(b[8:]) == 0x1a2b3c4d {
			o = binary.BigEndian
		}
		kind, n := o.Uint32(b), int(o.Uint32(b[4:]))
		if n < 12 || n > len(b) {
			return out
		}
		body := b[8 : n-4]
		switch {
		case kind == 1 && len(body) >= 2:
			links = append(links, int(o.Uint16(body)))
		case kind == 6 && len(body) >= 20:
			i, size := int(o.Uint32(body)), min(int(o.Uint32(body[12:])), len(body)-20)
			if i < len(links) {
				out = append(out, frame{links[i], body[20 : 20+size]})
			}
		}
		b = b[n:]
	}
	return out
}

// ikeDatagram finds the IKE message in a frame: the payload of UDP on port 500,
// or on 4500 behind the non-ESP marker.
func ikeDatagram(f frame) ([]byte, bool) {
	b := f.data
	skip := map[int]int{0: 4, 1: 14, 12: 0, 14: 0, 101: 0, 113: 16, 228: 0, 276: 20}
	n, ok := skip[f.link]
	if !ok || len(b) < n {
		return nil, false
	}
	if f.link == 1 && len(b) > 18 && b[12] == 0x81 && b[13] == 0 {
		n += 4 // IEEE 802.1Q
	}
	if b = b[n:]; len(b) < 20 {
		return nil, false
	}
	switch b[0] >> 4 {
	case 4:
		ihl := int(b[0]&15) * 4
		if b[9] != 17 || len(b) < ihl+8 {
			return nil, false
		}
		b = b[ihl:]
	case 6:
		if len(b) < 48 || b[6] != 17 {
			return nil, false
		}
		b = b[40:]
	default:
		return nil, false
	}
	src, dst := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	switch b = b[8:]; {
	case src == 500 || dst == 500:
		return b, true
	case (src == 4500 || dst == 4500) && len(b) > 4 && binary.BigEndian.Uint32(b) == 0:
		return b[4:], true
	}
	return nil, false
}

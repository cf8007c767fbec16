package labnet

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Kind is what a frame on the wire is, by what an observer can see.
type Kind string

// Kinds of frames.
const (
	GRE       Kind = "GRE"        // IP protocol 47 in clear
	ESP       Kind = "ESP"        // IP protocol 50
	ESPinUDP  Kind = "ESP-in-UDP" // UDP 4500 without the non-ESP marker
	IKE       Kind = "IKE"        // UDP 500, or 4500 with the marker
	Keepalive Kind = "keepalive"  // the one octet of RFC 3948 section 2.3
	Other     Kind = "other"
)

// Packet is one IP packet as captured.
type Packet struct {
	At       time.Time
	Kind     Kind
	Src, Dst netip.Addr
	SrcPort  uint16
	DstPort  uint16
	Payload  []byte // of UDP, ESP or GRE; everything behind the IP header otherwise
	frame    []byte
}

// SPI is the first word of an ESP packet.
func (p Packet) SPI() uint32 {
	if len(p.Payload) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(p.Payload)
}

// Size is the length of the IP packet in bytes.
func (p Packet) Size() int { return len(p.frame) - 14 }

// Wire captures everything that passes one interface, both directions.
type Wire struct {
	lab  *Lab
	name string
	fd   int
	stop chan struct{}
	done chan struct{}

	mu      sync.Mutex
	packets []Packet
	lost    uint64
}

// Capture starts capturing on an interface of the namespace. The packets are
// written to NAME.pcap in the lab's folder at the end.
func (n *NS) Capture(name, ifname string) *Wire {
	w := &Wire{lab: n.lab, name: name, stop: make(chan struct{}), done: make(chan struct{})}
	index := n.LinkIndex(ifname)
	n.Must("capture on "+ifname, func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		w.fd = fd
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20)
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
			return err
		}
		tv := unix.NsecToTimeval(int64(20 * time.Millisecond))
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
			return err
		}
		proto := uint16(unix.ETH_P_ALL)
		return unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: index, Protocol: proto<<8 | proto>>8})
	})
	go w.read()
	n.lab.Defer(w.Close)
	return w
}

func (w *Wire) read() {
	defer close(w.done)
	frame, control := make([]byte, 65600), make([]byte, 256)
	for {
		n, cn, _, _, err := unix.Recvmsg(w.fd, frame, control, 0)
		if err != nil {
			select {
			case <-w.stop:
				return
			default:
				continue // timeout, or the interface went down
			}
		}
		p, ok := classify(frame[:n])
		if !ok {
			continue
		}
		p.At = stamp(control[:cn])
		w.mu.Lock()
		w.packets = append(w.packets, p)
		w.mu.Unlock()
	}
}

// stamp reads the kernel's time of arrival from the control messages.
func stamp(control []byte) time.Time {
	messages, _ := unix.ParseSocketControlMessage(control)
	for _, m := range messages {
		if m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= 8 {
			half := len(m.Data) / 2 // two longs of this machine
			if half == 8 {
				return time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
			}
			return time.Unix(int64(binary.NativeEndian.Uint32(m.Data)), int64(binary.NativeEndian.Uint32(m.Data[4:])))
		}
	}
	return time.Now()
}

// classify takes an Ethernet frame apart as far as an observer can.
func classify(frame []byte) (Packet, bool) {
	if len(frame) < 14 {
		return Packet{}, false
	}
	p := Packet{frame: bytes.Clone(frame), Kind: Other}
	ip := p.frame[14:]
	var proto byte
	var first bool
	switch binary.BigEndian.Uint16(frame[12:]) {
	case 0x0800:
		if len(ip) < 20 || len(ip) < int(ip[0]&15)*4 {
			return p, false
		}
		p.Src, p.Dst = netip.AddrFrom4([4]byte(ip[12:16])), netip.AddrFrom4([4]byte(ip[16:20]))
		proto, first = ip[9], binary.BigEndian.Uint16(ip[6:])&0x1fff == 0
		p.Payload = ip[int(ip[0]&15)*4 : min(len(ip), max(int(binary.BigEndian.Uint16(ip[2:])), int(ip[0]&15)*4))]
	case 0x86dd:
		if len(ip) < 40 {
			return p, false
		}
		p.Src, p.Dst = netip.AddrFrom16([16]byte(ip[8:24])), netip.AddrFrom16([16]byte(ip[24:40]))
		proto, first = ip[6], true
		p.Payload = ip[40:min(len(ip), 40+int(binary.BigEndian.Uint16(ip[4:])))]
		for (proto == 0 || proto == 43 || proto == 44 || proto == 60) && len(p.Payload) >= 8 {
			size := 8
			if proto == 44 {
				first = binary.BigEndian.Uint16(p.Payload[2:])&0xfff8 == 0
			} else {
				size += int(p.Payload[1]) * 8
			}
			proto, p.Payload = p.Payload[0], p.Payload[min(size, len(p.Payload)):]
		}
	default:
		return p, false
	}
	switch {
	case proto == 47:
		p.Kind = GRE
	case proto == 50:
		p.Kind = ESP
	case proto == 17 && first && len(p.Payload) >= 8:
		p.SrcPort, p.DstPort = binary.BigEndian.Uint16(p.Payload), binary.BigEndian.Uint16(p.Payload[2:])
		p.Payload = p.Payload[8:]
		switch {
		case p.SrcPort == 500 || p.DstPort == 500:
			p.Kind = IKE
		case p.SrcPort != 4500 && p.DstPort != 4500:
		case len(p.Payload) == 1 && p.Payload[0] == 0xff:
			p.Kind = Keepalive
		case len(p.Payload) >= 4 && p.SPI() == 0:
			p.Kind = IKE
			p.Payload = p.Payload[4:]
		default:
			p.Kind = ESPinUDP
		}
	}
	return p, true
}

// Packets is everything captured so far.
func (w *Wire) Packets() []Packet {
	time.Sleep(10 * time.Millisecond) // what has passed is in the socket's queue
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Packet(nil), w.packets...)
}

// Count counts packets of a kind, from anybody or from one address.
func (w *Wire) Count(kind Kind, from ...string) int {
	n := 0
	for _, p := range w.Packets() {
		if p.Kind == kind && (len(from) == 0 || p.Src == netip.MustParseAddr(from[0])) {
			n++
		}
	}
	return n
}

// Find counts packets that hold pattern anywhere.
func (w *Wire) Find(pattern []byte) int {
	n := 0
	for _, p := range w.Packets() {
		if bytes.Contains(p.frame, pattern) {
			n++
		}
	}
	return n
}

// Summary counts every kind, for messages.
func (w *Wire) Summary() string {
	count := map[Kind]int{}
	for _, p := range w.Packets() {
		count[p.Kind]++
	}
	return fmt.Sprintf("%d ESP, %d ESP-in-UDP, %d IKE, %d keepalives, %d clear GRE, %d other",
		count[ESP], count[ESPinUDP], count[IKE], count[Keepalive], count[GRE], count[Other])
}

// MustBeSealed fails the scenario when protocol 47 or a ping's payload was
// seen in clear, when the capture lost packets, or when nothing was protected.
func (w *Wire) MustBeSealed() {
	w.MustHideGRE()
	count := w.Count(ESP) + w.Count(ESPinUDP)
	w.lab.Check(count > 0, "the wire shows no ESP at all: %s", w.Summary())
}

// MustHideGRE is MustBeSealed for scenarios in which no SA ever stands.
func (w *Wire) MustHideGRE() {
	w.lab.Check(w.Count(GRE) == 0, "protocol 47 in clear on the wire: %s", w.Summary())
	found := w.Find(PingPayload)
	w.lab.Check(found == 0, "the payload of a ping stands in clear in %d packets: %s", found, w.Summary())
	w.lab.Check(w.dropped() == 0, "the capture lost %d packets", w.lost)
	w.lab.Logf("wire %s: %s", w.name, w.Summary())
}

func (w *Wire) dropped() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if stats, err := unix.GetsockoptTpacketStats(w.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
		w.lost += uint64(stats.Drops)
	}
	return w.lost
}

// IKETime is the time from the first IKE_SA_INIT request to the last IKE_AUTH
// response, as seen on the wire; false when they are not there.
func (w *Wire) IKETime() (time.Duration, bool) {
	const saInit, auth = 34, 35
	var first, last time.Time
	for _, p := range w.Packets() {
		if p.Kind != IKE || len(p.Payload) < 28 {
			continue
		}
		response := p.Payload[19]&0x20 != 0
		switch {
		case p.Payload[18] == saInit && !response && first.IsZero():
			first = p.At
		case p.Payload[18] == auth && response:
			last = p.At
		}
	}
	return last.Sub(first), !first.IsZero() && !last.IsZero()
}

// Exchanges counts requests of an IKE exchange type (34 IKE_SA_INIT, 35
// IKE_AUTH, 36 CREATE_CHILD_SA, 37 INFORMATIONAL) sent by an address.
func (w *Wire) Exchanges(kind byte, from string) int {
	n := 0
	for _, p := range w.Packets() {
		if p.Kind == IKE && len(p.Payload) >= 28 && p.Payload[18] == kind && p.Payload[19]&0x20 == 0 && p.Src == netip.MustParseAddr(from) {
			n++
		}
	}
	return n
}

// Close ends the capture and writes it out.
func (w *Wire) Close() {
	select {
	case <-w.stop:
		return
	default:
	}
	close(w.stop)
	<-w.done
	unix.Close(w.fd)
	var b bytes.Buffer
	header := []uint32{0xa1b23c4d, 2 | 4<<16, 0, 0, 65600, 1} // nanosecond pcap, Ethernet
	binary.Write(&b, binary.LittleEndian, header)
	for _, p := range w.packets {
		binary.Write(&b, binary.LittleEndian, []uint32{uint32(p.At.Unix()), uint32(p.At.Nanosecond()), uint32(len(p.frame)), uint32(len(p.frame))})
		b.Write(p.frame)
	}
	os.WriteFile(filepath.Join(w.lab.Dir, w.name+".pcap"), b.Bytes(), 0o644)
}

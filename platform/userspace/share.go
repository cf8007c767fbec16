package userspace

import (
	"fmt"

	"golang.org/x/sys/unix"

	"greseal/platform/inet"
	"greseal/platform/userspace/vnet"
)

// Several ingress workers share the NAT port, and IP protocol 50, by the peer's
// address and port: all that a peer sends reaches one worker, in order and in
// the runs the kernel has made of it, and peers are spread over the workers. So
// each worker has sockets of its own, between which a filter chooses. When a
// peer's address or port changes another worker may get the packets of its SAs;
// the device's lock makes that safe.

// Offsets from the IP header in a filter's load instruction.
const fromIP = -0x100000 // SKF_NET_OFF of linux/filter.h

// peerHash loads what the workers are chosen by, modulo n, into the filter's
// accumulator: the last 32 bits of the source address, and for UDP the port.
func peerHash(v6, udp bool, n int) []unix.SockFilter {
	addr, port := fromIP+12, fromIP+vnet.IP4Len
	if v6 {
		addr, port = fromIP+20, fromIP+vnet.IP6Len
	}
	f := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: uint32(addr)}}
	if udp {
		f = append(f,
			unix.SockFilter{Code: unix.BPF_MISC | unix.BPF_TAX},
			unix.SockFilter{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: uint32(port)},
			unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_ADD | unix.BPF_X})
	}
	return append(f, unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_MOD | unix.BPF_K, K: uint32(n)})
}

// shareUDP gives each ingress worker but the first a socket on the port of the
// first one's. That one was bound without SO_REUSEPORT, so that a second daemon
// was refused; only then may others join it.
func (d *Datapath) shareUDP(first *outSocket, port uint16) error {
	n := len(d.ingress)
	if n == 1 {
		return nil
	}
	if err := unix.SetsockoptInt(first.fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return err
	}
	for _, w := range d.ingress[1:] {
		fd, err := twin(first.v6, port)
		if err != nil {
			return err
		}
		s := d.udpSocket(fd, first.v6)
		d.sockets = append(d.sockets, boundSocket{s, inOne, true})
		if err := w.addSocket(s); err != nil {
			return err
		}
	}
	return inet.Filter(first.fd, unix.SO_ATTACH_REUSEPORT_CBPF,
		append(peerHash(first.v6, true, n), unix.SockFilter{Code: unix.BPF_RET | unix.BPF_A})...)
}

// twin opens one more socket like ikesock's on the NAT port, to receive.
func twin(v6 bool, port uint16) (fd int, err error) {
	ip := inet.V(v6)
	options := [][3]int{{ip.Level, ip.PacketInfo, 1}, {unix.SOL_SOCKET, unix.SO_REUSEPORT, 1}}
	if v6 {
		options = append(options, [3]int{ip.Level, unix.IPV6_V6ONLY, 1})
	}
	return openSocket(v6, unix.SOCK_DGRAM, 0, func(fd int) error { return unix.Bind(fd, ip.Wildcard(port)) }, options...)
}

// shareRaw gives each ingress worker a raw ESP socket; every one gets a copy of
// each packet, and a filter keeps those that are the worker's.
func (d *Datapath) shareRaw(first *outSocket) error {
	n := len(d.ingress)
	for i, w := range d.ingress {
		s := first
		if i > 0 {
			var err error
			if s, err = d.rawSocket(first.v6, inOne); err != nil {
				return err
			}
			d.sockets = append(d.sockets, boundSocket{s, inOne, true})
		}
		if n > 1 {
			f := append(peerHash(first.v6, false, n),
				unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(i), Jf: 1},
				unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 18}, // bytes
				unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K})
			if err := inet.Filter(s.fd, unix.SO_ATTACH_FILTER, f...); err != nil {
				return fmt.Errorf("raw ESP socket: %w", err)
			}
		}
		if err := w.addSocket(s); err != nil {
			return err
		}
	}
	return nil
}

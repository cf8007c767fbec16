package labnet

import (
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Slow puts a long line into the path between the router and B: every packet
// takes that long from one end to the other, either way, and none overtakes
// another. It is a namespace of its own that carries whole frames, for kernels
// without netem. What is captured at the router is before the line.
func (p *Pair) Slow(l *Lab, delay time.Duration) {
	line := l.NewNS("line")
	p.Router.MustRun("ip", "link", "del", "to-b")
	l.Veth(p.B, "wan", line, "b")
	l.Veth(p.Router, "to-b", line, "router")
	p.Router.Addr("to-b", RouterB+"/24")
	p.B.Addr("wan", AddrB+"/24")
	p.B.Route("", RouterB, "wan")
	ends := [2]int{line.frames("b"), line.frames("router")}
	stop := make(chan struct{})
	var wait sync.WaitGroup
	for i := range ends {
		wait.Go(func() { carry(ends[i], ends[1-i], delay, stop) })
	}
	l.Defer(func() {
		close(stop)
		wait.Wait()
		unix.Close(ends[0])
		unix.Close(ends[1])
	})
	p.A.MustRun("ping", "-n", "-c", "1", "-W", "5", AddrB) // not one of those that must be sealed
}

// frames opens a socket that receives what comes in on an interface and sends
// out of it.
func (n *NS) frames(ifname string) (fd int) {
	index := n.LinkIndex(ifname)
	n.Must("take frames of "+ifname, func() (err error) {
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		tv := unix.NsecToTimeval(int64(20 * time.Millisecond))
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
			return err
		}
		// With the header that says what is still to be done to a packet (a
		// checksum, segments), so that it is done at the other end.
		for _, option := range []int{unix.PACKET_IGNORE_OUTGOING, unix.PACKET_VNET_HDR} {
			if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, option, 1); err != nil {
				return err
			}
		}
		proto := uint16(unix.ETH_P_ALL)
		return unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: index, Protocol: proto<<8 | proto>>8})
	})
	return fd
}

// carry takes frames from one socket to the other, each after the delay.
func carry(from, to int, delay time.Duration, stop chan struct{}) {
	type frame struct {
		due  time.Time
		data []byte
	}
	way := make(chan frame, 4096)
	go func() {
		defer close(way)
		runtime.LockOSThread() // blocks in recvfrom most of the time
		buffer := make([]byte, 65536)
		for {
			select {
			case <-stop:
				return
			default:
			}
			n, _, err := unix.Recvfrom(from, buffer, 0)
			if err != nil {
				continue
			}
			select {
			case way <- frame{time.Now().Add(delay), append([]byte(nil), buffer[:n]...)}:
			default: // a line has an end to what it holds
			}
		}
	}()
	for f := range way {
		time.Sleep(time.Until(f.due))
		_, _ = unix.Write(to, f.data) // the interface may be down by now
	}
}

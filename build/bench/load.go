package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The load of small packets: `bench load -to ADDRESS` sends datagrams of 64
// bytes, 64 with a system call, as fast as it can or at a rate; `bench load
// -listen` counts them and prints how many came in how many seconds, from the
// first to the last. iperf3 needs a system call for each and measures itself.

const (
	loadCommand = "load"
	loadPort    = 5009
	loadSize    = 64
	loadBatch   = 64
)

type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// messages are loadBatch buffers for sendmmsg and recvmmsg.
func messages(size int) []mmsghdr {
	m := make([]mmsghdr, loadBatch)
	for i := range m {
		b := make([]byte, size)
		iov := &unix.Iovec{Base: &b[0]}
		iov.SetLen(size)
		m[i].hdr.Iov = iov
		m[i].hdr.SetIovlen(1)
	}
	return m
}

func load(args []string) {
	flags := flag.NewFlagSet(loadCommand, flag.ExitOnError)
	listen := flags.Bool("listen", false, "receive")
	to := flags.String("to", "", "IPv4 address to send to")
	rate := flags.Int("rate", 0, "packets a second, 0 for as many as possible")
	length := flags.Duration("time", time.Second, "how long")
	_ = flags.Parse(args)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err == nil && *listen {
		err = receive(fd)
	} else if err == nil {
		var a [4]byte
		_, err = fmt.Sscanf(*to, "%d.%d.%d.%d", &a[0], &a[1], &a[2], &a[3])
		if err == nil {
			err = unix.Connect(fd, &unix.SockaddrInet4{Port: loadPort, Addr: a})
		}
		if err == nil {
			err = send(fd, *rate, *length)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func send(fd, rate int, length time.Duration) error {
	m := messages(loadSize)
	begin, sent := time.Now(), 0
	for time.Since(begin) < length {
		n := len(m)
		if rate > 0 { // in portions of a millisecond at most
			due := int(time.Since(begin).Seconds()*float64(rate)) - sent
			if n = min(n, due); n <= 0 {
				time.Sleep(200 * time.Microsecond)
				continue
			}
		}
		done, _, e := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&m[0])), uintptr(n), 0, 0, 0)
		switch e {
		case 0:
			sent += int(done)
		case unix.EINTR, unix.ENOBUFS, unix.ECONNREFUSED, unix.EAGAIN:
		default:
			return e
		}
	}
	fmt.Println(sent)
	return nil
}

// receive counts until nothing has come for half a second.
func receive(fd int) error {
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: loadPort}); err != nil {
		return err
	}
	fmt.Println("ready")
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}); err != nil {
		return err
	}
	m := messages(2048)
	var first, last time.Time
	count, wrong := 0, 0
	for {
		n, _, e := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), unix.MSG_WAITFORONE, 0, 0)
		if e == unix.EINTR {
			continue
		}
		if e != 0 {
			break
		}
		last = time.Now()
		if count == 0 {
			first = last
			_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 500000})
		}
		count += int(n)
		for i := range int(n) {
			b := unsafe.Slice(m[i].hdr.Iov.Base, loadSize)
			if m[i].n != loadSize || binary.BigEndian.Uint64(b) != 0 {
				wrong++
			}
		}
	}
	fmt.Printf("%d %f %d\n", count, last.Sub(first).Seconds(), wrong)
	return nil
}

package labnet

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"time"
)

// Transfer sends size bytes by TCP from n to an address of to, and has an error
// unless exactly these arrive within the time.
func (n *NS) Transfer(to *NS, address string, size int, within time.Duration) error {
	deadline := time.Now().Add(within)
	var listener net.Listener
	if err := to.Do(func() (err error) {
		listener, err = net.Listen("tcp", net.JoinHostPort(address, "0"))
		return err
	}); err != nil {
		return err
	}
	defer listener.Close()
	listener.(*net.TCPListener).SetDeadline(deadline)
	data := make([]byte, size)
	for i, x := 0, uint32(size); i < size; i++ {
		x = x*1664525 + 1013904223
		data[i] = byte(x >> 24)
	}
	got := make(chan error, 1)
	go func() {
		c, err := listener.Accept()
		if err != nil {
			got <- err
			return
		}
		defer c.Close()
		c.SetDeadline(deadline)
		all, err := io.ReadAll(c)
		if err == nil && !bytes.Equal(all, data) {
			err = fmt.Errorf("%d bytes arrived of %d, or others", len(all), size)
		}
		got <- err
	}()
	var socket *net.TCPConn
	if err := n.Do(func() error {
		// Connected on this thread, which is what the namespace hangs on.
		c, err := (&net.Dialer{Deadline: deadline}).Dial("tcp", listener.Addr().String())
		if err == nil {
			socket = c.(*net.TCPConn)
		}
		return err
	}); err != nil {
		return err
	}
	defer socket.Close()
	socket.SetDeadline(deadline)
	if _, err := socket.Write(data); err != nil {
		return err
	}
	if err := socket.CloseWrite(); err != nil {
		return err
	}
	return <-got
}

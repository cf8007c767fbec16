package ping

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
)

// The kernel answers on the loopback interface.
func TestOwnAnswersAlone(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	for _, to := range []string{"127.0.0.1", "::1"} {
		var sockets [2]*Socket
		for i := range sockets {
			s, err := Open(netip.MustParseAddr(to), netip.Addr{}, "lo")
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			sockets[i] = s
		}
		s := sockets[0]
		for _, payload := range [][]byte{nil, []byte("odd"), bytes.Repeat([]byte{7}, 1000)} {
			seq, err := s.Send(payload)
			if err != nil {
				t.Fatalf("%s: %v", to, err)
			}
			got, back, err := s.Receive(time.Time{})
			if err != nil || got != seq || !bytes.Equal(back, payload) {
				t.Errorf("%s: request %d came back as %d with %d bytes, %v", to, seq, got, len(back), err)
			}
		}
		if _, _, err := sockets[1].Receive(time.Now().Add(20 * time.Millisecond)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: answers to another socket: %v", to, err)
		}
		s.Close()
		if _, _, err := s.Receive(time.Time{}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: after Close: %v", to, err)
		}
	}
}

func TestOpenSaysWhatTheKernelRefuses(t *testing.T) {
	if s, err := Open(netip.MustParseAddr("127.0.0.1"), netip.Addr{}, "nosuchif"); err == nil {
		s.Close()
		t.Error("a socket on an interface that is not there")
	}
}

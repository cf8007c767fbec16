package userspace

import (
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"greseal/build/packet"
	"greseal/platform/gre"
)

// slowTUN is a kernel that takes its time to open a TUN.
type slowTUN struct {
	linux
	slow atomic.Bool
}

func (k *slowTUN) openTUN(name string, ethernet, header bool) (int, error) {
	if k.slow.Load() {
		time.Sleep(100 * time.Millisecond)
	}
	return k.linux.openTUN(name, ethernet, header)
}

// TestNothingIsWrittenToAnotherDescriptor replaces and removes a device while
// packets come in for it, and another part of the program opens files all the
// time: none of them may get a packet when it is given the device's number.
func TestNothingIsWrittenToAnotherDescriptor(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(t *testing.T, f *form, a, b *host)
	}{
		{"deleted by somebody and made again", func(t *testing.T, f *form, a, b *host) {
			b.must(func() error {
				l, err := netlink.LinkByName(ifName)
				if err != nil {
					return err
				}
				return netlink.LinkDel(l)
			})
			f.makeLink(b, a)
		}},
		{"changed to Ethernet", func(t *testing.T, f *form, a, b *host) {
			f.link.Ethernet = true
			f.makeLink(b, a)
		}},
		{"deleted", func(t *testing.T, f *form, a, b *host) {
			b.must(func() error { return b.dp.DeleteLink(ifName) })
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := twoHosts(t)
			f := form{encap: true}
			a.start(Options{})
			k := new(slowTUN)
			b.must(func() (err error) { b.dp, err = open(Options{}, k); return err })
			t.Cleanup(b.stop)
			f.links(a, b)
			k.slow.Store(true)

			s := f.stranger(a, spiAB)
			h := gre.Header{Proto: gre.ProtoIPv4}
			packet := inIP4(a.v4, b.v4, 47, h.Append(nil, packet.Spec{UDP: true, TTL: 9, Payload: packet.Pattern(30, 0)}.Build()))
			stop, sent := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(sent)
				for {
					select {
					case <-stop:
						return
					default:
						s.send(t, b.v4, packet, 4)
						time.Sleep(100 * time.Microsecond)
					}
				}
			}()
			number := b.dp.devices[ifName].FD
			name := filepath.Join(t.TempDir(), "another file")
			opened := make(chan *os.File, 1)
			go func() { opened <- squat(t, name, number) }()

			time.Sleep(20 * time.Millisecond)
			c.change(t, &f, a, b)
			file := <-opened
			time.Sleep(50 * time.Millisecond)
			close(stop)
			<-sent
			if file == nil {
				t.Fatal("nobody got the number, the test proves nothing")
			}
			defer file.Close()
			if data, err := os.ReadFile(name); err != nil || len(data) > 0 {
				t.Errorf("%d octets of decrypted packets were written into another file (%v)", len(data), err)
			}
		})
	}
}

// squat opens a file again and again until it is given a descriptor's number.
func squat(t *testing.T, name string, number int) *os.File {
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); runtime.Gosched() {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Error(err)
			return nil
		}
		if int(f.Fd()) == number {
			return f
		}
		f.Close()
	}
	return nil
}

package labnet

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Wire captures everything that passes one interface, both directions.
//
// It reads a ring (PACKET_RX_RING), because only then does the kernel copy a
// frame at the moment it passes. A plain packet socket queues a reference, and
// in a network of namespaces the receiver's kernel may decrypt ESP in place in
// the very pages that reference points to: the capture would show as clear
// what never was.
type Wire struct {
	lab   *Lab
	name  string
	fd    int
	mark  int // socket that sends markers
	ring  []byte
	stop  int // a pipe's end: the capture ends when it is closed
	ended int // the pipe's other end
	once  sync.Once
	done  chan struct{}

	mu      sync.Mutex
	packets []Packet
	lost    uint32
	marked  uint64 // number of the latest marker seen
	marker  uint64 // number of the latest sent
	watch   func(Packet)
}

// The ring: blocks are handed over when full or after blockTimeout.
const (
	blockSize    = 128 << 10
	mostBlocks   = 96
	fewBlocks    = 8 // on a router's 64 MB
	blockTimeout = 5 // ms

	// markerType is the EtherType of markers: one for local experiments.
	markerType = 0x88b5
)

// blocks is how many of them this machine can spare.
func blocks() int {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil && uint64(info.Totalram)*uint64(info.Unit) < 256<<20 {
		return fewBlocks
	}
	return mostBlocks
}

// Capture starts capturing on an interface of the namespace. The packets are
// written to NAME.pcap in the lab's folder at the end.
func (n *NS) Capture(name, ifname string) *Wire {
	w := &Wire{lab: n.lab, name: name, done: make(chan struct{})}
	var ends [2]int
	n.lab.Must(unix.Pipe2(ends[:], unix.O_CLOEXEC), "make a pipe")
	w.ended, w.stop = ends[0], ends[1]
	index := n.LinkIndex(ifname)
	n.Must("capture on "+ifname, func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		w.fd = fd
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
			return err
		}
		const frame = 2048 // only a unit of counting in version 3
		n := blocks()
		if err := unix.SetsockoptTpacketReq3(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &unix.TpacketReq3{
			Block_size: blockSize, Block_nr: uint32(n), Frame_size: frame, Frame_nr: blockSize / frame * uint32(n), Retire_blk_tov: blockTimeout}); err != nil {
			return err
		}
		if w.ring, err = unix.Mmap(fd, 0, blockSize*n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
			return err
		}
		if w.mark, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if err := unix.Bind(w.mark, &unix.SockaddrLinklayer{Ifindex: index}); err != nil {
			return err
		}
		proto := uint16(unix.ETH_P_ALL)
		return unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: index, Protocol: proto<<8 | proto>>8})
	})
	go w.read()
	n.lab.Defer(w.Close)
	return w
}

// read takes over block after block until the capture is stopped and the ring
// is empty.
func (w *Wire) read() {
	defer close(w.done)
	for i := 0; ; i = (i + 1) % (len(w.ring) / blockSize) {
		block := w.ring[i*blockSize : (i+1)*blockSize]
		status := (*uint32)(unsafe.Pointer(&block[8])) // struct tpacket_block_desc
		for atomic.LoadUint32(status)&unix.TP_STATUS_USER == 0 {
			fds := []unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}, {Fd: int32(w.ended)}}
			unix.Poll(fds, -1)
			if fds[0].Revents&unix.POLLERR != 0 { // the interface went down, say
				unix.GetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_ERROR) // takes the error
			}
			if fds[1].Revents != 0 && fds[0].Revents&unix.POLLIN == 0 {
				return
			}
		}
		w.take(block)
		atomic.StoreUint32(status, unix.TP_STATUS_KERNEL)
	}
}

// take reads the frames of one block: a struct tpacket3_hdr each.
func (w *Wire) take(block []byte) {
	word := func(b []byte) uint32 { return binary.NativeEndian.Uint32(b) }
	count, offset := word(block[12:]), word(block[16:])
	w.mu.Lock()
	defer w.mu.Unlock()
	for range count {
		header := block[offset:]
		size, mac := word(header[12:]), uint32(binary.NativeEndian.Uint16(header[24:]))
		frame := header[mac : mac+size]
		if len(frame) >= 22 && binary.BigEndian.Uint16(frame[12:]) == markerType {
			w.marked = max(w.marked, binary.BigEndian.Uint64(frame[14:]))
		} else if p, ok := classify(frame); ok {
			p.At = time.Unix(int64(word(header[4:])), int64(word(header[8:])))
			w.packets = append(w.packets, p)
			if w.watch != nil {
				w.watch(p)
			}
		}
		offset += word(header)
	}
}

// Watch has f called with every packet from now on, a few milliseconds after it
// passed. f must not block, and not ask the Wire.
func (w *Wire) Watch(f func(Packet)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.watch = f
}

// settle waits until what has passed is in packets: until a frame of our own,
// sent behind it, has come through the ring. A short time goes by before, for
// packets that are between two interfaces.
func (w *Wire) settle() {
	time.Sleep(w.lab.Stretch(10 * time.Millisecond))
	w.mu.Lock()
	w.marker++
	number := w.marker
	w.mu.Unlock()
	frame := []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2} // to and from nobody
	frame = binary.BigEndian.AppendUint16(frame, markerType)
	frame = binary.BigEndian.AppendUint64(frame, number)
	frame = append(frame, make([]byte, 38)...) // 60 in all, as Ethernet has it at least
	if _, err := unix.Write(w.mark, frame); err != nil {
		time.Sleep(100 * time.Millisecond) // the interface is down
		return
	}
	for range 1000 {
		w.mu.Lock()
		seen := w.marked >= number
		w.mu.Unlock()
		if seen {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
	w.lab.Logf("wire %s: the marker did not come through", w.name)
}

// Packets is everything captured so far.
func (w *Wire) Packets() []Packet {
	w.settle()
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Packet(nil), w.packets...)
}

// dropped is how many packets the kernel could not put into the ring.
func (w *Wire) dropped() uint32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if stats, err := unix.GetsockoptTpacketStatsV3(w.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
		w.lost += stats.Drops
	}
	return w.lost
}

// Close ends the capture and writes it out.
func (w *Wire) Close() {
	w.once.Do(w.close)
}

func (w *Wire) close() {
	w.settle()
	unix.Close(w.stop)
	<-w.done
	unix.Munmap(w.ring)
	for _, fd := range []int{w.fd, w.mark, w.ended} {
		unix.Close(fd)
	}
	var b bytes.Buffer
	binary.Write(&b, binary.LittleEndian, []uint32{0xa1b23c4d, 2 | 4<<16, 0, 0, 65600, 1}) // pcap with nanoseconds, Ethernet
	for _, p := range w.packets {
		binary.Write(&b, binary.LittleEndian, []uint32{uint32(p.At.Unix()), uint32(p.At.Nanosecond()), uint32(len(p.frame)), uint32(len(p.frame))})
		b.Write(p.frame)
	}
	os.WriteFile(filepath.Join(w.lab.Dir, w.name+".pcap"), b.Bytes(), 0o644)
}

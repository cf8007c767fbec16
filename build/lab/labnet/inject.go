package labnet

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"greseal/crypto/esp"
	"greseal/crypto/suite"
)

// Insider seals with the keys of a kernel's outbound SA what the kernel itself never
// would: a peer that is honest up to IKE and no further.
type Insider struct {
	ns       *NS
	src, dst netip.Addr
	sealer   *esp.Sealer
	seq      uint64
	last     []byte // packet
}

var (
	flagESN    = regexp.MustCompile(`flag [^\n]*esn`)
	outboundSA = regexp.MustCompile(`proto esp spi 0x([0-9a-f]+) [^\n]*\n(?:[^\n]*\n)*?\s*aead rfc4106\(gcm\(aes\)\) 0x([0-9a-f]+) 128`)
)

// Insider takes the newest SA from src to dst, which must be of AES-GCM.
func (n *NS) Insider(src, dst string) *Insider {
	var found []string
	esn := false
	for _, state := range regexp.MustCompile(`(?m)^src `).Split(n.MustRun("ip", "xfrm", "state"), -1) {
		if strings.HasPrefix(state, src+" dst "+dst+"\n") {
			if m := outboundSA.FindStringSubmatch(state); m != nil && found == nil { // the newest comes first
				found, esn = m, flagESN.MatchString(state)
			}
		}
	}
	n.lab.Check(found != nil, "no SA of AES-GCM from %s to %s", src, dst)
	spi, err := hex.DecodeString(strings.Repeat("0", 8-len(found[1])) + found[1])
	n.lab.Must(err, "read an SPI")
	key, err := hex.DecodeString(found[2])
	n.lab.Must(err, "read a key")
	sealer, err := esp.NewSealer(esp.Params{
		SPI: binary.BigEndian.Uint32(spi), Key: key, ESN: esn,
		Encr: suite.Transform{Type: suite.TypeEncr, ID: suite.ENCR_AES_GCM_16, KeyLen: uint16(len(key)-4) * 8},
	}, rand.Reader)
	n.lab.Must(err, "seal with the SA's key")
	return &Insider{ns: n, src: netip.MustParseAddr(src), dst: netip.MustParseAddr(dst), sealer: sealer, seq: 1000}
}

// Send puts one payload into the SA, with a next header of its own.
func (i *Insider) Send(next uint8, payload []byte) {
	i.last = i.seal(next, payload)
	i.send(i.last)
}

// Again sends the same packet again.
func (i *Insider) Again() { i.send(i.last) }

// Forge sends a packet whose ICV is wrong.
func (i *Insider) Forge() {
	packet := i.seal(47, Echo())
	packet[len(packet)-1] ^= 1
	i.send(packet)
}

func (i *Insider) seal(next uint8, payload []byte) []byte {
	b := make([]byte, i.sealer.PacketLen(len(payload)))
	copy(b[i.sealer.Headroom():], payload)
	i.seq++
	size, err := i.sealer.Seal(b, len(payload), next, i.seq)
	i.ns.lab.Must(err, "seal a packet")
	return b[:size]
}

func (i *Insider) send(packet []byte) {
	i.ns.Must("send a packet of ESP", func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ESP)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: i.src.As4()}); err != nil {
			return err
		}
		return unix.Sendto(fd, packet, 0, &unix.SockaddrInet4{Addr: i.dst.As4()})
	})
}

// IPv4 puts a header before a payload.
func IPv4(src, dst string, proto uint8, payload []byte) []byte {
	b := make([]byte, 20, 20+len(payload))
	b[0], b[8], b[9] = 0x45, 64, proto
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(payload)))
	from, to := netip.MustParseAddr(src).As4(), netip.MustParseAddr(dst).As4()
	copy(b[12:], from[:])
	copy(b[16:], to[:])
	binary.BigEndian.PutUint16(b[10:], checksum(b))
	return append(b, payload...)
}

// Echo is an ICMP echo request.
func Echo() []byte {
	b := append([]byte{8, 0, 0, 0, 0, 7, 0, 1}, PingPayload...)
	binary.BigEndian.PutUint16(b[2:], checksum(b))
	return b
}

// SYN opens a TCP connection to port 80.
func SYN(src, dst string) []byte {
	b := []byte{0x30, 0x39, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0}
	pseudo := append(netip.MustParseAddr(src).AsSlice(), netip.MustParseAddr(dst).AsSlice()...)
	pseudo = append(append(pseudo, 0, unix.IPPROTO_TCP, 0, byte(len(b))), b...)
	binary.BigEndian.PutUint16(b[16:], checksum(pseudo))
	return b
}

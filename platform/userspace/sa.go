package userspace

import (
	"encoding/binary"
	"math"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"greseal/crypto/esp"
	"greseal/platform"
	"greseal/platform/gre"
	"greseal/platform/userspace/oversize"
	"greseal/platform/userspace/vnet"
)

// inSA is one inbound SA. What stands behind the first block is behind the lock
// of its device.
type inSA struct {
	spi uint32
	dev atomic.Pointer[device]
	// The inner header must be from GRERemote to GRELocal (contract 16). Remote is
	// where the peer is taken to be, behind the lock.
	esp.ChildSA

	opener  *esp.Opener
	window  *esp.Window
	mapped  netip.AddrPort // the other address that was reported, if any
	watch   bool
	started bool // a first packet has come
	limits  limits
	dead    bool // by its hard limit, or removed
	count   platform.Counters
}

// lock locks the SA's device and returns it.
func (sa *inSA) lock() *device {
	for {
		d := sa.dev.Load()
		d.mu.Lock()
		if sa.dev.Load() == d {
			return d
		}
		d.mu.Unlock() // its successor has the SA now
	}
}

// with calls f with the SA's device locked.
func (sa *inSA) with(f func()) {
	d := sa.lock()
	f()
	d.mu.Unlock()
}

// outSA is one outbound SA. The egress worker of its device owns everything
// behind the first block.
type outSA struct {
	spi   uint32
	link  string
	dev   *device
	route atomic.Pointer[route]
	sa    esp.ChildSA // to make routes from

	sealer *esp.Sealer
	low    bool // SequenceLow was raised
	limits limits
	dead   atomic.Bool // by its hard limit or its sequence numbers' end
	count  platform.Counters

	// Of the ingress worker that reads ICMP: the MTU told last, and when.
	told   int
	toldAt time.Time
}

// limits are an SA's lifetime in bytes and packets, 0 for none.
type limits struct {
	softBytes, hardBytes     uint64
	softPackets, hardPackets uint64
	softDone                 bool
}

func limitsOf(sa *platform.SA) limits {
	return limits{softBytes: sa.SoftBytes, hardBytes: sa.HardBytes, softPackets: sa.SoftPackets, hardPackets: sa.HardPackets}
}

// soft reports once that a soft limit is reached.
func (l *limits) soft(c *platform.Counters) bool {
	if l.softDone || !(l.softPackets != 0 && c.Packets >= l.softPackets || l.softBytes != 0 && c.Bytes >= l.softBytes) {
		return false
	}
	l.softDone = true
	return true
}

// hard reports that a hard limit is reached. Like the kernel's, a byte limit
// lets the packet that crosses it pass.
func (l *limits) hard(c *platform.Counters) bool {
	return l.hardPackets != 0 && c.Packets >= l.hardPackets || l.hardBytes != 0 && c.Bytes >= l.hardBytes
}

// left is how many packets more may pass.
func (l *limits) left(c *platform.Counters) uint64 {
	switch {
	case l.hard(c):
		return 0
	case l.hardPackets != 0:
		return l.hardPackets - c.Packets
	}
	return math.MaxUint64
}

// lowSequence is how many sequence numbers are left when SequenceLow is
// raised: a quarter of the 32-bit space, three quarters of an hour at 400,000
// packets a second.
const lowSequence = 1 << 30

// route is how the packets of an outbound SA look outside of their payload:
// recreated when SA or link change, never changed itself but for noGSO, which
// its worker learns.
type route struct {
	sock    *outSocket
	name    [28]byte // struct sockaddr_in or sockaddr_in6
	nameLen uint32
	ctl     [96]byte // control messages of every packet: source address, mark, TTL
	ctlLen  int
	noGSO   atomic.Bool // this path refuses UDP segmentation

	next   uint8    // ESP's next header: 47, or 4 or 41 in tunnel mode
	ip     [40]byte // the inner IP header of tunnel mode
	ipLen  int      // 0 in transport mode
	ipSum  uint32   // of an IPv4 one without what changes
	df     bool
	gre    gre.Header
	greLen int
	prefix int // ipLen and greLen

	limit int            // bytes of the largest packet from the device that fits
	wide  *route         // the same in outer fragments, where IPv6's least is more
	cut   *oversize.Cut6 // of a wide one over IPv6

	greLocal, greRemote netip.Addr

	ttl        uint8 // of the inner header, 0 inherits
	tos        uint8
	tosInherit bool
	ethernet   bool
	mss4, mss6 uint16 // 0: not clamped
}

// innerHeader fills in the template of tunnel mode.
func (r *route) innerHeader(sa *esp.ChildSA, link *platform.Link) {
	r.ttl, r.tos, r.tosInherit, r.ethernet = link.TTL, link.TOS, link.TOSInherit, link.Ethernet
	r.df = !link.IgnoreDF
	r.mss4, r.mss6 = link.MSS4, link.MSS6
	r.gre = gre.Header{
		Key: link.Key, HasKey: link.HasKey,
		HasSequence: link.Sequence, HasChecksum: link.Checksum,
	}
	r.greLen = r.gre.Len()
	r.greLocal, r.greRemote = sa.GRELocal, sa.GRERemote
	switch {
	case sa.Transport:
		r.next = esp.NextGRE
	case sa.GRELocal.Is4():
		r.next, r.ipLen = esp.NextIPv4, vnet.IP4Len
		r.ip[0], r.ip[9] = 0x45, gre.IPProtocol
		if r.df {
			r.ip[6] = 0x40
		}
		src, dst := sa.GRELocal.As4(), sa.GRERemote.As4()
		copy(r.ip[12:], src[:])
		copy(r.ip[16:], dst[:])
		r.ipSum = gre.Sum(r.ip[:vnet.IP4Len], 0)
	default:
		r.next, r.ipLen = esp.NextIPv6, vnet.IP6Len
		r.ip[0], r.ip[6] = 0x60, gre.IPProtocol
		src, dst := sa.GRELocal.As16(), sa.GRERemote.As16()
		copy(r.ip[8:], src[:])
		copy(r.ip[24:], dst[:])
	}
	r.prefix = r.ipLen + r.greLen
}

// defaultTTL is the hop limit where there is none to inherit.
const defaultTTL = 64

// hopLimit is the TTL or hop limit of the IP header at p[at:].
func hopLimit(p []byte, at int, version uint8) uint8 {
	switch version {
	case 4:
		return p[at+8]
	case 6:
		return p[at+7]
	}
	return defaultTTL
}

// putInner writes the inner IP header, if there is one, for a packet whose GRE
// part has n bytes. id is the identification of a packet that may be
// fragmented.
func (r *route) putInner(b []byte, n int, tos, ttl uint8, id uint16) {
	switch r.ipLen {
	case vnet.IP4Len:
		copy(b, r.ip[:vnet.IP4Len])
		if r.df {
			id = 0 // atomic: RFC 6864 section 4.1
		}
		length := uint16(vnet.IP4Len + n)
		b[1], b[8] = tos, ttl
		binary.BigEndian.PutUint16(b[2:], length)
		binary.BigEndian.PutUint16(b[4:], id)
		sum := r.ipSum + uint32(tos) + uint32(length) + uint32(id) + uint32(ttl)<<8
		binary.BigEndian.PutUint16(b[10:], ^gre.Fold(sum))
	case vnet.IP6Len:
		copy(b, r.ip[:vnet.IP6Len])
		b[0] |= tos >> 4
		b[1] |= tos << 4
		b[7] = ttl
		binary.BigEndian.PutUint16(b[4:], uint16(n))
	}
}

// spiTable finds SAs by SPI without a lock: SPIs are random, so their low byte
// spreads them over shards, each an immutable slice that the loop replaces. A
// look-up reads one pointer and some 32-bit numbers.
type spiTable [256]atomic.Pointer[[]spiEntry]

// spiEntry is an SA of either direction.
type spiEntry struct {
	spi uint32
	in  *inSA
	out *outSA
}

// of are the SAs that may have the SPI; two peers may have chosen the same one.
func (t *spiTable) of(spi uint32) []spiEntry {
	if shard := t[spi&0xff].Load(); shard != nil {
		return *shard
	}
	return nil
}

// inbound finds the inbound SA of an SPI; nil when it is nobody's.
func (t *spiTable) inbound(spi uint32) *inSA {
	for _, e := range t.of(spi) {
		if e.spi == spi {
			return e.in
		}
	}
	return nil
}

func (t *spiTable) add(e spiEntry) {
	now := append(slices.Clone(t.of(e.spi)), e)
	t[e.spi&0xff].Store(&now)
}

func (t *spiTable) remove(e spiEntry) {
	now := slices.DeleteFunc(slices.Clone(t.of(e.spi)), func(o spiEntry) bool { return o == e })
	t[e.spi&0xff].Store(&now)
}

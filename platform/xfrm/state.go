// Package xfrm reads and writes the messages of NETLINK_XFRM: ESP states (RFC 4301's
// SAD), policies (its SPD) and notifications about them. The messages are raw because
// the library's functions support no replay window without ESN, no direction together
// with ESN and no GRE key with a half that is zero, and because they print keys and
// keep copies of them.
package xfrm

import (
	"encoding/binary"
	"errors"
	"math"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"greseal/crypto/esp"
	"greseal/crypto/suite"
	"greseal/platform/inet"
	"greseal/platform/netlink"
)

// Protocols, modes, directions and actions as XFRM numbers them.
const (
	protoESP = unix.IPPROTO_ESP
	ProtoGRE = unix.IPPROTO_GRE

	ProtoICMP   = unix.IPPROTO_ICMP
	ProtoICMPv6 = unix.IPPROTO_ICMPV6

	ModeTransport uint8 = 0
	ModeTunnel    uint8 = 1

	DirIn  uint8 = 0 // policy directions
	DirOut uint8 = 1
	DirFwd uint8 = 2

	ActionAllow uint8 = 0
	ActionBlock uint8 = 1

	SADirIn  uint8 = 1 // XFRMA_SA_DIR, Linux 6.10
	SADirOut uint8 = 2

	encapESPinUDP = 2

	sizeAevent = 48
)

// ID is what identifies an ESP state.
type ID struct {
	Dst netip.Addr
	SPI uint32
}

// State is an SA as it is installed.
type State struct {
	ID
	Src        netip.Addr
	Reqid      uint32
	Mode       uint8
	Out        bool
	Dirs       bool // the kernel knows directions
	Encap      bool
	Sport      uint16 // of UDP encapsulation, in the SA's direction
	Dport      uint16
	Mixed      bool // inner and outer addresses are of different IP versions
	ESN        bool
	Window     int
	Mark       uint32 // of the ESP packets sent
	SoftBytes  uint64 // limits, 0 for none
	HardBytes  uint64
	SoftPacket uint64
	HardPacket uint64
}

// selector is all that a transport mode state accepts: GRE between its own ends. The
// rest is dropped as XfrmInStateMismatch.
func (s *State) selector() nl.XfrmSelector {
	p := Policy{Src: inet.Host(s.Src), Dst: inet.Host(s.Dst), Proto: ProtoGRE}
	return p.Selector()
}

// SetAddresses turns local and remote into the SA's own direction.
func (s *State) SetAddresses(local, remote netip.AddrPort) {
	from, to := remote, local
	if s.Out {
		from, to = local, remote
	}
	s.Src, s.Dst = from.Addr(), to.Addr()
	s.Sport, s.Dport = from.Port(), to.Port()
}

// secret is an attribute that holds a key: it serializes to itself, so that wiping it
// leaves no copy behind.
type secret []byte

func (s secret) Len() int          { return len(s) }
func (s secret) Serialize() []byte { return s }

// secretAttr builds struct xfrm_algo (words is the key length alone) or
// xfrm_algo_aead and xfrm_algo_auth (with the ICV's length, in bits).
func secretAttr(typ uint16, algorithm string, key []byte, icvBits ...uint32) secret {
	size := unix.SizeofRtAttr + 64 + 4 + 4*len(icvBits) + len(key)
	b := make([]byte, (size+3)&^3)
	binary.NativeEndian.PutUint16(b, uint16(size))
	binary.NativeEndian.PutUint16(b[2:], typ)
	copy(b[4:4+63], algorithm)
	binary.NativeEndian.PutUint32(b[68:], uint32(len(key))*8)
	at := 72
	for _, bits := range icvBits {
		binary.NativeEndian.PutUint32(b[at:], bits)
		at += 4
	}
	copy(b[at:], key)
	return b
}

func xfrmAddress(a netip.Addr) (x nl.XfrmAddress) {
	copy(x[:], a.AsSlice())
	return x
}

func addressOf(fam uint16, b []byte) netip.Addr {
	if fam == unix.AF_INET {
		return netip.AddrFrom4([4]byte(b[:4]))
	}
	return netip.AddrFrom16([16]byte(b[:16]))
}

func family(a netip.Addr) uint16 { return uint16(inet.Of(a).Family) }

func bigEndian32(v uint32) uint32 {
	b := binary.BigEndian.AppendUint32(nil, v)
	return binary.NativeEndian.Uint32(b)
}

// unlimited is a lifetime without limit (XFRM_INF).
func unlimited(v uint64) uint64 {
	if v == 0 {
		return math.MaxUint64
	}
	return v
}

// AddState installs an SA with XFRM_MSG_NEWSA. p's keys are only read.
func AddState(n *netlink.Conn, s State, p *esp.Params) error {
	alg, err := algorithmFor(p.Encr, p.Integ)
	if err != nil {
		return err
	}
	info := &nl.XfrmUsersaInfo{
		Id:     nl.XfrmId{Daddr: xfrmAddress(s.Dst), Spi: bigEndian32(s.SPI), Proto: protoESP},
		Saddr:  xfrmAddress(s.Src),
		Reqid:  s.Reqid,
		Family: family(s.Dst),
		Mode:   s.Mode,
		Lft: nl.XfrmLifetimeCfg{
			SoftByteLimit: unlimited(s.SoftBytes), HardByteLimit: unlimited(s.HardBytes),
			SoftPacketLimit: unlimited(s.SoftPacket), HardPacketLimit: unlimited(s.HardPacket),
		},
	}
	if s.Mode == ModeTransport {
		// What comes out of tunnel mode is checked against the policies; out of
		// transport mode only if one matches, and there is none for other protocols.
		info.Sel = s.selector()
	}
	if s.Mixed {
		info.Flags |= nl.XFRM_STATE_AF_UNSPEC
	}
	if s.ESN {
		info.Flags |= nl.XFRM_STATE_ESN
	}
	req := netlink.Request(nl.XFRM_MSG_NEWSA, unix.NLM_F_CREATE|unix.NLM_F_EXCL, info)

	var keys []secret
	if alg.aead != "" {
		keys = append(keys, secretAttr(nl.XFRMA_ALG_AEAD, alg.aead, p.Key, alg.icvBits))
	} else {
		keys = append(keys, secretAttr(nl.XFRMA_ALG_CRYPT, alg.crypt, p.Key),
			secretAttr(nl.XFRMA_ALG_AUTH_TRUNC, alg.auth, p.AuthKey, alg.icvBits))
	}
	for _, k := range keys {
		req.AddData(k)
		defer clear(k)
	}
	if esn := s.replay(); esn != nil {
		req.AddData(nl.NewRtAttr(nl.XFRMA_REPLAY_ESN_VAL, esn))
	}
	if s.Dirs {
		dir := SADirIn
		if s.Out {
			dir = SADirOut
		}
		req.AddData(nl.NewRtAttr(nl.XFRMA_SA_DIR, []byte{dir}))
	}
	if s.Encap {
		req.AddData(nl.NewRtAttr(nl.XFRMA_ENCAP, encapTemplate(s.Sport, s.Dport)))
		if !s.Out {
			// Otherwise each packet from a moved peer causes a notification, as
			// before 5.17, which has no such threshold.
			req.AddData(nl.NewRtAttr(nl.XFRMA_MTIMER_THRESH, nl.Uint32Attr(5)))
		}
	}
	if s.Mark != 0 && s.Out {
		req.AddData(nl.NewRtAttr(nl.XFRMA_SET_MARK, nl.Uint32Attr(s.Mark)))
		req.AddData(nl.NewRtAttr(nl.XFRMA_SET_MARK_MASK, nl.Uint32Attr(math.MaxUint32)))
	}
	return n.Do(req)
}

// replay builds struct xfrm_replay_state_esn, which allows windows above 32 with
// and without ESN. Outbound SAs have no window; kernels without directions refuse ESN
// without one and get the smallest.
func (s *State) replay() []byte {
	window := 0
	switch {
	case !s.Out:
		if window = s.Window; window == 0 {
			window = esp.DefaultWindow
		}
		window = min(max(window, esp.MinWindow), esp.MaxWindow)
	case s.ESN && !s.Dirs:
		window = 32
	case !s.ESN:
		return nil
	}
	words := (window + 31) / 32
	b := make([]byte, 24+4*words)
	binary.NativeEndian.PutUint32(b, uint32(words))
	binary.NativeEndian.PutUint32(b[20:], uint32(window))
	return b
}

func encapTemplate(sport, dport uint16) []byte {
	e := nl.XfrmEncapTmpl{EncapType: encapESPinUDP, EncapSport: inet.NetworkOrder(sport), EncapDport: inet.NetworkOrder(dport)}
	return append([]byte(nil), e.Serialize()...)
}

func userID(id ID) *nl.XfrmUsersaId {
	return &nl.XfrmUsersaId{Daddr: xfrmAddress(id.Dst), Spi: bigEndian32(id.SPI), Family: family(id.Dst), Proto: protoESP}
}

// DeleteState removes an SA, if it exists.
func DeleteState(n *netlink.Conn, id ID) error {
	err := n.Do(netlink.Request(nl.XFRM_MSG_DELSA, 0, userID(id)))
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// Info is an SA as read back, without its keys.
type Info struct {
	ID
	Selector            Policy // src, dst and proto
	Src                 netip.Addr
	Reqid               uint32
	Mode                uint8
	Packets, Bytes      uint64
	TooOld, Replay, Bad uint32
	ESN                 bool
	Dir                 uint8
	Window              int
	seq, Oseq           uint64
	Sport, Dport        uint16
	Encr, Integ         suite.Transform // zero: none that greseal installs
	Lasting
}

// Lasting is what of an SA stays the same until somebody changes it, or puts another
// in its place.
type Lasting struct {
	Added    uint64   // seconds since 1970
	limits   [64]byte // struct xfrm_lifetime_cfg
	selector [56]byte // struct xfrm_selector
	flags    uint8
	mark     uint64 // and its mask
	ifID     uint32
	offload  bool // to a network card
}

// ParseState reads a struct xfrm_usersa_info and the attributes behind it.
func ParseState(p []byte) (Info, error) {
	if len(p) < nl.SizeofXfrmUsersaInfo {
		return Info{}, errors.New("XFRM state message: too short")
	}
	info := Info{
		Reqid:  binary.NativeEndian.Uint32(p[208:]),
		Mode:   p[214],
		Window: int(p[215]),
		ESN:    p[216]&nl.XFRM_STATE_ESN != 0,
		Bytes:  binary.NativeEndian.Uint64(p[160:]), Packets: binary.NativeEndian.Uint64(p[168:]),
		TooOld: binary.NativeEndian.Uint32(p[192:]), Replay: binary.NativeEndian.Uint32(p[196:]), Bad: binary.NativeEndian.Uint32(p[200:]),
	}
	info.Lasting = Lasting{
		Added: binary.NativeEndian.Uint64(p[176:]), limits: [64]byte(p[96:]), selector: [56]byte(p), flags: p[216],
	}
	fam := binary.NativeEndian.Uint16(p[212:])
	info.Dst = addressOf(fam, p[56:])
	info.SPI = binary.BigEndian.Uint32(p[72:])
	info.Src = addressOf(fam, p[80:])
	info.Selector = Policy{
		Src: netip.PrefixFrom(addressOf(fam, p[16:]), int(p[43])), Dst: netip.PrefixFrom(addressOf(fam, p), int(p[42])), Proto: p[44],
	}
	return info, netlink.EachAttr(p[nl.SizeofXfrmUsersaInfo:], func(typ uint16, v []byte) error {
		switch {
		case typ == nl.XFRMA_ALG_AEAD && len(v) >= 68, typ == nl.XFRMA_ALG_CRYPT && len(v) >= 68:
			info.Encr = transformOf(typ, netlink.CString(v[:64]), netlink.Uint32(v[64:]))
		case typ == nl.XFRMA_ALG_AUTH_TRUNC && len(v) >= 68:
			info.Integ = transformOf(typ, netlink.CString(v[:64]), netlink.Uint32(v[64:]))
		case typ == nl.XFRMA_REPLAY_ESN_VAL && len(v) >= 24:
			info.Window = int(binary.NativeEndian.Uint32(v[20:]))
			info.Oseq = uint64(binary.NativeEndian.Uint32(v[12:]))<<32 | uint64(binary.NativeEndian.Uint32(v[4:]))
			info.seq = uint64(binary.NativeEndian.Uint32(v[16:]))<<32 | uint64(binary.NativeEndian.Uint32(v[8:]))
		case typ == nl.XFRMA_REPLAY_VAL && len(v) >= 12:
			info.Oseq, info.seq = uint64(binary.NativeEndian.Uint32(v)), uint64(binary.NativeEndian.Uint32(v[4:]))
		case typ == nl.XFRMA_SA_DIR && len(v) > 0:
			info.Dir = v[0]
		case typ == nl.XFRMA_ENCAP && len(v) >= 6:
			info.Sport, info.Dport = binary.BigEndian.Uint16(v[2:]), binary.BigEndian.Uint16(v[4:])
		case typ == nl.XFRMA_SET_MARK:
			info.mark |= uint64(netlink.Uint32(v))
		case typ == nl.XFRMA_SET_MARK_MASK:
			info.mark |= uint64(netlink.Uint32(v)) << 32
		case typ == nl.XFRMA_IF_ID:
			info.ifID = netlink.Uint32(v)
		case typ == nl.XFRMA_OFFLOAD_DEV:
			info.offload = true
		}
		return nil
	})
}

// ReadState reads one SA; the error is unix.ESRCH when it is not there.
func ReadState(n *netlink.Conn, id ID) (Info, error) {
	var info Info
	err := n.Get(netlink.Request(nl.XFRM_MSG_GETSA, 0, userID(id)), func(typ uint16, p []byte) (err error) {
		if typ == nl.XFRM_MSG_NEWSA {
			info, err = ParseState(p)
		}
		return err
	})
	return info, err
}

// States reads all ESP states.
func States(n *netlink.Conn) ([]Info, error) {
	return netlink.Dump(n, nl.XFRM_MSG_GETSA, nl.XFRM_MSG_NEWSA, func(p []byte) (Info, bool, error) {
		info, err := ParseState(p)
		return info, err == nil && p[76] == protoESP, err
	})
}

// ReadUse reads how many packets an SA has carried, by a message that holds
// no keys (XFRM_MSG_GETAE). The error is unix.ESRCH when the SA is not there.
func ReadUse(n *netlink.Conn, id ID) (packets uint64, err error) {
	req := netlink.Request(nl.XFRM_MSG_GETAE, 0, secret(make([]byte, sizeAevent)))
	copy(req.Data[0].(secret), userID(id).Serialize())
	err = n.Get(req, func(typ uint16, p []byte) error {
		if typ != nl.XFRM_MSG_NEWAE || len(p) < sizeAevent {
			return nil
		}
		return netlink.EachAttr(p[sizeAevent:], func(typ uint16, v []byte) error {
			if typ == nl.XFRMA_LTIME_VAL && len(v) >= nl.SizeofXfrmLifetimeCur {
				packets = binary.NativeEndian.Uint64(v[8:])
			}
			return nil
		})
	})
	return packets, err
}

// errRedacted reports a kernel that does not return keys (lockdown).
var errRedacted = errors.New("the kernel does not give keys back (lockdown)")

// Change is what AlterState changes of an SA.
type Change struct {
	Src, Dst     netip.Addr
	Sport, Dport uint16
	Replace      bool // a new SA; otherwise an update in place
	Skip         uint64
}

// AlterState reads an SA and writes it back with other outer addresses or ports. The
// kernel wants the keys again for that; read back here, they need be kept nowhere else.
// Sequence number, replay window and counters continue; an outbound SA that is
// replaced skips some numbers, so that none is used twice.
func AlterState(n *netlink.Conn, id ID, c Change) error {
	var msg []byte
	defer func() { clear(msg) }()
	err := n.Get(netlink.Request(nl.XFRM_MSG_GETSA, 0, userID(id)), func(typ uint16, p []byte) error {
		if typ == nl.XFRM_MSG_NEWSA && len(p) >= nl.SizeofXfrmUsersaInfo {
			msg = append(msg[:0], p...)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if msg == nil {
		return unix.ESRCH
	}
	req, err := c.request(msg)
	defer func() {
		for _, part := range req.Data {
			clear(part.(secret))
		}
	}()
	if err != nil {
		return err
	}
	if c.Replace && c.Dst == id.Dst {
		// Same identity: the old one must be deleted first.
		if err := DeleteState(n, id); err != nil {
			return err
		}
	}
	err = n.Do(req)
	if err == nil && c.Replace && c.Dst != id.Dst {
		return DeleteState(n, id)
	}
	return err
}

// request makes the message that writes an SA back from the one that the kernel gave.
func (c *Change) request(msg []byte) (*nl.NetlinkRequest, error) {
	dst, src := xfrmAddress(c.Dst), xfrmAddress(c.Src)
	copy(msg[56:], dst[:])
	copy(msg[80:], src[:])
	typ, flags := uint16(nl.XFRM_MSG_UPDSA), unix.NLM_F_REPLACE
	if c.Replace {
		typ, flags = nl.XFRM_MSG_NEWSA, unix.NLM_F_CREATE|unix.NLM_F_EXCL
	}
	req := netlink.Request(typ, flags, secret(msg[:nl.SizeofXfrmUsersaInfo]))
	esn := msg[216]&nl.XFRM_STATE_ESN != 0
	err := netlink.EachAttr(msg[nl.SizeofXfrmUsersaInfo:], func(typ uint16, v []byte) error {
		switch typ {
		case nl.XFRMA_ALG_AUTH, nl.XFRMA_LASTUSED, nl.XFRMA_PAD:
			return nil // XFRMA_ALG_AUTH_TRUNC says it better; not to be sent
		}
		if err := c.attr(typ, v, esn); err != nil {
			return err
		}
		req.AddData(rawAttr(typ, v))
		return nil
	})
	if c.Replace {
		req.AddData(rawAttr(nl.XFRMA_LTIME_VAL, msg[160:192]))
	}
	return req, err
}

// attr changes what an attribute of the SA says.
func (c *Change) attr(typ uint16, v []byte, esn bool) error {
	switch {
	case typ == nl.XFRMA_ALG_AEAD, typ == nl.XFRMA_ALG_CRYPT, typ == nl.XFRMA_ALG_AUTH_TRUNC:
		if c.Replace && allZero(v[72:]) {
			return errRedacted
		}
	case typ == nl.XFRMA_ENCAP && len(v) >= 6:
		binary.BigEndian.PutUint16(v[2:], c.Sport)
		binary.BigEndian.PutUint16(v[4:], c.Dport)
	case typ == nl.XFRMA_REPLAY_ESN_VAL && len(v) >= 24 && esn:
		skipped := uint64(binary.NativeEndian.Uint32(v[12:]))<<32 + uint64(binary.NativeEndian.Uint32(v[4:])) + c.Skip
		binary.NativeEndian.PutUint32(v[4:], uint32(skipped))
		binary.NativeEndian.PutUint32(v[12:], uint32(skipped>>32))
	case typ == nl.XFRMA_REPLAY_ESN_VAL && len(v) >= 24:
		return c.skip(v[4:])
	case typ == nl.XFRMA_REPLAY_VAL && len(v) >= 12:
		return c.skip(v)
	}
	return nil
}

// skip leaves out sequence numbers of 32 bits.
func (c *Change) skip(oseq []byte) error {
	skipped := uint64(binary.NativeEndian.Uint32(oseq)) + c.Skip
	if skipped > math.MaxUint32-1<<20 {
		return errors.New("the sequence numbers of the SA are nearly used up: rekey it")
	}
	binary.NativeEndian.PutUint32(oseq, uint32(skipped))
	return nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

func rawAttr(typ uint16, v []byte) secret {
	b := make([]byte, (unix.SizeofRtAttr+len(v)+3)&^3)
	binary.NativeEndian.PutUint16(b, uint16(unix.SizeofRtAttr+len(v)))
	binary.NativeEndian.PutUint16(b[2:], typ)
	copy(b[unix.SizeofRtAttr:], v)
	return b
}

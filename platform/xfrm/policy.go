package xfrm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"unsafe"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"greseal/platform/inet"
	"greseal/platform/netlink"
)

// Policy is one of our policies, or one that conflicts with them.
type Policy struct {
	Dir      uint8
	Src, Dst netip.Prefix
	Proto    uint8
	ICMP     ICMP // of protoICMP and protoICMPv6
	Keyed    bool // for packets with this GRE key alone
	Key      uint32
	sport    uint16 // of other selectors, 0 for any
	dport    uint16
	Priority uint32
	Action   uint8

	// Apart is set when it has a mark, an interface or another type than main, which
	// makes it a different policy, whatever else is the same. These are read, never
	// written.
	Apart bool

	// The template of an allowing policy.
	Reqid            uint32
	Mode             uint8
	TmplSrc, TmplDst netip.Addr
}

// Selector is the policy's; XFRM keeps a GRE key in the port fields.
func (p *Policy) Selector() nl.XfrmSelector {
	s := nl.XfrmSelector{
		Daddr: xfrmAddress(p.Dst.Addr()), Saddr: xfrmAddress(p.Src.Addr()),
		PrefixlenD: uint8(p.Dst.Bits()), PrefixlenS: uint8(p.Src.Bits()),
		Family: family(p.Dst.Addr()), Proto: p.Proto,
	}
	if p.ICMP.Set {
		s.Sport, s.SportMask = inet.NetworkOrder(uint16(p.ICMP.Kind)), math.MaxUint16
		if !p.ICMP.EveryCode {
			s.Dport, s.DportMask = inet.NetworkOrder(uint16(p.ICMP.Code)), math.MaxUint16
		}
	}
	if p.sport != 0 {
		s.Sport, s.SportMask = inet.NetworkOrder(p.sport), math.MaxUint16
	}
	if p.dport != 0 {
		s.Dport, s.DportMask = inet.NetworkOrder(p.dport), math.MaxUint16
	}
	if p.Keyed {
		s.Sport, s.Dport = inet.NetworkOrder(uint16(p.Key>>16)), inet.NetworkOrder(uint16(p.Key))
		s.SportMask, s.DportMask = math.MaxUint16, math.MaxUint16
	}
	return s
}

// ICMP is what a selector has in place of ports: a type, and a code or all of them.
type ICMP struct {
	Set       bool
	Kind      uint8
	Code      uint8
	EveryCode bool
}

// Ports are the selector's port fields, 0 for any: the halves of a GRE key, or an ICMP
// type and code.
func (p *Policy) Ports() (sport, dport uint16) {
	switch {
	case p.Keyed:
		return uint16(p.Key >> 16), uint16(p.Key)
	case p.ICMP.Set:
		return uint16(p.ICMP.Kind), uint16(p.ICMP.Code)
	}
	return p.sport, p.dport
}

// WritePolicy adds a policy (XFRM_MSG_NEWPOLICY, EEXIST when its selector is
// taken) or replaces the one with its selector (XFRM_MSG_UPDPOLICY).
func WritePolicy(n *netlink.Conn, typ uint16, p Policy) error {
	req := netlink.Request(typ, unix.NLM_F_CREATE, p.info())
	if p.TmplDst.IsValid() {
		req.AddData(nl.NewRtAttr(nl.XFRMA_TMPL, p.template()))
	}
	return n.Do(req)
}

func (p *Policy) info() *nl.XfrmUserpolicyInfo {
	return &nl.XfrmUserpolicyInfo{
		Sel: p.Selector(), Priority: p.Priority, Dir: p.Dir, Action: p.Action,
		Lft: nl.XfrmLifetimeCfg{
			SoftByteLimit: math.MaxUint64, HardByteLimit: math.MaxUint64,
			SoftPacketLimit: math.MaxUint64, HardPacketLimit: math.MaxUint64,
		},
	}
}

// template is an allowing policy's. The family is explicit, as the address may be
// unset.
func (p *Policy) template() []byte {
	tmpl := &nl.XfrmUserTmpl{
		XfrmId: nl.XfrmId{Daddr: xfrmAddress(p.TmplDst), Proto: protoESP},
		Saddr:  xfrmAddress(p.TmplSrc),
		Family: family(p.TmplDst),
		Reqid:  p.Reqid,
		Mode:   p.Mode,
		Aalgos: math.MaxUint32, Ealgos: math.MaxUint32, Calgos: math.MaxUint32,
	}
	return append([]byte(nil), tmpl.Serialize()...)
}

// Encode is the policy as a socket option (IP_XFRM_POLICY).
func (p *Policy) Encode() []byte {
	b := append([]byte(nil), p.info().Serialize()...)
	if p.TmplDst.IsValid() {
		b = append(b, p.template()...)
	}
	return b
}

func (p *Policy) id() *nl.XfrmUserpolicyId {
	return &nl.XfrmUserpolicyId{Sel: p.Selector(), Dir: p.Dir}
}

// DeletePolicy removes the policy with p's selector and direction, if it exists.
func DeletePolicy(n *netlink.Conn, p Policy) error {
	err := n.Do(netlink.Request(nl.XFRM_MSG_DELPOLICY, 0, p.id()))
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// ReadPolicy reads the policy with p's selector and direction.
func ReadPolicy(n *netlink.Conn, p Policy) (Policy, error) {
	var got Policy
	err := n.Get(netlink.Request(nl.XFRM_MSG_GETPOLICY, 0, p.id()), func(typ uint16, m []byte) (err error) {
		if typ == nl.XFRM_MSG_NEWPOLICY {
			got, err = ParsePolicy(m)
		}
		return err
	})
	return got, err
}

// Policies reads all policies but those of single sockets.
func Policies(n *netlink.Conn) ([]Policy, error) {
	return netlink.Dump(n, nl.XFRM_MSG_GETPOLICY, nl.XFRM_MSG_NEWPOLICY, func(m []byte) (Policy, bool, error) {
		p, err := ParsePolicy(m)
		return p, p.Dir <= DirFwd, err // above: per-socket policies
	})
}

// ParsePolicy reads a struct xfrm_userpolicy_info and the attributes behind it.
func ParsePolicy(m []byte) (Policy, error) {
	const size = int(unsafe.Sizeof(nl.XfrmUserpolicyInfo{}))
	if len(m) < size {
		return Policy{}, errors.New("XFRM policy message: too short")
	}
	fam := binary.NativeEndian.Uint16(m[40:])
	p := Policy{
		Dst:      netip.PrefixFrom(addressOf(fam, m), int(m[42])),
		Src:      netip.PrefixFrom(addressOf(fam, m[16:]), int(m[43])),
		Proto:    m[44],
		Priority: binary.NativeEndian.Uint32(m[152:]), Dir: m[160], Action: m[161],
		Apart: binary.NativeEndian.Uint32(m[48:]) != 0, // the selector's interface
	}
	sport, dport := binary.BigEndian.Uint16(m[36:]), binary.BigEndian.Uint16(m[32:])
	sportMask, dportMask := binary.NativeEndian.Uint16(m[38:]), binary.NativeEndian.Uint16(m[34:])
	switch {
	case p.Proto == ProtoGRE && sportMask == math.MaxUint16 && dportMask == math.MaxUint16:
		p.Keyed, p.Key = true, uint32(sport)<<16|uint32(dport)
	case p.Proto == ProtoICMP || p.Proto == ProtoICMPv6:
		p.ICMP = ICMP{Set: sportMask != 0, Kind: uint8(sport), Code: uint8(dport), EveryCode: dportMask == 0}
	default:
		p.sport, p.dport = sport, dport
	}
	return p, netlink.EachAttr(m[size:], func(typ uint16, v []byte) error {
		switch {
		case typ == nl.XFRMA_TMPL && len(v) >= nl.SizeofXfrmUserTmpl:
			fam := binary.NativeEndian.Uint16(v[24:])
			p.TmplDst, p.TmplSrc = addressOf(fam, v), addressOf(fam, v[28:])
			p.Reqid, p.Mode = binary.NativeEndian.Uint32(v[44:]), v[48]
		case typ == nl.XFRMA_MARK && len(v) >= 8:
			p.Apart = p.Apart || binary.NativeEndian.Uint64(v) != 0
		case typ == nl.XFRMA_IF_ID:
			p.Apart = p.Apart || netlink.Uint32(v) != 0
		case typ == nl.XFRMA_POLICY_TYPE && len(v) > 0:
			p.Apart = p.Apart || v[0] != 0 // XFRM_POLICY_TYPE_MAIN
		}
		return nil
	})
}

func (p Policy) String() string {
	s := fmt.Sprintf("%s %s → %s", [...]string{"in", "out", "fwd"}[p.Dir], p.Src, p.Dst)
	if p.Keyed {
		s += fmt.Sprintf(" key %d", p.Key)
	}
	return s
}

package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"unsafe"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"greseal/platform/netlink"
)

// Policies on the wire of NETLINK_XFRM, as xfrm.go has the states.

// policy is a policy of ours or one that stands in our way.
type policy struct {
	dir      uint8
	src, dst netip.Prefix
	proto    uint8
	icmp     icmp // of protoICMP and protoICMPv6
	keyed    bool // for packets with this GRE key alone
	key      uint32
	priority uint32
	action   uint8

	// The template of an allowing policy.
	reqid            uint32
	mode             uint8
	tmplSrc, tmplDst netip.Addr
}

// selector is the policy's; XFRM keeps a GRE key where ports are.
func (p *policy) selector() nl.XfrmSelector {
	s := nl.XfrmSelector{
		Daddr: xfrmAddress(p.dst.Addr()), Saddr: xfrmAddress(p.src.Addr()),
		PrefixlenD: uint8(p.dst.Bits()), PrefixlenS: uint8(p.src.Bits()),
		Family: family(p.dst.Addr()), Proto: p.proto,
	}
	if p.icmp.set {
		s.Sport, s.SportMask = bigEndian16(uint16(p.icmp.kind)), math.MaxUint16
		if !p.icmp.everyCode {
			s.Dport, s.DportMask = bigEndian16(uint16(p.icmp.code)), math.MaxUint16
		}
	}
	if p.keyed {
		s.Sport, s.Dport = bigEndian16(uint16(p.key>>16)), bigEndian16(uint16(p.key))
		s.SportMask, s.DportMask = math.MaxUint16, math.MaxUint16
	}
	return s
}

// writePolicy adds a policy (XFRM_MSG_NEWPOLICY, EEXIST when its selector is
// taken) or replaces the one with its selector (XFRM_MSG_UPDPOLICY).
func writePolicy(n *netlink.Conn, typ uint16, p policy) error {
	req := netlink.Request(typ, unix.NLM_F_CREATE, p.info())
	if p.tmplDst.IsValid() {
		req.AddData(nl.NewRtAttr(nl.XFRMA_TMPL, p.template()))
	}
	return n.Do(req)
}

func (p *policy) info() *nl.XfrmUserpolicyInfo {
	return &nl.XfrmUserpolicyInfo{
		Sel: p.selector(), Priority: p.priority, Dir: p.dir, Action: p.action,
		Lft: nl.XfrmLifetimeCfg{
			SoftByteLimit: math.MaxUint64, HardByteLimit: math.MaxUint64,
			SoftPacketLimit: math.MaxUint64, HardPacketLimit: math.MaxUint64,
		},
	}
}

// template is an allowing policy's. The family is said, not guessed from an
// address that may be unset.
func (p *policy) template() []byte {
	tmpl := &nl.XfrmUserTmpl{
		XfrmId: nl.XfrmId{Daddr: xfrmAddress(p.tmplDst), Proto: protoESP},
		Saddr:  xfrmAddress(p.tmplSrc),
		Family: family(p.tmplDst),
		Reqid:  p.reqid,
		Mode:   p.mode,
		Aalgos: math.MaxUint32, Ealgos: math.MaxUint32, Calgos: math.MaxUint32,
	}
	return append([]byte(nil), tmpl.Serialize()...)
}

// encode is the policy as a socket option (IP_XFRM_POLICY).
func (p *policy) encode() []byte {
	b := append([]byte(nil), p.info().Serialize()...)
	if p.tmplDst.IsValid() {
		b = append(b, p.template()...)
	}
	return b
}

func (p *policy) id() *nl.XfrmUserpolicyId {
	return &nl.XfrmUserpolicyId{Sel: p.selector(), Dir: p.dir}
}

// deletePolicy removes the policy with p's selector and direction; one that is
// not there is no error.
func deletePolicy(n *netlink.Conn, p policy) error {
	err := n.Do(netlink.Request(nl.XFRM_MSG_DELPOLICY, 0, p.id()))
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// readPolicy reads the policy with p's selector and direction.
func readPolicy(n *netlink.Conn, p policy) (policy, error) {
	var got policy
	err := n.Get(netlink.Request(nl.XFRM_MSG_GETPOLICY, 0, p.id()), func(typ uint16, m []byte) (err error) {
		if typ == nl.XFRM_MSG_NEWPOLICY {
			got, err = parsePolicy(m)
		}
		return err
	})
	return got, err
}

func listPolicies(n *netlink.Conn) ([]policy, error) {
	return netlink.Dump(n, nl.XFRM_MSG_GETPOLICY, nl.XFRM_MSG_NEWPOLICY, func(m []byte) (policy, bool, error) {
		p, err := parsePolicy(m)
		return p, p.dir <= dirFwd, err // above: per-socket policies
	})
}

func parsePolicy(m []byte) (policy, error) {
	const size = int(unsafe.Sizeof(nl.XfrmUserpolicyInfo{}))
	if len(m) < size {
		return policy{}, errors.New("XFRM policy message: too short")
	}
	fam := binary.NativeEndian.Uint16(m[40:])
	p := policy{
		dst:      netip.PrefixFrom(addressOf(fam, m), int(m[42])),
		src:      netip.PrefixFrom(addressOf(fam, m[16:]), int(m[43])),
		proto:    m[44],
		priority: binary.NativeEndian.Uint32(m[152:]), dir: m[160], action: m[161],
	}
	if p.proto == protoGRE && binary.NativeEndian.Uint16(m[34:]) == math.MaxUint16 && binary.NativeEndian.Uint16(m[38:]) == math.MaxUint16 {
		p.keyed, p.key = true, uint32(binary.BigEndian.Uint16(m[36:]))<<16|uint32(binary.BigEndian.Uint16(m[32:]))
	}
	if p.proto == protoICMP || p.proto == protoICMPv6 {
		p.icmp = icmp{
			set:       binary.NativeEndian.Uint16(m[38:]) != 0,
			kind:      uint8(binary.BigEndian.Uint16(m[36:])),
			code:      uint8(binary.BigEndian.Uint16(m[32:])),
			everyCode: binary.NativeEndian.Uint16(m[34:]) == 0,
		}
	}
	return p, netlink.EachAttr(m[size:], func(typ uint16, v []byte) error {
		if typ == nl.XFRMA_TMPL && len(v) >= nl.SizeofXfrmUserTmpl {
			fam := binary.NativeEndian.Uint16(v[24:])
			p.tmplDst, p.tmplSrc = addressOf(fam, v), addressOf(fam, v[28:])
			p.reqid, p.mode = binary.NativeEndian.Uint32(v[44:]), v[48]
		}
		return nil
	})
}

func (p policy) String() string {
	s := fmt.Sprintf("%s %s → %s", [...]string{"in", "out", "fwd"}[p.dir], p.src, p.dst)
	if p.keyed {
		s += fmt.Sprintf(" key %d", p.key)
	}
	return s
}

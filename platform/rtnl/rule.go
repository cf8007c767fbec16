package rtnl

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"greseal/platform/inet"
	"greseal/platform/netlink"
)

const portDNS = 53

// Rule selects the routing table for packets from one address to another, or, where
// from is unset, for this program's queries to a name server.
type Rule struct {
	From, To netip.Addr
	Table    uint32
}

func (r Rule) String() string {
	if !r.From.IsValid() {
		return fmt.Sprintf("to %s port %d of our own lookup %d", r.To, portDNS, r.Table)
	}
	return fmt.Sprintf("from %s to %s lookup %d", r.From, r.To, r.Table)
}

// rulePriority puts a rule just before the main table's, after all others.
const rulePriority = 32765

// Rules reads our rules.
func Rules(s *netlink.Conn) ([]Rule, error) {
	all, err := netlink.Dump(s, unix.RTM_GETRULE, unix.RTM_NEWRULE, parseRule, &nl.RtMsg{})
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil // a kernel without rules
	}
	if err != nil {
		return nil, fmt.Errorf("read routing rules: %w", err)
	}
	return all, nil
}

// parseRule reads an RTM_NEWRULE and reports whether it is one of ours.
func parseRule(p []byte) (r Rule, ours bool, err error) {
	if len(p) < unix.SizeofRtMsg {
		return r, false, errors.New("rule message: too short")
	}
	question := false
	err = netlink.EachAttr(p[unix.SizeofRtMsg:], func(typ uint16, v []byte) error {
		switch typ {
		case unix.FRA_SRC:
			r.From, _ = netip.AddrFromSlice(v)
		case unix.FRA_DST:
			r.To, _ = netip.AddrFromSlice(v)
		case unix.FRA_TABLE:
			r.Table = netlink.Uint32(v)
		case unix.FRA_DPORT_RANGE:
			question = true
		case unix.FRA_PROTOCOL:
			ours = len(v) == 1 && v[0] == Protocol
		}
		return nil
	})
	if !r.From.IsValid() {
		return r, ours && question && r.To.IsValid(), err
	}
	return r, ours && r.To.IsValid() && int(p[1]) == r.To.BitLen() && int(p[2]) == r.From.BitLen(), err
}

// ChangeRule adds (RTM_NEWRULE) or removes (RTM_DELRULE) one of our rules.
func ChangeRule(s *netlink.Conn, typ uint16, r Rule) error {
	m := &nl.RtMsg{} // struct fib_rule_hdr has the same shape
	m.Family = uint8(inet.Of(r.To).Family)
	m.Dst_len, m.Src_len = uint8(r.To.BitLen()), uint8(r.From.BitLen())
	m.Type = ruleToTable
	req := netlink.Request(typ, 0, m,
		nl.NewRtAttr(unix.FRA_DST, r.To.AsSlice()),
		nl.NewRtAttr(unix.FRA_PRIORITY, nl.Uint32Attr(rulePriority)),
		nl.NewRtAttr(unix.FRA_TABLE, nl.Uint32Attr(r.Table)),
		nl.NewRtAttr(unix.FRA_PROTOCOL, []byte{Protocol}))
	if r.From.IsValid() {
		req.AddData(nl.NewRtAttr(unix.FRA_SRC, r.From.AsSlice()))
	} else {
		ownQuestions(req)
	}
	if typ == unix.RTM_NEWRULE {
		req.Flags |= unix.NLM_F_CREATE | unix.NLM_F_EXCL
	}
	err := s.Do(req)
	switch {
	case typ == unix.RTM_NEWRULE && errors.Is(err, unix.EEXIST),
		typ == unix.RTM_DELRULE && errors.Is(err, unix.ENOENT):
		return nil
	case !r.From.IsValid() && (errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EAFNOSUPPORT)):
		return fmt.Errorf("the kernel has no policy routing (CONFIG_IP_MULTIPLE_TABLES): write the peer's address in remote, or take the name server out of the tunnel's routes (%w)", err)
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EAFNOSUPPORT):
		return fmt.Errorf("the kernel has no policy routing (CONFIG_IP_MULTIPLE_TABLES): set local to an address (%w)", err)
	}
	return err
}

// ruleToTable is FR_ACT_TO_TBL (linux/fib_rules.h).
const ruleToTable = 1

// ownQuestions narrows a rule to this program's queries. iif lo matches what this
// machine originates; the reverse path filter looks replies up by it too.
func ownQuestions(req *nl.NetlinkRequest) {
	user := binary.NativeEndian.AppendUint32(nil, uint32(os.Getuid()))
	port := binary.NativeEndian.AppendUint16(nil, portDNS)
	req.AddData(nl.NewRtAttr(unix.FRA_IIFNAME, []byte("lo\x00")))
	req.AddData(nl.NewRtAttr(unix.FRA_UID_RANGE, append(user, user...)))
	req.AddData(nl.NewRtAttr(unix.FRA_DPORT_RANGE, append(port, port...)))
}

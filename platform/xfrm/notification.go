package xfrm

import (
	"encoding/binary"
	"net/netip"

	"github.com/vishvananda/netlink/nl"

	"greseal/platform/netlink"
)

const sizeMapping = 64

// idOf reads a struct xfrm_usersa_id; ok is false for what is not ESP.
func idOf(p []byte) (id ID, ok bool) {
	if len(p) < nl.SizeofXfrmUsersaId {
		return id, false
	}
	return ID{addressOf(binary.NativeEndian.Uint16(p[20:]), p), binary.BigEndian.Uint32(p[16:])}, p[22] == protoESP
}

// ParseExpire reads an XFRM_MSG_EXPIRE; hard: the SA is gone.
func ParseExpire(p []byte) (info Info, hard, ok bool) {
	if len(p) < nl.SizeofXfrmUserExpire || p[76] != protoESP {
		return info, false, false
	}
	info, err := ParseState(p[:nl.SizeofXfrmUsersaInfo])
	return info, p[nl.SizeofXfrmUsersaInfo] != 0, err == nil
}

// ParseDeleted reads an XFRM_MSG_DELSA. Unless counted is set, info has only the SA's
// identity, not its last counters.
func ParseDeleted(p []byte) (info Info, counted, ok bool) {
	id, ok := idOf(p)
	if !ok {
		return info, false, false
	}
	_ = netlink.EachAttr(p[nl.SizeofXfrmUsersaId:], func(typ uint16, v []byte) error {
		if typ == nl.XFRMA_SA && len(v) >= nl.SizeofXfrmUsersaInfo {
			i, err := ParseState(v[:nl.SizeofXfrmUsersaInfo])
			if err == nil {
				info, counted = i, true
			}
		}
		return nil
	})
	info.ID = id
	return info, counted, true
}

// ParseMapping reads an XFRM_MSG_MAPPING: the address an inbound SA's packets now come
// from.
func ParseMapping(p []byte) (id ID, to netip.AddrPort, ok bool) {
	if len(p) < sizeMapping {
		return id, to, false
	}
	id, _ = idOf(p)
	return id, netip.AddrPortFrom(addressOf(binary.NativeEndian.Uint16(p[20:]), p[44:]), binary.BigEndian.Uint16(p[62:])), true
}

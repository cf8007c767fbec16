package xfrm

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// An SA is written back with its keys and counters, other addresses and ports, and a
// sequence number that never goes back.
func TestChangedStateKeepsItsKeysAndNeverRepeatsANumber(t *testing.T) {
	key := rawAttr(nl.XFRMA_ALG_AEAD, append(make([]byte, 72), 1, 2, 3))
	hidden := rawAttr(nl.XFRMA_ALG_AEAD, make([]byte, 75))
	old := rawAttr(nl.XFRMA_REPLAY_VAL, u32(7, 0, 0))
	for _, c := range []struct {
		name   string
		change Change
		esn    bool
		attrs  []secret
		fails  bool
		oseq   uint64 // wanted
	}{
		{"in place", Change{}, false, []secret{key, old}, false, 7},
		{"in place, keys hidden", Change{}, false, []secret{hidden, old}, false, 7},
		{"replaced", Change{Replace: true, Skip: 1 << 16}, false, []secret{key, old}, false, 7 + 1<<16},
		{"replaced, keys hidden", Change{Replace: true}, false, []secret{hidden, old}, true, 0},
		{"nearly used up", Change{Skip: 1 << 16}, false, []secret{key, rawAttr(nl.XFRMA_REPLAY_VAL, u32(0xfff00000, 0, 0))}, true, 0},
		{"long window", Change{Skip: 1 << 16}, false, []secret{key, rawAttr(nl.XFRMA_REPLAY_ESN_VAL, u32(1, 5, 0, 0, 0, 32, 0))}, false, 5 + 1<<16},
		{"long window, nearly used up", Change{Skip: 1 << 16}, false, []secret{key, rawAttr(nl.XFRMA_REPLAY_ESN_VAL, u32(1, 0xfff00000, 0, 0, 0, 32, 0))}, true, 0},
		{"ESN carries over", Change{Skip: 1 << 16}, true, []secret{key, rawAttr(nl.XFRMA_REPLAY_ESN_VAL, u32(1, 0xffffffff, 0, 2, 0, 32, 0))}, false, 3<<32 + 1<<16 - 1},
	} {
		c.change.Src, c.change.Dst = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		c.change.Sport, c.change.Dport = 4500, 40000
		msg := make([]byte, nl.SizeofXfrmUsersaInfo)
		binary.NativeEndian.PutUint64(msg[168:], 99) // packets
		binary.NativeEndian.PutUint16(msg[212:], unix.AF_INET)
		if c.esn {
			msg[216] = nl.XFRM_STATE_ESN
		}
		for _, a := range append(c.attrs, rawAttr(nl.XFRMA_ENCAP, make([]byte, 24)), rawAttr(nl.XFRMA_LASTUSED, make([]byte, 8))) {
			msg = append(msg, a...)
		}
		req, err := c.change.request(msg)
		if (err != nil) != c.fails {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil {
			if c.attrs[0][76] == 0 && !errors.Is(err, errRedacted) {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		var sent []byte
		for _, part := range req.Data {
			sent = append(sent, part.Serialize()...)
		}
		info, err := ParseState(sent)
		if err != nil || info.Src != c.change.Src || info.Dst != c.change.Dst || info.Sport != 4500 || info.Dport != 40000 || info.Oseq != c.oseq || info.Packets != 99 {
			t.Errorf("%s: sent %+v, %v", c.name, info, err)
		}
		if string(req.Data[1].Serialize()) != string(c.attrs[0]) {
			t.Errorf("%s: the key was changed", c.name)
		}
		if len(req.Data) != 4+map[bool]int{true: 1}[c.change.Replace] {
			t.Errorf("%s: %d parts", c.name, len(req.Data))
		}
	}
}

// u32 are words in the machine's order.
func u32(words ...uint32) (b []byte) {
	for _, w := range words {
		b = binary.NativeEndian.AppendUint32(b, w)
	}
	return b
}

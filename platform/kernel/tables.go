package kernel

import (
	"encoding/binary"
	"hash/fnv"
	"maps"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"greseal/platform"
	"greseal/platform/netlink"
)

// standingTables are the clamps' tables in the kernel, read through NETLINK_NETFILTER
// (linux/netfilter/nf_tables.h): nft(8) would be a process each time. The kernel numbers
// each change of its rules, so that one request shows that nothing has changed. Without
// nf_tables nothing is read.
type standingTables struct {
	conn       *netlink.Conn // nil without nf_tables
	generation uint32        // at the last look
	stood      [2]table      // after the last write
	changed    string        // what the last look found, "" when they were intact
}

// table is what can be compared of a table: its rules and chains as the kernel dumps them.
type table struct {
	objects int
	digest  [16]byte
}

// clampFamilies are the families of the tables.
var clampFamilies = [2]struct {
	number uint8
	name   string
}{{unix.NFPROTO_INET, "inet"}, {unix.NFPROTO_BRIDGE, "bridge"}}

// open opens the socket in the network namespace of the calling thread.
func (s *standingTables) open() {
	s.conn, _ = netlink.Open(unix.NETLINK_NETFILTER)
}

func (s *standingTables) close() {
	if s.conn != nil {
		s.conn.Close()
	}
}

// remember takes the tables as they are now for what was written.
func (s *standingTables) remember() {
	s.changed = ""
	if s.conn == nil {
		return
	}
	var err error
	if s.generation, err = s.readGeneration(); err != nil {
		return
	}
	for i, family := range clampFamilies {
		if s.stood[i], err = s.read(family.number); err != nil {
			s.generation = 0 // not to be relied on
			return
		}
	}
}

// look compares the tables with those after the last write.
func (s *standingTables) look() {
	if s.conn == nil || s.generation == 0 {
		return
	}
	generation, err := s.readGeneration()
	if err != nil || generation == s.generation {
		return
	}
	changed := ""
	for i, family := range clampFamilies {
		stands, err := s.read(family.number)
		switch {
		case err != nil:
			return
		case stands == s.stood[i]:
		case stands.objects == 0:
			changed = "somebody removed the table " + family.name + " " + clampTable
		default:
			changed = "somebody changed the table " + family.name + " " + clampTable
		}
	}
	s.generation, s.changed = generation, changed
}

// nfRequest begins a request to nf_tables.
func nfRequest(msg, flags int, family uint8) *nl.NetlinkRequest {
	return netlink.Request(uint16(unix.NFNL_SUBSYS_NFTABLES<<8|msg), flags, &nl.Nfgenmsg{NfgenFamily: family})
}

const sizeNfgenmsg = nl.SizeofNfgenmsg

func (s *standingTables) readGeneration() (generation uint32, err error) {
	err = s.conn.Get(nfRequest(unix.NFT_MSG_GETGEN, 0, unix.AF_UNSPEC), func(_ uint16, p []byte) error {
		return netlink.EachAttr(p[min(sizeNfgenmsg, len(p)):], func(typ uint16, v []byte) error {
			if typ == unix.NFTA_GEN_ID && len(v) >= 4 {
				generation = binary.BigEndian.Uint32(v)
			}
			return nil
		})
	})
	return generation, err
}

// read reads the chains and rules of one table.
func (s *standingTables) read(family uint8) (t table, err error) {
	digest := fnv.New128a()
	for _, kind := range [2]struct {
		get, answer, attrTable int
		only                   []nl.NetlinkRequestData
	}{
		{unix.NFT_MSG_GETCHAIN, unix.NFT_MSG_NEWCHAIN, unix.NFTA_CHAIN_TABLE, nil},
		{unix.NFT_MSG_GETRULE, unix.NFT_MSG_NEWRULE, unix.NFTA_RULE_TABLE, []nl.NetlinkRequestData{nl.NewRtAttr(unix.NFTA_RULE_TABLE, nl.ZeroTerminated(clampTable))}},
	} {
		request := append([]nl.NetlinkRequestData{&nl.Nfgenmsg{NfgenFamily: family}}, kind.only...)
		of := func(msg int) uint16 { return uint16(unix.NFNL_SUBSYS_NFTABLES<<8 | msg) }
		ours, err := netlink.Dump(s.conn, of(kind.get), of(kind.answer), func(p []byte) ([]byte, bool, error) {
			p = p[min(sizeNfgenmsg, len(p)):] // before is the generation
			ours := false
			err := netlink.EachAttr(p, func(typ uint16, v []byte) error {
				ours = ours || int(typ) == kind.attrTable && netlink.CString(v) == clampTable
				return nil
			})
			return slices.Clone(p), ours, err
		}, request...)
		if err != nil {
			return t, err
		}
		t.objects += len(ours)
		for _, p := range ours {
			digest.Write(p)
		}
	}
	digest.Sum(t.digest[:0])
	return t, nil
}

// auditClamps checks the tables and has them written again if they differ. nft runs in
// another goroutine: the first look after it reports that they are intact.
func (d *Datapath) auditClamps() []platform.Deviation {
	c := d.clamps
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.written != c.ordered || c.err != nil {
		return nil // being written; or never accepted, as MSSClampError says
	}
	c.standing.look()
	found := platform.Deviation{Object: platform.ObjectClamp, Name: clampTable, Text: c.standing.changed}
	links := slices.Sorted(maps.Keys(c.want))
	switch {
	case found.Text != "":
		found = d.repairs.Do(found, func() error {
			c.write(true)
			return nil
		})
		if found.Fixed {
			c.mending, found.Fixed = found.Text, false
			found.Text += "; it is being written again"
		}
	case c.mending != "":
		found.Text, found.Fixed = c.mending, true
		c.mending = ""
	default:
		return nil
	}
	if len(links) == 0 {
		return []platform.Deviation{found}
	}
	return forEach(links, found)
}

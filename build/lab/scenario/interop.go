package scenario

import (
	"fmt"
	"strings"
)

// What real peers judge, one row a line, played by `make interop`. The columns
// are greseal's side: how both authenticate, greseal's role, its datapath, the
// mode, who stands behind a NAT, the path's MTU, who rekeys both SAs. Every two
// values of two columns meet in some row (TestInteropMeetsAllPairs), but for
// what cannot be: a message with a shared or a raw key in it fits 576 bytes. In
// some rows greseal's own address then changes under the ping (MOBIKE).
//
// Tunnel mode in userspace is played in namespaces against strongSwan's own ESP
// (kernel-libipsec); the rest in the virtual machine against the kernel's.
const interopTable = `
 #  auth       role       datapath   mode       NAT        path  rekey    then  make
 1  psk        initiator  userspace  tunnel     none       1500  peer     move
 2  rsa        responder  userspace  tunnel     none       576   peer     end   test
 3  rsa-pss    initiator  userspace  tunnel     none       1500  greseal  move
 4  rsa-old    initiator  userspace  tunnel     initiator  1500  peer     end
 5  ecdsa-256  initiator  userspace  tunnel     responder  576   greseal  move
 6  ecdsa-384  responder  userspace  tunnel     initiator  1500  peer     end
 7  ed25519    responder  userspace  tunnel     responder  1500  greseal  end   test
 8  raw-ed     initiator  userspace  tunnel     initiator  1500  peer     end   test
 9  raw-rsa    responder  userspace  tunnel     none       1500  greseal  move
10  psk        responder  kernel     transport  initiator  1500  greseal  end
11  psk        responder  userspace  transport  responder  1500  peer     end
12  rsa        responder  kernel     tunnel     none       576   greseal  end
13  rsa        initiator  userspace  transport  responder  1500  peer     end
14  rsa        initiator  kernel     tunnel     initiator  1500  greseal  end
15  rsa-pss    responder  userspace  transport  initiator  576   greseal  end
16  rsa-pss    initiator  kernel     tunnel     responder  1500  peer     end
17  ecdsa-256  initiator  userspace  transport  responder  576   greseal  end
18  ecdsa-384  responder  kernel     tunnel     initiator  576   peer     end
19  ecdsa-521  initiator  userspace  transport  none       1500  greseal  end
20  ed25519    responder  kernel     tunnel     initiator  1500  peer     end
21  ed25519    initiator  userspace  transport  none       576   greseal  end
22  raw-rsa    responder  kernel     transport  responder  1500  peer     end
23  raw-ecdsa  responder  kernel     tunnel     none       1500  greseal  end
`

// interopRow is a line of the table.
type interopRow struct {
	number                                string
	auth, role, datapath, mode, nat, path string
	rekey                                 string
	move                                  bool // greseal gets another address
	quick                                 bool // also played by make test
}

// interopRows reads the table.
func interopRows() []interopRow {
	var rows []interopRow
	for line := range strings.Lines(strings.TrimSpace(interopTable)) {
		f := append(strings.Fields(line), "", "")
		if f[0] == "#" {
			continue
		}
		rows = append(rows, interopRow{number: f[0], auth: f[1], role: f[2], datapath: f[3], mode: f[4], nat: f[5], path: f[6], rekey: f[7], move: f[8] == "move", quick: f[9] == "test"})
	}
	return rows
}

func init() {
	for _, r := range interopRows() {
		s := Scenario{Name: r.name(), Peer: StrongSwan, Paths: []string{r.datapath}, Interop: true, Quick: r.quick, Where: VM, Run: r.play}
		if r.datapath == "userspace" && r.mode == "tunnel" {
			s.Where = Host
		}
		add(s)
	}
}

func (r interopRow) name() string {
	name := fmt.Sprintf("%s, %s, %s", r.auth, r.role, r.mode)
	if r.nat != "none" {
		name += ", NAT before the " + r.nat
	}
	if r.path != "1500" {
		name += ", path of " + r.path
	}
	if r.rekey == "" {
		return name + ", rekeyed by both"
	}
	if r.move {
		name += ", moving"
	}
	return name + ", rekeyed by " + strings.Replace(r.rekey, "peer", "the peer", 1)
}

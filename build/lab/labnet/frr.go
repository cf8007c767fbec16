package labnet

import (
	"encoding/json"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// frrFolder is where Debian puts FRR's daemons.
const frrFolder = "/usr/lib/frr/"

// FRR is zebra and ospfd in a namespace.
type FRR struct {
	ns  *NS
	dir string // of their sockets
}

// OSPF starts FRR with OSPF as a point-to-point link over one interface, and
// announces the addresses of lo. The
// route to a neighbour is only given up after 40 s of silence, so that what ends
// it sooner is the interface's link state.
func (n *NS) OSPF(ifname, routerID string) *FRR {
	if _, err := exec.LookPath("vtysh"); err != nil {
		n.lab.Skipf("FRR is not installed: run build/lab/setup")
	}
	// The daemons give up root for a user that need not reach the lab's folder.
	dir, err := os.MkdirTemp("", "gslab-frr-")
	n.lab.Must(err, "make a folder for FRR")
	n.lab.Defer(func() { os.RemoveAll(dir) })
	owner, err := user.Lookup("frr")
	n.lab.Must(err, "look up FRR's user")
	uid, _ := strconv.Atoi(owner.Uid)
	gid, _ := strconv.Atoi(owner.Gid)
	n.lab.Must(os.Chown(dir, uid, gid), "give FRR its folder")
	f := &FRR{ns: n, dir: dir}
	config := []string{"hostname " + n.Name, "interface " + ifname, " ip ospf area 0", " ip ospf network point-to-point",
		" ip ospf hello-interval 1", " ip ospf dead-interval 40", "interface lo", " ip ospf area 0", "router ospf", " ospf router-id " + routerID}
	text := strings.Join(config, "\n") + "\n" // zebra takes no notice of the OSPF in it
	for _, daemon := range []string{"zebra", "ospfd"} {
		conf := filepath.Join(dir, daemon+".conf")
		n.lab.Must(os.WriteFile(conf, []byte(text), 0o644), "write FRR's config")
		n.Start("frr-"+n.Name+"-"+daemon, frrFolder+daemon, "-f", conf, "-A", "127.0.0.1",
			"-i", filepath.Join(f.dir, daemon+".pid"), "-z", filepath.Join(f.dir, "zserv"), "--vty_socket", f.dir, "--log", "stdout")
		n.lab.Wait(20*time.Second, daemon+" answers", func() bool {
			_, err := os.Stat(filepath.Join(f.dir, daemon+".vty"))
			return err == nil
		})
	}
	return f
}

// Neighbor is what ospfd says of one.
type Neighbor struct {
	State   string `json:"nbrState"` // such as Full/-
	Changes int    `json:"stateChangeCounter"`
	UpMS    int64  `json:"upTimeInMsec"` // since the last change, milliseconds
}

// Full tells whether the adjacency stands.
func (n Neighbor) Full() bool { return strings.HasPrefix(n.State, "Full") }

// Neighbor asks ospfd for the neighbour; the zero value when there is none.
func (f *FRR) Neighbor() Neighbor {
	r := f.ns.Run("vtysh", "--vty_socket", f.dir, "-d", "ospfd", "-c", "show ip ospf neighbor json")
	var all struct {
		Neighbors map[string][]Neighbor `json:"neighbors"`
	}
	if err := json.Unmarshal([]byte(r.Stdout), &all); err != nil {
		f.ns.lab.Logf("what vtysh says: %v", err)
		return Neighbor{}
	}
	for _, list := range all.Neighbors {
		for _, one := range list {
			return one
		}
	}
	return Neighbor{}
}

// WaitFull waits until the adjacency stands.
func (f *FRR) WaitFull(limit time.Duration) Neighbor {
	f.ns.lab.Wait(limit, "an OSPF adjacency at "+f.ns.Name, func() bool { return f.Neighbor().Full() })
	return f.Neighbor()
}

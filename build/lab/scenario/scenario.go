// Package scenario is what the lab plays: one story a file, whose first lines
// say in words what must be seen. Each runs in its own namespaces with package
// labnet, against strongSwan or another greseal, here with the userspace
// datapath and in the virtual machines with both. labtest runs them and prints
// the table.
package scenario

import (
	"greseal/build/lab/labnet"
)

// Scenario is one story.
type Scenario struct {
	Name  string
	Peer  string   // who the other side is
	Paths []string // datapaths it is played on: "userspace", "kernel"; none: the lab itself
	Where Where
	Alone bool // measures time, so nothing else may run beside it
	Once  bool // about IKE or the daemon and not about the kernel: one kernel will do

	Interop bool // a row of make interop
	Quick   bool // such a row that is also a scenario of make test
	Run     func(*labnet.Lab)
}

// Where tells on which machines a scenario makes sense.
type Where int

// Machines.
const (
	Anywhere Where = iota
	VM             // needs GRE and ESP in the kernel
	Router         // the emulated MIPS router only
	Host           // needs this machine's speed, or would only repeat itself in the VM
)

// Peers.
const (
	StrongSwan = "strongSwan"
	Greseal    = "greseal"
)

var (
	both      = []string{"userspace", "kernel"}
	kernel    = []string{"kernel"}
	userspace = []string{"userspace"}
)

// all is filled by the init functions of the scenario files.
var all []Scenario

func add(s ...Scenario) { all = append(all, s...) }

// addOnce is add for scenarios that need not be played on every kernel.
func addOnce(list ...Scenario) {
	for _, s := range list {
		s.Once = true
		add(s)
	}
}

// All returns every scenario, in the order of the table.
func All() []Scenario { return all }

package ikev2

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Commands of scenarios that a simulation plays:
//
//	network SEED [silent]                the network's own chance; key exchanges are not real; before all else
//	weather [loss=P] [double=P] [delay=D]    of datagrams from now on; "weather calm" ends it
//	traffic DURATION [every DURATION]    both sides send a packet every 50ms, which must find an inbound SA
//	freeze NAME DURATION                 its process stands still, while its datapath goes on
//	clock NAME DURATION                  its clock leaps, forwards or backwards
//	NAME keeps up                        it initiates again whenever it has nothing
//	NAME forgets its inbound SAs         its datapath loses them and does not say so
//	NAME reauthenticates                 it makes a new IKE SA beside the one it has

func duration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		panic(err)
	}
	return d
}

func (s *scene) cmdNetwork(w []string) {
	seed, err := strconv.ParseUint(w[0], 10, 64)
	if err != nil {
		panic(err)
	}
	s.net.rand = rand.New(rand.NewPCG(seed, 1))
	s.net.cheap = true
}

func (s *scene) cmdWeather(w []string) {
	n := s.net
	if w[0] == "calm" {
		n.loss, n.double, n.delayMax = 0, 0, n.delayMin
		return
	}
	for _, kv := range w {
		k, v, _ := strings.Cut(kv, "=")
		var err error
		switch k {
		case "loss":
			n.loss, err = strconv.ParseFloat(v, 64)
		case "double":
			n.double, err = strconv.ParseFloat(v, 64)
		case "delay":
			n.delayMax = duration(v)
		default:
			panic("no weather " + k)
		}
		if err != nil {
			panic(err)
		}
	}
}

func (s *scene) cmdTraffic(w []string) {
	step := 50 * time.Millisecond
	if len(w) == 3 {
		step = duration(w[2])
	}
	n := s.net
	for end := n.now + duration(w[0]); n.now < end; {
		n.run(min(n.now+step, end))
		for _, x := range n.nodes {
			x.packet()
		}
		n.checkWindow()
	}
}

// checkWindow reports it when one side may send what the other has no inbound SA
// for, and when that has happened to a packet, as long as neither has declared
// the other dead nor forgotten everything.
func (n *network) checkWindow() {
	a, b := n.nodes[0], n.nodes[1]
	bad := window(a, b)
	if lost := a.outages + b.outages; lost > n.outages {
		n.outages = lost
		if bad == "" && n.now >= n.late {
			bad = "a packet came on an SA that was removed too early"
		}
	}
	switch {
	case bad == "" && a.carrier != 0 && b.carrier != 0:
		if n.excused {
			n.excuse(false)
		}
	case bad != "" && !n.excused:
		n.excused = true // said once
		n.fault("%s", bad)
	}
}

// excuse is called when one side has forgotten what the other may send on, with
// true, and when that is mended, with false: packets under way are late.
func (n *network) excuse(now bool) {
	n.excused = now
	n.late = n.now + time.Second
}

// window checks that what either side may send now has its inbound SA at the
// other. A responder's first Child SA, beside which there is none, is excepted: the
// peer has not got the answer that makes it.
func window(a, b *node) string {
	for _, pair := range [][2]*node{{a, b}, {b, a}} {
		x, y := pair[0], pair[1]
		if x.carrier == 0 || y.in[x.carrier] != nil {
			continue
		}
		c := x.out[x.carrier].child
		of, once := y.gone[x.carrier]
		if y.dead[of] {
			continue // x was given up there, and does not know it yet
		}
		if !once && !c.Initiator && c.Replaces == 0 && len(x.out) == 1 {
			continue
		}
		return fmt.Sprintf("%s sends on %08x, which %s has not installed", x.name, x.carrier, y.name)
	}
	return ""
}

func (x *node) rekeyChildren() {
	for _, c := range x.e.Children(x.peer.ID) {
		x.do(x.e.RekeyChild(x.time(), c.ID))
	}
}

func (x *node) rekeyIKE() {
	for _, s := range x.e.SAs(x.peer.ID) {
		x.do(x.e.RekeyIKE(x.time(), s.ID))
	}
}

func (x *node) other() *node {
	if x.net.nodes[0] == x {
		return x.net.nodes[1]
	}
	return x.net.nodes[0]
}

// reauthenticate does what the age of the authentication would.
func (x *node) reauthenticate() {
	for _, s := range slices.Clone(x.e.peers[x.peer.ID].established()) {
		x.e.enter(x.time())
		x.e.reauthenticate(s)
		x.do(x.e.flush())
		return
	}
}

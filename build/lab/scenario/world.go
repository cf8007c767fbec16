package scenario

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"greseal/build/lab/labnet"
	"greseal/tunnel/status"
)

// world is what most scenarios start from: greseal with the tunnel "t0" in
// namespace A, strongSwan in B, and the wire between them.
type world struct {
	*labnet.Lab
	net     *labnet.Pair
	greseal *labnet.Greseal
	swan    *swanPeer

	swanConfig labnet.Swan
	gre        labnet.GREOptions
	lines      []string // of greseal's tunnel, beyond those every one has
	responder  bool     // greseal waits for strongSwan
	v6         bool     // outside
	anyLocal   bool     // greseal's own address is by route
}

// newWorld builds the network. change sets what the scenario wants otherwise.
func newWorld(l *labnet.Lab, change func(*world)) *world {
	w := &world{Lab: l, swanConfig: labnet.Swan{Local: labnet.AddrB, Remote: labnet.AddrA}}
	if change != nil {
		change(w)
	}
	if w.net == nil {
		w.net = l.NewPair()
	}
	if w.v6 {
		w.swanConfig.Local, w.swanConfig.Remote = labnet.AddrB6, labnet.AddrA6
	}
	return w
}

// config is greseal's file.
func (w *world) config() string {
	remote := strconv.Quote(w.swanConfig.Local)
	if w.responder {
		remote = `"any"`
	}
	lines := []string{"remote = " + remote}
	if !w.anyLocal {
		lines = append(lines, "local = "+strconv.Quote(w.addrA()))
	}
	lines = append(lines,
		fmt.Sprintf("psk = %q", psk), fmt.Sprintf("address = [\"%s/30\"]", innerA))
	if w.Datapath == "userspace" && !labnet.KernelESP() {
		// kernel-libipsec knows nothing but ESP in UDP, which is also what
		// greseal chooses by itself.
		for _, line := range w.lines {
			w.Check(line != `encap = "never"`, "kernel-libipsec needs UDP encapsulation")
		}
	}
	return labnet.Tunnel("t0", append(lines, w.lines...)...)
}

func (w *world) addrA() string {
	if w.v6 {
		return labnet.AddrA6
	}
	return labnet.AddrA
}

// start starts both daemons; who initiates does so.
func (w *world) start() {
	w.swan = newSwan(w.Lab, w.net.B, w.swanConfig, innerB)
	w.swan.gre = w.gre
	w.greseal = w.net.A.Greseal(w.config())
	if w.responder {
		w.greseal.WaitState("t0", "listening", 10*time.Second)
		w.swan.Initiate()
	}
}

// up is start, and waits until the tunnel stands and strongSwan has its GRE
// interface.
func (w *world) up() status.Tunnel {
	w.start()
	status := w.greseal.WaitUp("t0", 20*time.Second)
	w.swan.WaitUp(5 * time.Second)
	w.swan.raiseGRE()
	return status
}

// pings sends some each way; all must be answered.
func (w *world) pings() {
	w.net.A.WaitPing(innerB, 10*time.Second)
	w.net.A.MustPing(innerB, 20)
	w.net.B.MustPing(innerA, 20)
}

// oneSA checks that exactly one IKE SA with one Child SA is left, on both
// sides, with the same SPIs. Of two IKE SAs that were made at once, greseal
// leaves the choice to the peer for 20 s.
func (w *world) oneSA() {
	w.Wait(40*time.Second, "one IKE SA and one Child SA on both sides", func() bool {
		sas, t := w.swan.List(), w.greseal.Tunnel("t0")
		return sas.IKE == 1 && sas.Children == 1 && t.IKE != nil && t.Child != nil && t.IKE.Children == 1 &&
			sas.IKESPIs[0] == t.IKE.SPIi+t.IKE.SPIr && sameSPIs(sas.ESPSPIs, t)
	})
}

// sameSPIs compares strongSwan's inbound and outbound SPI with greseal's.
func sameSPIs(swan []string, t status.Tunnel) bool {
	return len(swan) == 2 && swan[0] == t.Child.SPIOut && swan[1] == t.Child.SPIIn
}

// counters fails unless the kernel's own counters of every SA in greseal's
// namespace rose: proof that the kernel did the work.
func (w *world) counters() {
	if w.Datapath != "kernel" {
		return
	}
	t := w.greseal.Tunnel("t0")
	text := w.net.A.MustRun("ip", "-s", "xfrm", "state")
	for _, spi := range []string{t.Child.SPIIn, t.Child.SPIOut} {
		_, state, found := strings.Cut(text, "spi 0x"+spi)
		w.Check(found, "the kernel has no SA with SPI %s:\n%s", spi, text)
		_, state, _ = strings.Cut(state, "lifetime current:")
		fields := strings.Fields(state)
		w.Check(len(fields) > 2 && !strings.HasPrefix(fields[0], "0("), "SA %s carried nothing:\n%s", spi, text)
	}
}

// statusCommand holds what people and programs are shown to the daemon's own
// answer.
func (w *world) statusCommand() {
	t := w.greseal.Tunnel("t0")
	var shown struct {
		Tunnels []struct {
			Name, State string
			Child       struct {
				SPI string `json:"spi_in"`
			}
		}
	}
	w.Must(json.Unmarshal([]byte(w.greseal.Must("status", "--json")), &shown), "read greseal status --json")
	w.Check(len(shown.Tunnels) == 1 && shown.Tunnels[0].Name == "t0" && shown.Tunnels[0].State == "up" && shown.Tunnels[0].Child.SPI == t.Child.SPIIn,
		"greseal status --json shows %+v", shown)
	text := w.greseal.Must("status")
	for _, part := range []string{"t0", "up", t.IKE.Suite, t.Child.Suite, strconv.Itoa(t.MTU.Bytes)} {
		w.Check(strings.Contains(text, part), "greseal status does not show %q:\n%s", part, text)
	}
	for _, secret := range []string{psk} {
		w.Check(!strings.Contains(text+w.greseal.Log(), secret), "the PSK stands in the status or the log")
	}
}

// raisePeerGRE makes the GRE interface of a peer that is no strongSwan.
func (w *world) raisePeerGRE() {
	peer := &swanPeer{lab: w.Lab, ns: w.net.B, config: labnet.Swan{Local: labnet.AddrB, Remote: labnet.AddrA}, inner: innerB}
	peer.raiseGRE()
}

// peerKernelHas requires both SAs of greseal's pair in the peer's kernel.
func (w *world) peerKernelHas(pair *status.ChildSA) {
	states := w.net.B.MustRun("ip", "xfrm", "state")
	w.Check(strings.Contains(states, pair.SPIIn) && strings.Contains(states, pair.SPIOut), "the peer's kernel has other SAs than %s and %s:\n%s", pair.SPIIn, pair.SPIOut, states)
}

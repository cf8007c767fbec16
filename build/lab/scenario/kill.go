package scenario

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"time"

	"greseal/build/lab/labnet"
)

// greseal is killed with SIGKILL at random moments of bring-up, rekeying,
// reload and tear-down, while a router's own traffic and that of a host behind
// it goes on, IPv4 and IPv6. Seen outside: no packet of protocol 47 ever; and
// from the moment the first run has logged that it is closed, no packet of the
// networks inside, until the end. That the capture sees such packets is shown
// first, by the same traffic before greseal is started.
//
// LAB_KILLS is how often (20), LAB_SEED where the random moments come from (1).
func init() {
	addOnce(Scenario{Name: "killed at random moments", Peer: Greseal, Paths: both, Run: killed})
}

// The networks inside: of the peer, and of a host behind greseal.
const (
	farNet, farHost   = "10.77.0.0/24", "10.77.0.1"
	farNet6, farHost6 = "2001:db8:77::/64", "2001:db8:77::1"
	nearNet, nearHost = "10.66.0.0/24", "10.66.0.2"
	nearNet6          = "2001:db8:66::/64"
)

var insideNets = []string{farNet, farNet6, nearNet, nearNet6, "10.255.0.0/30"}

// fromEnv is a number from the environment.
func fromEnv(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// killing is a world in which a daemon is killed again and again.
type killing struct {
	*labnet.Lab
	net    *labnet.Pair
	g      *labnet.Greseal
	random *rand.Rand
	takes  time.Duration // from start to a tunnel that is up
	lines  map[string]string
	extra  bool // a second tunnel is configured
}

func killed(l *labnet.Lab) {
	rounds, seed := fromEnv("LAB_KILLS", 20), fromEnv("LAB_SEED", 1)
	k := &killing{Lab: l, net: l.NewPair(), random: rand.New(rand.NewPCG(uint64(seed), 47)), lines: map[string]string{}}
	a, b := k.net.A, k.net.B
	a.Sysctl("net.ipv4.ip_forward", "1")
	b.Addr("lo", farHost+"/32")
	b.Addr("lo", farHost6+"/128")
	b.Greseal(side("any", innerB, fmt.Sprintf("routes = [%q, %q]", nearNet, nearNet6)))

	lan := l.NewNS("lan")
	l.Veth(lan, "eth0", a, "lan")
	lan.Addr("eth0", nearHost+"/24")
	a.Addr("lan", "10.66.0.1/24")
	lan.Route("", "10.66.0.1", "")
	a.Sysctl("net.ipv6.conf.all.forwarding", "1")
	lan.Addr("eth0", "2001:db8:66::2/64")
	a.Addr("lan", "2001:db8:66::1/64")
	lan.Route("", "2001:db8:66::1", "")

	traffic := []*labnet.Pinger{
		a.StartPing(innerB, 20*time.Millisecond), lan.StartPing(farHost6, 20*time.Millisecond), lan.StartPing(farHost, 10*time.Millisecond)}
	for _, inside := range insideNets {
		l.Wait(5*time.Second, "traffic of "+inside+" in the clear before greseal is there", func() bool { return k.net.Wire.About(inside, time.Time{}) > 0 })
	}

	k.g = a.GresealLater(k.config())
	const first = 4 // kills before anything of greseal's may be there
	for range min(first, rounds) {
		k.launch()
		time.Sleep(time.Duration(k.random.Int64N(int64(l.Stretch(30 * time.Millisecond)))))
		k.g.Kill()
	}
	begin := time.Now()
	k.g.Launch()
	closed := k.g.LoggedAt("closed:", 60*time.Second)
	k.up()
	k.takes = time.Since(begin)
	lan.WaitPing(farHost, 10*time.Second)

	moments := []struct {
		name string
		act  func()
		span time.Duration
	}{
		{"bring-up", func() {}, k.takes * 6 / 5},
		{"rekey", k.rekey, l.Stretch(15 * time.Millisecond)},
		{"reload", k.reload, l.Stretch(30 * time.Millisecond)},
		{"tear-down", k.tearDown, l.Stretch(25 * time.Millisecond)},
	}
	for round := range max(rounds-first, 0) {
		m := moments[round%len(moments)]
		if m.name == "bring-up" {
			k.g.Kill()
			k.launch()
		} else {
			k.up()
		}
		after := time.Duration(k.random.Int64N(int64(m.span)))
		m.act()
		l.Logf("round %d: killed %v into %s", round, after, m.name)
		time.Sleep(after)
		k.g.Kill()
		time.Sleep(l.Stretch(30 * time.Millisecond)) // the traffic finds nobody
		if round%10 == 9 {
			k.mustBeClosed(closed)
		}
	}
	k.up()
	lan.WaitPing(farHost, 10*time.Second)
	lan.WaitPing(farHost6, 10*time.Second)
	for _, p := range traffic {
		p.Quit()
	}
	k.mustBeClosed(closed)
	l.Check(k.net.Wire.Count(labnet.ESP)+k.net.Wire.Count(labnet.ESPinUDP) > 0, "nothing was protected: %s", k.net.Wire.Summary())
	l.Fact("%d kills, 0 leaks, seed %d", rounds, seed)
}

// launch starts greseal as if the one before had lived for long: it would wait otherwise, and
// nothing would be seen of its start.
func (k *killing) launch() {
	os.Remove(k.g.Socket + ".last")
	k.g.Launch()
}

// mustBeClosed looks at everything that was captured.
func (k *killing) mustBeClosed(since time.Time) {
	if n := k.net.Wire.Count(labnet.GRE); n > 0 {
		k.Leakf("%d packets of protocol 47 in the clear: %s", n, k.net.Wire.Summary())
	}
	if n := k.net.Wire.Since(labnet.Quote, since); n > 0 {
		k.Leakf("%d ICMP errors in the clear quote what is inside ESP: %s", n, k.net.Wire.Summary())
	}
	for _, inside := range insideNets {
		if n := k.net.Wire.About(inside, since); n > 0 {
			k.Leakf("%d packets of %s left in the clear after greseal had said it is closed", n, inside)
		}
	}
	k.net.Wire.MustBeWhole()
}

// config has what was reloaded so far.
func (k *killing) config() string {
	lines := []string{fmt.Sprintf("routes = [%q, %q]", farNet, farNet6)}
	for key, value := range k.lines {
		lines = append(lines, key+" = "+value)
	}
	text := side(labnet.AddrB, innerA, lines...)
	if k.extra {
		text += labnet.Tunnel("t1", `remote = "203.0.113.9"`, fmt.Sprintf("psk = %q", psk), `routes = ["10.99.0.0/16"]`)
	}
	return text
}

// up sees to it that the tunnel stands.
func (k *killing) up() {
	if !k.g.Running() {
		k.launch()
	}
	k.g.WaitAnswer()
	k.g.WaitUp("t0", 60*time.Second)
}

func (k *killing) toggle(key, one, other string) {
	if k.lines[key] == one {
		one = other
	}
	k.lines[key] = one
	k.g.Write(k.config())
	k.g.Reload()
}

// rekey has both SAs replaced.
func (k *killing) rekey() { k.toggle("esp", `"aes256gcm16"`, `"aes128gcm16"`) }

// reload changes what a reload can change: something that costs nothing, the
// whole handshake, or the number of tunnels.
func (k *killing) reload() {
	switch k.random.IntN(3) {
	case 0:
		k.toggle("metric", "7", "9")
	case 1:
		k.toggle("encap", `"always"`, `"auto"`)
	case 2:
		k.extra = !k.extra
		k.g.Write(k.config())
		k.g.Reload()
	}
}

// tearDown ends the tunnel, or the daemon as a service manager does.
func (k *killing) tearDown() {
	if k.random.IntN(2) == 0 {
		k.g.Signal(syscall.SIGTERM)
		return
	}
	k.g.Later("down", "t0")
}

package main

import (
	"bufio"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"greseal/build/lab/labnet"
)

// peer is one kind of tunnel between two namespaces that stands ready.
type peer struct {
	name string
	a, b *labnet.NS
	to   string // address of b inside the tunnel
	pids []int  // of both daemons
}

// outer addresses of the two namespaces.
const outerA, outerB = "192.0.2.1", "192.0.2.2"

// joined makes two namespaces with a wire of 1500 bytes between them.
func joined(l *labnet.Lab, name string) (a, b *labnet.NS) {
	a, b = l.NewNS(name+"-a"), l.NewNS(name+"-b")
	l.Veth(a, "wire", b, "wire")
	a.Addr("wire", outerA+"/24")
	b.Addr("wire", outerB+"/24")
	a.MustPing(outerB, 1)
	return a, b
}

// newGreseal brings up a tunnel with greseal's defaults and AES-128-GCM.
func newGreseal(l *labnet.Lab, a, b *labnet.NS) *peer {
	p := &peer{name: "greseal", a: a, b: b, to: "10.91.0.2"}
	config := func(remote string, n int) string {
		return "[daemon]\ndatapath = \"userspace\"\n\n" + labnet.Tunnel("gs0",
			fmt.Sprintf("remote = %q", remote), `psk = "GJTxJYV3W2/9C51ui5Pb1tFyyNiQvMHc3WTxLurJqLM="`,
			`esp = "aes128gcm16"`, fmt.Sprintf(`address = "10.91.0.%d/30"`, n))
	}
	one, two := a.Greseal(config(outerB, 1)), b.Greseal(config(outerA, 2))
	one.WaitUp("gs0", 30*time.Second)
	two.WaitUp("gs0", 30*time.Second)
	p.pids = []int{one.Pid(), two.Pid()}
	return p
}

// newWireGuard brings up wireguard-go with its default MTU of 1420.
func newWireGuard(l *labnet.Lab, a, b *labnet.NS, binary string) *peer {
	p := &peer{name: "wireguard-go", a: a, b: b, to: "10.92.0.2"}
	keys := [2]*ecdh.PrivateKey{}
	for i := range keys {
		var err error
		keys[i], err = ecdh.X25519().GenerateKey(rand.Reader)
		l.Must(err, "make a key")
	}
	for i, ns := range []*labnet.NS{a, b} {
		name := fmt.Sprintf("gsbench%d-%d", os.Getpid()%1e5, i)
		proc := ns.Start("wireguard-"+ns.Name, binary, "-f", name)
		socket := "/var/run/wireguard/" + name + ".sock"
		l.Defer(func() { os.Remove(socket) })
		var conn net.Conn
		l.Wait(20*time.Second, "wireguard-go's socket", func() (ok bool) {
			var err error
			conn, err = net.Dial("unix", socket)
			return err == nil
		})
		other := keys[1-i].PublicKey().Bytes()
		fmt.Fprintf(conn, "set=1\nprivate_key=%s\nlisten_port=51820\npublic_key=%s\nendpoint=%s:51820\nallowed_ip=10.92.0.0/30\n\n",
			hex.EncodeToString(keys[i].Bytes()), hex.EncodeToString(other), []string{outerB, outerA}[i])
		answer, err := bufio.NewReader(conn).ReadString('\n')
		conn.Close()
		l.Check(err == nil && answer == "errno=0\n", "wireguard-go answered %q: %v", answer, err)
		ns.Addr(name, fmt.Sprintf("10.92.0.%d/30", i+1))
		ns.LinkUp(name)
		p.pids = append(p.pids, proc.Pid())
	}
	a.MustPing(p.to, 1)
	return p
}

// newLibipsec brings up two strongSwan daemons with ESP of their own, tunnel
// mode without GRE, nil where it is not installed.
func newLibipsec(l *labnet.Lab, softAES bool) *peer {
	if !labnet.Have("/usr/lib/ipsec/charon") || !labnet.Have("/usr/sbin/swanctl") {
		return nil
	}
	name, folder := "kernel-libipsec", "ipsec"
	if softAES {
		name, folder = name+" without aesni", folder+"-soft"
	}
	a, b := joined(l, folder)
	p := &peer{name: name, a: a, b: b, to: "10.93.0.2"}
	config := func(local, remote string, n int) labnet.Swan {
		return labnet.Swan{Local: local, Remote: remote, PSK: "correct horse battery staple", Libipsec: true, SoftAES: softAES, ESP: "aes128gcm16",
			LocalTS: fmt.Sprintf("10.93.0.%d/32", n), RemoteTS: fmt.Sprintf("10.93.0.%d/32", 3-n)}
	}
	a.Addr("lo", "10.93.0.1/32")
	b.Addr("lo", "10.93.0.2/32")
	one, two := a.StrongSwan(config(outerA, outerB, 1)), b.StrongSwan(config(outerB, outerA, 2))
	one.Initiate()
	p.pids = []int{one.Pid(), two.Pid()}
	a.MustPing(p.to, 1)
	serve(l, b)
	return p
}

// cpu is the time both daemons have computed so far.
func (p *peer) cpu() time.Duration {
	var sum time.Duration
	for _, pid := range p.pids {
		tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		for _, t := range tasks {
			data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", pid, t.Name()))
			if f := strings.Fields(string(data)); len(f) > 0 {
				ns, _ := strconv.ParseInt(f[0], 10, 64)
				sum += time.Duration(ns)
			}
		}
	}
	return sum
}

// peakRSS is the more that one of the daemons ever held, in MB.
func (p *peer) peakRSS() float64 {
	most := 0.0
	for _, pid := range p.pids {
		data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		for line := range strings.Lines(string(data)) {
			if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
				kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
				most = max(most, kb/1000)
			}
		}
	}
	return most
}

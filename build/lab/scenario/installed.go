package scenario

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"greseal/build/lab/labnet"
)

// The package on the MIPS router: build/lab/router/install unpacks the .ipk over
// the root and runs its postinst; the init script starts the daemon, on which
// the tunnel of /etc/config/greseal comes up with a peer. Seen: nothing runs
// before a tunnel is configured; pings both ways; a second tunnel comes by reload
// and the first is not touched; a killed daemon is started again; the wire is
// sealed throughout; what the stopped daemon left is gone once prerm has run.
func init() {
	add(Scenario{Name: "the installed package on a router with 64 MB", Peer: Greseal, Paths: kernel, Where: Router, Alone: true, Run: installed})
}

const (
	initScript = "/etc/init.d/greseal"
	uciFile    = "/etc/config/greseal"
)

const uciTunnels = `
config tunnel 'hq'
	option remote '` + labnet.AddrB + `'
	option psk_file 'hq.psk'
	list address '` + innerA + `/30'
	list routes '10.9.0.0/16'
`

func installed(l *labnet.Lab) {
	net := l.NewPair()
	// Again, when this is played again: its end removes the package.
	net.A.MustRun("/lab/router/install", "/lab/greseal.ipk")
	for _, name := range []string{"/etc/rc.d/S85greseal", "/lib/netifd/proto/greseal.sh", "/usr/libexec/rpcd/luci.greseal", "/usr/lib/opkg/info/greseal.control"} {
		_, err := os.Stat(name)
		l.Must(err, "look for what the package brings")
	}
	if st, err := os.Stat("/etc/greseal"); err != nil || st.Mode().Perm() != 0o700 {
		l.Failf("/etc/greseal: %v, %v", st, err)
	}
	peer := net.B.Greseal(labnet.Tunnel("hq", `remote = "any"`, `psk = "`+psk+`"`, `address = ["`+innerB+`/30"]`))

	write := func(name, text string) { l.Must(os.WriteFile(name, []byte(text), 0o600), "write "+name) }
	write(uciFile, "")
	none := net.A.Run(initScript, "start")
	l.Check(none.Code == 0, "start without a tunnel: %s", none.Out())
	running := net.A.Run(initScript, "running")
	l.Check(running.Code != 0, "something runs without a tunnel")

	write("/etc/greseal/hq.psk", psk+"\n")
	write(uciFile, uciTunnels)
	procd := net.A.Start("procd", initScript, "start")
	a := net.A.Attach(procd, uciFile, "/var/run/greseal/status.sock")
	l.Wait(60*time.Second, "the daemon answers", a.Answers)
	hq := a.WaitUp("hq", 60*time.Second)
	peer.WaitUp("hq", 10*time.Second)
	net.A.WaitPing(innerB, 10*time.Second)
	net.A.MustPing(innerB, 10)
	net.B.MustPing(innerA, 10)
	l.Check(hq.Source == uciFile+":2", "the tunnel comes from %q", hq.Source)
	l.Check(a.Status().Daemon.Datapath == "kernel", "the datapath is %s: %s", a.Status().Daemon.Datapath, a.Status().Daemon.DatapathWhy)
	l.Check(strings.Contains(net.A.MustRun("/usr/sbin/greseal", "status"), "hq"), "greseal status does not name the tunnel")

	write(uciFile, uciTunnels+"\nconfig tunnel 'two'\n\toption remote '203.0.113.9'\n\toption psk_file 'hq.psk'\n")
	net.A.MustRun(initScript, "reload")
	l.Wait(30*time.Second, "two tunnels", func() bool { return len(a.Status().Tunnels) == 2 })
	hq = a.Tunnel("hq")
	l.Check(hq.State == "up" && hq.UpCount == 1, "the first tunnel was touched by the reload: %s, %d times up", hq.State, hq.UpCount)

	pid := instance()
	l.Must(syscall.Kill(pid, syscall.SIGKILL), "kill the daemon")
	l.Wait(60*time.Second, "another daemon", func() bool { return a.Answers() && instance() != pid })
	a.WaitUp("hq", 60*time.Second)
	net.A.WaitPing(innerB, 10*time.Second)

	net.A.MustRun(initScript, "stop")
	l.Check(procd.WaitExit(20*time.Second) == 0, "the stop: %s", procd.Output())
	l.Check(!a.Answers(), "the daemon answers after the stop")
	routes := net.A.MustRun("ip", "route")
	l.Check(strings.Contains(routes, "unreachable 10.9.0.0/16"), "after the stop nothing lies under the tunnel's routes: %s", routes)
	peer.Stop()
	net.Wire.MustBeSealed()

	size := int64(0)
	list, err := os.ReadFile("/usr/lib/opkg/info/greseal.list")
	l.Must(err, "read the package's list")
	for name := range strings.Lines(string(list)) {
		st, err := os.Lstat(strings.TrimSpace(name))
		l.Must(err, "look for a file of the package")
		if st.Mode().IsRegular() {
			size += st.Size()
		}
	}
	net.A.MustRun("/usr/lib/opkg/info/greseal.prerm", "remove")
	routes = net.A.MustRun("ip", "route")
	l.Check(!strings.Contains(routes, "10.9.0.0/16"), "routes stay behind when the package is removed: %s", routes)
	l.Fact("%d files, %.1f MB installed", strings.Count(string(list), "\n"), float64(size)/1e6)
}

// instance is the process id of the daemon that the init script's procd runs; 0
// when there is none.
func instance() int {
	text, _ := os.ReadFile("/var/run/procd-stand-in/instance")
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return pid
}

package openwrt

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"greseal/build/lab/labnet"
	"greseal/tunnel/status"
)

const psk = "0dV3l1pZkqf7qWq2Jw1m0H7oYyPp9Qm3bC5tR8xN2sU="

// procd is a stand-in that really starts the instance, in the foreground, and
// really signals it.
const procd = `
. /stubs.sh
procd_set_param() {
	local what="$1"
	shift
	case "$what" in
	command) COMMAND="$*" ;;
	env) ENVIRONMENT="$*" ;;
	esac
}
procd_running() { [ -e /pid ]; }
procd_send_signal() { kill "-$3" "$(cat /pid)"; }
script=$1 action=$2
. "$script"
case "$action" in
start)
	start_service
	echo $$ >/pid
	exec env $ENVIRONMENT $COMMAND
	;;
reload) reload_service ;;
esac
`

// canInstall skips where a package of this machine can't be installed and run.
func canInstall(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	if runtime.GOARCH != "amd64" {
		t.Skip("the package of this architecture has another name")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skip("there is no /dev/net/tun")
	}
}

// tool runs a program that must succeed; Go builds static binaries.
func tool(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// makeDevices makes those in a root folder that the daemon needs.
func makeDevices(t *testing.T, root string) {
	t.Helper()
	os.MkdirAll(filepath.Join(root, "dev/net"), 0o755)
	for _, dev := range []struct {
		path         string
		major, minor int
	}{{"dev/net/tun", 10, 200}, {"dev/null", 1, 3}} {
		os.Remove(filepath.Join(root, dev.path))
		if err := syscall.Mknod(filepath.Join(root, dev.path), syscall.S_IFCHR|0o666, dev.major<<8|dev.minor); err != nil {
			t.Skipf("devices cannot be made here: %v", err)
		}
	}
}

// snapshotAt asks the daemon at a socket, nil: none answers.
func snapshotAt(socket string) *status.Snapshot {
	c, err := status.Dial(socket)
	if err != nil {
		return nil
	}
	defer c.Close()
	reply, err := c.Call(status.Request{Op: status.OpStatus})
	if err != nil {
		return nil
	}
	return reply.Snapshot
}

// TestTheInstalledPackageBringsATunnelUpFromUCI builds the package, unpacks it
// into a root folder, starts the init script there and has the tunnel of
// /etc/config/greseal come up with a peer, in namespaces.
func TestTheInstalledPackageBringsATunnelUpFromUCI(t *testing.T) {
	canInstall(t)
	r := newRoot(t)
	dir, err := os.MkdirTemp("", "gs") // short: a socket lies in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })

	binary := filepath.Join(dir, "greseal-linux-amd64")
	tool(t, "go", "build", "-ldflags", "-s -w", "-o", binary, "greseal")
	mkpkg := filepath.Join(dir, "mkpkg")
	tool(t, "go", "build", "-o", mkpkg, "./mkpkg")
	tool(t, mkpkg, "build", "-top", "../..", "-binaries", dir, "-out", dir, "-keys", filepath.Join(dir, "keys"),
		"-version", "v1.2.3", "-epoch", "1795452907", "-arch", "x86_64")
	root := filepath.Join(dir, "root")
	tool(t, "cp", "-a", r.dir, root)
	os.RemoveAll(filepath.Join(root, "etc/init.d"))
	os.RemoveAll(filepath.Join(root, "usr/sbin/greseal"))
	os.Remove(filepath.Join(root, "etc/config/greseal")) // else it would be kept, as a conffile
	tool(t, mkpkg, "install", filepath.Join(dir, "x86_64/greseal_1.2.3-r1_x86_64.ipk"), root)

	r = &rootfs{t, root}
	r.put("etc/rc.common", procd, 0o644)
	os.Symlink("busybox", filepath.Join(root, "bin/env"))
	makeDevices(t, root)
	r.put("etc/greseal/hq.psk", psk+"\n", 0o600)
	uci := `config daemon
	option datapath 'userspace'

config tunnel 'hq'
	option remote '` + labnet.AddrB + `'
	option psk_file 'hq.psk'
	list address '10.255.0.1/30'
	list routes '10.9.0.0/16'
`
	r.put("etc/config/greseal", uci, 0o600)

	_, err = labnet.Run(dir, "lab", "userspace", binary, func(l *labnet.Lab) {
		net := l.NewPair()
		peer := net.B.Greseal(labnet.Tunnel("hq", `remote = "any"`, `psk = "`+psk+`"`, `address = ["10.255.0.2/30"]`))
		inside := func(script string) []string { return []string{"chroot", root, "/bin/sh", "-c", script} }
		daemon := net.A.Start("daemon", inside("exec /etc/init.d/greseal start")...)
		socket := filepath.Join(root, "var/run/greseal/status.sock")
		look := func() *status.Snapshot { return snapshotAt(socket) }
		up := func(name string) *status.Tunnel {
			if snap := look(); snap != nil {
				for i := range snap.Tunnels {
					if snap.Tunnels[i].Name == name && snap.Tunnels[i].State == status.StateUp {
						return &snap.Tunnels[i]
					}
				}
			}
			return nil
		}
		l.Wait(30*time.Second, "the tunnel of /etc/config/greseal is up", func() bool {
			if !daemon.Running() {
				l.Failf("the daemon ended: %s", daemon.Output())
			}
			return up("hq") != nil
		})
		if got := up("hq").Source; got != "/etc/config/greseal:4" {
			l.Failf("the tunnel comes from %q", got)
		}
		peer.WaitUp("hq", 10*time.Second)
		net.A.MustPing("10.255.0.2", 3)

		// The plugin, as rpcd calls it.
		answer := net.A.Run(inside(`echo '{"ubus_rpc_session":"x"}' | /usr/libexec/rpcd/luci.greseal call status`)...)
		var plugin struct {
			OK, Running bool
			Tunnels     []struct{ Name, State string }
		}
		l.Must(json.Unmarshal([]byte(answer.Stdout), &plugin), "read the plugin's answer")
		l.Check(plugin.OK && plugin.Running && len(plugin.Tunnels) == 1 && plugin.Tunnels[0].State == "up", "the plugin says %s", answer.Stdout)

		// Another tunnel and one of netifd come; the first is not touched.
		r.put("etc/config/greseal", uci+"\nconfig tunnel 'two'\n\toption remote '203.0.113.9'\n\toption psk_file 'hq.psk'\n", 0o600)
		r.put("etc/config/network", "config interface 'three'\n\toption proto 'greseal'\n\toption remote '203.0.113.10'\n\toption psk_file 'hq.psk'\n\tlist address '10.3.0.1/30'\n\tlist routes '10.33.0.0/16'\n", 0o600)
		reload := net.A.Run(inside("/etc/init.d/greseal reload")...)
		l.Check(reload.Code == 0, "reload: %s", reload.Out())
		l.Wait(10*time.Second, "three tunnels", func() bool { s := look(); return s != nil && len(s.Tunnels) == 3 })
		snap := look()
		l.Check(snap.Tunnels[0].State == status.StateUp && snap.Tunnels[0].UpCount == 1, "the first tunnel was touched: %+v", snap.Tunnels[0])
		three := snap.Tunnels[2]
		l.Check(three.Netifd && three.Source == "/etc/config/network:1", "the interface: %+v", three)
		l.Wait(10*time.Second, "the interface of netifd", func() bool { s := look(); return s != nil && s.Tunnels[2].Interface.Index != 0 })
		addresses := net.A.Run("ip", "-o", "address", "show", "dev", "three").Stdout
		l.Check(!strings.Contains(addresses, "10.3.0.1"), "its addresses are netifd's to lay: %s", addresses)
		routes := net.A.Run("ip", "route").Stdout
		l.Check(strings.Contains(routes, "unreachable 10.33.0.0/16"), "nothing lies under its routes: %s", routes)

		daemon.Signal(syscall.SIGTERM)
		l.Check(daemon.WaitExit(10*time.Second) == 0, "the daemon's end: %s", daemon.Output())
	})
	var skip *labnet.SkipError
	if errors.As(err, &skip) {
		t.Skip(skip.Reason)
	}
	if err != nil {
		log, _ := filepath.Glob(filepath.Join(dir, "lab/lab/*daemon*"))
		for _, name := range log {
			text, _ := os.ReadFile(name)
			t.Logf("%s:\n%.4000s", name, text)
		}
		t.Fatal(err)
	}
}

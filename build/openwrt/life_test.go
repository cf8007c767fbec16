package openwrt

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"greseal/build/lab/labnet"
	"greseal/tunnel/status"
)

// lifeProcd is rc.common with a procd that starts an instance in the background, leaves
// one alone that is the same as before, and replaces another.
const lifeProcd = `
. /stubs.sh
INSTANCE=
procd_open_instance() { INSTANCE= ENVIRONMENT= ; }
procd_set_param() {
	local what="$1"
	shift
	case "$what" in
	command) INSTANCE="$*" ;;
	env) ENVIRONMENT="$*" ;;
	file) FILE=$(md5sum "$1") ;;
	esac
}
alive() { [ -e /pid ] && kill -0 "$(cat /pid)" 2>/dev/null; }
procd_running() { alive; }
procd_send_signal() { kill "-$3" "$(cat /pid)"; }
end() {
	alive || return 0
	kill "$(cat /pid)"
	while alive; do sleep 0.1; done
	rm -f /pid
}
start() {
	start_service
	service_started
	[ -n "$INSTANCE" ] || { end; return 0; }
	alive && [ "$INSTANCE $ENVIRONMENT $FILE" = "$(cat /instance)" ] && return 0
	end
	echo "$INSTANCE $ENVIRONMENT $FILE" >/instance
	env $ENVIRONMENT $INSTANCE >>/daemon.log 2>&1 &
	echo $! >/pid
}
stop() { end; service_stopped; }
initscript=$1 action=$2
. "$initscript"
name=${initscript##*/}
case "$action" in
enable) mkdir -p /etc/rc.d; ln -sf "../init.d/$name" "/etc/rc.d/S$START$name" ;;
disable) rm -f "/etc/rc.d/S$START$name" ;;
reload) reload_service ;;
*) "$action" ;;
esac
`

// manager is a package manager: in which order, with which arguments and environment it
// calls the scripts of a package.
type manager struct {
	suffix, info             string // of the package file; where its scripts lie
	install, upgrade, remove []string
	after                    []string // once the files are gone
}

var managers = map[string]manager{
	"opkg": {
		suffix: "_%s-r1_x86_64.ipk", info: "usr/lib/opkg/info/greseal.",
		install: []string{"postinst configure"},
		upgrade: []string{"PKG_UPGRADE=1 prerm upgrade 1.1.0-r1", "unpack", "PKG_UPGRADE=1 postinst configure"},
		remove:  []string{"prerm remove"}, after: []string{"postrm remove"},
	},
	"apk": {
		suffix: "-%s-r1.apk", info: "lib/apk/packages/greseal.",
		install: []string{"post-install 1.0.0-r1"},
		upgrade: []string{"unpack", "post-upgrade 1.1.0-r1 1.0.0-r1"},
		remove:  []string{"pre-deinstall 1.1.0-r1"}, after: []string{"post-deinstall 1.1.0-r1"},
	},
}

// TestThePackagesLife installs a package, upgrades it under a tunnel that is up, and
// removes it, with its own scripts, as each package manager calls them.
func TestThePackagesLife(t *testing.T) {
	canInstall(t)
	dir, err := os.MkdirTemp("", "gs") // short: a socket lies in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	mkpkg := filepath.Join(dir, "mkpkg")
	tool(t, "go", "build", "-o", mkpkg, "./mkpkg")
	for _, version := range []string{"1.0.0", "1.1.0"} {
		at := filepath.Join(dir, version)
		tool(t, "go", "build", "-ldflags", "-s -w -X main.version="+version, "-o", filepath.Join(at, "greseal-linux-amd64"), "greseal")
		tool(t, mkpkg, "build", "-top", "../..", "-binaries", at, "-out", at, "-keys", filepath.Join(dir, "keys"),
			"-version", "v"+version, "-epoch", "1795452907", "-arch", "x86_64")
	}
	for name, m := range managers {
		t.Run(name, func(t *testing.T) {
			l := life{t: t, m: m, dir: dir, mkpkg: mkpkg, root: bare(t, dir, name)}
			o, err := labnet.Run(filepath.Join(dir, name), "life", "userspace", filepath.Join(dir, "1.0.0/greseal-linux-amd64"), l.play)
			for _, fact := range o.Facts {
				t.Log(fact)
			}
			var skip *labnet.SkipError
			if errors.As(err, &skip) {
				t.Skip(skip.Reason)
			}
			if err != nil {
				t.Errorf("%v\n%s", err, l.root.file("daemon.log"))
			}
		})
	}
}

// bare is a router's root without the package.
func bare(t *testing.T, dir, name string) *rootfs {
	from := newRoot(t)
	root := filepath.Join(dir, name+".root")
	if out, err := exec.Command("cp", "-a", from.dir, root).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r := &rootfs{t, root}
	for _, own := range []string{"etc/init.d", "etc/config", "etc/capabilities", "etc/greseal", "etc/hotplug.d", "lib/netifd/proto", "usr/libexec", "usr/sbin/greseal", "lib/upgrade", "usr/share"} {
		os.RemoveAll(filepath.Join(root, own))
	}
	for _, applet := range strings.Fields("env kill ln md5sum sleep cut head") {
		os.Symlink("busybox", filepath.Join(root, "bin", applet))
	}
	functions, err := os.ReadFile("../lab/router/functions.sh")
	if err != nil {
		t.Fatal(err)
	}
	r.put("lib/functions.sh", string(functions), 0o644)
	r.put("etc/rc.common", lifeProcd, 0o644)
	r.put("etc/init.d/rpcd", "#!/bin/sh\n. /stubs.sh\nrec rpcd \"$@\"\n", 0o755)
	for _, d := range []string{"dev/net", "var/run", "tmp", "etc/config"} {
		os.MkdirAll(filepath.Join(root, d), 0o755)
	}
	makeDevices(t, root)
	return r
}

// life is one root with its package manager.
type life struct {
	t     *testing.T
	m     manager
	dir   string
	mkpkg string
	root  *rootfs
}

// unpack does the file part of an installation.
func (f *life) unpack(l *labnet.Lab, version string) {
	file := filepath.Join(f.dir, version, "x86_64", "greseal"+strings.ReplaceAll(f.m.suffix, "%s", version))
	out, err := exec.Command(f.mkpkg, "install", file, f.root.dir).CombinedOutput()
	l.Check(err == nil, "unpack %s: %v: %s", file, err, out)
}

func (f *life) play(l *labnet.Lab) {
	net := l.NewPair()
	sh := func(script string) labnet.Result {
		return net.A.Run("chroot", f.root.dir, "/bin/sh", "-c", "export PATH=/usr/sbin:/usr/bin:/sbin:/bin; "+script)
	}
	run := func(version string, steps []string) (out string) {
		for _, s := range steps {
			if s == "unpack" {
				f.unpack(l, version)
				continue
			}
			env, call, upgrade := strings.Cut(s, " ")
			if !upgrade || !strings.Contains(env, "=") {
				env, call = "", s
			}
			r := sh(env + " /" + f.m.info + call)
			l.Check(r.Code == 0 && r.Stderr == "", "%s: exit code %d: %s", s, r.Code, r.Out())
			out += r.Stdout
		}
		return out
	}
	there := func(path string) bool { _, err := os.Lstat(filepath.Join(f.root.dir, path)); return err == nil }
	calls := func() string { c := f.root.file("calls"); f.root.put("calls", "", 0o666); return c }
	socket := filepath.Join(f.root.dir, "var/run/greseal/status.sock")
	look := func() *status.Snapshot { return snapshotAt(socket) }
	up := func(version string) func() bool {
		return func() bool {
			s := look()
			return s != nil && s.Daemon.Version == version && len(s.Tunnels) == 1 && s.Tunnels[0].State == status.StateUp
		}
	}
	ours := func() string {
		return net.A.Run("sh", "-c", "ip -d link; ip route; ip -6 route; nft list ruleset").Stdout
	}

	// Installed: enabled, known to rpcd, not started without a tunnel, and it says what to do.
	f.unpack(l, "1.0.0")
	said := run("1.0.0", f.m.install)
	l.Check(there("etc/rc.d/S85greseal"), "the service is not enabled")
	l.Check(strings.Contains(calls(), "rpcd [reload]"), "rpcd is not told")
	l.Check(strings.Contains(said, "/etc/init.d/network restart"), "nothing is said of netifd: %s", said)
	l.Check(strings.Contains(said, "there is no tunnel"), "nothing is said of the missing tunnel: %s", said)
	l.Check(look() == nil, "a daemon runs without a tunnel")

	// Configured and started.
	uci := "config daemon\n\toption datapath 'userspace'\n\nconfig tunnel 'hq'\n\toption remote '" + labnet.AddrB + "'\n\toption psk '" + psk + "'\n\tlist address '10.255.0.1/30'\n\tlist routes '10.9.0.0/16'\n"
	f.root.put("etc/config/greseal", uci, 0o600)
	peer := net.B.Greseal(labnet.Tunnel("hq", `remote = "any"`, `psk = "`+psk+`"`, `address = ["10.255.0.2/30"]`))
	l.Defer(func() { sh("/etc/init.d/greseal stop") })
	l.Check(sh("/etc/init.d/greseal reload").Code == 0, "reload")
	l.Wait(30*time.Second, "the tunnel is up", up("1.0.0"))
	net.A.WaitPing("10.255.0.2", 10*time.Second)
	calls()

	// Upgraded: the new binary runs, the configuration is the owner's, and no packet of the
	// tunnel's networks leaves by another way meanwhile.
	clear := net.A.Capture("upgrade", "wan")
	host := net.A.StartPing("10.9.0.1", 20*time.Millisecond)
	begin := time.Now()
	run("1.1.0", f.m.upgrade)
	l.Wait(30*time.Second, "the tunnel is up again", up("1.1.0"))
	net.A.WaitPing("10.255.0.2", 10*time.Second)
	l.Fact("an upgrade takes %.1f s", time.Since(begin).Seconds())
	host.Stop()
	l.Check(f.root.file("etc/config/greseal") == uci, "the upgrade changed the configuration")
	l.Check(there("etc/rc.d/S85greseal"), "the upgrade disabled the service")
	l.Check(strings.Contains(calls(), "rpcd [reload]"), "rpcd is not told of the upgrade")
	clear.MustBeSealed()

	// Removed: nothing of it stays on the machine, and nothing keeps the networks closed.
	run("1.1.0", f.m.remove)
	for name := range strings.Lines(f.root.file(f.m.info + "list")) {
		if name = strings.TrimSpace(name); name != "/etc/config/greseal" {
			os.Remove(filepath.Join(f.root.dir, name))
		}
	}
	calls()
	run("1.1.0", f.m.after)
	l.Check(strings.Contains(calls(), "rpcd [reload]"), "rpcd keeps what a file that has gone told it")
	l.Check(!there("etc/rc.d/S85greseal"), "a link to the removed script stays")
	l.Check(look() == nil, "the daemon still answers")
	l.Check(!there("usr/libexec/rpcd/luci.greseal") && !there("lib/netifd/proto/greseal.sh"), "a plugin or handler stays")
	if rest := ours(); strings.Contains(rest, "10.9.0.0/16") || strings.Contains(rest, "greseal") || strings.Contains(rest, "hq") {
		l.Failf("this stays on the machine:\n%s", rest)
	}
	peer.Stop()
	net.Wire.MustBeSealed()
}

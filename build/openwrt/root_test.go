// Package openwrt holds tests of what greseal's package installs on a router: the
// scripts run unchanged, by busybox's ash in a root folder of their own, against
// stand-ins for OpenWrt's helper functions that record every call.
package openwrt

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"greseal/tunnel/config"
	"greseal/uci"
)

// helpers are the functions of OpenWrt that the scripts may call.
var helpers = strings.Fields(`
	procd_open_instance procd_close_instance procd_set_param procd_append_param procd_add_jail procd_add_jail_mount
	procd_add_jail_mount_rw procd_open_data procd_close_data procd_send_signal procd_set_config_changed
	procd_add_reload_trigger json_add_array json_close_array json_add_object json_close_object json_add_string
	init_proto add_protocol proto_config_add_string proto_config_add_array proto_config_add_defaults
	proto_notify_error proto_block_restart proto_setup_failed`)

// rootfs is a root folder with busybox, the files of the package and stand-ins.
type rootfs struct {
	t   *testing.T
	dir string
}

func newRoot(t *testing.T) *rootfs {
	t.Helper()
	box := ""
	for _, name := range []string{"/bin/busybox", "/usr/bin/busybox"} {
		if data, err := os.ReadFile(name); err == nil && !bytes.Contains(data, []byte("/ld-linux")) && !bytes.Contains(data, []byte("/ld-musl")) {
			box = name
		}
	}
	if box == "" {
		t.Skip("a static busybox is not installed: apt-get install busybox-static")
	}
	r := &rootfs{t, t.TempDir()}
	if err := os.CopyFS(r.dir, os.DirFS("root/greseal")); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(box)
	if err != nil {
		t.Fatal(err)
	}
	r.put("bin/busybox", string(data), 0o755)
	for _, applet := range strings.Fields("sh ash cat chmod cmp cp grep mkdir mv rm sed true") {
		os.Symlink("busybox", filepath.Join(r.dir, "bin", applet))
	}
	// One write for each call, since the two sides of a pipe record at once.
	stubs := "rec() {\n\tlocal line=$1 arg\n\tshift\n\tfor arg; do line=\"$line [$arg]\"; done\n\tprintf '%s\\n' \"$line\"\n} >>/calls\n"
	for _, h := range helpers {
		stubs += h + "() { rec " + h + " \"$@\"; }\n"
	}
	stubs += "procd_running() { rec procd_running \"$@\"; [ -e /running ]; }\n"
	r.put("stubs.sh", stubs, 0o644)
	r.put("lib/functions.sh", ". /stubs.sh\n", 0o644)
	r.put("lib/netifd/netifd-proto.sh", "\n", 0o644)
	r.put("etc/rc.common", `. /stubs.sh
start() { rec start; start_service; service_started; }
stop() { rec stop; service_stopped; }
script=$1 action=$2
. "$script"
case "$action" in
reload) reload_service ;;
triggers) service_triggers ;;
*) "$action" ;;
esac
`, 0o644)
	for _, name := range []string{"usr/sbin/greseal", "usr/sbin/nft", "usr/bin/logger"} {
		r.program(name, "", 0)
	}
	r.put("proc/meminfo", "MemTotal:         125000 kB\nMemFree: 1 kB\n", 0o444)
	r.put("dev/null", "", 0o666)
	r.put("calls", "", 0o666)
	return r
}

func (r *rootfs) put(name, text string, mode fs.FileMode) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	os.Remove(path)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		r.t.Fatal(err)
	}
}

// program puts a stand-in for a program: it records its arguments and what comes
// in, and prints and returns what it is told to.
func (r *rootfs) program(name, prints string, code int) {
	r.put(name, "#!/bin/sh\n. /stubs.sh\nrec "+filepath.Base(name)+" \"$@\"\n"+
		"case \""+filepath.Base(name)+" $*\" in *--\\ *) ;; nft* | logger*) sed 's/^/  < /' >>/calls ;; esac\n"+
		"cat <<'END'\n"+prints+"END\nexit "+string(rune('0'+code))+"\n", 0o755)
}

// run runs a program inside, which must print nothing to standard error, and
// returns the calls it made.
func (r *rootfs) run(args ...string) string {
	r.t.Helper()
	calls, _ := r.try(args...)
	return calls
}

func (r *rootfs) try(args ...string) (calls string, code int) {
	r.t.Helper()
	r.put("calls", "", 0o666)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Path, cmd.Dir = args[0], "/"
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: r.dir}
	if uid := os.Getuid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		r.t.Skipf("a program cannot be run in a root folder of its own here: %v", err)
	}
	if errs.Len() > 0 {
		r.t.Errorf("%v wrote to standard error: %s", args, errs.String())
	}
	data, err := os.ReadFile(filepath.Join(r.dir, "calls"))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(data), cmd.ProcessState.ExitCode()
}

func (r *rootfs) file(name string) string {
	data, err := os.ReadFile(filepath.Join(r.dir, name))
	if err != nil {
		r.t.Error(err)
	}
	return string(data)
}

func same(t *testing.T, what, got, want string) {
	t.Helper()
	want = strings.TrimPrefix(want, "\n")
	if got != want {
		t.Errorf("%s: got\n%s\nwant\n%s", what, got, want)
	}
}

const firewallData = `procd_open_data
json_add_array [firewall]
json_add_object []
json_add_string [type] [rule]
json_add_string [name] [greseal-ike]
json_add_string [src] [wan]
json_add_string [proto] [udp]
json_add_string [dest_port] [500 4500]
json_add_string [target] [ACCEPT]
json_close_object
json_add_object []
json_add_string [type] [rule]
json_add_string [name] [greseal-esp]
json_add_string [src] [wan]
json_add_string [proto] [esp]
json_add_string [target] [ACCEPT]
json_close_object
json_close_array
procd_close_data
procd_close_instance
procd_set_config_changed [firewall]
`

func TestStartRunsTheDaemonAndOpensItsPorts(t *testing.T) {
	r := newRoot(t)
	r.program("usr/sbin/greseal", "tunnel\n", 0)
	same(t, "start", r.run("/etc/init.d/greseal", "start"), `
start
greseal [uci] [configured]
procd_open_instance
procd_set_param [command] [/usr/sbin/greseal] [run]
procd_set_param [file] [/usr/sbin/greseal]
procd_set_param [env] [PATH=/usr/sbin:/usr/bin:/sbin:/bin] [GOMEMLIMIT=15MiB] [GRESEAL_SYSLOG=/dev/log]
procd_set_param [limits] [core=0] [nofile=16384 16384]
procd_set_param [respawn] [3600] [0] [0]
procd_set_param [term_timeout] [10]
procd_set_param [stderr] [1]
`+firewallData)
	same(t, "the firewall's file", r.file("var/run/greseal/input_wan.nft"), "# no tunnel in transport mode\n")
}

func TestStartUnderUjailDropsPrivilegesAfterProbing(t *testing.T) {
	r := newRoot(t)
	r.program("usr/sbin/greseal", "tunnel\n", 0)
	r.program("sbin/ujail", "", 0)
	r.put("dev/net/tun", "", 0o600)
	r.put("etc/hosts", "192.0.2.1 vpn\n", 0o644)
	same(t, "start", r.run("/etc/init.d/greseal", "start"), `
start
greseal [uci] [configured]
procd_open_instance
procd_set_param [command] [/usr/sbin/greseal] [run]
procd_set_param [file] [/usr/sbin/greseal]
procd_set_param [env] [PATH=/usr/sbin:/usr/bin:/sbin:/bin] [GOMEMLIMIT=15MiB] [GRESEAL_SYSLOG=/dev/log]
greseal [probe] [--json]
procd_append_param [env] [GRESEAL_PROBE=/var/run/greseal/probe.json] [GRESEAL_HOSTS=/var/run/greseal/hosts]
procd_set_param [capabilities] [/etc/capabilities/greseal.json]
procd_set_param [no_new_privs] [1]
procd_add_jail [greseal] [log] [ubus] [procfs] [sysfs]
procd_add_jail_mount [/etc/greseal] [/etc/config] [/etc/iproute2] [/etc/group] [/etc/resolv.conf] [/tmp/resolv.conf.d]
procd_add_jail_mount_rw [/var/run/greseal] [/proc/sys/net/ipv4/route] [/proc/sys/net/ipv6/route]
procd_add_jail_mount [/usr/sbin/nft]
procd_add_jail_mount_rw [/dev/net/tun]
procd_set_param [limits] [core=0] [nofile=16384 16384]
procd_set_param [respawn] [3600] [0] [0]
procd_set_param [term_timeout] [10]
procd_set_param [stderr] [1]
`+firewallData)
	same(t, "the probe's result", r.file("var/run/greseal/probe.json"), "tunnel\n")

	same(t, "the hosts file that the jail shows", r.file("var/run/greseal/hosts"), "192.0.2.1 vpn\n")
	r.put("etc/hosts", "192.0.2.2 vpn\n", 0o644)
	r.put("running", "", 0o644)
	r.run("/etc/init.d/greseal", "reload")
	same(t, "the same after a reload", r.file("var/run/greseal/hosts"), "192.0.2.2 vpn\n")

	var caps map[string][]string
	if err := json.Unmarshal([]byte(r.file("etc/capabilities/greseal.json")), &caps); err != nil {
		t.Fatal(err)
	}
	// procd takes an array that is missing as all capabilities.
	for _, set := range []string{"bounding", "effective", "permitted", "inheritable", "ambient"} {
		if list, ok := caps[set]; !ok || slices.Contains(list, "CAP_SYS_ADMIN") {
			t.Errorf("%s: %v", set, list)
		}
	}
}

// What check takes for visible is what the jail shows, and nothing in the jail
// that may be replaced while the daemon runs is a file by itself.
func TestTheJailShowsFoldersAndCheckKnowsThem(t *testing.T) {
	r := newRoot(t)
	r.program("usr/sbin/greseal", "tunnel\n", 0)
	r.program("sbin/ujail", "", 0)
	var shown []string
	for line := range strings.Lines(r.run("/etc/init.d/greseal", "start")) {
		words := strings.Fields(strings.NewReplacer("[", "", "]", "").Replace(line))
		if words[0] != "procd_add_jail_mount" && words[0] != "procd_add_jail_mount_rw" {
			continue
		}
		for _, path := range words[1:] {
			switch path {
			case "/etc/greseal", "/etc/config", "/var/run/greseal":
				shown = append(shown, path)
			case "/tmp/resolv.conf.d", "/proc/sys/net/ipv4/route", "/proc/sys/net/ipv6/route", "/usr/sbin/nft", "/dev/net/tun",
				"/etc/iproute2",    // names of routing tables
				"/etc/group",       // read when the socket is made
				"/etc/resolv.conf": // followed, see platform/names
			default:
				t.Errorf("the jail shows %s: is it a folder, and does check know?", path)
			}
		}
	}
	if !slices.Equal(shown, uci.JailFolders) {
		t.Errorf("check takes %v for what the jail shows, which is %v", uci.JailFolders, shown)
	}
}

// After an upgrade OpenWrt's default_postinst starts each service: of opkg's
// packages after a stop, of apk's while the old daemon runs. procd then compares
// what it is told, the contents of an instance's files included.
func TestAnotherBinaryIsAnotherInstance(t *testing.T) {
	r := newRoot(t)
	r.program("usr/sbin/greseal", "tunnel\n", 0)
	r.put("etc/rc.common", `. /stubs.sh
procd_open_instance() { : >/instance.new; }
procd_set_param() {
	local what=$1
	shift
	echo "$what $*" >>/instance.new
	[ "$what" != file ] || cat "$@" >>/instance.new
}
procd_close_instance() {
	cmp -s /instance.new /instance || rec restarted
	mv /instance.new /instance
}
procd_running() { true; }
script=$1 action=$2
. "$script"
start_service
`, 0o644)
	r.put("instance", "", 0o644)
	for _, c := range []struct {
		what    string
		restart bool
		change  func()
	}{
		{"the first start", true, func() {}},
		{"a second start", false, func() {}},
		{"an upgrade", true, func() { r.put("usr/sbin/greseal", r.file("usr/sbin/greseal")+"# another version\n", 0o755) }},
		{"a start after it", false, func() {}},
	} {
		c.change()
		if calls := r.run("/etc/init.d/greseal", "start"); strings.Contains(calls, "restarted") != c.restart {
			t.Errorf("%s: want a restart %v; calls\n%s", c.what, c.restart, calls)
		}
	}
}

func TestNothingIsStartedOrOpenedWithoutATunnel(t *testing.T) {
	r := newRoot(t)
	r.program("usr/sbin/greseal", "", 1)
	same(t, "start", r.run("/etc/init.d/greseal", "start"), `
start
greseal [uci] [configured]
procd_set_config_changed [firewall]
`)
}

func TestAStartWithoutATunnelSaysWhy(t *testing.T) {
	r := newRoot(t)
	r.program("usr/sbin/greseal", "", 1)
	r.put("try", "#!/bin/sh\n/etc/init.d/greseal start >/said\n", 0o755)
	r.run("/try")
	if said := r.file("said"); !strings.Contains(said, "no tunnel that is enabled") || !strings.Contains(said, "/etc/init.d/greseal reload") {
		t.Errorf("it says %q", said)
	}
}

// LuCI and OpenWrt write files that everybody may read; greseal would warn of a
// key in one at each start.
func TestFilesWithKeysAreLeftToRoot(t *testing.T) {
	r := newRoot(t)
	r.program("usr/sbin/greseal", "tunnel\n", 0)
	for text, want := range map[string]fs.FileMode{
		"config interface 'hq'\n\toption psk 'k'\n":                  0o600,
		"config interface hq\n\toption 'ppk' k\n":                    0o600,
		"config interface hq\n\toption psk_file k\n#option psk no\n": 0o644,
	} {
		for _, action := range []string{"start", "reload"} {
			os.Remove(filepath.Join(r.dir, "running"))
			if action == "reload" {
				r.put("running", "", 0o644)
			}
			r.put("etc/config/network", text, 0o644)
			r.run("/etc/init.d/greseal", action)
			if st, err := os.Stat(filepath.Join(r.dir, "etc/config/network")); err != nil || st.Mode().Perm() != want {
				t.Errorf("%s: mode %v, %v, want %v of\n%s", action, st.Mode(), err, want, text)
			}
		}
	}
}

func TestMistakesOfTheConfigurationAreLogged(t *testing.T) {
	r := newRoot(t)
	r.program("usr/sbin/greseal", "", 2)
	r.put("usr/sbin/greseal", "#!/bin/sh\n. /stubs.sh\nrec greseal \"$@\"\n[ \"$1\" = check ] && echo 'line 1: no' && echo 'line 2: no'\nexit 2\n", 0o755)
	same(t, "start", r.run("/etc/init.d/greseal", "start"), `
start
greseal [uci] [configured]
greseal [check]
logger [-t] [greseal] [-p] [daemon.err] [--] [line 1: no]
logger [-t] [greseal] [-p] [daemon.err] [--] [line 2: no]
procd_running [greseal]
procd_set_config_changed [firewall]
`)
	// What the daemon starts with all the same.
	r.put("usr/sbin/greseal", "#!/bin/sh\n. /stubs.sh\nrec greseal \"$@\"\n[ \"$1\" = uci ] && echo transport\nexit 2\n", 0o755)
	if calls := r.run("/etc/init.d/greseal", "start"); !strings.Contains(calls, "\nprocd_set_param [command] [/usr/sbin/greseal] [run]\n") {
		t.Errorf("nothing closes the tunnels' networks: %s", calls)
	}
	if got := r.file("var/run/greseal/input_wan.nft"); !strings.Contains(got, "ipsec exists") {
		t.Errorf("the firewall's file: %s", got)
	}
	r.put("running", "", 0o644)
	r.put("var/run/greseal/input_wan.nft", "as it was\n", 0o644)
	if calls := r.run("/etc/init.d/greseal", "start"); !strings.Contains(calls, "\nprocd_set_param [command] [/usr/sbin/greseal] [run]\n") {
		t.Errorf("a daemon that runs is stopped: %s", calls)
	}
	same(t, "the firewall's file", r.file("var/run/greseal/input_wan.nft"), "as it was\n")
}

func TestTransportModeOpensTheFirewallForGREOutOfESPOnceNftTakesTheRule(t *testing.T) {
	r := newRoot(t)
	r.program("usr/sbin/greseal", "transport\n", 0)
	rule := `meta l4proto gre meta ipsec exists counter accept comment "greseal: GRE out of ESP"`
	calls := r.run("/etc/init.d/greseal", "start")
	if want := "nft [-c] [-f] [-]\n  < table inet greseal_test { chain test { type filter hook input priority 0; " + rule + "; } }\n"; !strings.Contains(calls, want) {
		t.Errorf("got\n%s\nwant\n%s", calls, want)
	}
	same(t, "the firewall's file", r.file("var/run/greseal/input_wan.nft"), rule+"\n")
	link, err := os.Readlink(filepath.Join(r.dir, "usr/share/nftables.d/chain-pre/input_wan/50-greseal.nft"))
	if err != nil || link != "/var/run/greseal/input_wan.nft" {
		t.Errorf("what fw4 includes is %q, %v", link, err)
	}

	r.program("usr/sbin/nft", "", 1)
	calls = r.run("/etc/init.d/greseal", "start")
	if !strings.Contains(calls, "logger [-t] [greseal] [-p] [daemon.warn] [--] [the firewall cannot let in GRE") {
		t.Errorf("without a word: %s", calls)
	}
	same(t, "the firewall's file", r.file("var/run/greseal/input_wan.nft"), "# this nft does not know \"meta ipsec\"\n")
}

func TestReloadIsASignalAndRestartsNothing(t *testing.T) {
	r := newRoot(t)
	r.program("usr/sbin/greseal", "tunnel\n", 0)
	r.run("/etc/init.d/greseal", "start")
	r.put("running", "", 0o644)
	same(t, "reload", r.run("/etc/init.d/greseal", "reload"), `
procd_running [greseal]
greseal [uci] [configured]
procd_send_signal [greseal] [*] [HUP]
`)
	r.program("usr/sbin/greseal", "transport\n", 0)
	if calls := r.run("/etc/init.d/greseal", "reload"); !strings.HasSuffix(calls, "procd_set_config_changed [firewall]\nprocd_send_signal [greseal] [*] [HUP]\n") {
		t.Errorf("the firewall's file changed: %s", calls)
	}
	r.program("usr/sbin/greseal", "", 2) // mistakes: the daemon keeps what it has and says so
	if calls := r.run("/etc/init.d/greseal", "reload"); !strings.HasSuffix(calls, "procd_send_signal [greseal] [*] [HUP]\n") {
		t.Errorf("with mistakes: %s", calls)
	}
	r.program("usr/sbin/greseal", "", 1)
	same(t, "the last tunnel went", r.run("/etc/init.d/greseal", "reload"), `
procd_running [greseal]
greseal [uci] [configured]
greseal [apply]
start
greseal [uci] [configured]
procd_set_config_changed [firewall]
`)
	os.Remove(filepath.Join(r.dir, "running"))
	r.program("usr/sbin/greseal", "tunnel\n", 0)
	if calls := r.run("/etc/init.d/greseal", "reload"); !strings.HasPrefix(calls, "procd_running [greseal]\nstart\n") {
		t.Errorf("the first tunnel came: %s", calls)
	}
	same(t, "triggers", r.run("/etc/init.d/greseal", "triggers"), "procd_add_reload_trigger [greseal] [network]\n")
}

func TestTheHeapFollowsTheBoardsMemory(t *testing.T) {
	r := newRoot(t)
	r.program("usr/sbin/greseal", "tunnel\n", 0)
	for kib, want := range map[string]string{"59000": "12MiB", "125000": "15MiB", "250000": "30MiB", "8000000": "256MiB"} {
		r.put("proc/meminfo", "MemTotal:       "+kib+" kB\n", 0o444)
		if calls := r.run("/etc/init.d/greseal", "start"); !strings.Contains(calls, "procd_set_param [env] [PATH=/usr/sbin:/usr/bin:/sbin:/bin] [GOMEMLIMIT="+want+"] [GRESEAL_SYSLOG=/dev/log]\n") {
			t.Errorf("%s KiB: want %s in\n%s", kib, want, calls)
		}
	}
}

// handler calls a function of the protocol handler, which netifd runs from its
// own folder.
func (r *rootfs) handler(call string) string {
	calls, _ := r.try("/bin/sh", "-c", "cd /lib/netifd/proto && INCLUDE_ONLY= && . ./greseal.sh '' && : >/calls && "+call)
	return calls
}

func TestTheHandlerDeclaresWhatTheSchemaHasButSecrets(t *testing.T) {
	r := newRoot(t)
	calls, _ := r.try("/bin/sh", "-c", "cd /lib/netifd/proto && . ./greseal.sh '' dump && proto_greseal_init_config && rec flags $no_device $available $no_proto_task $lasterror")
	lines := strings.Split(strings.TrimSpace(calls), "\n")
	if want := []string{"init_proto [] [dump]", "add_protocol [greseal]"}; !slices.Equal(lines[:2], want) {
		t.Errorf("got %q, want %q", lines[:2], want)
	}
	if want := []string{"proto_config_add_defaults", "flags [1] [1] [1] [1]"}; !slices.Equal(lines[len(lines)-2:], want) {
		t.Errorf("got %q, want %q", lines[len(lines)-2:], want)
	}
	want := []string{"proto_config_add_string [zone]"}
	for _, k := range config.TunnelKeys() {
		switch {
		case k.Kind == config.SecretKey, k.Tab == "", k.Name == "metric": // is one of the defaults
		case k.Kind.List():
			want = append(want, "proto_config_add_array ["+uci.Option(k.Name)+"]")
		default:
			want = append(want, "proto_config_add_string ["+uci.Option(k.Name)+"]")
		}
	}
	got := slices.Sorted(slices.Values(lines[2 : len(lines)-2]))
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestSetupAndTeardownAreTheBinarys(t *testing.T) {
	r := newRoot(t)
	r.program("etc/init.d/greseal", "", 0)
	same(t, "setup", r.handler("proto_greseal_setup hq dev"), "greseal [uci] [netifd] [setup] [hq]\n")
	same(t, "teardown", r.handler("proto_greseal_teardown hq dev"), "greseal [uci] [netifd] [teardown] [hq]\n")

	r.program("usr/sbin/greseal", "CONFIG_INVALID\n", 1)
	same(t, "a refused setup", r.handler("proto_greseal_setup hq dev"), `
greseal [uci] [netifd] [setup] [hq]
proto_notify_error [hq] [CONFIG_INVALID]
proto_block_restart [hq]
proto_setup_failed [hq]
`)
	r.program("usr/sbin/greseal", "", 1)
	same(t, "a setup that fails without a word", r.handler("proto_greseal_setup hq dev"), `
greseal [uci] [netifd] [setup] [hq]
proto_notify_error [hq] [SETUP_FAILED]
proto_block_restart [hq]
proto_setup_failed [hq]
`)
	r.program("usr/sbin/greseal", "DAEMON_DOWN\n", 1)
	same(t, "setup without a daemon", r.handler("proto_greseal_setup hq dev"), `
greseal [uci] [netifd] [setup] [hq]
greseal [enabled]
greseal [start]
`)
}

func TestHotplugKicksTheDaemonWhenALineComesUp(t *testing.T) {
	r := newRoot(t)
	for env, want := range map[string]string{
		"ACTION=ifup INTERFACE=wan":      "greseal [uci] [netifd] [changed]\n",
		"ACTION=ifupdate INTERFACE=wan":  "greseal [uci] [netifd] [changed]\n",
		"ACTION=ifdown INTERFACE=wan":    "",
		"ACTION=ifup INTERFACE=loopback": "",
	} {
		calls := r.run("/bin/sh", "-c", strings.ReplaceAll(env, " ", "; ")+"; . /etc/hotplug.d/iface/90-greseal")
		calls = strings.ReplaceAll(calls, "logger [-t] [greseal] [-p] [daemon.warn]\n", "")
		if calls != want {
			t.Errorf("%s: got %q, want %q", env, calls, want)
		}
	}
}

func TestSysupgradeKeepsTheConfiguration(t *testing.T) {
	data, err := os.ReadFile("root/greseal/lib/upgrade/keep.d/greseal")
	if err != nil || string(data) != "/etc/greseal/\n/etc/config/greseal\n" {
		t.Errorf("%q, %v", data, err)
	}
}

func TestShellcheckHasNothingToSay(t *testing.T) {
	check, err := exec.LookPath("shellcheck")
	if err != nil {
		t.Skip("shellcheck is not installed: apt-get install shellcheck")
	}
	for _, f := range []string{
		"root/greseal/etc/init.d/greseal", "root/greseal/lib/netifd/proto/greseal.sh", "root/greseal/etc/hotplug.d/iface/90-greseal",
		"../lab/router/install", "../lab/router/rc.common", "../lab/router/functions.sh",
	} {
		if out, err := exec.Command(check, "-s", "dash", f).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", f, err, out)
		}
	}
}

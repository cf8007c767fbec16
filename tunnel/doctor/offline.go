package doctor

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"greseal/ikev2/wire"
	"greseal/platform"
	"greseal/platform/ikesock"
	"greseal/platform/kernel"
	"greseal/platform/rtnl"
	"greseal/tunnel/config"
	"greseal/tunnel/status"
)

// Offline examines what needs no daemon where none answers at the socket: cfg is what it
// would start with, refused what is wrong with it.
func Offline(socket string, cfg *config.Config, refused error) (steps []Step) {
	add := func(id, title string, s Step) {
		s.ID, s.Title = id, title
		steps = append(steps, s)
	}
	add("config", "the configuration", offlineConfig(cfg, refused))
	add("rights", "rights of this user", offlineRights())
	add("ports", "UDP 500 and 4500 are free", offlinePorts())
	add("datapath", "datapath, kernel modules and TUN", offlineDatapath(cfg))
	add("interface", "names of the interfaces are free", offlineNames(cfg))
	last := fault("mend what is named above, then start it", "no daemon answers at "+socket).with(startCommand())
	add("daemon", "the daemon runs", last.and(status.LastWords(socket)))
	return steps
}

// startCommand starts the daemon as this machine starts services.
func startCommand() string {
	exists := func(path string) bool { _, err := os.Stat(path); return err == nil }
	switch {
	case onOpenWrt():
		return "/etc/init.d/greseal start"
	case exists("/run/systemd/system") && (exists("/etc/systemd/system/greseal.service") || exists("/usr/lib/systemd/system/greseal.service")):
		return "systemctl start greseal"
	}
	return "greseal run"
}

func offlineConfig(cfg *config.Config, refused error) Step {
	if refused != nil {
		return fault("fix the file", strings.Split(refused.Error(), "\n")...).with("greseal check")
	}
	if len(cfg.Tunnels) == 0 {
		return fault("add a [[tunnel]]", "no tunnel is configured")
	}
	return fine(status.Plural(len(cfg.Tunnels), "tunnel"))
}

func offlineRights() Step {
	if os.Geteuid() != 0 {
		return skip("run doctor as root: another user cannot see who holds a port, nor try the datapath")
	}
	return fine()
}

func offlinePorts() Step {
	for _, port := range []uint16{wire.PortIKE, wire.PortNAT} {
		if who := ikesock.Holder(port); who != "" {
			return fault("stop it and keep it from starting again: two IKE daemons cannot share the port", fmt.Sprintf("UDP %d is held by %s", port, who))
		}
	}
	return fine()
}

func offlineDatapath(cfg *config.Config) Step {
	if os.Geteuid() != 0 {
		return skip("only root can try it")
	}
	want := config.DatapathAuto
	if cfg != nil {
		want = cfg.Daemon.Datapath
	}
	var missing error
	if want != config.DatapathUserspace {
		if missing = kernel.Probe(nil).Usable(); missing == nil {
			return fine("the kernel has GRE and ESP")
		}
	}
	if want == config.DatapathKernel {
		return fault(`install what is missing, or set datapath = "auto"`, `datapath = "kernel" cannot work here: `+missing.Error())
	}
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err == nil {
		f.Close()
		return fine("userspace")
	}
	s := fault("load or install the TUN driver (OpenWrt: kmod-tun; in a container: --device /dev/net/tun)", "userspace needs a TUN device: "+err.Error()).with("modprobe tun")
	if missing != nil {
		s = s.and("the kernel cannot carry GRE in ESP: " + missing.Error())
	}
	return s
}

func offlineNames(cfg *config.Config) Step {
	if cfg == nil {
		return skip("not known without a configuration")
	}
	n, err := platform.OpenNetwork(nil)
	if err != nil {
		return skip(err.Error())
	}
	defer n.Close()
	for i := range cfg.Tunnels {
		name := cfg.Tunnels[i].Name
		switch l, err := rtnl.LinkByName(n.Netlink(), name); {
		case errors.Is(err, rtnl.ErrNoLink):
		case err != nil:
			return skip(err.Error())
		case !l.Ours():
			return fault("rename that interface, or the tunnel", name+" is another program's interface")
		}
	}
	return fine()
}

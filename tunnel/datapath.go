package tunnel

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"

	sys "golang.org/x/sys/unix"

	"greseal/platform"
	"greseal/platform/kernel"
	"greseal/platform/userspace"
	"greseal/tunnel/config"
)

// probeResult probes what the kernel can do, or reads what greseal probe found before
// the privileges for that were dropped: GRESEAL_PROBE names the file (contract 18).
// That of another kernel is ignored.
func probeResult(log *slog.Logger) *kernel.Result {
	path := os.Getenv("GRESEAL_PROBE")
	if path == "" {
		return kernel.Probe(nil)
	}
	var r kernel.Result
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	var uts sys.Utsname
	if err == nil {
		err = sys.Uname(&uts)
	}
	if release := sys.ByteSliceToString(uts.Release[:]); err == nil && r.Kernel != release {
		err = fmt.Errorf("it is for kernel %q, this is %s", r.Kernel, release)
	}
	if err != nil {
		log.Warn("the result of greseal probe cannot be used; probing again", "file", path, "error", err)
		return kernel.Probe(nil)
	}
	return &r
}

// openDatapath opens the wanted datapath and says why it is that one: with auto
// the kernel if the probe has shown that it carries GRE in ESP, else userspace.
func openDatapath(want string, log *slog.Logger) (platform.Datapath, string, error) {
	if want == config.DatapathUserspace {
		dp, err := openUserspace(log)
		return dp, `datapath = "userspace" in the configuration`, err
	}
	probe := probeResult(log)
	missing := probe.Usable()
	if missing == nil {
		dp, err := kernel.Open(kernel.Options{Logger: log, Probe: probe})
		why := "the kernel has GRE and ESP"
		if want == config.DatapathKernel {
			why = `datapath = "kernel" in the configuration`
		}
		return dp, why, err
	}
	if want == config.DatapathKernel {
		return nil, "", fmt.Errorf(`datapath = "kernel" cannot work here: %w; install what is named, or set datapath = "auto"`, missing)
	}
	dp, err := openUserspace(log)
	if err != nil {
		return nil, "", fmt.Errorf("neither datapath can work here: the kernel's because %v; userspace: %w", missing, err)
	}
	return dp, "the kernel cannot carry GRE in ESP: " + missing.Error(), nil
}

// openUserspace takes over from a daemon that had the kernel datapath: the SAs it
// left would take packets away from ours.
func openUserspace(log *slog.Logger) (platform.Datapath, error) {
	if err := kernel.RemoveLeftovers(log, false); err != nil {
		log.Warn("cannot remove what a daemon with the kernel datapath left", "error", err)
	}
	return userspace.Open(userspace.Options{Logger: log})
}

package tunnel

import (
	"fmt"
	"log/slog"

	"greseal/platform"
	"greseal/platform/kernel"
	"greseal/platform/userspace"
	"greseal/tunnel/config"
)

// openDatapath opens the wanted datapath and says why it is that one: with auto
// the kernel when it can really carry GRE in ESP, else userspace.
func openDatapath(want string, log *slog.Logger) (platform.Datapath, string, error) {
	if want == config.DatapathUserspace {
		dp, err := userspace.Open(userspace.Options{Logger: log})
		return dp, `datapath = "userspace" in the configuration`, err
	}
	probe := kernel.Probe(nil)
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
		return nil, "", fmt.Errorf(`datapath = "kernel" cannot be had: %w; install what is named, or set datapath = "auto"`, missing)
	}
	dp, err := userspace.Open(userspace.Options{Logger: log})
	if err != nil {
		return nil, "", fmt.Errorf("neither datapath can be had: the kernel's because %v; userspace: %w", missing, err)
	}
	return dp, "the kernel cannot carry GRE in ESP: " + missing.Error(), nil
}

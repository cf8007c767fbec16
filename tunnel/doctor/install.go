package doctor

import (
	"greseal/ikev2"
)

// checkInstall: the negotiated SAs are in the datapath.
func checkInstall(x *exam) Step {
	if x.now.up() {
		if err := x.now.Installed; err != nil {
			return fault("another program deleted them: find out which (ip xfrm monitor), then restart the tunnel", "the datapath does not have the SAs: "+err.Error()).
				with("greseal restart " + x.name())
		}
		return fine("both SAs are in the " + x.now.Daemon.Datapath + " datapath")
	}
	f := x.failure()
	if f == nil || f.Kind != ikev2.FailInstall {
		return skip("there are none yet")
	}
	remedy := f.Remedy
	if remedy == "" {
		remedy = `install the missing kernel module or package, or set datapath = "userspace"`
	}
	return fault(remedy, f.What())
}

package doctor

import (
	"greseal/ikev2"
)

// checkInstall: the SAs that were agreed on stand in the datapath.
func checkInstall(x *exam) Step {
	if x.now.up() {
		if err := x.now.Installed; err != nil {
			return fault("somebody else deleted them: find out who (ip xfrm monitor), then restart the tunnel", "the datapath has not got the SAs: "+err.Error()).
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
		remedy = `install the kernel module or package that is named, or set datapath = "userspace"`
	}
	return fault(remedy, f.What())
}

package labnet

import (
	"os"
	"path/filepath"
)

// Script runs a shell script in strongSwan's namespace the way its owner would:
// swanctl is this charon's, and its folder is one of the lab's own. What was
// loaded before is forgotten.
func (s *StrongSwan) Script(text string) Result {
	bin := filepath.Join("swan-"+s.ns.Name, "bin", "swanctl")
	wrapper := s.ns.lab.File(bin, "#!/bin/sh\nSTRONGSWAN_CONF="+s.dir+"/strongswan.conf exec "+s.dir+"/swanctl \"$@\" --clear --uri unix://"+s.dir+"/vici\n")
	s.ns.lab.Must(os.Chmod(wrapper, 0o700), "make the script's swanctl runnable")
	// As distributions ship it.
	s.ns.lab.File("swan-"+s.ns.Name+"/etc/swanctl.conf", "include conf.d/*.conf\n")
	script := s.ns.lab.File("swan-"+s.ns.Name+"/setup.sh", text)
	return s.ns.Run("env", "PATH="+filepath.Dir(wrapper)+":"+os.Getenv("PATH"), "SWANCTL_DIR="+s.dir+"/etc", "sh", script)
}

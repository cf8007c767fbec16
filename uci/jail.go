package uci

import "os"

// JailFolders are what the daemon sees of the owner's files where the init script
// starts it in a jail, as it does with ujail installed.
var JailFolders = []string{"/etc/greseal", "/etc/config", "/var/run/greseal"}

// jailed says whether the router's own daemon runs in a jail: asked outside of
// it, where the config is checked. Inside neither of the two is seen.
func jailed() bool {
	for _, needed := range []string{"/sbin/ujail", "/etc/init.d/greseal"} {
		if st, err := os.Stat(needed); err != nil || st.Mode()&0o111 == 0 {
			return false
		}
	}
	return true
}

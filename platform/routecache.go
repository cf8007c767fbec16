package platform

import (
	"errors"
	"os"
)

// FlushRouteCache has the kernel forget path MTUs learned by ICMP, which it otherwise
// keeps for ten minutes: ip route flush cache.
func FlushRouteCache() error {
	return errors.Join(
		os.WriteFile("/proc/sys/net/ipv4/route/flush", []byte("1"), 0),
		os.WriteFile("/proc/sys/net/ipv6/route/flush", []byte("0"), 0),
	)
}

// Package netifd keeps OpenWrt's network daemon informed: an interface with proto
// greseal goes up and down with its tunnel, its addresses and routes are
// netifd's, and what keeps a tunnel down shows as an error that LuCI translates.
//
// Follow runs beside the daemon as a client of its status socket and speaks to
// ubusd by the socket too, without a helper program. Its decisions (line.go)
// know no clock and no socket. Setup, Teardown and Changed are what the protocol
// handler and the hotplug script call; no secret passes through any of it.
package netifd

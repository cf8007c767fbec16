package cli

import (
	"testing"

	"greseal/tunnel/peerconf"
	"greseal/tunnel/status"
)

// What the daemon has found out before the first handshake is used as well as what
// a handshake has shown.
func TestPeerConfigKnowsWhatTheDaemonKnows(t *testing.T) {
	for name, c := range map[string]struct {
		tunnel           status.Tunnel
		own, peer, inner string
	}{
		"nothing known":            {status.Tunnel{}, "", "", ""},
		"waiting":                  {status.Tunnel{Peer: status.Peer{LocalAddr: "192.0.2.1"}}, "192.0.2.1", "", ""},
		"before a handshake":       {status.Tunnel{Peer: status.Peer{LocalAddr: "192.0.2.1", Address: "198.51.100.1:500"}}, "192.0.2.1", "198.51.100.1", ""},
		"before, IPv6":             {status.Tunnel{Peer: status.Peer{LocalAddr: "2001:db8::1", Address: "[2001:db8::2]:500"}}, "2001:db8::1", "2001:db8::2", ""},
		"before, behind a NAT":     {status.Tunnel{Peer: status.Peer{LocalAddr: "10.0.0.9", Address: "198.51.100.1:500"}}, "", "198.51.100.1", "10.0.0.9"},
		"before, private both":     {status.Tunnel{Peer: status.Peer{LocalAddr: "10.0.0.9", Address: "10.9.0.1:500"}}, "10.0.0.9", "10.9.0.1", ""},
		"after, no NAT":            {status.Tunnel{IKE: &status.IKESA{}, Peer: status.Peer{LocalAddr: "10.0.0.9:500", Address: "198.51.100.1:500"}}, "10.0.0.9", "198.51.100.1", ""},
		"after, NAT on both sides": {status.Tunnel{IKE: &status.IKESA{NATLocal: true, NATRemote: true}, Peer: status.Peer{LocalAddr: "10.0.0.9:4500", Address: "198.51.100.1:4500"}}, "", "", "10.0.0.9"},
	} {
		var o peerconf.Options
		learnFrom(&o, &c.tunnel)
		if o.Own != c.own || o.Peer != c.peer || o.GREOwn != c.inner {
			t.Errorf("%s: own %q, peer %q, inside %q", name, o.Own, o.Peer, o.GREOwn)
		}
	}
	o := peerconf.Options{Own: "vpn.example.net", Peer: "203.0.113.1"}
	learnFrom(&o, &status.Tunnel{Peer: status.Peer{LocalAddr: "192.0.2.1", Address: "198.51.100.1:500"}})
	if o.Own != "vpn.example.net" || o.Peer != "203.0.113.1" {
		t.Errorf("what was given is overridden: %+v", o)
	}
}

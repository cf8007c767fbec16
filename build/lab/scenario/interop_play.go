package scenario

import (
	"fmt"
	"strings"
	"time"

	"greseal/build/lab/labnet"
)

// play is one row of the table: the tunnel comes up as the row says, pings
// cross both ways, one side replaces both SAs under a running ping, and the
// tunnel ends in order. Seen: who authenticated how, the NAT and who is behind
// it, the encapsulation, fragments of IKE and no packet above the path's MTU,
// no lost ping, one IKE SA with one Child SA on both sides, and a sealed wire.
func (r interopRow) play(l *labnet.Lab) {
	w := r.world(l)
	w.swan = newSwan(l, w.net.B, w.swanConfig, innerB)
	w.greseal = w.net.A.Greseal(labnet.Tunnel("t0", w.lines...))
	if w.responder {
		w.greseal.WaitState("t0", "listening", 10*time.Second)
		w.swan.Initiate()
	}
	first := w.greseal.WaitUp("t0", 30*time.Second)
	w.swan.WaitUp(5 * time.Second)
	w.swan.config.Remote = labnet.AddrA
	if r.behind(w) == w.net.A && r.mode == "transport" {
		w.swan.config.Remote = labnet.RouterB // as the peer sees greseal
	}
	if r.move {
		w.swan.greLocal, w.swan.greRemote = endB, endA
	}
	w.swan.raiseGRE()
	w.pings()

	l.Check(first.IKE.Role == r.role && first.Outside.Mode == r.mode, "role is %s, mode is %s", first.IKE.Role, first.Outside.Mode)
	l.Check(first.IKE.NATLocal == (r.behind(w) == w.net.A), "a NAT here was found: %v", first.IKE.NATLocal)
	r.checkAuth(w, first.Peer.Auth+", "+first.Peer.AuthDetail)
	if r.nat != "none" || r.datapath == "userspace" {
		l.Check(first.Outside.Encap == "udp" && w.net.Wire.Count(labnet.ESP) == 0, "encapsulation is %s (%s); wire: %s", first.Outside.Encap, first.Outside.EncapWhy, w.net.Wire.Summary())
	} else {
		l.Check(first.Outside.Encap == "esp" && w.net.Wire.Count(labnet.ESPinUDP) == 0, "encapsulation is %s (%s); wire: %s", first.Outside.Encap, first.Outside.EncapWhy, w.net.Wire.Summary())
	}

	ping := w.net.A.StartPing(innerB, 10*time.Millisecond)
	if r.rekey == "peer" {
		for _, rekey := range []func(){w.swan.RekeyChild, w.swan.RekeyIKE, w.swan.RekeyChild} {
			old := w.swan.List()
			time.Sleep(200 * time.Millisecond)
			rekey()
			w.Wait(10*time.Second, "the new SA", func() bool {
				now := w.swan.List()
				return now.IKE == 1 && now.Children == 1 && (now.IKESPIs[0] != old.IKESPIs[0] || now.ESPSPIs[0] != old.ESPSPIs[0])
			})
		}
	} else {
		w.Wait(l.Stretch(20*time.Second), "two rekeys of the Child SA and one of the IKE SA", func() bool {
			t := w.greseal.Tunnel("t0")
			return t.State == "up" && t.Child != nil && t.IKE != nil && t.Child.Rekeys >= 2 && t.IKE.Rekeys >= 1
		})
	}
	if r.rekey == "greseal" { // and no more
		w.greseal.Write(labnet.Tunnel("t0", w.lines[:len(w.lines)-2]...))
		w.greseal.Must("apply", "-c", w.greseal.Config)
	}
	w.oneSA()
	got := ping.Stop()
	l.Check(got.Received == got.Sent, "rekeying lost pings: %v", got)
	if r.move {
		r.moves(w)
	}
	after := w.greseal.Tunnel("t0")
	l.Check(after.UpCount == 1 && after.Interface.Index == first.Interface.Index, "the tunnel came up %d times", after.UpCount)
	w.counters()
	r.checkPath(w)
	w.greseal.Stop()
	w.swan.WaitGone(waitGone)
	w.net.Wire.MustBeSealed()
	l.Fact("%d pings during rekeys, none lost", got.Sent)
}

// moves changes greseal's address: the IKE SA goes on from the new one (RFC 4555),
// and the interface stays. strongSwan's own ESP cannot change an SA's address, so
// strongSwan rekeys the Child SA then.
func (r interopRow) moves(w *world) {
	before := w.greseal.Tunnel("t0")
	ping := w.net.A.StartPing(innerB, 10*time.Millisecond)
	w.net.A.Readdress("wan", labnet.AddrA+"/24", movedA+"/24", labnet.RouterA)
	w.Wait(30*time.Second, "the tunnel at the new address", func() bool {
		t := w.greseal.Tunnel("t0")
		return t.State == "up" && strings.HasPrefix(t.Peer.LocalAddr, movedA)
	})
	w.pings()
	ping.Stop()
	w.oneSA()
	after := w.greseal.Tunnel("t0")
	w.Check(after.IKE.SPIi == before.IKE.SPIi && after.UpCount == 1 && after.Interface.Index == before.Interface.Index,
		"the IKE SA or the interface was made anew")
	w.Fact("gap of %v when the address changed", ping.LongestGap().Round(time.Millisecond))
}

// world is the network and both configurations.
func (r interopRow) world(l *labnet.Lab) *world {
	w := newWorld(l, func(w *world) { w.responder = r.role == "responder" })
	remote := labnet.AddrB
	c := &w.swanConfig
	c.LocalTS, c.RemoteTS = labnet.AddrB+"/32[47]", labnet.AddrA+"/32[47]"
	if r.move {
		c.MOBIKE, c.LocalTS, c.RemoteTS = true, endB+"/32[47]", endA+"/32[47]"
		w.net.A.Addr("lo", endA+"/32")
		w.net.B.Addr("lo", endB+"/32")
	}
	if r.mode == "transport" {
		c.Transport, c.LocalTS, c.RemoteTS = true, "dynamic[47]", "dynamic[47]"
	}
	switch r.behind(w) {
	case w.net.A:
		natBefore(w.net.Router, "to-b", labnet.AddrA)
		c.Remote = "%any"
		if w.responder {
			c.Remote = labnet.RouterB
		}
	case w.net.B:
		natBefore(w.net.Router, "to-a", labnet.AddrB)
		remote = labnet.RouterA
	}
	if r.path != "1500" {
		narrow(w.net, r.path)
		c.Options = "fragment_size = " + r.path
	}
	c.LocalID, c.RemoteID = nameB, nameA
	w.lines = []string{fmt.Sprintf("address = [\"%s/30\"]", innerA), fmt.Sprintf("mode = %q", r.mode)}
	if r.move {
		w.lines = append(w.lines, fmt.Sprintf("gre_local = %q", endA), fmt.Sprintf("gre_remote = %q", endB))
	} else {
		w.lines = append(w.lines, fmt.Sprintf("local = %q", labnet.AddrA))
	}
	if r.path != "1500" { // IKE_SA_INIT cannot be fragmented
		w.lines = append(w.lines, `ike = "aes256gcm16-prfsha384-x25519"`)
	}
	if w.responder {
		w.lines = append(w.lines, `remote = "any"`)
	} else {
		w.lines = append(w.lines, fmt.Sprintf("remote = %q", remote))
		if r.mode == "tunnel" && remote != labnet.AddrB && !r.move {
			w.lines = append(w.lines, fmt.Sprintf("gre_remote = %q", labnet.AddrB))
		}
	}
	r.authenticate(w)
	if r.rekey == "greseal" {
		child := l.Stretch(3 * time.Second) // leaves room for an exchange
		w.lines = append(w.lines, fmt.Sprintf("child_lifetime = %q", child), fmt.Sprintf("ike_lifetime = %q", child*3/2))
	}
	return w
}

// behind is the side that stands behind a NAT, nil for none.
func (r interopRow) behind(w *world) *labnet.NS {
	switch {
	case r.nat == "none":
		return nil
	case r.nat == r.role:
		return w.net.A
	}
	return w.net.B
}

// natBefore hides a machine behind the router's address on the interface out:
// what it sends gets that address and any port, and IKE's ports lead to it.
func natBefore(router *labnet.NS, out, inside string) {
	router.MustRun("nft", fmt.Sprintf(`add table ip nat
add chain ip nat post { type nat hook postrouting priority 100; }
add chain ip nat pre { type nat hook prerouting priority -100; }
add rule ip nat post oifname %[1]s ip saddr %[2]s masquerade random
add rule ip nat pre iifname %[1]s udp dport { 500, 4500 } dnat to %[2]s`, out, inside))
}

// narrow makes the path's second half smaller than the first. Every fragment of
// IP gets lost on it.
func narrow(net *labnet.Pair, mtu string) {
	net.Router.MustRun("ip", "link", "set", "to-b", "mtu", mtu)
	net.B.MustRun("ip", "link", "set", "wan", "mtu", mtu)
	for _, n := range []*labnet.NS{net.Router, net.B} {
		n.MustRun("nft", `add table ip narrow
add chain ip narrow pre { type filter hook prerouting priority -450; }
add rule ip narrow pre ip frag-off & 0x3fff != 0 drop`)
	}
}

// authenticate completes both configurations by the row's way.
func (r interopRow) authenticate(w *world) {
	c := &w.swanConfig
	kind, raw := r.auth, false
	switch r.auth {
	case "psk":
		w.lines = append(w.lines, fmt.Sprintf("psk = %q", psk), fmt.Sprintf("local_id = %q", nameA), fmt.Sprintf("remote_id = %q", nameB))
		return
	case "raw-ed":
		kind, raw = "ed25519", true
	case "raw-ecdsa":
		kind, raw = "ecdsa-256", true
	case "raw-rsa":
		kind, raw = "rsa", true
	case "rsa", "rsa-pss", "rsa-old":
		kind = "rsa"
	}
	keys := newCredentials(w.Lab, kind)
	file := func(name, text string) string { return w.File("keys/"+name, text) }
	swan := func(name, text string) { w.net.B.SwanFile(name, text) }
	swan("private/peer.pem", keys.peer.key)
	c.LocalAuth, c.RemoteAuth = "pubkey", "pubkey"
	if raw {
		swan("pubkey/peer.pub", keys.peer.public)
		swan("pubkey/greseal.pub", keys.greseal.public)
		c.LocalMore, c.RemoteMore = "pubkeys = peer.pub", "pubkeys = greseal.pub"
		w.lines = append(w.lines, fmt.Sprintf("raw_key = %q", file("own.key", keys.greseal.key)), fmt.Sprintf("peer_raw_key = %q", file("peer.pub", keys.peer.public)),
			fmt.Sprintf("local_id = %q", nameA), fmt.Sprintf("remote_id = %q", nameB))
		return
	}
	swan("x509/peer.pem", keys.peer.cert)
	swan("x509ca/root.pem", keys.root)
	swan("x509ca/between.pem", keys.peer.intermediate)
	c.LocalMore, c.RemoteMore = "certs = peer.pem", "cacerts = root.pem"
	w.lines = append(w.lines, fmt.Sprintf("cert = %q", file("own.crt", keys.greseal.cert+keys.greseal.intermediate)),
		fmt.Sprintf("key = %q", file("own.key", keys.greseal.key)), fmt.Sprintf("ca = [%q]", file("ca.crt", keys.root)))
	switch r.auth {
	case "rsa": // by the subjects of the certificates
		c.LocalAuth = "rsa-sha384"
		c.LocalID, c.RemoteID = keys.peer.subject, keys.greseal.subject
		w.lines = append(w.lines, fmt.Sprintf("remote_id = %q", keys.peer.subject))
		return
	case "rsa-pss":
		c.LocalAuth, c.RemoteAuth = "rsa/pss-sha256", "rsa/pss"
	case "rsa-old": // a peer from before RFC 7427
		c.Options += "\nsignature_authentication = no"
	}
	w.lines = append(w.lines, fmt.Sprintf("local_id = %q", nameA), fmt.Sprintf("remote_id = %q", nameB))
}

// checkAuth compares how the peer authenticated with what the row wants.
func (r interopRow) checkAuth(w *world, got string) {
	want := map[string]string{
		"psk": "psk", "rsa": "PKCS1", "rsa-pss": "PSS", "rsa-old": "PKCS1", "ecdsa-256": "ECDSA", "ecdsa-384": "ECDSA",
		"ecdsa-521": "ECDSA", "ed25519": "Ed25519", "raw-ed": "Ed25519", "raw-rsa": "RSA", "raw-ecdsa": "ECDSA",
	}[r.auth]
	w.Check(strings.Contains(got, want), "the peer authenticated by %s; wanted is %s", got, want)
}

// checkPath looks at IKE on the wire: both sides must have sent fragments that
// fit a narrow path (RFC 7383).
func (r interopRow) checkPath(w *world) {
	if r.path == "1500" {
		return
	}
	const encryptedFragment = 53
	fitting := map[bool]int{}
	for _, p := range w.net.Wire.Packets() {
		if p.Kind == labnet.IKE && len(p.Payload) > 28 && p.Payload[16] == encryptedFragment && p.Size() <= 576 {
			fitting[p.Src.String() == labnet.AddrA]++
		}
	}
	w.Check(fitting[true] > 1 && fitting[false] > 1, "fragments of IKE messages that fit: %d of greseal's, %d of the peer's", fitting[true], fitting[false])
}

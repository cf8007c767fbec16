package config

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// checkTunnel makes the checks of one tunnel that need more than one key.
func (r *reading) checkTunnel() {
	if _, ok := r.written["name"]; !ok {
		r.mistake("name", -1, fault{"is missing", `write for example name = "hq"`})
	}
	if _, ok := r.written["remote"]; !ok {
		r.mistake("remote", -1, fault{"is missing", `write the other side's address or host name, or remote = "any"`})
	}
	if r.RemoteAny && r.has("remote_port") {
		r.warn("remote_port", -1, fault{`has no meaning with remote = "any", which never initiates`, "leave it out"})
	}
	r.shown()
	r.authentication()
	r.ppk()
	r.proposals()
	r.liveness()
	r.families()
	r.greEndpoints()
	r.ownRoutes()
	r.sizes()
	if r.has("gre.keepalive") && r.GRE.Ethernet {
		r.mistake("gre.keepalive", -1, fault{"is for tunnels that carry IP packets, not frames", "leave it out; the peer's liveness is checked by dpd"})
	}
	if r.has("gre.bridge") && !r.bad["gre.type"] {
		switch {
		case !r.GRE.Ethernet:
			r.mistake("gre.bridge", -1, fault{"only an interface that carries frames can join a bridge", `write gre.type = "ethernet", or leave it out`})
		case len(r.Address) > 0:
			r.warn("address", -1, fault{"an address on a bridge's port is of no use", "give it to " + quote(r.GRE.Bridge)})
		case r.MTU < ethernetMTU || !r.GRE.IgnoreDF:
			r.warn("gre.bridge", -1, fault{"a bridge has the least MTU of its ports, so this one narrows it for the whole LAN", "write mtu = 1500 and gre.ignore_df = true; frames are then fragmented outside the tunnel where they must be"})
		}
	}
}

// ethernetMTU is what the other ports of a bridge carry, bytes.
const ethernetMTU = 1500

// authentication checks that there is exactly one way, and reads the secret.
func (r *reading) authentication() {
	written := func(keys ...string) (first string) {
		for _, k := range keys {
			if _, ok := r.written[k]; ok {
				return k
			}
		}
		return ""
	}
	var ways []string
	for _, w := range []string{written("psk"), written("psk_file"), written("cert", "key"), written("raw_key", "peer_raw_key")} {
		if w != "" {
			ways = append(ways, w)
		}
	}
	switch {
	case len(ways) == 0 && written("ca", "crl") == "":
		r.mistake("", -1, fault{"there is no way to authenticate", "write psk_file or psk; greseal genpsk makes a key"})
	case len(ways) > 1:
		r.mistake(ways[1], -1, fault{"is a second way to authenticate besides " + ways[0], "leave out one of the two"})
	}
	if written("cert", "key") != "" {
		r.certificate()
	}
	if written("raw_key", "peer_raw_key") != "" {
		r.rawKeys()
	}
	for _, k := range []string{"ca", "crl"} {
		if _, ok := r.written[k]; ok && written("cert", "key") == "" {
			r.mistake(k, -1, fault{"belongs to cert, which is not written", "write cert and key, or leave it out"})
		}
	}
	if r.has("psk_file") {
		s, f := readSecret(r.PSKFile)
		if f.bad() {
			r.mistake("psk_file", -1, f)
		} else {
			r.PSK = s
			r.judge("psk_file", s.Bytes())
		}
	} else if r.has("psk") {
		r.judge("psk", r.PSK.Bytes())
	}
	switch {
	case !r.has("psk_old"):
	case written("psk", "psk_file") == "":
		r.mistake("psk_old", -1, fault{"is there without a new key", "write that as psk or psk_file, or leave psk_old out"})
	case r.PSKOld.Equal(r.PSK):
		r.warn("psk_old", -1, fault{"is the same key as the new one", "leave it out"})
	}
}

// judge warns about a pre-shared key that is weak or not what was meant.
func (r *reading) judge(key string, psk []byte) {
	if bits := guessingBits(string(psk)); bits < goodBits {
		r.warn(key, -1, fault{
			fmt.Sprintf("can be guessed with about %d bits of work, without asking the peer again, by whoever once answers in its place", bits),
			"write one that greseal genpsk made",
		})
	}
	unseen := invisible(string(psk))
	switch {
	case unseen != "":
		r.warn(key, -1, fault{"holds " + unseen + ", which nobody sees and which is part of the key", "type the key again and save it as plain UTF-8, without a byte order mark"})
	case psk[len(psk)-1] == '\r':
		r.warn(key, -1, fault{"ends with a carriage return, which is part of the key", "save the file with Unix line ends"})
	case len(bytes.TrimSpace(psk)) != len(psk):
		r.warn(key, -1, fault{"has white space at its beginning or end, which is part of the key", "remove it on both sides if it is not meant"})
	case bytes.HasPrefix(psk, []byte("0x")) || bytes.HasPrefix(psk, []byte("0s")):
		r.warn(key, -1, fault{fmt.Sprintf("begins with %s, which is part of the key: nothing is decoded", psk[:2]), "write the key as the peer uses it"})
	}
}

// liveness checks the order of the thresholds, and raises those not written to
// fit the ones that are.
func (r *reading) liveness() {
	if r.bad["dpd"] || r.bad["dpd_suspect"] || r.bad["dpd_dead"] {
		return
	}
	if !r.has("dpd_suspect") {
		r.DPDSuspect = max(r.DPDSuspect, (r.DPD + r.DPD/2).Round(time.Second))
	}
	if !r.has("dpd_dead") {
		r.DPDDead = max(r.DPDDead, 2*r.DPDSuspect)
	}
	switch {
	case r.DPDSuspect <= r.DPD:
		r.mistake("dpd_suspect", -1, fault{shortDuration(r.DPDSuspect) + " is not longer than dpd, " + shortDuration(r.DPD), "write at least dpd_suspect = " + quote(shortDuration((r.DPD + r.DPD/2).Round(time.Second)))})
	case r.DPDDead <= r.DPDSuspect:
		r.mistake("dpd_dead", -1, fault{shortDuration(r.DPDDead) + " is not longer than dpd_suspect, " + shortDuration(r.DPDSuspect), "write at least dpd_dead = " + quote(shortDuration(2*r.DPDSuspect))})
	}
}

// families checks that local can reach one of the remotes.
func (r *reading) families() {
	local, err := netip.ParseAddr(r.Local)
	if err != nil || !r.has("local") || !r.has("remote") {
		return
	}
	usable := r.RemoteAny
	for i, s := range r.Remotes {
		a, err := netip.ParseAddr(s)
		switch {
		case err == nil && a == local:
			r.mistake("remote", i, fault{quote(s) + " is also local", "write the other side's address"})
			return
		case err != nil || a.Is4() == local.Is4():
			usable = true
		}
	}
	if !usable {
		r.mistake("local", -1, fault{local.String() + " and the remote are of different IP versions", "write a local address of the remote's version, or leave it out"})
	}
}

// greEndpoints checks gre_local and gre_remote against each other, the mode and
// the outer addresses.
func (r *reading) greEndpoints() {
	l, m := r.GRELocal, r.GRERemote
	if l.IsValid() && m.IsValid() {
		if l == m {
			r.mistake("gre_remote", -1, fault{m.String() + " is also gre_local", "write the peer's GRE address"})
			return
		}
		if l.Is4() != m.Is4() {
			r.mistake("gre_remote", -1, fault{m.String() + " and gre_local, " + l.String() + ", are of different IP versions", "write both as IPv4 or both as IPv6"})
			return
		}
	}
	for _, e := range []struct {
		key   string
		addr  netip.Addr
		outer []string
	}{
		{"gre_local", l, []string{r.Local}},
		{"gre_remote", m, r.Remotes},
	} {
		same := len(e.outer) == 1 && e.outer[0] == e.addr.String()
		if e.addr.IsValid() && r.Transport() && !same && !r.bad["mode"] {
			r.mistake(e.key, -1, fault{"transport mode has no inner header for an address of its own", "leave it out, or write mode = \"tunnel\""})
		}
	}
	if l.IsValid() != m.IsValid() && !r.Transport() {
		r.oneEndpoint(l, m)
	}
}

// oneEndpoint checks the one of gre_local and gre_remote that is written: it stands
// against the other side's outer address.
func (r *reading) oneEndpoint(l, m netip.Addr) {
	if l.IsValid() {
		for i, s := range r.Remotes {
			if a, err := netip.ParseAddr(s); err == nil && a.Is4() != l.Is4() {
				r.mistake("remote", i, fault{s + " and gre_local, " + l.String() + ", are of different IP versions", "write gre_remote too"})
				return
			}
		}
	} else if a, err := netip.ParseAddr(r.Local); err == nil && a.Is4() != m.Is4() {
		r.mistake("local", -1, fault{r.Local + " and gre_remote, " + m.String() + ", are of different IP versions", "write gre_local too"})
	}
}

// ownRoutes checks addresses and routes against the tunnel's own endpoints.
func (r *reading) ownRoutes() {
	ends := map[netip.Addr]string{}
	for _, s := range r.Remotes {
		if a, err := netip.ParseAddr(s); err == nil {
			ends[a] = "the remote"
		}
	}
	if a, err := netip.ParseAddr(r.Local); err == nil {
		ends[a] = "the local address"
	}
	if r.GRELocal.IsValid() {
		ends[r.GRELocal] = "gre_local"
	}
	if r.GRERemote.IsValid() {
		ends[r.GRERemote] = "gre_remote"
	}
	for i, p := range r.Address {
		if what, ok := ends[p.Addr()]; ok {
			r.mistake("address", i, fault{p.Addr().String() + " is " + what, "give the interface an address of its own inside the tunnel"})
		}
	}
	for i, p := range r.Routes {
		if what, ok := ends[p.Addr()]; ok && p.IsSingleIP() {
			r.mistake("routes", i, fault{p.String() + " is " + what + ": the tunnel would carry its own packets", "remove it"})
		}
		if slices.ContainsFunc(r.Address, func(a netip.Prefix) bool { return a.Masked() == p }) {
			r.warn("routes", i, fault{p.String() + " already follows from the interface's address", "remove it"})
		}
	}
}

// sizes checks what the MTU must carry.
func (r *reading) sizes() {
	if r.MTU == 0 || r.MTU >= 1280 || r.bad["mtu"] {
		return
	}
	for _, key := range []string{"address", "routes"} {
		list := r.Address
		if key == "routes" {
			list = r.Routes
		}
		for _, p := range list {
			if p.Addr().Is6() {
				r.mistake("mtu", -1, fault{fmt.Sprintf("%d is too small for IPv6, which %s has", r.MTU, key), "write at least mtu = 1280, or leave it out"})
				return
			}
		}
	}
}

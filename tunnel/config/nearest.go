package config

import (
	"strconv"
	"strings"
)

// quote writes a word of the file into a message: escaped, and cut so that a
// message stays readable.
func quote(s string) string {
	const most = 60
	n := 0
	for i := range s {
		if n == most {
			return strconv.Quote(s[:i]) + "…"
		}
		n++
	}
	return strconv.Quote(s)
}

// Nearest finds the word that s was most likely meant to be, "" when none is
// close: without regard to case, "-" for "_", a part of a longer name, or a few
// letters wrong.
func Nearest(s string, words []string) string {
	if len(s) > 64 {
		return ""
	}
	plain := func(w string) string { return strings.ToLower(strings.ReplaceAll(w, "-", "_")) }
	s = plain(s)
	best, least := "", 1+len(s)/3
	for _, w := range words {
		p := plain(w)
		_, tail, dotted := strings.Cut(p, ".")
		if p == s || dotted && tail == s {
			return w
		}
		if d := distance(s, p); d < least || d == least && best == "" {
			best, least = w, d
		}
	}
	return best
}

// distance counts the letters to insert, remove, change or swap with the next
// to make b of a.
func distance(a, b string) int {
	prev2, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(prev[j]+cost, prev[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], prev2[j-1]+1)
			}
		}
		prev2, prev, row = prev, row, prev2
	}
	return prev[len(b)]
}

// elsewhere are words people bring along from other products and from habit.
var elsewhere = map[string]string{
	"peer": "remote", "remote_addr": "remote", "remote_addrs": "remote", "remote_address": "remote",
	"endpoint": "remote", "gateway": "remote", "right": "remote", "peeraddr": "remote", "host": "remote",
	"local_addr": "local", "local_addrs": "local", "local_address": "local", "left": "local", "source": "local",
	"preshared_key": "psk", "pre_shared_key": "psk", "presharedkey": "psk", "secret": "psk", "password": "psk",
	"interface": "name", "ifname": "name", "device": "name",
	"ip": "address", "ipaddr": "address", "addr": "address", "addresses": "address", "inner": "address",
	"subnet": "routes", "subnets": "routes", "networks": "routes", "allowed_ips": "routes", "remote_subnet": "routes", "remote_ts": "routes",
	"leftid": "local_id", "rightid": "remote_id", "local_identity": "local_id", "remote_identity": "remote_id", "id": "local_id",
	"proposals": "ike", "ike_proposals": "ike", "phase1": "ike", "esp_proposals": "esp", "phase2": "esp", "transform_set": "esp",
	"lifetime": "child_lifetime", "rekey_time": "child_lifetime", "ikelifetime": "ike_lifetime", "salifetime": "child_lifetime",
	"dpd_delay": "dpd", "dpddelay": "dpd", "liveness": "dpd", "dpd_timeout": "dpd_dead", "dpdtimeout": "dpd_dead",
	"force_encaps": "encap", "nat_traversal": "encap", "nat_t": "encap", "natt": "encap", "port": "remote_port",
	"mss": "mss_clamp", "disabled": "enabled", "certificate": "cert", "private_key": "key", "tunnel_key": "gre.key",
	"keepalive": "gre.keepalive", "bridge": "gre.bridge", "priority": "metric", "transport": "mode", "nat": "encap", "mark": "fwmark",
}

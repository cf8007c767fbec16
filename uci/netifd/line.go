package netifd

import (
	"net/netip"
	"strconv"
	"time"

	"greseal/platform/inet"
	"greseal/tunnel/status"
)

// Each ifup makes the firewall load its rules again, so a flapping tunnel is
// reported with growing patience.
const (
	downHold  = 2 * time.Second // a tunnel that is back by then was never down
	maxUpHold = time.Minute
	calmAfter = 5 * time.Minute // up for so long: the patience is forgotten
	errorHold = 5 * time.Second // what passes by itself is no error
)

// line is what is known of one interface and what netifd was told of it.
type line struct {
	up      bool // as seen last
	since   time.Time
	flaps   int
	told    bool // up or down
	toldAt  time.Time
	print   string // of the last update, to tell another one apart
	code    string
	codeAt  time.Time
	codeOut string
}

// verdict is what is to be told to netifd now.
type verdict struct {
	up, down bool
	code     string        // an error to show, "" for none
	after    time.Duration // ask again after, 0 when nothing is pending
}

// judge decides what to tell netifd about the tunnel t. netifd is its own view.
func (l *line) judge(now time.Time, t *status.Tunnel, netifdUp bool) verdict {
	up := t.State == status.StateUp && t.Interface.Index != 0
	if up != l.up || l.since.IsZero() {
		l.up, l.since = up, now
	}
	if l.told && !netifdUp {
		l.told, l.print = false, "" // netifd was restarted, or took it down
	}
	if l.told && now.Sub(l.toldAt) > calmAfter {
		l.flaps = 0
	}
	var v verdict
	held := now.Sub(l.since)
	switch {
	case up && !l.told:
		hold := time.Duration(0)
		if l.flaps > 0 {
			hold = min(time.Second<<l.flaps, maxUpHold)
		}
		if v.up = held >= hold; !v.up {
			v.after = hold - held
		}
	case up:
		v.up = l.print != fingerprint(t)
	case netifdUp:
		if v.down = held >= downHold; !v.down {
			v.after = downHold - held
		}
	}
	code := errorCode(t)
	if code != l.code {
		l.code, l.codeAt = code, now
	}
	if code != "" && code != l.codeOut {
		if now.Sub(l.codeAt) >= errorHold {
			v.code = code
		} else if wait := errorHold - now.Sub(l.codeAt); v.after == 0 || wait < v.after {
			v.after = wait
		}
	}
	return v
}

// tell notes that a verdict was carried out.
func (l *line) tell(now time.Time, v verdict, t *status.Tunnel) {
	switch {
	case v.up:
		if !l.told {
			l.toldAt = now
		}
		l.told, l.print, l.codeOut = true, fingerprint(t), ""
	case v.down:
		l.told, l.print, l.toldAt = false, "", now
		l.flaps = min(l.flaps+1, 6)
	}
	if v.code != "" {
		l.codeOut = v.code
	}
}

// fingerprint is what an update of netifd carries.
func fingerprint(t *status.Tunnel) string {
	s := t.Interface.Name
	for _, list := range [][]status.Placed{t.Addresses, t.Routes} {
		for _, p := range list {
			s += " " + p.Prefix
		}
		s += ";"
	}
	return s
}

// errorCode is why a tunnel is not up, in a word that LuCI has a text for: its
// own where they fit.
func errorCode(t *status.Tunnel) string {
	switch {
	case t.State == status.StateUp:
		return ""
	case t.Desired == status.DesiredDown:
		return "TAKEN_DOWN"
	case t.WaitingFor == status.WaitName:
		return "PEER_RESOLVE_FAIL"
	case t.WaitingFor == status.WaitAddress:
		return "NO_WAN_ADDRESS"
	case t.WaitingFor == status.WaitRoute:
		return "NO_WAN_LINK"
	case t.WaitingFor == status.WaitInterface:
		return "NO_IFACE"
	}
	return t.Code
}

// place is where the settings of an interface come from that its tunnel does
// not know.
type place struct {
	zone  string
	table string // of the routes, "" where netifd knows it
}

// update is the notify_proto of a tunnel that is up: netifd lays the addresses
// and routes on the interface that the daemon made.
func update(t *status.Tunnel, p place) Table {
	m := Table{{"action", 0}, {"ifname", t.Interface.Name}, {"link-up", true}}
	if p.zone != "" {
		m = append(m, Field{"data", Table{{"zone", p.zone}}})
	}
	m = append(m, Field{"keep", false})
	var ip4, ip6, routes4, routes6 []any
	for _, a := range t.Addresses {
		prefix, err := netip.ParsePrefix(a.Prefix)
		if err != nil {
			continue
		}
		item := Table{{"ipaddr", prefix.Addr().String()}, {"mask", bits(prefix)}}
		if prefix.Addr().Is4() {
			ip4 = append(ip4, item)
		} else {
			ip6 = append(ip6, item)
		}
	}
	for _, r := range t.Routes {
		prefix, err := netip.ParsePrefix(r.Prefix)
		if err != nil {
			continue
		}
		for _, prefix := range inet.Halves(prefix) {
			item := Table{{"target", prefix.Addr().String()}, {"netmask", bits(prefix)}}
			if p.table != "" {
				item = append(item, Field{"table", p.table})
			}
			if prefix.Addr().Is4() {
				routes4 = append(routes4, item)
			} else {
				routes6 = append(routes6, item)
			}
		}
	}
	for _, l := range []struct {
		name  string
		items []any
	}{{"ipaddr", ip4}, {"ip6addr", ip6}, {"routes", routes4}, {"routes6", routes6}} {
		if len(l.items) > 0 {
			m = append(m, Field{l.name, l.items})
		}
	}
	return append(m, Field{"interface", t.Name})
}

func bits(p netip.Prefix) string { return strconv.Itoa(p.Bits()) }

func downMessage(name string) Table {
	return Table{{"action", 0}, {"link-up", false}, {"interface", name}}
}

func errorMessage(name, code string) Table {
	return Table{{"action", 3}, {"error", []any{code}}, {"interface", name}}
}

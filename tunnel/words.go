package tunnel

import (
	"net/netip"
	"time"
)

// Wording of the status and the log.

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// endOf is when a remaining time ends, in whole seconds from now: clients subtract now
// from it.
func endOf(left time.Duration) int64 { return time.Now().Unix() + seconds(max(left, 0)) }

// unix is a moment by the clock as it stands now, which may have been set since.
func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	now := time.Now()
	return now.Add(t.Sub(now)).Unix()
}

func role(initiator bool) string {
	if initiator {
		return "initiator"
	}
	return "responder"
}

func mode(transport bool) string {
	if transport {
		return "transport"
	}
	return "tunnel"
}

func addrPort(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func family(a netip.Addr) int {
	if a.Is4() {
		return 4
	}
	return 6
}

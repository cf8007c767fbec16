package tunnel

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"greseal/tunnel/status"
)

// obstacle is something that a tunnel needs and a machine may be without.
type obstacle struct {
	name string
	set  func(w *world, missing bool)
	says func(status.Tunnel) bool // while nothing before it is missing
}

// obstacles in the order in which a tunnel meets them.
var obstacles = []obstacle{
	{"name", func(w *world, missing bool) {
		if w.answerErr = nil; missing {
			w.answerErr = &net.DNSError{IsNotFound: true}
		}
	}, waits("name", "the name server knows no such name")},
	{"address", func(w *world, missing bool) {
		if w.wan4 = netip.MustParseAddr("198.51.100.2"); missing {
			w.wan4 = netip.Addr{}
		}
	}, waits("address", "has no address")},
	{"route", func(w *world, missing bool) { w.route4 = !missing }, waits("route", "no route to 192.0.2.1")},
	{"interface", func(w *world, missing bool) { w.refuses("SetLink", missing) }, func(s status.Tunnel) bool {
		return s.State == status.StateDown && strings.HasPrefix(s.Reason, "interface hq: ") && s.Interface.Index == 0
	}},
	{"peer", func(w *world, missing bool) { w.silent = missing }, func(s status.Tunnel) bool {
		return (s.State == status.StateDown || s.State == status.StateConnecting) && s.Code == status.CodeNoAnswer && s.Remedy != ""
	}},
	{"datapath", func(w *world, missing bool) { w.refuses("InstallIn", missing) }, func(s status.Tunnel) bool {
		return s.State != status.StateUp && s.Code == status.CodeUnavailable && strings.Contains(s.Reason, "could not install the SA")
	}},
}

func waits(for_, reason string) func(status.Tunnel) bool {
	return func(s status.Tunnel) bool {
		return s.State == status.StateWaiting && s.WaitingFor == for_ && strings.Contains(s.Reason, reason) && s.Remedy != "" && s.NextAttemptInS <= 5
	}
}

func (w *world) refuses(call string, refuses bool) {
	if delete(w.failing, call); refuses {
		w.failing[call] = errors.New("no room")
	}
}

// Whatever is missing, and in whatever order it comes: the tunnel says what it lacks
// first, and is up when the last of it is there.
func TestATunnelComesUpInEveryOrderOfWhatIsMissing(t *testing.T) {
	n, every := 0, 1
	if testing.Short() {
		every = 30
	}
	permute(len(obstacles), func(order []int) {
		if n++; n%every == 0 {
			synctest.Test(t, func(t *testing.T) { bringUp(t, order) })
		}
	})
}

func bringUp(t *testing.T, order []int) {
	prepare := func(w *world) {
		for _, o := range obstacles {
			o.set(w, true)
		}
	}
	play(t, hq(`remote = "`+worldName+`"`), prepare, func(w *world) {
		time.Sleep(10 * time.Second)
		left := slices.Clone(order)
		var came []string
		for len(left) > 0 {
			if first := obstacles[slices.Min(left)]; !first.says(w.look()) {
				s := w.look()
				t.Errorf("after %v, without %s first: %s, waiting for %q, code %q: %s", came, first.name, s.State, s.WaitingFor, s.Code, s.Reason)
				return
			}
			next := obstacles[left[0]]
			came, left = append(came, next.name), left[1:]
			w.do(func() { next.set(w, false) })
			w.changed()
			if len(left) > 0 {
				time.Sleep(3 * time.Minute)
			}
		}
		upWithin(t, w, 2*time.Minute)
		if t.Failed() {
			t.Errorf("after %v", came)
		}
	})
}

// permute calls f with each order of 0 to n-1.
func permute(n int, f func([]int)) {
	order := make([]int, 0, n)
	var next func()
	next = func() {
		if len(order) == n {
			f(order)
			return
		}
		for i := range n {
			if !slices.Contains(order, i) {
				order = append(order, i)
				next()
				order = order[:len(order)-1]
			}
		}
	}
	next()
}

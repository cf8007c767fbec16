package tunnel

import (
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"greseal/ikev2"
	"greseal/platform"
	"greseal/platform/inet"
)

// laid is the result of installing a tunnel's addresses, or its routes: one that the
// kernel refuses is missing, and everything else goes on without it.
type laid struct {
	lacks map[netip.Prefix]string // and why
	said  string                  // the last complaint: it is made once
	again ikev2.Time              // when to try once more, 0: nothing is missing
}

// tells reports whether this complaint is already logged.
func (of *laid) tells(text string) bool { return strings.Contains(of.said, text) }

// took notes how installing went.
func (l *loop) took(t *tunnel, of *laid, what string, err error) {
	l.laidSomething()
	refused, rest := platform.Refused(err)
	of.lacks = map[netip.Prefix]string{}
	var words []string
	for _, u := range refused {
		of.lacks[u.Prefix] = u.Why()
		words = append(words, u.Error())
	}
	if rest != nil {
		words = append(words, rest.Error())
	}
	slices.Sort(words)
	text := strings.Join(slices.Compact(words), "; ")
	if text != "" && text != of.said {
		l.event(t, slog.LevelError, "machine", what+": "+text)
	}
	of.said, of.again = text, 0
	if text != "" {
		// Nothing reports when the obstacle goes, such as IPv6 switched off. A hub
		// must not spend its time on retries.
		of.again = l.now() + routeRetry*time.Duration(1+len(l.tunnels)/20)
	}
}

// layAgain retries what was refused.
func (l *loop) layAgain(t *tunnel, now ikev2.Time) {
	if at := t.addresses.again; at != 0 && at <= now && t.index != 0 {
		l.layAddresses(t)
	} else if at != 0 && t.index == 0 {
		t.addresses.again = 0 // the next interface gets all of them
	}
	if at := t.routes.again; at != 0 && at <= now {
		t.routes.again = 0 // also where no route is wanted any more
		l.layRoutes(t)
	}
}

// why is the reason why a prefix is not in place, "" when it is. A default route is
// installed as two halves.
func (of *laid) why(p netip.Prefix) string {
	if w := of.lacks[p]; w != "" || p.Bits() != 0 {
		return w
	}
	for half, w := range of.lacks {
		if inet.IsHalf(half, p) {
			return w
		}
	}
	return ""
}

// layAddresses makes the addresses of the interface those of the configuration, and
// what the kernel needs besides.
func (l *loop) layAddresses(t *tunnel) {
	l.took(t, &t.addresses, "addresses", l.net.SetAddresses(t.name, l.addresses(t)))
}

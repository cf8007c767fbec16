package doctor

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"time"

	"greseal/platform/names"
	"greseal/tunnel/config"
	"greseal/tunnel/resolve"
)

// resolvePatience is how long the resolver has for one name.
const resolvePatience = 6 * time.Second

// checkName resolves the host names of remote and chooses the address that the
// other steps examine: the daemon's own choice while the tunnel is up.
func checkName(x *exam) Step {
	if x.Tunnel.RemoteAny {
		if x.remote.IsValid() {
			return fine("the peer came from " + x.remote.String())
		}
		return skip(`remote = "any": the peer connects to us`)
	}
	var found []netip.Addr
	var says, bad []string
	asked := 0
	for _, host := range x.Tunnel.Remotes {
		if a, err := netip.ParseAddr(host); err == nil {
			found = append(found, a.Unmap())
			continue
		}
		asked++
		ctx, cancel := context.WithTimeout(x.ctx, resolvePatience)
		as, err := names.Lookup(ctx, host)
		cancel()
		if err != nil {
			bad = append(bad, host+": "+resolve.Reason(err))
			continue
		}
		var words []string
		for i, a := range as {
			as[i] = a.Unmap()
			words = append(words, as[i].String())
		}
		sort.SliceStable(as, func(i, j int) bool { return as[i].BitLen() < as[j].BitLen() })
		found = append(found, as...)
		says = append(says, host+" is "+strings.Join(words, ", "))
	}
	if len(found) > 0 && !x.now.up() && !slices.Contains(found, x.remote) {
		x.remote = found[0]
	}
	switch {
	case len(found) == 0:
		return unresolved(&x.Tunnel, names.Servers(), bad)
	case len(bad) > 0:
		return warn("check the name in remote", append(bad, says...)...)
	case asked == 0:
		return fine("remote is an address, no name is needed")
	case x.now.up() && !slices.Contains(found, x.remote):
		return warn("the tunnel continues with the old address; restart it if the peer has moved", append(says, "the tunnel is up with "+x.remote.String())...)
	}
	return fine(says...)
}

// unresolved is the verdict where no name has an address.
func unresolved(t *config.Tunnel, servers []netip.Addr, bad []string) Step {
	return fault(cmp.Or(t.NameServerRemedy(servers), "check the name in remote, and that this router can reach a name server (see /etc/resolv.conf)"), bad...)
}

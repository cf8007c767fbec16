// Package names looks host names up where Go's resolver would go on reading what
// is no longer there. A program in a mount namespace of its own, as in procd's
// jail or under "ip netns exec", has /etc/resolv.conf as a bind mount of the file
// as it was at the start; who puts another in its place, as netifd does when a
// line comes up, does it behind that mount.
package names

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"
)

const (
	resolvConf = "/etc/resolv.conf"
	hosts      = "/etc/hosts"

	// Where netifd writes the name servers of all lines, and what
	// /etc/resolv.conf leads to on a router without a resolver of its own. The
	// jail has the folder.
	netifdFile = "/tmp/resolv.conf.d/resolv.conf.auto"

	// Where systemd-resolved writes those that it asks.
	resolvedFile = "/run/systemd/resolve/resolv.conf"

	// HostsFile is the environment variable that names a copy of /etc/hosts which
	// is kept current from outside of the jail.
	HostsFile = "GRESEAL_HOSTS"
)

// Lookup returns the addresses of a host. Where a name server of this machine's own
// has no answer, those that it asks are asked directly: they may be reached by us
// alone. And where the first of several is silent, the resolver would not come to the
// others in time: each of them is asked.
func Lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	if found := fromHosts(mounts, host); len(found) > 0 {
		return found, nil
	}
	conf, replaced := currentConfig(mounts)
	beyond := upstream(conf)
	if all := (config{}); !replaced && len(beyond.servers) == 0 {
		if all.read(resolvConf); len(all.servers) > 1 {
			beyond = all
		}
	}
	first, cancel := ctx, context.CancelFunc(func() {})
	if end, ok := ctx.Deadline(); ok && len(beyond.servers) > 0 {
		first, cancel = context.WithTimeout(ctx, time.Until(end)/2)
	}
	var found []netip.Addr
	var err error
	if replaced {
		found, err = conf.lookup(first, host)
	} else {
		found, err = net.DefaultResolver.LookupNetIP(first, "ip", host)
	}
	cancel()
	var dns *net.DNSError
	if err == nil || errors.As(err, &dns) && dns.IsNotFound || len(beyond.servers) == 0 {
		return found, err
	}
	if more, moreErr := beyond.lookup(ctx, host); moreErr == nil {
		return more, nil
	}
	return nil, err
}

// Servers lists the name servers that Lookup may ask on other machines.
func Servers() (list []netip.Addr) {
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	conf, replaced := currentConfig(mounts)
	if !replaced {
		conf.read(resolvConf)
	}
	for _, s := range append(conf.servers, upstream(conf).servers...) {
		if !s.Addr().IsLoopback() && !slices.Contains(list, s.Addr()) {
			list = append(list, s.Addr())
		}
	}
	return list
}

// upstream are the servers that a name server of this machine's own asks, where conf
// names no other.
func upstream(conf config) (beyond config) {
	if len(conf.servers) == 0 {
		conf.read(resolvConf)
	}
	if slices.ContainsFunc(conf.servers, func(s netip.AddrPort) bool { return !s.Addr().IsLoopback() }) {
		return config{}
	}
	for _, path := range []string{netifdFile, resolvedFile} {
		beyond.read(path)
	}
	return beyond
}

// InHosts tells whether the hosts file has a name.
func InHosts(host string) bool {
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	text, _ := os.ReadFile(hosts)
	return len(fromHosts(mounts, host)) > 0 || len(inHosts(text, host)) > 0
}

// fromHosts looks into the hosts file where Go's resolver would not see it.
func fromHosts(mounts []byte, host string) []netip.Addr {
	path := os.Getenv(HostsFile)
	if now, replaced := follow(mounts, hosts); path == "" && replaced {
		path = now
	}
	if path == "" {
		return nil
	}
	text, _ := os.ReadFile(path)
	return inHosts(text, host)
}

// inHosts are the addresses of a host in a hosts file (hosts(5)).
func inHosts(text []byte, host string) (found []netip.Addr) {
	host = strings.TrimSuffix(host, ".")
	for line := range bytes.Lines(text) {
		line, _, _ = bytes.Cut(line, []byte("#"))
		words := strings.Fields(string(line))
		if len(words) < 2 {
			continue
		}
		for _, name := range words[1:] {
			if a, err := netip.ParseAddr(words[0]); err == nil && strings.EqualFold(name, host) {
				found = append(found, a)
				break
			}
		}
	}
	return found
}

// config is what we take from a resolv.conf(5).
type config struct {
	servers []netip.AddrPort
	search  []string
}

// currentConfig is the resolver's configuration when /etc/resolv.conf is not what
// it was, or was not there, when the mount was made. Where the file that took its
// place can't be seen, the old one's servers come first: on a router with a
// resolver of its own they are that one, and it refuses at once when it is gone.
func currentConfig(mounts []byte) (config, bool) {
	now, replaced := follow(mounts, resolvConf)
	if _, err := os.Stat(resolvConf); !replaced && err == nil {
		return config{}, false
	}
	var c config
	if now != "" {
		c.read(now)
	} else {
		c.read(resolvConf)
		c.read(netifdFile)
	}
	return c, len(c.servers) > 0
}

func (c *config) read(path string) {
	text, _ := os.ReadFile(path)
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(words[1]); err == nil {
				c.servers = append(c.servers, netip.AddrPortFrom(a, 53))
			}
		case "search", "domain":
			c.search = words[1:]
		}
	}
}

// lookup asks the servers in turn, each within its share of the time.
func (c *config) lookup(ctx context.Context, host string) (found []netip.Addr, err error) {
	for i, server := range c.servers {
		share, cancel := ctx, context.CancelFunc(func() {})
		if end, ok := ctx.Deadline(); ok {
			share, cancel = context.WithTimeout(ctx, time.Until(end)/time.Duration(len(c.servers)-i))
		}
		found, err = ask(share, server, c.questions(host))
		cancel()
		var dns *net.DNSError
		if err == nil || errors.As(err, &dns) && dns.IsNotFound {
			return found, err
		}
	}
	return nil, err
}

// questions are the full names to ask for: with a dot at the end, or Go would add
// the domains of the old file.
func (c *config) questions(host string) []string {
	if strings.HasSuffix(host, ".") {
		return []string{host}
	}
	var all []string
	for _, domain := range c.search {
		if domain = strings.Trim(domain, "."); domain != "" {
			all = append(all, host+"."+domain+".")
		}
	}
	if strings.Contains(host, ".") {
		return append([]string{host + "."}, all...)
	}
	return append(all, host+".")
}

// ask has Go's resolver ask one server, whatever it believes of /etc/resolv.conf.
func ask(ctx context.Context, server netip.AddrPort, names []string) (found []netip.Addr, err error) {
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, server.String())
	}}
	for _, name := range names {
		if found, err = r.LookupNetIP(ctx, "ip", name); err == nil {
			return found, nil
		}
		var dns *net.DNSError
		if !errors.As(err, &dns) {
			return nil, err
		}
		dns.Server = server.Addr().String() // Go names the one it meant to ask
		if !dns.IsNotFound {
			return nil, err
		}
	}
	return nil, err
}

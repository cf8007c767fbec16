package resolve

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sort"
	"strings"
)

// Answer is a name server's answer about one name.
type Answer struct {
	Host  string
	Addrs []netip.Addr // that a peer can have
	Err   error        // why there are none: a sentence that names the host
}

// Judge takes what a resolver returned.
func Judge(host string, addrs []netip.Addr, err error) Answer {
	a := Answer{Host: host}
	if a.Addrs, a.Err = usable(addrs, err); a.Err != nil {
		a.Err = fmt.Errorf("host name %q %w", host, a.Err)
	}
	return a
}

// usable are the addresses of an answer that a peer can have, IPv4 ones first: GRE
// and ESP have fewer surprises there, and a stale AAAA record of a dynamic name is
// more common than a stale A. Providers of dynamic names answer 0.0.0.0 for a host
// that is away.
func usable(all []netip.Addr, err error) ([]netip.Addr, error) {
	if err != nil {
		return nil, errors.New("does not resolve: " + Reason(err))
	}
	var good, bad []netip.Addr
	for _, a := range all {
		if a = a.Unmap(); possiblePeer(a) {
			good = append(good, a)
		} else {
			bad = append(bad, a)
		}
	}
	if len(good) == 0 {
		return nil, fmt.Errorf("has no address that a peer can have: the name server answers %s", List(bad))
	}
	sort.SliceStable(good, func(i, j int) bool { return good[i].BitLen() < good[j].BitLen() })
	return good, nil
}

// possiblePeer tells whether an address can be another machine's.
func possiblePeer(a netip.Addr) bool {
	thisNetwork := netip.PrefixFrom(netip.IPv4Unspecified(), 8)
	broadcast := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	return a.IsValid() && !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() && a != broadcast && !thisNetwork.Contains(a)
}

// Reason is a resolver's error in plain words.
func Reason(err error) string {
	var dns *net.DNSError
	if !errors.As(err, &dns) {
		return err.Error()
	}
	switch {
	case dns.IsNotFound:
		return "the name server knows no such name"
	case dns.IsTimeout && dns.Server != "":
		return fmt.Sprintf("the name server %s does not answer", dns.Server)
	case dns.IsTimeout:
		return "no name server answers"
	case dns.Err == "server misbehaving": // Go's words for any other answer
		return "the name server reports a failure"
	case strings.Contains(dns.Err, "connection refused"):
		return "no name server runs where /etc/resolv.conf says"
	}
	return dns.Err
}

// Literal is the address that a remote is, if it is one.
func Literal(remote string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(remote)
	return a.Unmap(), err == nil
}

// Literals are the addresses of remotes when all of them are literal ones.
func Literals(remotes []string) (addrs []netip.Addr, all bool) {
	for _, r := range remotes {
		a, ok := Literal(r)
		if !ok {
			return nil, false
		}
		addrs = append(addrs, a)
	}
	return addrs, true
}

// List names addresses in a sentence.
func List(addrs []netip.Addr) string {
	if len(addrs) == 0 {
		return "none"
	}
	words := make([]string, len(addrs))
	for i, a := range addrs {
		words[i] = a.String()
	}
	return strings.Join(words, ", ")
}

package platform

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Unlaid is one address, route or rule that the kernel refused. The others are installed
// nevertheless: where IPv6 is switched off a tunnel goes without.
type Unlaid struct {
	Prefix netip.Prefix // of a rule the host that it leads to
	What   string       // what was tried
	Err    error
	Object Object
}

func (u *Unlaid) Error() string { return u.What + ": " + u.Why() }
func (u *Unlaid) Unwrap() error { return u.Err }

// Why is the reason alone.
func (u *Unlaid) Why() string {
	if u.noIPv6() {
		return fmt.Sprintf("IPv6 is switched off here (%v): set the sysctl disable_ipv6 to 0, or take the IPv6 address and routes out of the configuration", u.Err)
	}
	return u.Err.Error()
}

// noIPv6 reports that it was refused because IPv6 is switched off.
func (u *Unlaid) noIPv6() bool {
	return u.Prefix.Addr().Is6() && (errors.Is(u.Err, unix.EACCES) || errors.Is(u.Err, unix.EOPNOTSUPP) || errors.Is(u.Err, unix.EAFNOSUPPORT))
}

// Refused lists the single addresses, routes and rules that an error of SetAddresses or
// SetRoutes is about; rest is what else went wrong.
func Refused(err error) (list []*Unlaid, rest error) {
	switch e := err.(type) {
	case nil:
	case *Unlaid:
		return []*Unlaid{e}, nil
	case interface{ Unwrap() []error }:
		var others []error
		for _, one := range e.Unwrap() {
			l, r := Refused(one)
			list, others = append(list, l...), append(others, r)
		}
		return list, errors.Join(others...)
	default:
		return nil, err
	}
	return list, nil
}

package peerconf

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"greseal/crypto/suite"
	"greseal/ikev2"
	"greseal/tunnel/config"
	"greseal/tunnel/mtu"
)

// Placeholders for what only the reader knows.
const (
	ownPlaceholder    = "GRESEAL_ADDRESS"
	peerPlaceholder   = "PEER_ADDRESS"
	secretPlaceholder = "PRE_SHARED_KEY"
)

// side is the tunnel as the other side sees it: "here" is the side that is
// written for, "there" is greseal.
type side struct {
	*config.Tunnel
	vendor *vendor
	label  string // the tunnel's name as every product takes it

	here, there       string // outer addresses, or placeholders
	hereIP, thereIP   netip.Addr
	v6                bool   // outside
	greHere, greThere string // GRE endpoints, or placeholders
	greApart          bool   // they are not the outer addresses
	hereID, thereID   ikev2.Identity
	inner             []inner
	networks          []netip.Prefix
	ikeSuite          suite.Suite
	espSuites         []suite.Suite
	pfsGroup          suite.Transform // of the Child SA, zero for none
	esn               string          // "yes" when insisted on, "no", or "either"
	mtu               int
	mss4              int

	secret string // or its placeholder
	flags  bool   // see Options.CommandLine

	before, todo, warnings []string
}

// inner is an address of the interface here, and there.
type inner struct{ here, there netip.Prefix }

func newSide(v *vendor, o Options) (*side, error) {
	t := o.Tunnel
	s := &side{Tunnel: t, vendor: v, networks: o.Networks, flags: o.CommandLine}
	s.label = strings.Map(func(r rune) rune {
		if r == '.' {
			return '_'
		}
		return r
	}, t.Name)
	s.addresses(o)
	if err := s.identities(); err != nil {
		return nil, err
	}
	s.interior()
	s.algorithms()
	s.size(o.MTU)
	s.secret = secretPlaceholder
	switch {
	case !t.PSK.IsSet() && v.signs:
	case !t.PSK.IsSet():
		s.warn("this tunnel authenticates by certificate or raw key; what follows has a pre-shared key in its place: enrol the other side and name its certificate or key instead")
	case o.ShowSecrets:
		s.secret = string(t.PSK.Bytes())
	}
	if t.PPKID != "" {
		s.warn("the post-quantum pre-shared key (ppk_id %q) is not in what follows: set it up there by hand, or leave ppk_required off", t.PPKID)
	}
	return s, nil
}

// addresses finds the four endpoints.
func (s *side) addresses(o Options) {
	s.there = o.Own
	if s.there == "" {
		if a, err := netip.ParseAddr(s.Local); err == nil {
			s.there = a.String()
		}
	}
	s.here = o.Peer
	if s.here == "" && len(s.Remotes) > 0 {
		s.here = s.Remotes[0]
	}
	if len(s.Remotes) > 1 {
		s.warn("remote has %d addresses; this is for the first, %s", len(s.Remotes), s.Remotes[0])
	}
	if s.there == "" {
		s.there = ownPlaceholder
	}
	if s.here == "" {
		s.here = peerPlaceholder
	}
	s.hereIP, _ = netip.ParseAddr(s.here)
	s.thereIP, _ = netip.ParseAddr(s.there)
	s.v6 = s.hereIP.Is6() || s.thereIP.Is6()

	// GRE endpoints are addresses, never names.
	s.greHere, s.greThere = peerPlaceholder, ownPlaceholder
	if s.hereIP.IsValid() {
		s.greHere = s.here
	}
	if s.thereIP.IsValid() {
		s.greThere = s.there
	}
	if s.GRERemote.IsValid() {
		s.greHere = s.GRERemote.String()
	}
	switch {
	case s.GRELocal.IsValid():
		s.greThere = s.GRELocal.String()
	case o.GREOwn != "" && o.GREOwn != s.there:
		s.greThere = o.GREOwn
	}
	s.greApart = s.greHere != s.here && s.greHere != peerPlaceholder || s.greThere != s.there && s.greThere != ownPlaceholder
}

// placeholders tells which the text has.
func (s *side) placeholders(text string) {
	if strings.Contains(text, ownPlaceholder) {
		if s.there != ownPlaceholder {
			s.replace("%s by the address that %s has", ownPlaceholder, s.there)
		} else {
			s.replace("%s by the outer address of this greseal%s", ownPlaceholder, s.orFlag("give it with --own"))
		}
	}
	if strings.Contains(text, peerPlaceholder) {
		s.replace("%s by the outer address of the other side%s", peerPlaceholder, s.orFlag("give it with --peer"))
	}
	if strings.Contains(text, secretPlaceholder) {
		s.replace("%s by the key of this tunnel%s", secretPlaceholder, s.orFlag("print it with --show-secrets"))
	}
}

// orFlag is the way to have no placeholder, for who reads it in a terminal.
func (s *side) orFlag(what string) string {
	if !s.flags {
		return ""
	}
	return ", or " + what
}

// identities are those greseal expects and sends.
func (s *side) identities() (err error) {
	if s.LocalID != "" {
		s.thereID, err = ikev2.ParseIdentity(s.LocalID)
	} else if s.Credentials.Own != nil {
		s.thereID = s.Credentials.Own.Identity()
	} else if s.thereIP.IsValid() {
		s.thereID = ikev2.AddrIdentity(s.thereIP)
		if s.greThere != s.there && s.greThere != ownPlaceholder {
			if a, aerr := netip.ParseAddr(s.greThere); aerr == nil && !s.GRELocal.IsValid() {
				s.thereID = ikev2.AddrIdentity(a) // behind a NAT the identity is the private address
			}
		}
	} else {
		s.warn("without local_id this greseal's identity is its address, which is not known here: the other side accepts any; give the tunnel a local_id to have it checked")
	}
	if err != nil {
		return fmt.Errorf("local_id: %w", err)
	}
	if s.RemoteID != "" {
		pattern, err := ikev2.ParsePattern(s.RemoteID)
		if err != nil {
			return fmt.Errorf("remote_id: %w", err)
		}
		if s.hereID = pattern.Exact(); pattern.IsWild() {
			s.warn("remote_id %q fits several identities: give the other side one of its own that fits", s.RemoteID)
		}
	} else if s.hereIP.IsValid() {
		s.hereID = ikev2.AddrIdentity(s.hereIP)
	}
	return nil
}

// interior finds the addresses of the interface.
func (s *side) interior() {
	for _, p := range s.Address {
		other, sure := opposite(p)
		if !other.IsValid() {
			s.replace("the address of the interface, which %s does not tell", p)
			continue
		}
		if !sure {
			s.warn("%s is a guess for the address of the interface: any free one of %s will do", other, p.Masked())
		}
		s.inner = append(s.inner, inner{here: other, there: p})
	}
}

// opposite is the other address of a network of two, else a guess.
func opposite(p netip.Prefix) (other netip.Prefix, sure bool) {
	bits, all := p.Bits(), p.Addr().BitLen()
	first := p.Masked().Addr()
	switch {
	case bits == all:
		return netip.Prefix{}, false
	case bits == all-1:
		if p.Addr() == first {
			return netip.PrefixFrom(first.Next(), bits), true
		}
		return netip.PrefixFrom(first, bits), true
	}
	one := first.Next()
	if p.Addr() == one {
		return netip.PrefixFrom(one.Next(), bits), bits == all-2
	}
	return netip.PrefixFrom(one, bits), bits == all-2 && p.Addr() == one.Next()
}

// size is an MTU that fits whatever is agreed on.
func (s *side) size(known int) {
	s.mtu = known
	if s.MTU != 0 {
		s.mtu = s.MTU
	}
	if s.mtu == 0 {
		for _, e := range s.espSuites {
			r, err := mtu.Fit(mtu.Params{
				Outer: 1500, OuterV6: s.v6, InnerV6: strings.Contains(s.greHere, ":"),
				Encr: e.Encr, Integ: e.Integ, Transport: s.Transport(), Encap: s.Encap != config.EncapNever,
				GREKey: s.GRE.HasKey, GRESeq: s.GRE.Sequence, GRECsum: s.GRE.Checksum, Ethernet: s.GRE.Ethernet,
			})
			if err == nil && (s.mtu == 0 || r.MTU < s.mtu) {
				s.mtu = r.MTU
			}
		}
	}
	if s.mtu == 0 {
		s.mtu = mtu.IPv6MinMTU
	}
	s.mss4 = s.mtu - 40
}

// host writes an address as a network of one.
func host(addr string) string {
	if strings.Contains(addr, ":") {
		return addr + "/128"
	}
	return addr + "/32"
}

// seconds writes a duration in whole seconds, between bounds.
func seconds(d, least, most time.Duration) int {
	return int(max(least, min(d, most)) / time.Second)
}

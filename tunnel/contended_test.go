package tunnel

import (
	"net/netip"
	"testing"
	"time"

	"greseal/ikev2"
)

// That a peer is turned away is told while the other one has the tunnel.
func TestAPeerThatCameInIsNoLongerOneTurnedAway(t *testing.T) {
	identity := func(s string) ikev2.Identity {
		i, err := ikev2.ParseIdentity(s)
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	first, second := netip.MustParseAddrPort("192.0.2.1:4500"), netip.MustParseAddrPort("192.0.2.9:4500")
	for _, c := range []struct {
		name             string
		holder, newcomer string
		now              string
		at               netip.AddrPort
		told             bool
	}{
		{"the first still has it", "a.example", "b.example", "a.example", first, true},
		{"the second has it", "a.example", "b.example", "b.example", second, false},
		{"a third has it", "a.example", "b.example", "c.example", second, false},
		{"namesakes, the first still has it", "a.example", "a.example", "a.example", first, true},
		{"namesakes, the second has it", "a.example", "a.example", "a.example", second, false},
		{"nobody has it", "a.example", "b.example", "", first, false},
	} {
		l := &loop{origin: time.Now().Add(-time.Minute)}
		s := &peer{ike: map[ikev2.SAID]ikev2.IKEInfo{}}
		if c.now != "" {
			s.ike[1] = ikev2.IKEInfo{IKESA: ikev2.IKESA{ID: 1, Authenticated: ikev2.Authenticated{RemoteID: identity(c.now)}}, Remote: c.at}
		}
		s.contention = contention{at: l.now(), times: 1, last: ikev2.Contended{
			Reason: &ikev2.Failure{}, Holder: identity(c.holder), Newcomer: identity(c.newcomer), HolderAt: first, NewcomerAt: second,
		}}
		if told := s.contention.describe(l, s) != nil; told != c.told {
			t.Errorf("%s: told %v", c.name, told)
		}
	}
}

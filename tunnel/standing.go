package tunnel

import (
	"net/netip"
	"slices"
	"time"

	"greseal/platform"
	"greseal/platform/inet"
)

// standing is what differs on the machine from what is wanted, for one tunnel or for
// all of them together: what the last audit found and could not put right.
type standing struct{ differs []difference }

type difference struct {
	platform.Deviation
	since time.Time // it was found, by the first audit that did
	told  bool
}

// Audited takes what an audit found and returns what is to be reported: repairs and
// missing guards at once, the rest when a second audit finds it too, since much of it
// is temporary, such as an SA that is being renegotiated. again asks for that audit;
// gone is what was reported and no longer differs.
func (s *standing) Audited(found []platform.Deviation) (say, gone []platform.Deviation, again bool) {
	before := s.differs
	s.differs = nil
	for _, d := range found {
		if d.Fixed {
			say = append(say, d)
			continue
		}
		now := difference{Deviation: d, since: time.Now()}
		i := slices.IndexFunc(before, func(b difference) bool { return b.Deviation == d })
		if i >= 0 {
			now.since = before[i].since
		}
		switch {
		case i >= 0 && before[i].told:
			now.told = true
		case i >= 0 || d.Object == platform.ObjectGuard:
			now.told = true
			say = append(say, d)
		default:
			again = true
		}
		s.differs = append(s.differs, now)
	}
	for _, b := range before {
		if b.told && !slices.ContainsFunc(s.differs, func(d difference) bool { return d.about(b.Object, b.Name) }) {
			gone = append(gone, b.Deviation)
		}
	}
	return say, gone, again
}

func (d *difference) about(o platform.Object, name string) bool {
	return d.Object == o && d.Name == name
}

// Why says how an object differs, "" when it is as wanted.
func (s *standing) Why(o platform.Object, name string) string {
	for _, d := range s.differs {
		if d.about(o, name) {
			return d.Text
		}
	}
	return ""
}

// WhyRoute is Why for a route, or, with a word before it, an unreachable one. A default
// route is installed as two halves.
func (s *standing) WhyRoute(o platform.Object, lead string, p netip.Prefix) string {
	for _, half := range inet.Halves(p) {
		if why := s.Why(o, lead+half.String()); why != "" {
			return why
		}
	}
	return ""
}

// Hindrance is what keeps packets from passing, or would let them pass in the clear:
// the first of a guard, the interface and a policy.
func (s *standing) Hindrance() (d difference, any bool) {
	for _, o := range []platform.Object{platform.ObjectGuard, platform.ObjectLink, platform.ObjectPolicy} {
		if i := slices.IndexFunc(s.differs, func(d difference) bool { return d.Object == o }); i >= 0 {
			return s.differs[i], true
		}
	}
	return d, false
}

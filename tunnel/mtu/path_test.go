package mtu

import (
	"net/netip"
	"testing"
	"time"
)

var (
	here  = netip.MustParseAddr("198.51.100.2")
	there = netip.MustParseAddr("192.0.2.1")
	wan   = Path{here, there, "wan", 1500}
	lte   = Path{here, there, "lte", 1400}
)

// search plays a search on a path that carries up to most bytes, and is over then.
func search(t *testing.T, s *PathSearch, now time.Duration, most int) {
	t.Helper()
	for range 100 {
		size, token := s.Next(now)
		if size == 0 {
			return
		}
		if !s.Awaits(token) || s.Awaits(token+1) {
			t.Fatal("the probe is not awaited, or another is")
		}
		s.Result(now, size, size <= most)
		now += time.Second
	}
	t.Fatal("the search does not end")
}

func TestASearchFollowsItsPeerFromPathToPath(t *testing.T) {
	var s PathSearch
	now := time.Hour
	check := func(what string, p Path, size int, searched bool) {
		t.Helper()
		if n, ok := s.Size(p); n != size || ok != searched {
			t.Errorf("%s: %d, searched %v; want %d, %v", what, n, ok, size, searched)
		}
	}
	check("at first", wan, 1500, false)
	if !s.Follow(now, wan) {
		t.Fatal("no search begins")
	}
	check("before a probe is lost", wan, 1500, false)
	search(t, &s, now, 1460)
	check("when it is over", wan, 1460, true)
	check("on another path", lte, 1400, false)
	if s.Follow(now, wan) {
		t.Error("searched again on the same path")
	}
	s.Stop()
	check("what was found outlives the search", wan, 1460, true)
	if !s.Follow(now, wan) {
		t.Error("not searched when it is up again")
	}
	if size, token := s.Next(now); size == 0 || s.Awaits(token-1) {
		t.Error("a probe from before is awaited")
	}
	if !s.Follow(now, lte) || s.Found() != 0 {
		t.Errorf("another path: %d found", s.Found())
	}
	s.Later(now + time.Minute)
	if s.Wake() != now+time.Minute || !s.Begins() {
		t.Errorf("put off until %v", s.Wake())
	}
	s.Follow(now+time.Minute, lte)
	if s.Begins() {
		t.Error("it has begun, and is to begin")
	}
}

func TestASearchRestsWhereProbesAreOfNoUseOrTooDear(t *testing.T) {
	var s PathSearch
	now := time.Hour
	s.Follow(now, wan)
	s.Next(now)
	if !s.Hopeless(now) || s.State() != Disabled || s.Wake() != now+RaiseTime {
		t.Errorf("hopeless: %v, again at %v", s.State(), s.Wake())
	}
	if s.Follow(now+time.Minute, wan) || s.Wake() != now+RaiseTime {
		t.Error("it does not rest")
	}
	now += RaiseTime
	if !s.Follow(now, wan) {
		t.Error("it rests for ever")
	}
	s.Next(now)
	if s.Hopeless(now) {
		t.Error("the same news twice")
	}
	if !s.Follow(now, lte) {
		t.Error("it rests on another path, too")
	}
	s.Follow(now, wan)

	for death := 1; death <= MaxDeaths; death++ {
		s.Next(now) // the base: no IKE SA dies of that
		if size, _ := s.Died(now); size != 0 {
			t.Error("a probe of the base cost an IKE SA")
		}
		s.Result(now, BasePLPMTU, true)
		if size, _ := s.Next(now); size <= BasePLPMTU {
			t.Fatalf("probed with %d", size)
		}
		size, rest := s.Died(now)
		if (size != 0) != (death == MaxDeaths) || size != 0 && (size != BasePLPMTU || rest != deathsRest) {
			t.Errorf("after %d: %d for %v", death, size, rest)
		}
		s.Stop()
		if s.Follow(now, wan) != (death < MaxDeaths) {
			t.Errorf("after %d deaths", death)
		}
	}
	if size, searched := s.Size(wan); size != BasePLPMTU || !searched {
		t.Errorf("%d, %v", size, searched)
	}
}

func TestTheSizeInUseIsProvedWhilePacketsAreSent(t *testing.T) {
	var s PathSearch
	now := time.Hour
	s.Follow(now, wan)
	search(t, &s, now, 1500)
	if s.State() != Complete || s.ProofDue(now) {
		t.Fatalf("%v", s.State())
	}
	now = s.Wake()
	if !s.ProofDue(now) {
		t.Fatal("no proof is due")
	}
	if s.Prove(now, 0, true) {
		t.Error("proved though nothing was sent")
	}
	now = s.Wake()
	if s.Prove(now, 9, false) {
		t.Error("proved though the peer is silent")
	}
	now = s.Wake()
	if !s.Prove(now, 9, true) {
		t.Error("not proved")
	}
	if size, _ := s.Next(now); size != 1500 {
		t.Errorf("probed with %d", size)
	}
}

package tunnel

import (
	"testing"
	"time"

	"greseal/ikev2"
	"greseal/platform"
	"greseal/tunnel/cause"
	"greseal/tunnel/config"
)

func TestCountersOfARemovedSAAreNeverLost(t *testing.T) {
	read := platform.Counters{Packets: 7, Bytes: 700}
	if got := later(platform.Counters{}, read); got != read {
		t.Errorf("an SA the datapath had lost counts %+v, want what was read last, %+v", got, read)
	}
	final := platform.Counters{Packets: 9, Bytes: 900}
	if got := later(final, read); got != final {
		t.Errorf("the final count %+v gave way to an older one: %+v", final, got)
	}
}

func TestSinceChangesOnlyWithThePhase(t *testing.T) {
	s := newTunnel(&config.Tunnel{Name: "hq", Enabled: true}).shown()
	s.since = time.Unix(1000, 0)
	s.set(phaseWaiting, cause.Progress("resolving"))
	if s.since != time.Unix(1000, 0) || s.cause.Is().Text != "resolving" {
		t.Errorf("same phase: since %v, reason %q", s.since, s.cause.Is().Text)
	}
	s.set(phaseConnecting, cause.Cause{})
	if s.since == time.Unix(1000, 0) {
		t.Error("another phase kept the old since")
	}
}

func TestTheCarryingPairsIKESAIsTheCurrentOne(t *testing.T) {
	s := newTunnel(&config.Tunnel{Name: "hq", Enabled: true}).shown()
	if _, ok := s.currentIKE(); ok {
		t.Error("an IKE SA where there is none")
	}
	s.ike[3] = ikev2.IKEInfo{IKESA: ikev2.IKESA{ID: 3}}
	s.ike[5] = ikev2.IKEInfo{IKESA: ikev2.IKESA{ID: 5}}
	if i, _ := s.currentIKE(); i.ID != 5 {
		t.Errorf("without a Child SA IKE SA %d, want the newest, 5", i.ID)
	}
	s.children[8] = &childSA{Child: &ikev2.Child{ID: 8, IKE: 3}}
	s.carrying = 8
	if i, _ := s.currentIKE(); i.ID != 3 {
		t.Errorf("with a Child SA IKE SA %d, want its own, 3", i.ID)
	}
}

package seen

import (
	"slices"
	"testing"

	"greseal/tunnel/status"
)

const schemaFile = "../../../tunnel/status/schema.go"

func TestAFieldThatWasAlwaysZeroIsUnseen(t *testing.T) {
	all, err := Everything(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ok", "events.text", "snapshot.daemon.listen", "snapshot.tunnels.ike.suite", "snapshot.tunnels.mtu.sum.bytes",
		"snapshot.tunnels.state=listening", "snapshot.tunnels.waiting_for=route", "job.tunnels.steps.verdict=warning", "greseal_up",
		`greseal_tunnel_state{state="down"}`, "greseal_xfrm_errors_total", `greseal_tunnel_dropped_packets_total{direction="in",reason="key"}`} {
		if !slices.Contains(all, want) {
			t.Errorf("%s does not belong to the account", want)
		}
	}

	var s Set
	if unseen, _ := s.Judge(all, nil); !slices.Equal(unseen, all) {
		t.Errorf("nothing was seen, and %d of %d are unseen", len(unseen), len(all))
	}
	s.Reply(&status.Reply{OK: true, Snapshot: &status.Snapshot{
		Daemon:  status.Daemon{Listen: []string{"", "0.0.0.0:500"}, XFRM: []status.Count{{Name: "XfrmInNoStates", Value: 0}}},
		Tunnels: []status.Tunnel{{Name: `a"} 1`}, {Name: "b", State: status.StateUp, IKE: &status.IKESA{}, Drops: status.Drops{Key: 7}}},
	}})
	want := []string{"greseal_build_info", `greseal_tunnel_dropped_packets_total{direction="in",reason="key"}`, `greseal_tunnel_state{state="up"}`,
		"greseal_tunnel_up", "greseal_up", "ok", "snapshot.daemon.listen", "snapshot.daemon.xfrm.name", "snapshot.tunnels.drops.key",
		"snapshot.tunnels.name", "snapshot.tunnels.state", "snapshot.tunnels.state=up"}
	if got := s.List(); !slices.Equal(got, want) {
		t.Errorf("seen: %q", got)
	}
}

func TestAnExceptionThatWasSeenIsStale(t *testing.T) {
	var s Set
	s.Add("a", "b")
	unseen, stale := s.Judge([]string{"a", "b", "c", "d"}, map[string]string{"b": "cannot be", "c": "cannot be", "gone": "cannot be"})
	if !slices.Equal(unseen, []string{"d"}) || !slices.Equal(stale, []string{"b", "gone"}) {
		t.Errorf("unseen %q, stale %q", unseen, stale)
	}
}

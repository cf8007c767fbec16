package status

import "testing"

func TestAgesFollowFromMoments(t *testing.T) {
	s := full()
	s.Daemon.Pending = &Pending{Until: s.Time + 40, Patient: s.Time + 9}
	want := *s
	tun := s.Tunnels[0]
	ike, child := *tun.IKE, *tun.Child
	s.Tunnels[0].Contention = &Contention{Last: s.Time - 3}
	s.Daemon.UptimeS, s.Tunnels[0].InStateS, s.Tunnels[0].IKE.AgeS, s.Tunnels[0].Child.RekeyInS = 0, 0, 0, 0
	s.Ages()
	if got := &s.Tunnels[0]; got.InStateS != tun.InStateS || *got.IKE != ike || *got.Child != child || got.Peer.SilentS != tun.Peer.SilentS ||
		got.Contention.LastS != 3 || s.Daemon.UptimeS != want.Daemon.UptimeS || s.Daemon.UptimeS == 0 {
		t.Errorf("got %+v", got)
	}
	if p := s.Daemon.Pending; p.LeftS != 40 || p.PatientS != 9 {
		t.Errorf("got %+v", p)
	}
	if s.Tunnels[0].NextAttemptInS != 0 || Seconds(s.Time+5, s.Time) != 0 {
		t.Error("what is not known or has passed is not 0")
	}
}

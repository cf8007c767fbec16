package status

// Ages fills the deprecated fields, which repeat a moment as seconds before or after
// Time. They are for readers of before 0.2, which will not have them any more.
func (s *Snapshot) Ages() {
	since := func(at int64) int64 { return Seconds(at, s.Time) }
	until := func(at int64) int64 { return Seconds(s.Time, at) }
	s.Daemon.UptimeS = since(s.Daemon.Started)
	if p := s.Daemon.Pending; p != nil {
		p.LeftS, p.PatientS = until(p.Until), until(p.Patient)
	}
	for i := range s.Tunnels {
		t := &s.Tunnels[i]
		t.InStateS, t.NextAttemptInS, t.Peer.SilentS = since(t.Since), until(t.NextAttempt), since(t.Peer.LastHeard)
		if c := t.Contention; c != nil {
			c.LastS = since(c.Last)
		}
		if k := t.IKE; k != nil {
			k.AgeS, k.RekeyInS = since(k.Established), until(k.Rekey)
		}
		if c := t.Child; c != nil {
			c.AgeS, c.RekeyInS = since(c.Established), until(c.Rekey)
		}
	}
}

// Seconds are those from one moment to a later one, 0 when either is unknown.
func Seconds(from, to int64) int64 {
	if from == 0 || to == 0 {
		return 0
	}
	return max(to-from, 0)
}

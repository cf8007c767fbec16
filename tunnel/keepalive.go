package tunnel

import (
	"greseal/ikev2"
	"greseal/tunnel/status"
)

// keepalives sends the GRE keepalives that are due. Liveness is proved by IKE: they are
// for peers whose interface or monitoring expects them. The datapath answers the peer's.
func (l *loop) keepalives(now ikev2.Time) {
	for _, t := range l.tunnels {
		if due := t.keepaliveDue(now); due == 0 || due > now {
			continue
		}
		t.keepaliveAt = now + t.cfg.GRE.Keepalive
		if err := l.dp.SendGREKeepalive(t.name); err != nil {
			l.log.Debug("sending a GRE keepalive", "tunnel", t.name, "error", err)
			continue
		}
		t.keepalivesSent++
	}
}

// keepaliveDue is when the next one is to be sent, 0 for never. After a change of
// the interval the next one is no further away than that.
func (t *tunnel) keepaliveDue(now ikev2.Time) ikev2.Time {
	every := t.cfg.GRE.Keepalive
	if every == 0 || !t.shown().established() {
		return 0
	}
	return min(max(t.keepaliveAt, 1), now+every)
}

func (l *loop) describeKeepalives(t *tunnel) status.Keepalives {
	k := l.dp.GREKeepalives(t.name)
	return status.Keepalives{
		IntervalS: seconds(t.cfg.GRE.Keepalive), Sent: t.keepalivesSent, Returned: k.Returned, Answered: k.Answered,
	}
}

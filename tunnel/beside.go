package tunnel

import (
	"bytes"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"greseal/ikev2"
	"greseal/tunnel/cause"
	"greseal/tunnel/config"
	"greseal/tunnel/resolve"
	"greseal/tunnel/standby"
)

// A change of settings that the interface can carry twice is made before the old ones go
// (config.Beside): another IKE SA is made with the new settings beside the one in use,
// again and again until the peer takes them. How both sides authenticated before is
// accepted meanwhile, for at most a day: a key is changed on one side, then on the other.

// earlierLife is how long earlier credentials are accepted.
const earlierLife = 24 * time.Hour

// changeover is the way from earlier settings to the present ones.
type changeover struct {
	due     bool               // the IKE SA in use was made with earlier settings
	earlier *ikev2.Credentials // that the peer may still have, nil: none
	until   ikev2.Time         // then they are forgotten
	taken   bool               // the peer has the present ones: psk_old is of no use any more
}

// authKeys are the settings that say how both sides authenticate.
var authKeys = []string{"psk", "psk_file", "cert", "key", "ca", "raw_key", "peer_raw_key", "local_id"}

// changeBeside applies a change of that class.
func (l *loop) changeBeside(p *peer, was *config.Tunnel, keys []string) {
	if slices.ContainsFunc(keys, func(k string) bool { return slices.Contains(authKeys, k) }) {
		o := &p.changeover
		if o.earlier == nil { // else the peer has never had those that are changed now
			o.earlier = credentials(was)
			o.earlier.PSK = bytes.Clone(o.earlier.PSK) // the configuration of before is wiped
		}
		o.until, o.taken = l.now()+earlierLife, false
	}
	if slices.Contains(keys, "encap") {
		p.esp.Forget()
	}
	if !p.established() {
		p.attempt.SetCandidates(l.now(), nil, nil)
		l.restart(p, "settings changed")
		return
	}
	l.ask(p.tunnel, resolve.Down)
	l.findCandidates(p)
	l.register(p)
	p.changeover.due = true
	if !p.settled() {
		l.retryChanged(p)
		return
	}
	if p.standby.Why() == standby.Settings {
		p.standby.Stop() // the change before this one has not been taken yet
	}
	l.changeOver(p)
}

// changeOver has another IKE SA made with the present settings, where the one in use was
// made with others and nothing else is being made beside it.
func (l *loop) changeOver(p *peer) {
	if p.changeover.due && p.standby.Why() == standby.None {
		l.replace(p, standby.Settings, netip.Addr{})
	}
}

// changedOver is called when an IKE SA was made that replaces none.
func (l *loop) changedOver(p *peer, i ikev2.IKEInfo) {
	o := &p.changeover
	if i.Auth.Earlier {
		l.event(p.tunnel, slog.LevelWarn, "settings", "the peer authenticates as before the settings were changed")
		o.due = true
		return
	}
	if o.due && p.phase == phaseUp {
		p.cause.Set(time.Now(), cause.Cause{})
		l.event(p.tunnel, slog.LevelInfo, "settings", "the peer has taken the new settings")
	}
	had := p.earlier() != nil
	o.forget()
	if had {
		l.register(p) // without earlier credentials
	}
}

// forget ends it: the peer has the present settings, or is to have no others.
func (o *changeover) forget() {
	if o.earlier != nil {
		clear(o.earlier.PSK)
	}
	*o = changeover{taken: true}
}

// earlier are the credentials that the peer may still have, nil: none.
func (p *peer) earlier() *ikev2.Credentials {
	if p.changeover.earlier != nil || p.changeover.taken || !p.cfg.PSKOld.IsSet() {
		return p.changeover.earlier
	}
	was := *p.cfg
	was.PSK = was.PSKOld
	return credentials(&was)
}

// notTaken is why the settings from before are still in use.
func notTaken(why cause.Cause) cause.Cause {
	why.Text = "the settings from before are still in use, the new ones do not work: " + why.Text
	why.Evidence = append(slices.Clip(why.Evidence), why.Remedy)
	why.Remedy = "change the other side too, or take the change back; it is tried again by itself"
	return why
}

// forgetEarlier ends the time of earlier credentials.
func (l *loop) forgetEarlier(p *peer, now ikev2.Time) {
	if at := p.changeover.until; at != 0 && at <= now {
		clear(p.changeover.earlier.PSK)
		p.changeover.earlier, p.changeover.until = nil, 0
		l.event(p.tunnel, slog.LevelWarn, "settings", "what the sides authenticated with before the change is not accepted any more")
		l.register(p)
	}
}

// credentials are what a tunnel's sides authenticate with; the key is the configuration's.
func credentials(c *config.Tunnel) *ikev2.Credentials {
	var p ikev2.Peer
	authenticate(&p, c)
	own := &ikev2.Credentials{PSK: p.PSK, Certificates: p.Certificates, RawKeys: p.RawKeys}
	if c.LocalID != "" {
		own.LocalID, _ = ikev2.ParseIdentity(c.LocalID) // config has checked it
	}
	return own
}

package tunnel

import (
	"fmt"
	"log/slog"
	"os"
	"time"

	"greseal/ikev2"
	"greseal/tunnel/attempt"
	"greseal/tunnel/config"
	"greseal/tunnel/status"
)

// authenticate gives a Peer what its tunnel authenticates with.
func authenticate(p *ikev2.Peer, c *config.Tunnel) {
	k := &c.Credentials
	switch {
	case k.Own != nil:
		p.PSK, p.Certificates = nil, &ikev2.Certificates{Own: k.Own, Anchors: k.Anchors, CRLs: k.CRLs}
	case k.RawOwn != nil:
		p.PSK, p.RawKeys = nil, &ikev2.RawKeys{Own: k.RawOwn, Peer: k.RawPeer}
	default:
		p.PSK = c.PSK.Bytes()
	}
}

// authWord and authDetail say how a tunnel's sides authenticate.
func authWord(c *config.Tunnel) string {
	switch {
	case c.Credentials.Own != nil:
		return "certificate"
	case c.Credentials.RawOwn != nil:
		return "raw key"
	}
	return "psk"
}

func authDetail(a ikev2.AuthInfo) string {
	switch {
	case a.Subject != "":
		return fmt.Sprintf("%s; certificate of %s issued by %s, valid until %s", a.Theirs, a.Subject, a.Issuer, a.Expires.UTC().Format("2006-01-02"))
	case a.Key != "":
		return fmt.Sprintf("%s; key %s", a.Theirs, a.Key)
	}
	return ""
}

// listPause is how often the files of revocation lists are checked.
const (
	listPause     = time.Minute
	listPauseDown = 5 * time.Second // while a tunnel that has some is down
)

// listTime is when the revocation lists of a tunnel were last changed.
func listTime(c *config.Tunnel) (newest time.Time) {
	for _, path := range c.CRL {
		if st, err := os.Stat(path); err == nil && st.ModTime().After(newest) {
			newest = st.ModTime()
		}
	}
	return newest
}

// followLists reloads revocation lists that have changed. They apply from the next
// authentication; lists that cannot be read leave the old ones.
func (l *loop) followLists(now ikev2.Time) {
	if now < l.listsAt {
		return
	}
	l.listsAt = now + listPause
	for _, name := range l.order {
		t := l.tunnels[name]
		if len(t.cfg.CRL) == 0 {
			continue
		}
		if t.wanted && !t.shown().settled() {
			l.listsAt = now + listPauseDown
		}
		at := listTime(t.cfg)
		if t.listsOf == t.cfg && at.Equal(t.lists) {
			continue
		}
		first := t.listsOf != t.cfg
		t.listsOf, t.lists = t.cfg, at
		if first {
			continue // as read with the configuration
		}
		lists, err := config.ReadCRLs(t.cfg.CRL)
		if err != nil {
			l.event(t, slog.LevelError, "crl", "the changed revocation lists cannot be used, the old ones stay: "+err.Error())
			continue
		}
		t.cfg.Credentials.CRLs = lists
		l.event(t, slog.LevelInfo, "crl", "revocation lists read again")
		for _, p := range t.peers {
			l.register(p)
			if p.cause.Known().Code == status.CodeAuth {
				p.forget()
			}
			if t.wanted && !p.settled() && p.attempt.State() != attempt.UnderWay {
				p.attempt.Reset()
				l.retryNow(p) // the one that was missing or out of date may be why
			}
		}
	}
}

package tunnel

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"greseal/platform"
	"greseal/tunnel/status"
)

// lookedAt notes whose interfaces the datapath is asked about.
type lookedAt struct {
	platform.Datapath
	links []string
}

func (d *lookedAt) LinkDrops(link string) (platform.Drops, error) {
	d.links = append(d.links, link)
	return d.Datapath.LinkDrops(link)
}

func TestAStatusOfOneTunnelLooksAtNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text := hq(`remote = "192.0.2.1"`) + `
[[tunnel]]
name = "lab"
remote = "192.0.2.3"
psk = "` + worldKey + `"
`
		play(t, text, nil, func(w *world) {
			w.do(func() {
				d := &lookedAt{Datapath: w.l.dp}
				w.l.dp = d
				defer func() { w.l.dp = d.Datapath }()
				for asked, want := range map[string][]string{"": {"hq", "lab"}, "hq": {"hq"}, "lab": {"lab"}} {
					d.links = nil
					names := w.l.order
					if asked != "" {
						names = []string{asked}
					}
					var got []string
					for _, s := range w.l.snapshot(names).Tunnels {
						got = append(got, s.Name)
					}
					if !slices.Equal(got, want) || !slices.Equal(d.links, want) {
						t.Errorf("of %q: tunnels %v, looked at %v", asked, got, d.links)
					}
				}
			})
			for asked, want := range map[string]bool{"hq": true, "other": false} {
				r := w.l.server.Answer(w.ctx, 0, status.Request{Op: status.OpStatus, Tunnel: asked})
				if r.OK != want || want && (len(r.Snapshot.Tunnels) != 1 || r.Snapshot.Tunnels[0].Name != asked) {
					t.Errorf("%q: %+v", asked, r)
				}
			}
		})
	})
}

// Addresses and routes of an interface of netifd come and go with it, so it goes up and
// down by netifd alone.
func TestUpAndDownOfAnInterfaceOfNetifdAreNetifds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		play(t, hq(`remote = "192.0.2.1"`), nil, func(w *world) {
			w.do(func() { w.l.peers["hq"].cfg.Netifd = true })
			upWithin(t, w, 10*time.Second)
			tell := func(op string, netifd bool, want, remedy string) {
				t.Helper()
				r := w.ask(status.Request{Op: op, Tunnel: "hq", Netifd: netifd})
				if r.OK != (want == "") || !strings.Contains(r.Error, want) || r.Remedy != remedy {
					t.Errorf("%s: %t %q, %q", op, r.OK, r.Error, r.Remedy)
				}
			}
			tell(status.OpDown, false, "goes down", "ifdown hq")
			tell(status.OpUp, false, "", "") // tried again at once, where it isn't up
			if r := w.ask(status.Request{Op: status.OpDown}); !r.OK || !slices.ContainsFunc(r.Lines, func(l string) bool { return strings.Contains(l, "by netifd alone") }) {
				t.Errorf("all down: %+v", r)
			}
			if s := w.look(); s.State != status.StateUp {
				t.Errorf("it is %s", s.State)
			}
			tell(status.OpDown, true, "", "")
			tell(status.OpUp, false, "goes up", "ifup hq")
			w.do(func() { w.l.peers["hq"].cfg.Enabled = false })
			tell(status.OpUp, false, "not enabled", "enable it in Network, Interfaces, then run: ifup hq")
			tell(status.OpUp, true, "", "")
			upWithin(t, w, 10*time.Second)
		})
	})
}

package tunnel

import (
	"slices"
	"testing"
	"testing/synctest"

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

package userspace

import (
	"testing"

	"greseal/platform"
)

func TestALinkRunsOnWhenItsDaemonWasKilled(t *testing.T) {
	for _, running := range []bool{true, false} {
		h := newHost(t)
		h.start(Options{})
		link := platform.Link{Name: "hq", MTU: innerMTU}
		set := func() (err error) { _, err = h.dp.SetLink(link); return err }
		h.must(set)
		h.must(func() error { return h.dp.SetRunning("hq", true) })
		h.must(func() error { return h.dp.SetRunning("hq", running) })
		index := h.linkInfo("hq").Index
		h.stop()
		if h.linkInfo("hq").Running() {
			t.Error("a TUN runs that nobody has")
		}

		h.start(Options{})
		var left []platform.Leftover
		h.must(func() (err error) { left, err = h.dp.Leftovers(); return err })
		if len(left) != 1 || left[0].Link != (platform.Link{Name: "hq", MTU: innerMTU}) || left[0].Running != running || len(left[0].SAs) != 0 {
			t.Fatalf("running %t: %+v", running, left)
		}
		if running {
			h.must(func() error { return h.dp.Inherit(link) })
		}
		h.must(set)
		if now := h.linkInfo("hq"); now.Index != index || now.Running() != running {
			t.Errorf("running %t: %+v", running, now)
		}
		h.stands()
		h.must(func() error { return h.dp.DeleteLink("hq") })
		h.must(set)
		if h.linkInfo("hq").Running() {
			t.Error("a new one runs")
		}
	}
}

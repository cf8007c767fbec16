package ikev2

import (
	"slices"
	"testing"
	"time"

	"greseal/ikev2/wire"
)

// dropNotify is a lie by leaving out.
func dropNotify(kind wire.NotifyType) func([]wire.Payload) []wire.Payload {
	return func(ps []wire.Payload) []wire.Payload {
		return slices.DeleteFunc(slices.Clone(ps), func(p wire.Payload) bool {
			n, ok := p.(*wire.Notify)
			return ok && n.Kind == kind
		})
	}
}

// What a message was put together from is not kept once it was handled: an
// established tunnel must stay small.
func TestFragmentsAreForgottenOnceTheMessageIsHandled(t *testing.T) {
	n, w, e := twoNodes(t, 3, postquantum)
	w.initiate()
	n.run(time.Second)
	w.rekeyChildren()
	n.run(n.now + 2*time.Second)
	w.rekeyIKE()
	n.run(n.now + 10*time.Second)
	agree(t, w, e)
	for _, x := range n.nodes {
		for _, s := range x.e.ids {
			if s.parts.Request != nil || s.parts.Response != nil || s.pending != nil || s.req != nil {
				t.Errorf("%s: parts %v and %v, series %v, request %v are left", x.name, s.parts.Request != nil, s.parts.Response != nil, s.pending != nil, s.req != nil)
			}
		}
	}
	if len(w.e.espReserved)+len(e.e.espReserved)+len(w.e.ikeReserved)+len(e.e.ikeReserved) != 0 {
		t.Error("SPIs stay reserved")
	}
}

// A series that its initiator never finishes ends, and gives back what it
// reserved.
func TestSeriesThatIsNotFinishedIsForgotten(t *testing.T) {
	n, w, e := twoNodes(t, 3, postquantum)
	w.initiate()
	n.run(time.Second)
	for _, rekey := range []func(){w.rekeyChildren, w.rekeyIKE} {
		rekey()
		n.run(n.now + time.Millisecond)
		held := func() (count int) {
			for _, s := range e.e.ids {
				if s.pending != nil {
					count++
				}
			}
			return count
		}
		if held() != 1 || len(e.e.espReserved)+len(e.e.ikeReserved) != 1 {
			t.Fatalf("%d series are held", held())
		}
		n.filter = func(f *flight) bool { return f.from != w }
		n.queue = nil
		n.run(n.now + seriesLife + time.Second)
		if held() != 0 || len(e.e.espReserved)+len(e.e.ikeReserved) != 0 {
			t.Errorf("%d series are still held", held())
		}
		n.filter = nil
		n.run(n.now + 30*time.Second)
		agree(t, w, e)
	}
}

// A later exchange that names another series, or none, finds nothing and does
// no harm to the one that is held.
func TestFollowupWithAnotherLinkFindsNothing(t *testing.T) {
	n, w, e := twoNodes(t, 3, postquantum)
	w.initiate()
	n.run(time.Second)
	w.rekeyChildren()
	n.run(n.now + time.Millisecond)
	for _, s := range e.e.ids {
		c := &wire.Contents{Notifies: []*wire.Notify{wire.NewNotify(wire.AdditionalKeyExchange, []byte("somebody"))}}
		d := &Datagram{Local: s.local, Remote: s.remote}
		e.e.onFollowup(s, &wire.Message{Header: wire.Header{Exchange: wire.IKEFollowupKE, Flags: wire.FlagInitiator, MessageID: 99}}, d, c)
		if s.pending == nil {
			t.Error("the series is gone")
		}
		e.e.flush()
		s.answered = cached{}
	}
	n.run(n.now + 10*time.Second)
	agree(t, w, e)
}

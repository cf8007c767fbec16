package userspace

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"greseal/platform"
)

// ip runs ip(8) in the namespace.
func (h *host) ip(command string) {
	h.t.Helper()
	if out, err := h.command("ip", strings.Fields(command)...); err != nil {
		h.t.Fatalf("ip %s: %v: %s", command, err, out)
	}
}

func (h *host) audit() (found []platform.Deviation) {
	h.must(func() error {
		there, err := platform.ReadInterfaces(h.dp.netlink)
		found = h.dp.Audit(there)
		return err
	})
	return found
}

// stands fails when an audit finds something, or does more than read.
func (h *host) stands() {
	h.t.Helper()
	asked := func() uint64 { return reflect.ValueOf(h.dp.netlink).Elem().FieldByName("seq").Uint() }
	before := asked()
	if found := h.audit(); len(found) != 0 {
		h.t.Errorf("all should stand: %+v", found)
	}
	if n := asked() - before; n != 1 {
		h.t.Errorf("an audit of what stands takes %d netlink requests, not one dump", n)
	}
}

func TestAuditPutsInterfacesRight(t *testing.T) {
	for _, c := range []struct{ name, command, text string }{
		{"MTU", "link set hq mtu 1000", "its MTU is 1000 instead of 1320"},
		{"name", "link set hq name other", "somebody renamed it to other"},
		{"ifalias", "link set hq alias mine", "its ifalias was changed"},
		{"bridge left", "link set hq nomaster", "it is no port of bridge lan"},
		{"segmentation", "link set hq gso_max_size 5000", "its gso_max_size is 5000 instead of"},
		{"carrier", "link set hq carrier on", "its carrier was changed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t)
			h.start(Options{})
			h.ip("link add lan type bridge")
			index := 0
			h.must(func() (err error) {
				index, err = h.dp.SetLink(platform.Link{Name: "hq", Ethernet: true, MTU: innerMTU, Bridge: "lan"})
				return err
			})
			h.stands()
			was := *h.linkInfo("hq")
			h.ip(c.command)
			found := h.audit()
			if len(found) != 1 || !strings.HasPrefix(found[0].Text, c.text) || !found[0].Fixed || found[0].Link != "hq" || found[0].Object != platform.ObjectLink {
				t.Errorf("%+v", found)
			}
			now := h.linkInfo("hq")
			if now == nil || now.Index != index || now.MTU != was.MTU || now.Master != was.Master || now.Alias != was.Alias || now.Carrier() != was.Carrier() || now.GSOMax != was.GSOMax || !now.Up() {
				t.Errorf("%+v, was %+v", now, was)
			}
			h.stands()
		})
	}
}

func TestAuditJoinsABridgeThatWasMadeAgain(t *testing.T) {
	h := newHost(t)
	h.start(Options{})
	h.ip("link add lan type bridge")
	h.must(func() error {
		_, err := h.dp.SetLink(platform.Link{Name: "hq", Ethernet: true, MTU: innerMTU, Bridge: "lan"})
		return err
	})
	h.ip("link delete lan")
	for range 2 { // it stays, and nothing is written
		found := h.audit()
		if len(found) != 1 || found[0].Fixed || found[0].Text != "bridge lan does not exist" || found[0].Remedy == "" {
			t.Errorf("%+v", found)
		}
	}
	h.ip("link add lan type bridge")
	if found := h.audit(); len(found) != 1 || !found[0].Fixed {
		t.Errorf("%+v", found)
	}
	if hq, lan := h.linkInfo("hq"), h.linkInfo("lan"); hq.Master != lan.Index {
		t.Errorf("its master is %d, the bridge %d", hq.Master, lan.Index)
	}
	h.stands()
}

func TestAuditLeavesWhatWasSetDown(t *testing.T) {
	h := newHost(t)
	h.start(Options{})
	h.must(func() error {
		_, err := h.dp.SetLink(platform.Link{Name: "hq", MTU: innerMTU})
		return err
	})
	h.ip("link set hq down")
	for range 2 {
		found := h.audit()
		if len(found) != 1 || found[0].Fixed || found[0].Remedy != "ip link set hq up" {
			t.Errorf("%+v", found)
		}
	}
	h.ip("link set hq up")
	h.stands()
}

func TestAuditNamesWhatHasItsName(t *testing.T) {
	h := newHost(t)
	h.start(Options{})
	h.must(func() error {
		_, err := h.dp.SetLink(platform.Link{Name: "hq", MTU: innerMTU})
		return err
	})
	h.ip("link set hq name old")
	h.ip("link add hq type bridge")
	for range 2 {
		found := h.audit()
		if len(found) != 1 || found[0].Fixed || !strings.Contains(found[0].Text, "another interface has its name") {
			t.Errorf("%+v", found)
		}
	}
	h.ip("link delete hq")
	if found := h.audit(); len(found) != 1 || !found[0].Fixed {
		t.Errorf("%+v", found)
	}
	h.stands()
}

// A TUN that was moved lives on elsewhere, and its descriptor with it: without another
// there would be two of them, or none here.
func TestAMovedInterfaceIsMadeAnewAndOnlyOnce(t *testing.T) {
	h, other := newHost(t), newHost(t)
	h.start(Options{})
	link := platform.Link{Name: "hq", MTU: innerMTU}
	set := func() {
		h.must(func() error {
			_, err := h.dp.SetLink(link)
			return err
		})
	}
	set()
	tid := 0
	other.do(func() { tid = unix.Gettid() })
	h.ip(fmt.Sprintf("link set hq netns %d", tid))
	if other.linkInfo("hq") == nil {
		t.Fatal("it was not moved")
	}
	found := h.audit()
	if len(found) != 1 || found[0].Fixed || !strings.Contains(found[0].Text, "another network namespace") {
		t.Errorf("%+v", found)
	}
	if e := h.event(platform.LinkLost); e.Link != "hq" {
		t.Errorf("%+v", e)
	}
	set()
	if h.linkInfo("hq") == nil || other.linkInfo("hq") != nil {
		t.Errorf("here %+v, there %+v", h.linkInfo("hq"), other.linkInfo("hq"))
	}
	h.stands()
}

// SetLink may be called before an audit.
func TestSetLinkKnowsItsInterfaceByIndex(t *testing.T) {
	h := newHost(t)
	h.start(Options{})
	link := platform.Link{Name: "hq", MTU: innerMTU}
	was, now := 0, 0
	h.must(func() (err error) {
		was, err = h.dp.SetLink(link)
		return err
	})
	h.ip("link set hq name other")
	set := func() {
		h.must(func() (err error) {
			now, err = h.dp.SetLink(link)
			return err
		})
	}
	set()
	if was != now || h.linkInfo("other") != nil {
		t.Errorf("index %d became %d", was, now)
	}
	h.ip("link set hq alias mine")
	link.MTU = 1300
	set()
	if was != now {
		t.Errorf("index %d became %d", was, now)
	}
	h.stands()
}

// Without a bridge in the configuration whoever made it a port decides.
func TestAPortThatSomebodyElseMadeStaysOne(t *testing.T) {
	h := newHost(t)
	h.start(Options{})
	link := platform.Link{Name: "hq", Ethernet: true, MTU: innerMTU}
	set := func() {
		h.must(func() error {
			_, err := h.dp.SetLink(link)
			return err
		})
	}
	set()
	h.ip("link add lan type bridge")
	h.ip("link set hq master lan")
	h.stands()
	link.MTU = 1300
	set()
	if hq, lan := h.linkInfo("hq"), h.linkInfo("lan"); hq.Master != lan.Index {
		t.Errorf("its master is %d", hq.Master)
	}
	h.stands()
}

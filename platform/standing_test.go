package platform

import (
	"errors"
	"strings"
	"testing"
	"time"

	"greseal/platform/rtnl"
)

func TestRepairsEndWhenAnotherProgramGoesOn(t *testing.T) {
	var r Repairs
	now, calls := time.Now(), 0
	try := func(d Deviation) Deviation {
		return r.do(d, now, func() error { calls++; return nil })
	}
	mtu := Deviation{Link: "hq", Object: ObjectLink, Name: "hq", Text: "its MTU is 1000"}
	for i := range repairsMost {
		now = now.Add(time.Second)
		if got := try(mtu); !got.Fixed || got.Text != mtu.Text {
			t.Errorf("repair %d: %+v", i, got)
		}
	}
	got := try(mtu)
	if got.Fixed || calls != repairsMost || got.Text != "its MTU is 1000; another program keeps changing it" {
		t.Errorf("after %d repairs: %+v", calls, got)
	}
	other := mtu
	other.Link = "branch"
	if got := try(other); !got.Fixed {
		t.Errorf("another object: %+v", got)
	}
	now = now.Add(repairSpan + time.Second)
	if got := try(mtu); !got.Fixed || len(r.made) != 1 {
		t.Errorf("a minute later: %+v, %d objects remembered", got, len(r.made))
	}
}

func TestAGuardIsLaidHoweverOftenItIsRemoved(t *testing.T) {
	var r Repairs
	now := time.Now()
	guard := Deviation{Object: ObjectGuard, Name: "192.0.2.1", Text: "somebody removed it"}
	var got Deviation
	for range 3 * repairsMost {
		got = r.do(guard, now, func() error { return nil })
		if !got.Fixed {
			t.Fatalf("%+v", got)
		}
	}
	if !strings.Contains(got.Text, "keeps changing it") {
		t.Errorf("%q", got.Text)
	}
}

func TestARepairThatFailsSaysWhy(t *testing.T) {
	var r Repairs
	for range 2 * repairsMost {
		got := r.do(Deviation{Text: "it is missing"}, time.Now(), func() error { return errors.New("no memory") })
		if got.Fixed || got.Text != "it is missing: no memory" {
			t.Fatalf("%+v", got)
		}
	}
}

func TestOctetsAreOfTheInterfaceOrNone(t *testing.T) {
	there := &Interfaces{byIndex: map[int]*rtnl.Link{7: {Index: 7, Stats: rtnl.LinkStats{RxBytes: 1, TxBytes: 2}}}}
	for index, want := range map[int][2]uint64{7: {1, 2}, 8: {}, 0: {}} {
		if in, out := there.Octets(index); in != want[0] || out != want[1] {
			t.Errorf("%d: %d in, %d out, want %d", index, in, out, want)
		}
	}
}

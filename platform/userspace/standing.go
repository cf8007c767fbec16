package userspace

import (
	"fmt"
	"sort"

	"greseal/platform"
	"greseal/platform/rtnl"
)

// Audit puts right what somebody changed of the interfaces, but for the administrative
// state. Guards and SAs are this process's own.
func (d *Datapath) Audit(there *platform.Interfaces) (found []platform.Deviation) {
	if there == nil {
		return nil
	}
	for _, dev := range d.devices {
		found = append(found, d.audit(dev, there)...)
	}
	sort.Slice(found, func(i, j int) bool { return found[i].Link < found[j].Link })
	return found
}

// audit looks at one device.
func (d *Datapath) audit(dev *device, all *platform.Interfaces) []platform.Deviation {
	want := dev.link.Load()
	there, mend, found := all.Compare(want, dev.index, true)
	if there == nil {
		dev.gone()
		return found
	}
	if there.MTU != want.MTU {
		mend.Add(fmt.Sprintf("its MTU is %d instead of %d", there.MTU, want.MTU), func() error { return rtnl.SetMTU(d.netlink, dev.index, want.MTU) })
	}
	if dev.gsoMax != 0 && there.GSOMax != 0 && there.GSOMax != dev.gsoMax {
		mend.Add(fmt.Sprintf("its gso_max_size is %d instead of %d", there.GSOMax, dev.gsoMax), func() error { return dev.setGSOMax(d.netlink) })
	}
	if there.Up() && there.Carrier() != dev.carrier {
		mend.Add("its carrier was changed", func() error { return dev.setCarrier(d.netlink, dev.carrier) })
	}
	if repaired, differs := d.repairs.DoAll(platform.Deviation{Link: dev.name, Object: platform.ObjectLink, Name: dev.name}, mend); differs {
		found = append(found, repaired)
	}
	return found
}

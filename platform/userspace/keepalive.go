package userspace

import (
	"bytes"
	"errors"
	"fmt"

	"greseal/platform"
	"greseal/platform/gre"
	"greseal/platform/rtnl"
)

// Keepalives in GRE. The peer's are found by the ingress worker, which hands the
// answer to the egress worker of the device: only that one may seal. The few
// that can wait are sent before the next packets; more are dropped, as a queue
// of packets is not kept here either.

// maxBounces is how many answers of one device may wait.
const maxBounces = 4

// keepalive takes a keepalive out of what came for a device: one of the peer's,
// or one of ours that it returned.
func (w *ingress) keepalive(sa *inSA, d *device, proto uint16, user []byte) bool {
	if proto == gre.ProtoKeepalive {
		d.rx.returned++
		return true
	}
	answer, theirs, ok := w.answer(sa, proto, user)
	if !ok {
		return false
	}
	select {
	case d.bounce <- bytes.Clone(answer):
		d.egress.bouncing.Store(true)
		wakeUp(d.egress.wake)
	default:
	}
	return theirs
}

// answer is what goes back of a keepalive; theirs says that it is no packet of a
// user's.
func (w *ingress) answer(sa *inSA, proto uint16, user []byte) (answer []byte, theirs, ok bool) {
	if answer, ok = gre.KeepaliveReply(proto, user, sa.GRELocal, sa.GRERemote); ok {
		return answer, true, true
	}
	return gre.RenamedKeepaliveReply(proto, user, sa.GRELocal, sa.GRERemote)
}

var errNoSA = errors.New("there is no SA to carry it")

// bounce sends the answers that wait.
func (w *egress) bounce() {
	if !w.bouncing.Load() {
		return
	}
	w.bouncing.Store(false)
	for _, d := range w.devs {
		for d != nil {
			select {
			case p := <-d.bounce:
				if w.whole(d, func(*route) []byte { return p }) == nil {
					d.tx.answered++
				}
				continue
			default:
			}
			break
		}
	}
}

// whole seals one GRE packet that is whole already, as packet makes it for the
// route.
func (w *egress) whole(d *device, packet func(*route) []byte) error {
	sa := d.out.Load()
	if sa == nil {
		return errNoSA
	}
	first, n := w.reserve(sa, 1)
	if n == 0 {
		return errNoSA
	}
	r := sa.route.Load()
	p := packet(r)
	size := r.ipLen + len(p)
	slot := w.out.room(sa.sealer.PacketLen(size))
	body := slot[sa.sealer.Headroom():]
	r.putInner(body, len(p), r.tos&^3, keepaliveTTL, uint16(first))
	copy(body[r.ipLen:], p)
	total, err := sa.sealer.Seal(slot, size, r.next, first)
	if err != nil {
		return err
	}
	sa.count.Packets++
	sa.count.Bytes += uint64(size)
	w.out.commit(r, d, total, r.tos&^3)
	w.limits(sa)
	return nil
}

// keepaliveTTL is the inner TTL of keepalives, which have no packet to inherit
// one from.
const keepaliveTTL = 255

// SendGREKeepalive sends one into the link's SA.
func (d *Datapath) SendGREKeepalive(link string) error {
	dev := d.devices[link]
	if dev == nil || dev.Ethernet {
		return fmt.Errorf("GRE keepalive of %s: %w", link, rtnl.ErrNoLink)
	}
	var err error
	w := dev.egress
	w.do(func() {
		err = w.whole(dev, func(r *route) []byte {
			h := r.gre
			if h.HasSequence {
				h.Sequence = dev.greSeq
				dev.greSeq++
			}
			return gre.AppendKeepalive(nil, h, r.greLocal, r.greRemote)
		})
		w.out.flush()
	})
	if err != nil {
		return fmt.Errorf("GRE keepalive of %s: %w", link, err)
	}
	return nil
}

// GREKeepalives counts those of a link.
func (d *Datapath) GREKeepalives(link string) (k platform.GREKeepalives) {
	if dev := d.devices[link]; dev != nil {
		dev.mu.Lock()
		k.Returned = dev.rx.returned
		dev.mu.Unlock()
		dev.egress.do(func() { k.Answered = dev.tx.answered })
	}
	return k
}

package scenario

import (
	"fmt"
	"strings"
	"time"

	"greseal/build/lab/labnet"
)

// OpenIKED of Debian sid, with the kernel's ESP, in the virtual machine. Seen:
// the tunnel up in either role and mode, with and without a NAT; pings; both SAs
// replaced by either side; and the wire stays sealed. iked sends on a new Child SA
// before it can know that greseal has it (RFC 7296 section 2.8), and as the one who
// replaces has a moment without an SA to send on (XfrmAcquireError in its kernel):
// one ping in a hundred may be lost, and how many were is told.
//
// Its SAs go to Linux by PF_KEY, which has no AEAD and cuts HMAC-SHA2-256 to 96
// bits instead of 128: so ESP has HMAC-SHA2-512.
func init() {
	for _, r := range []interopRow{
		{auth: "psk", role: "initiator", datapath: "kernel", mode: "tunnel", nat: "none", rekey: "greseal"},
		{auth: "psk", role: "responder", datapath: "userspace", mode: "transport", nat: "none", rekey: "peer"},
		{auth: "psk", role: "initiator", datapath: "userspace", mode: "tunnel", nat: "initiator", rekey: "greseal"},
	} {
		r.path = "1500"
		add(Scenario{Name: r.name(), Peer: "OpenIKED", Paths: []string{r.datapath}, Where: VM, Interop: true, Run: r.playOpenIKED})
	}
}

func (r interopRow) playOpenIKED(l *labnet.Lab) {
	root := sidRoot(l, "openiked")
	w := r.world(l)
	w.lines = append(w.lines, `esp = "aes256-sha512"`, `ike = "aes256gcm16-prfsha384-x25519"`)
	active, lifetimes := "passive", "ikelifetime 0 lifetime 0"
	if w.responder {
		active = "active"
	}
	if r.rekey == "peer" {
		child := int(l.Stretch(6*time.Second) / time.Second)
		lifetimes = fmt.Sprintf("ikelifetime %d lifetime %d", child*3/2, child)
	}
	w.net.B.OpenIKED(root, fmt.Sprintf(`set fragmentation
ikev2 "gre" %s %s esp proto 47 from %s to %s local %[3]s peer %[5]s \
	ikesa enc aes-256-gcm prf hmac-sha2-384 group curve25519 \
	childsa enc aes-256 auth hmac-sha2-512 group curve25519 noesn \
	srcid %s dstid %s %s psk %q
`, active, r.mode, labnet.AddrB, labnet.AddrA, strings.Replace(w.swanConfig.Remote, "%any", "any", 1), nameB, nameA, lifetimes, psk))
	w.greseal = w.net.A.Greseal(labnet.Tunnel("t0", w.lines...))
	first := w.greseal.WaitUp("t0", 60*time.Second)
	w.raisePeerGRE()
	w.pings()
	l.Check(first.IKE.Role == r.role && first.Outside.Mode == r.mode, "role is %s, mode is %s", first.IKE.Role, first.Outside.Mode)

	ping := w.net.A.StartPing(innerB, 10*time.Millisecond)
	w.Wait(l.Stretch(40*time.Second), "two rekeys of the Child SA and one of the IKE SA", func() bool {
		t := w.greseal.Tunnel("t0")
		return t.State == "up" && t.Child != nil && t.IKE != nil && t.Child.Rekeys >= 2 && t.IKE.Rekeys >= 1
	})
	got := ping.Stop()
	lost := got.Sent - got.Received
	l.Check(lost <= 1+got.Sent/100, "rekeying lost pings: %v", got)
	after := w.greseal.Tunnel("t0")
	l.Check(after.UpCount == 1, "the tunnel came up %d times", after.UpCount)
	w.peerKernelHas(after.Child)
	w.greseal.Stop()
	w.net.Wire.MustBeSealed()
	l.Fact("%s, %s; %d of %d pings lost during rekeys", after.IKE.Suite, after.Child.Suite, lost, got.Sent)
}

package scenario

import (
	"strings"
	"time"

	"greseal/build/lab/labnet"
)

// Every algorithm of the list works against strongSwan's own implementation of
// it: each suite in turn is the only one on both sides, agreed on, pinged
// through, and its Child SA rekeyed with a key exchange of the same group, by
// strongSwan. Seen: the status names exactly this suite; all pings answered.
func init() {
	add(Scenario{Name: "every IKE suite", Peer: StrongSwan, Paths: userspace, Run: everyIKE},
		Scenario{Name: "every ESP suite", Peer: StrongSwan, Paths: both, Run: everyESP})
	addOnce(Scenario{Name: "default proposals, peer wants another group", Peer: StrongSwan, Paths: both, Run: otherGroup})
}

func everyIKE(l *labnet.Lab) {
	var suites [][2]string
	for _, ike := range []string{
		"aes128gcm16-prfsha256-x25519", "aes256gcm16-prfsha512-ecp256", "chacha20poly1305-prfsha384-ecp384",
		"aes128-sha256-ecp521", "aes256-sha384-modp2048", "aes256-sha512-modp3072", "aes256gcm16-prfsha384-modp4096",
	} {
		suites = append(suites, [2]string{ike, "aes128gcm16"})
	}
	playSuites(l, suites)
}

func everyESP(l *labnet.Lab) {
	var suites [][2]string
	list := []string{"aes128gcm16", "aes256gcm16", "chacha20poly1305", "aes128-sha256", "aes256-sha256", "aes256-sha384", "aes256-sha512"}
	if labnet.KernelESP() { // kernel-libipsec has no extended sequence numbers
		list = append(list, "aes256gcm16-esn", "aes128-sha256-esn")
	}
	for _, esp := range list {
		suites = append(suites, [2]string{"aes256gcm16-prfsha384-x25519", esp})
	}
	playSuites(l, suites)
}

func playSuites(l *labnet.Lab, suites [][2]string) {
	w := newWorld(l, nil)
	set := func(ike, esp string) {
		bare := strings.TrimSuffix(esp, "-esn")
		group := ike[strings.LastIndex(ike, "-"):]
		w.swanConfig.IKE = ike
		// strongSwan's words for the same: ESN and the group go into the proposal.
		w.swanConfig.ESP = bare + group + "-noesn"
		if bare != esp {
			w.swanConfig.ESP = bare + group + "-esn"
		}
		w.lines = []string{`ike = "` + ike + `"`, `esp = "` + esp + `"`}
	}
	set(suites[0][0], suites[0][1])
	w.up()
	for i, s := range suites {
		if i > 0 {
			w.greseal.Must("down", "t0")
			w.swan.WaitGone(waitGone)
			set(s[0], s[1])
			w.swanConfig.PSK, w.swanConfig.Libipsec = psk, w.swan.config.Libipsec
			w.swan.Load(w.swanConfig)
			w.greseal.Write(w.config())
			w.greseal.Must("apply", "-c", w.greseal.Config)
			w.greseal.Must("up", "t0")
		}
		t := w.greseal.WaitUp("t0", 20*time.Second)
		l.Check(t.IKE.Suite == s[0], "IKE suite is %s and not %s", t.IKE.Suite, s[0])
		l.Check(t.Child.Suite == s[1], "ESP suite is %s and not %s", t.Child.Suite, s[1])
		l.Check(t.Child.ESN == strings.HasSuffix(s[1], "-esn"), "ESN is %v with %s", t.Child.ESN, s[1])
		w.pings()
		w.swan.RekeyChild()
		l.Wait(10*time.Second, "the Child SA rekeyed", func() bool {
			now := w.greseal.Tunnel("t0")
			return now.Child != nil && now.Child.SPIIn != t.Child.SPIIn
		})
		w.pings()
	}
	w.net.Wire.MustBeSealed()
	l.Fact("%d suites", len(suites))
}

// otherGroup: greseal's first IKE_SA_INIT brings another key exchange than
// strongSwan wants; INVALID_KE_PAYLOAD is answered by a second one.
func otherGroup(l *labnet.Lab) {
	w := newWorld(l, func(w *world) { w.swanConfig.IKE, w.swanConfig.ESP = "aes128-sha256-ecp384", "aes256-sha256" })
	t := w.up()
	w.pings()
	l.Check(t.IKE.Suite == "aes128-sha256-ecp384", "IKE suite is %s", t.IKE.Suite)
	l.Check(w.initRequests() >= 2, "no second IKE_SA_INIT request was seen")
	w.net.Wire.MustBeSealed()
}

// initRequests counts greseal's IKE_SA_INIT requests on the wire.
func (w *world) initRequests() int { return w.net.Wire.Exchanges(34, labnet.AddrA) }

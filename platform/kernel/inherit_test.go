package kernel

import (
	"fmt"
	"strings"
	"testing"

	"greseal/crypto/suite"
	"greseal/platform"
)

func TestWhatAKilledDaemonLeftGoesOn(t *testing.T) {
	for _, s := range []setup{{key: 5, inner: 1}, {transport: true, inner: 1}, {transport: true, encap: true, inner: 1}} {
		t.Run(fmt.Sprintf("transport %t, encap %t", s.transport, s.encap), func(t *testing.T) {
			l := newLab(t)
			l.links(s)
			l.sas(s, 0x3000)
			l.a.do(func() { must(t, l.a.dp.SetRunning("hq", true)) })
			if l.ping(s, 3) != 3 {
				t.Fatal("the tunnel does not work before the crash")
			}
			before := l.a.info("hq")
			must(t, l.a.dp.Close())
			// Somebody else's with its reqid, of the other mode or without a selector.
			_, reqid, _ := strings.Cut(l.a.sh("ip -o xfrm state"), "reqid ")
			foreign := "ip xfrm state add src 198.18.1.2 dst 198.18.2.2 proto esp spi 0x99%02d reqid " + strings.Fields(reqid)[0] +
				" mode transport aead rfc4106(gcm(aes)) 0x" + strings.Repeat("11", 20) + " 128"
			l.a.sh(fmt.Sprintf(foreign, 1))

			l.a.open()
			var left []platform.Leftover
			l.a.do(func() {
				var err error
				left, err = l.a.dp.Leftovers()
				must(t, err)
			})
			if len(left) != 1 || len(left[0].SAs) != 1 || !left[0].Running {
				t.Fatalf("%+v", left)
			}
			want := s.linkAt(true)
			got, sa := left[0].Link, left[0].SAs[0]
			if got.Name != "hq" || got.Local != want.Local || got.Remote != want.Remote || got.Key != want.Key || got.HasKey != want.HasKey || got.MTU != before.MTU {
				t.Errorf("%+v of %+v", got, want)
			}
			if sa.SPIIn != 0x3001 || sa.SPIOut != 0x3000 || sa.Transport != s.transport || sa.Encap != s.encap ||
				sa.Suite.Encr.ID != suite.ENCR_AES_GCM_16 || sa.Local.Addr().String() != "198.18.1.2" || sa.Remote.Addr().String() != "198.18.2.2" {
				t.Errorf("%+v", sa)
			}
			l.a.do(func() {
				must(t, l.a.dp.Inherit(want))
				_, err := l.a.dp.SetLink(want)
				must(t, err)
				must(t, l.a.dp.Sweep([]string{"hq"}))
			})
			if n := strings.Count(l.a.sh("ip xfrm state"), "proto esp"); n != 2 {
				t.Errorf("%d SAs are there, not the two inherited ones", n)
			}
			if now := l.a.info("hq"); now.Index != before.Index || !now.Running() {
				t.Errorf("%+v", now)
			}
			if got := l.ping(s, 5); got != 5 {
				t.Errorf("%d of 5 pings through inherited SAs", got)
			}
			l.a.stands()
			l.a.sh(fmt.Sprintf(foreign, 2))
			l.a.found("another program's SA takes the tunnel's packets")
			l.a.stands()

			// Others take their place.
			l.sas(s, 0x5000)
			l.a.remove(platform.SAKey{Link: "hq", Out: true, SPI: 0x3000})
			l.b.remove(platform.SAKey{Link: "hq", Out: true, SPI: 0x3001})
			if got := l.ping(s, 5); got != 5 {
				t.Errorf("%d of 5 pings through the new SAs", got)
			}
			l.a.remove(platform.SAKey{Link: "hq", SPI: 0x3001})
			l.a.stands()
			l.wire.noGRE(t, "crash and inheritance")
		})
	}
}

func TestWhatAKilledDaemonLeftForOthersIsNotInherited(t *testing.T) {
	l := newLab(t)
	s := setup{key: 5, inner: 1}
	l.links(s)
	l.sas(s, 0x3000)
	must(t, l.a.dp.Close())
	l.a.open()
	other := s.linkAt(true)
	other.Key = 6
	l.a.do(func() {
		if err := l.a.dp.Inherit(other); err == nil {
			t.Error("inherited before anything was looked for")
		}
		_, err := l.a.dp.Leftovers()
		must(t, err)
		if err := l.a.dp.Inherit(other); err == nil {
			t.Error("inherited with another key")
		}
		must(t, l.a.dp.Sweep([]string{"hq"}))
	})
	if out := l.a.sh("ip xfrm state"); out != "" {
		t.Errorf("SAs are left: %s", out)
	}
}

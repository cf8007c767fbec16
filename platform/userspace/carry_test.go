package userspace

import (
	"bytes"
	"testing"

	"greseal/platform"
)

var forms = []form{
	{name: "tunnel mode in UDP", encap: true},
	{name: "transport mode in UDP", encap: true, transport: true},
	{name: "tunnel mode, raw ESP"},
	{name: "transport mode, raw ESP", transport: true},
	{name: "over IPv6, tunnel mode in UDP", encap: true, outer6: true, gre6: true},
	{name: "over IPv6, transport mode in UDP", encap: true, outer6: true, transport: true},
	{name: "over IPv6, raw tunnel mode", outer6: true, gre6: true},
	{name: "over IPv6, raw transport mode", outer6: true, transport: true},
	{name: "GRE between IPv6 inside IPv4", encap: true, fixGRE: true, gre6: true},
	{name: "GRE between IPv4 inside IPv6", encap: true, outer6: true, fixGRE: true},
	{name: "key, sequence, checksum", encap: true, link: platform.Link{HasKey: true, Key: 0xdecade, Sequence: true, Checksum: true}},
	{name: "key zero, transport mode", transport: true, link: platform.Link{HasKey: true}},
	{name: "extended sequence numbers", encap: true, esn: true},
	{name: "AES-256-GCM", encap: true, encr: gcm256},
	{name: "ChaCha20-Poly1305", encap: true, encr: chacha},
	{name: "AES-CBC with HMAC and ESN", encap: true, encr: cbc256, integ: sha256, esn: true},
	{name: "Ethernet", encap: true, link: platform.Link{Ethernet: true}},
	{name: "Ethernet with key, sequence, checksum", transport: true, link: platform.Link{Ethernet: true, HasKey: true, Key: 1, Sequence: true, Checksum: true}},
	{name: "TOS inherited, TTL set", encap: true, link: platform.Link{TOSInherit: true, TTL: 77}},
	{name: "over IPv6, TTL, TOS and mark set", encap: true, outer6: true, link: platform.Link{TTL: 9, TOS: 0x28, FWMark: 7}},
	{name: "mark set, raw ESP", link: platform.Link{FWMark: 7}},
	{name: "over IPv6, outer fragments allowed", encap: true, outer6: true, link: platform.Link{IgnoreDF: true}},
	{name: "outer fragments allowed", encap: true, link: platform.Link{IgnoreDF: true}},
	{name: "outer fragments allowed, raw ESP", link: platform.Link{IgnoreDF: true}},
}

func TestEveryFormOfTunnelCarriesEverything(t *testing.T) {
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			a, b := twoHosts(t)
			wire := a.capture(t)
			f.tunnel(a, b)
			a.ping(inner4(2), 5, 56)
			b.ping(inner6(1), 5, 56)
			a.ping(inner4(2), 3, innerMTU-28)
			a.transfer(b, inner4(2), 3<<20)
			b.transfer(a, inner6(1), 3<<20)
			a.datagrams(b, inner4(2), []int{0, 1, 2, 3, 63, 64, 65, 500, innerMTU - 29, innerMTU - 28})
			a.datagrams(b, inner6(2), []int{0, 1, innerMTU - 48, 5000})

			for _, e := range []struct {
				h   *host
				out bool
				spi uint32
			}{{a, true, spiAB}, {b, false, spiAB}, {b, true, spiBA}, {a, false, spiBA}} {
				c := e.h.counters(e.out, e.spi)
				if c.Packets < 20 || c.Bytes < c.Packets*28 {
					t.Errorf("SA %08x counts %+v", e.spi, c)
				}
				if c.Replay+c.Integrity+c.Selector+c.Malformed != 0 {
					t.Errorf("SA %08x dropped: %+v", e.spi, c)
				}
			}
			for _, h := range []*host{a, b} {
				if d := h.drops(); d.NoSA+d.Key+d.GRE+d.TooBig != 0 {
					t.Errorf("dropped: %+v", d)
				}
				for _, note := range h.dp.Notes() {
					t.Errorf("an offload went off: %s", note)
				}
			}

			kinds := wire.stop()
			want := "ESP"
			if f.encap {
				want = "ESP in UDP"
			}
			if kinds[want] < 20 || kinds["GRE"] != 0 || kinds["ESP"] != 0 && f.encap {
				t.Errorf("on the wire: %v", kinds)
			}
			if wire.shows([]byte{10, 77, 0, 1, 10, 77, 0, 2}) {
				t.Error("an inner header is visible on the wire")
			}
		})
	}
}

// shows looks for bytes in everything captured.
func (c *capture) shows(b []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, frame := range c.all {
		if bytes.Contains(frame, b) {
			return true
		}
	}
	return false
}

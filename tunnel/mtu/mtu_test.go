package mtu

import (
	"strings"
	"testing"

	"greseal/crypto/suite"
)

func esp(t testing.TB, words string) (encr, integ suite.Transform) {
	t.Helper()
	p, err := suite.ParseESP(words)
	if err != nil {
		t.Fatal(err)
	}
	for _, tr := range p.Transforms {
		switch tr.Type {
		case suite.TypeEncr:
			encr = tr
		case suite.TypeInteg:
			integ = tr
		}
	}
	return encr, integ
}

// The row of 1500 is the largest inner packet with DF set that Linux let
// through, found by search on 6.1 and 7.2 (but for CBC tunnel and the two
// Ethernet ones over IPv6 or in tunnel mode); the rest was computed by hand.
func TestFitGivesTheSizesSeenOnRealKernels(t *testing.T) {
	const (
		gcm    = "aes128gcm16"
		chacha = "chacha20poly1305"
		cbc    = "aes256-sha256"
	)
	type shape struct {
		name string
		esp  string
		p    Params
	}
	shapes := []shape{
		{"AEAD transport", gcm, Params{Transport: true}},
		{"AEAD transport UDP", gcm, Params{Transport: true, Encap: true}},
		{"CBC transport", cbc, Params{Transport: true}},
		{"CBC transport UDP", cbc, Params{Transport: true, Encap: true}},
		{"AEAD tunnel", gcm, Params{}},
		{"AEAD tunnel UDP", gcm, Params{Encap: true}},
		{"CBC tunnel", cbc, Params{}},
		{"AEAD transport IPv6", gcm, Params{Transport: true, OuterV6: true}},
		{"AEAD transport UDP IPv6", gcm, Params{Transport: true, OuterV6: true, Encap: true}},
		{"AEAD tunnel IPv6 twice", gcm, Params{OuterV6: true, InnerV6: true}},
		{"AEAD transport Ethernet", gcm, Params{Transport: true, Ethernet: true}},
		{"AEAD tunnel Ethernet", gcm, Params{Ethernet: true}},
		{"AEAD transport Ethernet IPv6", gcm, Params{Transport: true, Ethernet: true, OuterV6: true}},
		{"ChaCha transport", chacha, Params{Transport: true}},
		{"ChaCha tunnel", chacha, Params{}},
	}
	want := map[int][]int{
		1500: {1442, 1434, 1434, 1418, 1422, 1414, 1414, 1422, 1414, 1382, 1428, 1408, 1408, 1442, 1422},
		1492: {1434, 1426, 1418, 1418, 1414, 1406, 1398, 1414, 1406, 1374, 1420, 1400, 1400, 1434, 1414},
		1400: {1342, 1334, 1322, 1322, 1322, 1314, 1302, 1322, 1314, 1282, 1328, 1308, 1308, 1342, 1322},
	}
	for outer, sizes := range want {
		for i, s := range shapes {
			p := s.p
			p.Outer = outer
			p.Encr, p.Integ = esp(t, s.esp)
			r, err := Fit(p)
			if err != nil {
				t.Errorf("%s at %d: %v", s.name, outer, err)
				continue
			}
			if r.MTU != sizes[i] {
				t.Errorf("%s at %d: %d, want %d", s.name, outer, r.MTU, sizes[i])
			}
			if r.MSS4 != r.MTU-40 || r.MSS6 != r.MTU-60 {
				t.Errorf("%s at %d: MSS %d and %d of %d", s.name, outer, r.MSS4, r.MSS6, r.MTU)
			}
		}
	}
}

func TestEachGREOptionTakesFourBytes(t *testing.T) {
	p := Params{Outer: 1500, Transport: true}
	p.Encr, _ = esp(t, "aes256gcm16")
	for want, set := range map[int]func(*Params){
		1438: func(p *Params) { p.GREKey = true },
		1434: func(p *Params) { p.GREKey, p.GRESeq = true, true },
		1430: func(p *Params) { p.GREKey, p.GRESeq, p.GRECsum = true, true, true },
	} {
		q := p
		set(&q)
		if r, err := Fit(q); err != nil || r.MTU != want {
			t.Errorf("%+v: %d %v, want %d", q, r.MTU, err, want)
		}
	}
}

// every calls f with all shapes of a tunnel.
func every(t *testing.T, f func(Params)) {
	for bits := range 1 << 8 {
		on := func(i int) bool { return bits>>i&1 == 1 }
		for _, words := range []string{"aes128gcm16", "chacha20poly1305", "aes128-sha256", "aes256-sha384", "aes256-sha512"} {
			p := Params{OuterV6: on(0), InnerV6: on(1), Transport: on(2), Encap: on(3), GREKey: on(4), GRESeq: on(5), GRECsum: on(6), Ethernet: on(7)}
			p.Encr, p.Integ = esp(t, words)
			f(p)
		}
	}
}

func TestFitIsTheLargestThatWireFits(t *testing.T) {
	every(t, func(p Params) {
		for _, p.Outer = range []int{576, 1280, 1399, 1400, 1454, 1491, 1492, 1500, 9000} {
			r, err := Fit(p)
			if err != nil {
				t.Fatalf("%+v: %v", p, err)
			}
			fits, err := Wire(p, r.MTU)
			if err != nil || fits > p.Outer {
				t.Fatalf("%+v: an inner packet of %d becomes %d: %v", p, r.MTU, fits, err)
			}
			if more, _ := Wire(p, r.MTU+1); more <= p.Outer {
				t.Fatalf("%+v: an inner packet of %d would still fit", p, r.MTU+1)
			}
		}
	})
}

func TestLinesAddUpToTheMTU(t *testing.T) {
	every(t, func(p Params) {
		p.Outer = 1500
		r, err := Fit(p)
		if err != nil {
			t.Fatal(err)
		}
		sum := 0
		for _, l := range r.Lines {
			if l.Bytes == 0 || l.Name == "" {
				t.Fatalf("%+v: empty line in %v", p, r.Lines)
			}
			sum += l.Bytes
		}
		if sum != r.MTU {
			t.Fatalf("%+v: lines add up to %d, MTU is %d", p, sum, r.MTU)
		}
	})
}

func TestFitRefusesWhatItCannotCompute(t *testing.T) {
	gcm, _ := esp(t, "aes128gcm16")
	cbc, _ := esp(t, "aes128-sha256")
	for name, c := range map[string]struct {
		p    Params
		want string
	}{
		"no cipher":        {Params{Outer: 1500}, "not known"},
		"cipher unknown":   {Params{Outer: 1500, Encr: suite.Transform{Type: suite.TypeEncr, ID: 999}}, "not known"},
		"CBC without hash": {Params{Outer: 1500, Encr: cbc}, "without an integrity algorithm"},
		"tiny path":        {Params{Outer: 100, Encr: gcm}, "at least"},
		"negative path":    {Params{Outer: -5, Encr: gcm}, "at least"},
	} {
		if r, err := Fit(c.p); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v; want an error with %q", name, r, err, c.want)
		}
	}
}

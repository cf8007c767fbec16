package fragment

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
	"time"

	"greseal/ikev2/wire"
)

// clear stands for a cipher; it only frames and adds 20 octets.
type clear struct{}

func (clear) Overhead(int) int { return 20 }

func (clear) Seal(dst, _, plain []byte) ([]byte, error) {
	return append(append(dst, make([]byte, 20)...), plain...), nil
}

func (clear) Open(dst, _, sealed []byte) ([]byte, error) {
	if len(sealed) < 20 || sealed[0] != 0 {
		return nil, errors.New("not authentic")
	}
	return append(dst, sealed[20:]...), nil
}

var header = wire.Header{SPIi: 1, SPIr: 2, Exchange: wire.IKEAuth, MessageID: 1}

func inner(octets int) []wire.Payload {
	return []wire.Payload{&wire.VendorID{Data: bytes.Repeat([]byte{5}, octets)}}
}

func sealed(t *testing.T, octets int, l Limits) Message {
	t.Helper()
	m, err := Seal(header, inner(octets), clear{}, l)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func received(t *testing.T, b []byte) *wire.Message {
	t.Helper()
	m, err := wire.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMessageIsSplitWhereThePathIsTooSmallOnly(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	if a, b, c := Fitting(1280, v4), Fitting(1280, v6), Fitting(10, v4); a != 1248 || b != 1228 || c != IPv4MinMTU-32 {
		t.Errorf("an IKE message may have %d, %d and %d octets", a, b, c)
	}
	for _, c := range []struct {
		octets, pieces int
		limits         Limits
		splits         bool
	}{
		{100, 1, Limits{1248, 544}, false}, // fits every path
		{1000, 1, Limits{1248, 544}, true}, // fits this one
		{2000, 2, Limits{1248, 544}, true},
		{2000, 5, Limits{544, 544}, true},
		{2000, 1, Limits{}, false}, // the peer can't put fragments together
	} {
		m := sealed(t, c.octets, c.limits)
		if len(m.Data) != c.pieces || m.Splits() != c.splits {
			t.Errorf("%d octets, %+v: %d datagrams, may be split: %v", c.octets, c.limits, len(m.Data), m.Splits())
		}
		for _, d := range m.Data {
			if c.limits.Largest != 0 && len(d) > c.limits.Largest {
				t.Errorf("%d octets, %+v: a datagram of %d", c.octets, c.limits, len(d))
			}
		}
		if m.Settle(); m.Splits() || m.Held() != m.Octets() {
			t.Error("more is kept than the datagrams")
		}
	}
	if _, err := Seal(header, inner(60000), clear{}, Limits{544, 544}); err == nil {
		t.Errorf("more than %d fragments", most)
	}
}

func TestFragmentsAreCollectedForAWhileAndWithinBounds(t *testing.T) {
	var c Collector
	m := sealed(t, 2000, Limits{544, 544})
	add := func(now time.Duration, b []byte, limit int) (*wire.Content, error) {
		return c.Add(now, received(t, b), clear{}, limit)
	}
	forged := bytes.Clone(m.Data[0])
	forged[wire.HeaderLen+8] = 1
	if _, err := add(0, forged, MostOctets); err == nil || c.Request != nil {
		t.Error("something of a forged fragment is kept")
	}
	if _, err := add(0, m.Data[0], 100); !errors.Is(err, ErrTooLong) || c.Request != nil {
		t.Errorf("a fragment of more than what is taken: %v", err)
	}
	if got, err := add(time.Second, m.Data[1], MostOctets); got != nil || err != nil {
		t.Fatal(got, err)
	}
	if c.Expires() != time.Second+Life || c.Response != nil {
		t.Errorf("given up at %v, response %v", c.Expires(), c.Response)
	}
	if c.Expire(time.Second + Life - 1); c.Request == nil {
		t.Error("given up too early")
	}
	if c.Expire(time.Second + Life); c.Request != nil {
		t.Error("not given up")
	}
	var got *wire.Content
	for _, i := range []int{3, 1, 4, 0, 2} {
		if got != nil {
			t.Fatal("complete too early")
		}
		var err error
		if got, err = add(2*time.Second, m.Data[i], MostOctets); err != nil {
			t.Fatal(err)
		}
	}
	want, _ := wire.AppendPayloads(nil, inner(2000))
	if got == nil || got.First != wire.TypeVendor || !bytes.Equal(got.Plain, want) {
		t.Error("not what was sent")
	}
	p := c.Of(received(t, m.Data[0]))
	if p != c.Request || p.Mark != MarkOf(m.Data[0]) || p.Octets != m.Octets() || p.Longest() != len(m.Data[0]) {
		t.Errorf("fragment 1 or the length of all of them is another: %d octets, the longest %d", p.Octets, p.Longest())
	}
}

package state

import (
	"bytes"
	"errors"
	"net/netip"
	"reflect"
	"testing"
	"time"
)

// everything has each kind of value.
type everything struct {
	Small   uint8
	Large   uint64
	Signed  time.Duration
	Float   float64
	Bool    bool
	Bytes   []byte
	Array   [4]byte
	Text    string
	When    time.Time
	Addr    netip.Addr
	Port    netip.AddrPort
	Prefix  netip.Prefix
	List    []item
	Maybe   *item
	Nothing *item
}

type item struct{ N uint16 }

func (i *item) carry(c *Codec) { Uint(c, &i.N) }

func (v *everything) carry(c *Codec) {
	c.Section("first")
	Enum(c, &v.Small, 8)
	Uint(c, &v.Large)
	Int(c, &v.Signed)
	c.Float(&v.Float)
	c.Bool(&v.Bool)
	c.Bytes(&v.Bytes)
	c.Array(v.Array[:])
	c.Text(&v.Text)
	c.Moment(&v.When)
	c.Section("second")
	c.Addr(&v.Addr)
	c.AddrPort(&v.Port)
	c.Prefix(&v.Prefix)
	List(c, &v.List, (*item).carry)
	Optional(c, &v.Maybe, (*item).carry)
	Optional(c, &v.Nothing, (*item).carry)
}

func sample() *everything {
	return &everything{
		Small: 7, Large: 1<<64 - 1, Signed: -1 << 63, Float: -0.25, Bool: true,
		Bytes: bytes.Repeat([]byte{1, 2}, 100<<10), Array: [4]byte{1, 2, 3, 4}, Text: "ö",
		When: time.Unix(1790000000, 123456789), Addr: netip.MustParseAddr("fe80::1%eth0"),
		Port: netip.MustParseAddrPort("[2001:db8::1]:4500"), Prefix: netip.MustParsePrefix("10.0.0.0/8"),
		List: []item{{1}, {65535}}, Maybe: &item{3},
	}
}

func written(t testing.TB, v *everything) []byte {
	t.Helper()
	w := Writer(3)
	v.carry(w)
	data, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	for _, want := range []*everything{sample(), {}} {
		r, err := Reader(written(t, want), 1, 3)
		if err != nil {
			t.Fatal(err)
		}
		got := &everything{Bool: true, List: []item{{9}}, Nothing: &item{}}
		got.carry(r)
		if err := r.End(); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("read %+v, want %+v", got, want)
		}
		if r.Version() != 3 {
			t.Errorf("version %d", r.Version())
		}
	}
}

func TestDamageIsFound(t *testing.T) {
	v := sample()
	v.Bytes = v.Bytes[:10]
	data := written(t, v)
	if _, err := Reader(data, 4, 5); !errors.Is(err, ErrVersion) {
		t.Errorf("another version: %v", err)
	}
	for i := range data {
		if _, err := Reader(data[:i], 1, 3); err == nil {
			t.Errorf("cut short after %d of %d bytes: no error", i, len(data))
		}
		for bit := range 8 {
			turned := bytes.Clone(data)
			turned[i] ^= 1 << bit
			if _, err := Reader(turned, 1, 3); err == nil {
				t.Errorf("bit %d of byte %d turned: no error", bit, i)
			}
		}
	}
}

// reseal gives a damaged state a right digest.
func reseal(data []byte) {
	sum := digest(data)
	copy(data[len(magic)+4:], sum[:])
}

func TestValuesAreChecked(t *testing.T) {
	read := func(data []byte) error {
		reseal(data)
		r, err := Reader(data, 1, 3)
		if err != nil {
			return err
		}
		new(everything).carry(r)
		return r.End()
	}
	if err := read(append(written(t, sample()), 0)); err == nil {
		t.Error("one byte too many: no error")
	}
	v := sample()
	v.Small = 8 // outside of the enumeration
	if err := read(written(t, v)); err == nil {
		t.Error("an enumeration's unknown value: no error")
	}
	data := written(t, sample())
	for n := head; n < head+40; n++ {
		if err := read(bytes.Clone(data[:n])); err == nil {
			t.Errorf("%d bytes: no error", n)
		}
	}
}

func TestWipe(t *testing.T) {
	w := Writer(1)
	secret := bytes.Repeat([]byte{0xa5}, 4)
	w.Bytes(&secret)
	before := w.data[:cap(w.data)]
	big := make([]byte, 200<<10)
	w.Bytes(&big) // the buffer grows
	if bytes.Contains(before, secret) {
		t.Error("the buffer that was too small keeps the key")
	}
	w.Wipe()
	if bytes.Contains(w.data[:cap(w.data)], secret) {
		t.Error("the key is still there")
	}
}

func FuzzRead(f *testing.F) {
	v := sample()
	v.Bytes = v.Bytes[:10]
	f.Add(written(f, v))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < head {
			return
		}
		copy(data, magic)
		data[len(magic)], data[len(magic)+1], data[len(magic)+2], data[len(magic)+3] = 0, 0, 0, 1
		reseal(data)
		r, err := Reader(data, 1, 1)
		if err != nil {
			t.Fatal(err)
		}
		var got everything
		got.carry(r)
		_ = r.End()
	})
}

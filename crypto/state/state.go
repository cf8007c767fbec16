// Package state carries the state of a daemon, keys included, to the program that
// replaces it. Each type says once what of it is carried, in a function that both
// writes and reads:
//
//	func (p *pair) carry(c *state.Codec) {
//		state.Uint(c, &p.spi)
//		c.Bytes(&p.key)
//		state.List(c, &p.parts, (*part).carry)
//	}
//
// Reading is strict: anything cut short, left over, out of range or altered is an
// error, and what was read until then is not to be used. The digest finds damage;
// it authenticates nothing, since whoever can hand over a state is root. A Codec is
// not safe for concurrent use, and keeps its first error.
package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"
)

// magic begins every state.
const magic = "greseal state\n"

// head is the size of what stands before the values: magic, version as 32 bits in
// network byte order, SHA-256 of the version and all that follows the digest.
const head = len(magic) + 4 + sha256.Size

// Codec writes a state or reads one.
type Codec struct {
	data    []byte
	pos     int // read so far
	reading bool
	version uint32
	err     error
}

// Writer returns a Codec that writes a state of a version.
func Writer(version uint32) *Codec {
	return &Codec{data: make([]byte, head, 64<<10), version: version}
}

// ErrVersion is wrapped by the error about a state of a version that isn't read.
var ErrVersion = errors.New("unknown version of the state")

// Reader returns a Codec that reads a state, of a version from oldest to newest. The
// values that it returns are copies: data may be wiped afterwards.
func Reader(data []byte, oldest, newest uint32) (*Codec, error) {
	if len(data) < head || !bytes.HasPrefix(data, []byte(magic)) {
		return nil, errors.New("no state of greseal")
	}
	version := binary.BigEndian.Uint32(data[len(magic):])
	if version < oldest || version > newest {
		return nil, fmt.Errorf("%w: it is %d, and %d to %d are read", ErrVersion, version, oldest, newest)
	}
	if sum := digest(data); !bytes.Equal(sum[:], data[len(magic)+4:head]) {
		return nil, errors.New("the state is damaged: its digest is wrong")
	}
	return &Codec{data: data, pos: head, reading: true, version: version}, nil
}

func digest(data []byte) (sum [sha256.Size]byte) {
	h := sha256.New()
	h.Write(data[len(magic) : len(magic)+4])
	h.Write(data[head:])
	h.Sum(sum[:0])
	return sum
}

// Finish returns what was written. It is the only copy in memory; Wipe clears it.
func (c *Codec) Finish() ([]byte, error) {
	if c.err != nil {
		return nil, c.err
	}
	copy(c.data, magic)
	binary.BigEndian.PutUint32(c.data[len(magic):], c.version)
	sum := digest(c.data)
	copy(c.data[len(magic)+4:], sum[:])
	return c.data, nil
}

// End returns the first error, or one when not all of the state was read.
func (c *Codec) End() error {
	if c.err == nil && c.pos != len(c.data) {
		c.Fail(fmt.Sprintf("%d bytes too many", len(c.data)-c.pos))
	}
	return c.err
}

// Wipe clears the keys from memory.
func (c *Codec) Wipe() { clear(c.data[:cap(c.data)]) }

// Reading reports whether the state is read, not written.
func (c *Codec) Reading() bool { return c.reading }

// Version is that of the state.
func (c *Codec) Version() uint32 { return c.version }

// Err is the first error.
func (c *Codec) Err() error { return c.err }

// Fail notes that a value is none that could have been written.
func (c *Codec) Fail(what string) {
	if c.err == nil {
		c.err = fmt.Errorf("the state is wrong at byte %d: %s", c.pos, what)
	}
}

// Unsigned are the integers and enumerations that Uint carries.
type Unsigned interface {
	~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uint
}

// Uint carries an unsigned number.
func Uint[T Unsigned](c *Codec, v *T) {
	if !c.reading {
		c.grow(binary.MaxVarintLen64)
		c.data = binary.AppendUvarint(c.data, uint64(*v))
		return
	}
	if c.err != nil {
		return
	}
	n, size := binary.Uvarint(c.data[c.pos:])
	if size <= 0 || uint64(T(n)) != n {
		c.Fail("no number of this size")
		return
	}
	c.pos += size
	*v = T(n)
}

// Enum is Uint for a value below end.
func Enum[T Unsigned](c *Codec, v *T, end T) {
	Uint(c, v)
	if c.reading && c.err == nil && *v >= end {
		c.Fail("no value of an enumeration")
	}
}

// Int carries a signed number, a time.Duration for instance.
func Int[T ~int | ~int32 | ~int64](c *Codec, v *T) {
	u := uint64(int64(*v)<<1) ^ uint64(int64(*v)>>63)
	Uint(c, &u)
	if c.reading && c.err == nil {
		n := int64(u>>1) ^ -int64(u&1)
		if int64(T(n)) != n {
			c.Fail("no number of this size")
			return
		}
		*v = T(n)
	}
}

// Float carries a float64.
func (c *Codec) Float(v *float64) {
	u := math.Float64bits(*v)
	Uint(c, &u)
	if c.reading {
		*v = math.Float64frombits(u)
	}
}

// Bool carries a bool.
func (c *Codec) Bool(v *bool) {
	var u uint8
	if *v {
		u = 1
	}
	Enum(c, &u, 2)
	if c.reading {
		*v = u == 1
	}
}

// Bytes carries octets. None are read as nil.
func (c *Codec) Bytes(v *[]byte) {
	if part := c.length(len(*v)); !c.reading {
		c.grow(part)
		c.data = append(c.data, *v...)
	} else if part == 0 {
		*v = nil
	} else {
		*v = bytes.Clone(c.data[c.pos : c.pos+part])
		c.pos += part
	}
}

// Array carries octets of a fixed number.
func (c *Codec) Array(v []byte) {
	b := v
	c.Bytes(&b)
	if c.reading && c.err == nil {
		if len(b) != len(v) {
			c.Fail("octets of another number")
		}
		copy(v, b)
		clear(b)
	}
}

// Text carries a string.
func (c *Codec) Text(v *string) {
	b := []byte(*v)
	c.Bytes(&b)
	if c.reading {
		*v = string(b)
	}
}

// Moment carries wall time to the nanosecond. The zero time stays that.
func (c *Codec) Moment(v *time.Time) {
	var n int64
	set := !v.IsZero()
	if set {
		n = v.UnixNano()
	}
	c.Bool(&set)
	Int(c, &n)
	if c.reading {
		*v = time.Time{}
		if set {
			*v = time.Unix(0, n)
		}
	}
}

// Addr, AddrPort and Prefix carry an address; an unset one stays that.
func (c *Codec) Addr(v *netip.Addr)         { binaryForm(c, v) }
func (c *Codec) AddrPort(v *netip.AddrPort) { binaryForm(c, v) }
func (c *Codec) Prefix(v *netip.Prefix)     { binaryForm(c, v) }

// binaryForm carries a value by its own encoding, which is never longer than 255 octets.
func binaryForm[T interface{ MarshalBinary() ([]byte, error) }, P interface {
	*T
	UnmarshalBinary([]byte) error
}](c *Codec, v P) {
	var b []byte
	if !c.reading {
		b, _ = (*v).MarshalBinary() // that of net/netip never fails
	}
	c.Bytes(&b)
	if !c.reading || c.err != nil {
		return
	}
	if err := v.UnmarshalBinary(b); err != nil {
		c.Fail(err.Error())
	}
}

// List carries a list. None is read as nil.
func List[T any](c *Codec, v *[]T, item func(*T, *Codec)) {
	n := c.length(len(*v))
	if c.reading {
		*v = nil
	}
	for i := 0; i < n && c.err == nil; i++ {
		if c.reading {
			*v = append(*v, *new(T))
		}
		item(&(*v)[i], c)
	}
}

// Optional carries a value that need not be there.
func Optional[T any](c *Codec, v **T, item func(*T, *Codec)) {
	there := *v != nil
	c.Bool(&there)
	if c.reading {
		*v = nil
		if there {
			*v = new(T)
		}
	}
	if there && c.err == nil {
		item(*v, c)
	}
}

// Section separates one part from the next, so that an error says where reading went
// astray.
func (c *Codec) Section(name string) {
	read := name
	c.Text(&read)
	if read != name {
		c.Fail("section " + name + " is expected here")
	}
}

// length carries a number of things, each an octet at least; what is left of the state
// bounds it.
func (c *Codec) length(n int) int {
	u := uint64(n)
	Uint(c, &u)
	if !c.reading {
		return n
	}
	if c.err == nil && u > uint64(len(c.data)-c.pos) {
		c.Fail("it is cut short")
	}
	if c.err != nil {
		return 0
	}
	return int(u)
}

// grow makes room for n octets without leaving a copy of the keys behind.
func (c *Codec) grow(n int) {
	if cap(c.data)-len(c.data) >= n {
		return
	}
	old := c.data
	c.data = append(make([]byte, 0, 2*cap(old)+n), old...)
	clear(old)
}

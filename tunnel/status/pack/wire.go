package pack

import (
	"encoding/binary"
	"errors"
	"math"
)

// ErrShort says that bytes end before the value does.
var ErrShort = errors.New("the value is not complete")

// kind of a MessagePack value, as far as this package knows them: there are no
// bytes and no extensions.
type kind uint8

const (
	null kind = iota
	boolean
	signed   // below zero
	unsigned // zero and more
	float
	text
	list
	mapping
)

// next reads the head of a value: x is the value itself or, of a text, list or
// map, its length; the bytes of a text are all there.
func next(b []byte) (k kind, x uint64, rest []byte, err error) {
	if len(b) == 0 {
		return 0, 0, b, ErrShort
	}
	c, rest := b[0], b[1:]
	size := 0 // of what follows in network order
	switch {
	case c <= 0x7f:
		return unsigned, uint64(c), rest, nil
	case c <= 0x8f:
		return mapping, uint64(c & 15), rest, nil
	case c <= 0x9f:
		return list, uint64(c & 15), rest, nil
	case c <= 0xbf:
		k, x = text, uint64(c&31)
	case c == 0xc0:
		return null, 0, rest, nil
	case c == 0xc2, c == 0xc3:
		return boolean, uint64(c & 1), rest, nil
	case c == 0xca, c == 0xcb:
		k, size = float, 4<<(c-0xca)
	case c >= 0xcc && c <= 0xcf:
		k, size = unsigned, 1<<(c-0xcc)
	case c >= 0xd0 && c <= 0xd3:
		k, size = signed, 1<<(c-0xd0)
	case c >= 0xd9 && c <= 0xdb:
		k, size = text, 1<<(c-0xd9)
	case c == 0xdc, c == 0xdd:
		k, size = list, 2<<(c-0xdc)
	case c == 0xde, c == 0xdf:
		k, size = mapping, 2<<(c-0xde)
	case c >= 0xe0:
		return signed, uint64(int64(int8(c))), rest, nil
	default:
		return 0, 0, b, errKind
	}
	if len(rest) < size {
		return 0, 0, b, ErrShort
	}
	for _, d := range rest[:size] {
		x = x<<8 | uint64(d)
	}
	rest = rest[size:]
	switch {
	case k == text && x > uint64(len(rest)):
		return 0, 0, b, ErrShort
	case k == float && size == 4:
		x = math.Float64bits(float64(math.Float32frombits(uint32(x))))
	case k == signed:
		if shift := 64 - 8*size; x>>(8*size-1) == 0 {
			k = unsigned
		} else {
			x = uint64(int64(x<<shift) >> shift)
		}
	}
	return k, x, rest, nil
}

// Skip returns what follows the value at the head of b.
func Skip(b []byte) ([]byte, error) { return skip(b, maxDepth) }

func skip(b []byte, depth int) ([]byte, error) {
	k, x, b, err := next(b)
	switch {
	case err != nil || k < text:
		return b, err
	case k == text:
		return b[x:], nil
	case depth == 0:
		return b, errDepth
	case k == mapping:
		x *= 2
	}
	for ; err == nil && x > 0; x-- {
		b, err = skip(b, depth-1)
	}
	return b, err
}

// appendSized appends c and x in the given number of bytes.
func appendSized(b []byte, c byte, x uint64, size int) []byte {
	b = append(b, c)
	for size > 0 {
		size--
		b = append(b, byte(x>>(8*size)))
	}
	return b
}

func appendUint(b []byte, x uint64) []byte {
	switch {
	case x <= math.MaxInt8:
		return append(b, byte(x))
	case x <= math.MaxUint8:
		return appendSized(b, 0xcc, x, 1)
	case x <= math.MaxUint16:
		return appendSized(b, 0xcd, x, 2)
	case x <= math.MaxUint32:
		return appendSized(b, 0xce, x, 4)
	}
	return appendSized(b, 0xcf, x, 8)
}

func appendInt(b []byte, x int64) []byte {
	switch {
	case x >= -32 && x <= math.MaxInt8:
		return append(b, byte(x))
	case x == int64(int8(x)):
		return appendSized(b, 0xd0, uint64(x), 1)
	case x == int64(int16(x)):
		return appendSized(b, 0xd1, uint64(x), 2)
	case x == int64(int32(x)):
		return appendSized(b, 0xd2, uint64(x), 4)
	}
	return appendSized(b, 0xd3, uint64(x), 8)
}

func appendFloat(b []byte, f float64) []byte {
	return binary.BigEndian.AppendUint64(append(b, 0xcb), math.Float64bits(f))
}

func appendBool(b []byte, x bool) []byte {
	if x {
		return append(b, 0xc3)
	}
	return append(b, 0xc2)
}

func appendNull(b []byte) []byte { return append(b, 0xc0) }

func appendText(b []byte, s string) []byte {
	n := uint64(len(s))
	switch {
	case n < 32:
		b = append(b, 0xa0|byte(n))
	case n <= math.MaxUint8:
		b = appendSized(b, 0xd9, n, 1)
	case n <= math.MaxUint16:
		b = appendSized(b, 0xda, n, 2)
	default:
		b = appendSized(b, 0xdb, n, 4)
	}
	return append(b, s...)
}

// appendHead appends the head of a list (0x90) or a map (0x80) of n elements.
func appendHead(b []byte, fix byte, n int) []byte {
	wide := 0xdc + (0x90-fix)>>3 // 0xdc of a list, 0xde of a map
	switch {
	case n < 16:
		return append(b, fix|byte(n))
	case n <= math.MaxUint16:
		return appendSized(b, wide, uint64(n), 2)
	}
	return appendSized(b, wide+1, uint64(n), 4)
}

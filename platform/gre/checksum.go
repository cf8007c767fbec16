package gre

import (
	"encoding/binary"
	"math/bits"
)

// Sum adds b to a sum of 16-bit big-endian words (RFC 1071) that Fold makes a
// checksum of. An odd last byte counts as if a zero followed it, so only the
// last part of a sum may have odd length.
//
// The sum is taken over native words, a word at a time, and its bytes are
// swapped once at the end: RFC 1071 section 2 (B).
func Sum(b []byte, initial uint32) uint32 {
	var s uint64
	if bits.UintSize == 64 {
		var carry uint64
		for len(b) >= 64 {
			w := b[:64]
			s, carry = bits.Add64(s, binary.NativeEndian.Uint64(w[0:]), 0)
			s, carry = bits.Add64(s, binary.NativeEndian.Uint64(w[8:]), carry)
			s, carry = bits.Add64(s, binary.NativeEndian.Uint64(w[16:]), carry)
			s, carry = bits.Add64(s, binary.NativeEndian.Uint64(w[24:]), carry)
			s, carry = bits.Add64(s, binary.NativeEndian.Uint64(w[32:]), carry)
			s, carry = bits.Add64(s, binary.NativeEndian.Uint64(w[40:]), carry)
			s, carry = bits.Add64(s, binary.NativeEndian.Uint64(w[48:]), carry)
			s, carry = bits.Add64(s, binary.NativeEndian.Uint64(w[56:]), carry)
			s += carry // no overflow: a sum that carried is not all ones
			b = b[64:]
		}
		for len(b) >= 8 {
			s, carry = bits.Add64(s, binary.NativeEndian.Uint64(b), 0)
			s += carry
			b = b[8:]
		}
		s = s>>32 + s&0xffffffff
	}
	for len(b) >= 4 {
		s += uint64(binary.NativeEndian.Uint32(b))
		b = b[4:]
	}
	if len(b) > 0 {
		var tail [4]byte
		copy(tail[:], b)
		s += uint64(binary.NativeEndian.Uint32(tail[:]))
	}
	n := fold64(s)
	if littleEndian {
		n = bits.ReverseBytes16(n)
	}
	return initial + uint32(n)
}

// Checksum is the Internet checksum of b (RFC 1071), as it stands in a header.
func Checksum(b []byte) uint16 { return ^Fold(Sum(b, 0)) }

// Fold ends a sum: its one's complement is the checksum. A sum has room for
// 65,000 parts.
func Fold(sum uint32) uint16 {
	sum = sum>>16 + sum&0xffff
	sum += sum >> 16
	return uint16(sum)
}

func fold64(s uint64) uint16 {
	s = s>>32 + s&0xffffffff
	s = s>>32 + s&0xffffffff
	return Fold(uint32(s>>16 + s&0xffff))
}

var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

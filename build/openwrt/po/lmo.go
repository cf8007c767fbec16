package po

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// LMO is the file in which LuCI finds translations, as its po2lmo writes it: the
// translations, each padded to a multiple of 4 bytes; an index of four numbers for
// each (the hash of its key, 1, where it begins, how many bytes it has) in the
// order of the hashes; and where the index begins. Numbers have 4 bytes, in network
// order. What is the same in both languages is left out: LuCI falls back to the key.
func LMO(list []Entry) ([]byte, error) {
	type place struct{ hash, offset, length uint32 }
	var index []place
	var out []byte
	for _, e := range list {
		if e.Key == "" || e.Text == "" || e.Text == e.Key {
			continue
		}
		index = append(index, place{Hash(e.Key), uint32(len(out)), uint32(len(e.Text))})
		out = append(out, e.Text...)
		out = append(out, make([]byte, -len(e.Text)&3)...)
	}
	if len(index) == 0 {
		return nil, errors.New("no translation")
	}
	slices.SortFunc(index, func(a, b place) int { return cmp.Compare(a.hash, b.hash) })
	begin := uint32(len(out))
	for i, p := range index {
		if i > 0 && p.hash == index[i-1].hash {
			return nil, fmt.Errorf("two texts have the hash %#08x, and LuCI knows texts by it alone", p.hash)
		}
		for _, n := range []uint32{p.hash, 1, p.offset, p.length} {
			out = binary.BigEndian.AppendUint32(out, n)
		}
	}
	return binary.BigEndian.AppendUint32(out, begin), nil
}

// Hash is what LuCI knows a key by: Paul Hsieh's SuperFastHash, begun with the
// length, in which a single last byte counts with a sign.
func Hash(key string) uint32 {
	h := uint32(len(key))
	b := []byte(key)
	for ; len(b) >= 4; b = b[4:] {
		h += uint32(binary.LittleEndian.Uint16(b))
		h = h<<16 ^ uint32(binary.LittleEndian.Uint16(b[2:]))<<11 ^ h
		h += h >> 11
	}
	switch len(b) {
	case 3:
		h += uint32(binary.LittleEndian.Uint16(b))
		h ^= h << 16
		h ^= uint32(int8(b[2])) << 18
		h += h >> 11
	case 2:
		h += uint32(binary.LittleEndian.Uint16(b))
		h ^= h << 11
		h += h >> 17
	case 1:
		h += uint32(int8(b[0]))
		h ^= h << 10
		h += h >> 1
	}
	h ^= h << 3
	h += h >> 5
	h ^= h << 4
	h += h >> 17
	h ^= h << 25
	h += h >> 6
	return h
}

package main

import (
	"bytes"
	"compress/flate"
	"crypto/sha512"
	"encoding/binary"
)

// ADB is the format of apk-tools 3, described in its doc/apk-v3.5.scd and
// src/adb.h: a heap of values that refer to each other by offset. A value is 32
// bits, the type in the upper four; an object or list is a count (plus one) and
// its slots.

const (
	schemaPackage = 0x676b6370 // "pckg"
	schemaIndex   = 0x78646e69 // "indx"

	adbInt    = 0x1 << 28
	adbInt32  = 0x2 << 28
	adbInt64  = 0x3 << 28
	adbBlob8  = 0x8 << 28
	adbBlob16 = 0x9 << 28
	adbBlob32 = 0xa << 28
	adbObject = 0xe << 28 // also lists of a type, as mkpkg writes them

	blockADB  = 0
	blockSig  = 1
	blockData = 2
)

// adb is an ADB being written; the heap begins after its header.
type adb struct{ b []byte }

func newADB() *adb { return &adb{make([]byte, 8)} }

func (a *adb) align(n int) {
	for len(a.b)%n != 0 {
		a.b = append(a.b, 0)
	}
}

func (a *adb) blob(data []byte) uint32 {
	n := len(data)
	var at int
	var typ uint32
	switch {
	case n == 0:
		return 0
	case n < 1<<8:
		at, typ = len(a.b), adbBlob8
		a.b = append(a.b, byte(n))
	case n < 1<<16:
		a.align(2)
		at, typ = len(a.b), adbBlob16
		a.b = binary.LittleEndian.AppendUint16(a.b, uint16(n))
	default:
		a.align(4)
		at, typ = len(a.b), adbBlob32
		a.b = binary.LittleEndian.AppendUint32(a.b, uint32(n))
	}
	a.b = append(a.b, data...)
	return typ | uint32(at)
}

func (a *adb) text(s string) uint32 { return a.blob([]byte(s)) }

func (a *adb) integer(v uint64) uint32 {
	switch {
	case v < 1<<28:
		return adbInt | uint32(v)
	case v < 1<<32:
		a.align(4)
		a.b = binary.LittleEndian.AppendUint32(a.b, uint32(v))
		return adbInt32 | uint32(len(a.b)-4)
	}
	a.align(4)
	a.b = binary.LittleEndian.AppendUint64(a.b, v)
	return adbInt64 | uint32(len(a.b)-8)
}

// object writes an object or a list: its slots from number 1 on.
func (a *adb) object(slots ...uint32) uint32 {
	for len(slots) > 0 && slots[len(slots)-1] == 0 {
		slots = slots[:len(slots)-1]
	}
	if len(slots) == 0 {
		return 0
	}
	a.align(4)
	at := len(a.b)
	a.b = binary.LittleEndian.AppendUint32(a.b, uint32(len(slots)+1))
	for _, s := range slots {
		a.b = binary.LittleEndian.AppendUint32(a.b, s)
	}
	return adbObject | uint32(at)
}

// root ends the writing and returns the payload.
func (a *adb) root(value uint32) []byte {
	binary.LittleEndian.PutUint32(a.b[4:], value)
	return a.b
}

// block appends a block, padded to 8.
func block(b []byte, typ uint32, payload ...[]byte) []byte {
	n := 0
	for _, p := range payload {
		n += len(p)
	}
	b = binary.LittleEndian.AppendUint32(b, typ<<30|uint32(n+4))
	for _, p := range payload {
		b = append(b, p...)
	}
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	return b
}

func adbHeader(schema uint32) []byte {
	return binary.LittleEndian.AppendUint32([]byte("ADB."), schema)
}

// signature is the SIG block's payload of an ADB.
func signature(k keys, schema uint32, payload []byte) ([]byte, error) {
	id, err := k.apkID()
	if err != nil {
		return nil, err
	}
	header := append([]byte{0, 4}, id...) // version 0, SHA-512
	sum := sha512.Sum512(payload)
	message := binary.LittleEndian.AppendUint32(nil, schema)
	message = append(append(message, header...), sum[:]...)
	sig, err := k.apkSign(message)
	return append(header, sig...), err
}

// deflated is a whole ADB file in its compressed form.
func deflated(file []byte) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("ADBd")
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(file); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

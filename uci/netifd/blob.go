package netifd

import (
	"encoding/binary"
	"errors"
)

// blobmsg, ubus's encoding (libubox blob.h, blobmsg.h): an attribute is a
// big-endian header (extended bit, id, 24 bits of length that count the header),
// its payload, and padding to 4. An extended one, a blobmsg, has a name before
// its payload, and its id is the type.

const (
	blobArray  = 1
	blobTable  = 2
	blobString = 3
	blobInt64  = 4
	blobInt32  = 5
	blobInt16  = 6
	blobInt8   = 7 // also booleans

	blobExtended = 1 << 31
	maxBlob      = 1 << 20 // of ubusd
	maxDepth     = 16
)

// Table is a JSON object with its fields in order.
type Table []Field

// Field is one of them: Value is a string, bool, int, []any, or Table.
type Field struct {
	Name  string
	Value any
}

// Get returns a field's value, nil when there is none.
func (t Table) Get(name string) any {
	for _, f := range t {
		if f.Name == name {
			return f.Value
		}
	}
	return nil
}

// Text is a field that is a string, "" otherwise.
func (t Table) Text(name string) string {
	s, _ := t.Get(name).(string)
	return s
}

// True says that a field is the boolean true.
func (t Table) True(name string) bool {
	b, _ := t.Get(name).(bool)
	return b
}

// attr appends an attribute with the payload that fill writes.
func attr(b []byte, id uint32, fill func([]byte) []byte) []byte {
	at := len(b)
	b = fill(append(b, 0, 0, 0, 0))
	binary.BigEndian.PutUint32(b[at:], id<<24|uint32(len(b)-at))
	for (len(b)-at)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func attrString(b []byte, id uint32, s string) []byte {
	return attr(b, id, func(b []byte) []byte { return append(append(b, s...), 0) })
}

func attrInt(b []byte, id, v uint32) []byte {
	return attr(b, id, func(b []byte) []byte { return binary.BigEndian.AppendUint32(b, v) })
}

func appendTable(b []byte, t Table) []byte {
	for _, f := range t {
		b = appendField(b, f.Name, f.Value)
	}
	return b
}

func appendField(b []byte, name string, value any) []byte {
	var typ uint32
	var payload func([]byte) []byte
	switch v := value.(type) {
	case string:
		typ, payload = blobString, func(b []byte) []byte { return append(append(b, v...), 0) }
	case bool:
		typ, payload = blobInt8, func(b []byte) []byte {
			if v {
				return append(b, 1)
			}
			return append(b, 0)
		}
	case int:
		typ, payload = blobInt32, func(b []byte) []byte { return binary.BigEndian.AppendUint32(b, uint32(v)) }
	case []any:
		typ, payload = blobArray, func(b []byte) []byte {
			for _, item := range v {
				b = appendField(b, "", item)
			}
			return b
		}
	case Table:
		typ, payload = blobTable, func(b []byte) []byte { return appendTable(b, v) }
	default:
		return b
	}
	return attr(b, blobExtended>>24|typ, func(b []byte) []byte {
		at := len(b) - 4
		b = binary.BigEndian.AppendUint16(b, uint16(len(name)))
		b = append(append(b, name...), 0)
		for (len(b)-at)%4 != 0 {
			b = append(b, 0)
		}
		return payload(b)
	})
}

var errBlob = errors.New("malformed message from ubusd")

// each calls f for every attribute in b.
func each(b []byte, f func(id uint32, extended bool, payload []byte) error) error {
	for len(b) >= 4 {
		h := binary.BigEndian.Uint32(b)
		n := int(h & 0xffffff)
		if n < 4 || n > len(b) {
			return errBlob
		}
		if err := f(h>>24&0x7f, h&blobExtended != 0, b[4:n]); err != nil {
			return err
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	return nil
}

func parseTable(b []byte, depth int) (Table, error) {
	var t Table
	if depth > maxDepth {
		return nil, errBlob
	}
	err := each(b, func(typ uint32, extended bool, p []byte) error {
		if !extended || len(p) < 3 {
			return errBlob
		}
		n := int(binary.BigEndian.Uint16(p))
		start := (4+2+n+1+3)&^3 - 4 // padding counts from the header
		if start > len(p) {
			return errBlob
		}
		f := Field{Name: string(p[2 : 2+n])}
		p = p[start:]
		switch {
		case typ == blobString && len(p) > 0:
			f.Value = string(p[:len(p)-1])
		case typ == blobInt8 && len(p) == 1:
			f.Value = p[0] != 0
		case typ == blobInt16 && len(p) == 2:
			f.Value = int(int16(binary.BigEndian.Uint16(p)))
		case typ == blobInt32 && len(p) == 4:
			f.Value = int(int32(binary.BigEndian.Uint32(p)))
		case typ == blobInt64 && len(p) == 8:
			f.Value = int(binary.BigEndian.Uint64(p))
		case typ == blobTable, typ == blobArray:
			inner, err := parseTable(p, depth+1)
			if err != nil {
				return err
			}
			f.Value = inner
			if typ == blobArray {
				items := make([]any, len(inner))
				for i := range inner {
					items[i] = inner[i].Value
				}
				f.Value = items
			}
		}
		t = append(t, f)
		return nil
	})
	return t, err
}

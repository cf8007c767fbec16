package netifd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// BusSocket is where ubusd listens.
const BusSocket = "/var/run/ubus/ubus.sock"

// Messages and attributes of ubus (ubusmsg.h).
const (
	msgHello  = 0
	msgStatus = 1
	msgData   = 2
	msgLookup = 4
	msgInvoke = 5

	attrStatus  = 1
	attrObjPath = 2
	attrObjID   = 3
	attrMethod  = 4
	attrData    = 7
)

const busTimeout = 5 * time.Second

// Bus is a connection to ubusd, for one caller at a time.
type Bus struct {
	conn    net.Conn
	seq     uint16
	objects map[string]uint32
}

// DialBus connects to ubusd.
func DialBus(path string) (*Bus, error) {
	c, err := net.DialTimeout("unix", path, busTimeout)
	if err != nil {
		return nil, fmt.Errorf("ubus: %w", err)
	}
	b := &Bus{conn: c, objects: map[string]uint32{}}
	c.SetDeadline(time.Now().Add(busTimeout))
	typ, _, _, err := b.receive()
	if err == nil && typ != msgHello {
		err = errBlob
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("ubus: %w", err)
	}
	return b, nil
}

// Close ends the connection.
func (b *Bus) Close() { b.conn.Close() }

// busError is the status of a call that ubusd or the object refused.
type busError int

func (e busError) Error() string {
	words := []string{"", "invalid command", "invalid argument", "method not found", "not found", "no data", "permission denied", "timeout"}
	if e > 0 && int(e) < len(words) {
		return words[e]
	}
	return fmt.Sprintf("error %d", int(e))
}

// Call invokes a method and returns the last table it sent back.
func (b *Bus) Call(object, method string, args Table) (Table, error) {
	t, err := b.call(object, method, args)
	if errors.Is(err, busError(4)) && b.objects[object] != 0 {
		delete(b.objects, object) // its owner came back under another number
		t, err = b.call(object, method, args)
	}
	if err != nil {
		return nil, fmt.Errorf("ubus call %s %s: %w", object, method, err)
	}
	return t, nil
}

func (b *Bus) call(object, method string, args Table) (Table, error) {
	b.conn.SetDeadline(time.Now().Add(busTimeout))
	if b.objects[object] == 0 {
		var id uint32
		err := b.exchange(msgLookup, 0, attrString(nil, attrObjPath, object), func(a uint32, p []byte) error {
			if a == attrObjID && len(p) == 4 {
				id = binary.BigEndian.Uint32(p)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if id == 0 {
			return nil, busError(4)
		}
		b.objects[object] = id
	}
	id := b.objects[object]
	body := attrInt(nil, attrObjID, id)
	body = attrString(body, attrMethod, method)
	body = attr(body, attrData, func(b []byte) []byte { return appendTable(b, args) })
	var reply Table
	err := b.exchange(msgInvoke, id, body, func(a uint32, p []byte) (err error) {
		if a == attrData {
			reply, err = parseTable(p, 0)
		}
		return err
	})
	return reply, err
}

// exchange sends one message and reads what comes back up to its status.
func (b *Bus) exchange(typ byte, peer uint32, body []byte, data func(attr uint32, payload []byte) error) error {
	b.seq++
	m := []byte{0, typ, byte(b.seq >> 8), byte(b.seq)}
	m = binary.BigEndian.AppendUint32(m, peer)
	m = binary.BigEndian.AppendUint32(m, uint32(len(body)+4))
	m = append(m, body...)
	if _, err := b.conn.Write(m); err != nil {
		return err
	}
	for {
		typ, seq, body, err := b.receive()
		if err != nil {
			return err
		}
		if seq != b.seq {
			continue // a late answer
		}
		switch typ {
		case msgData:
			err = each(body, func(a uint32, _ bool, p []byte) error { return data(a, p) })
			if err != nil {
				return err
			}
		case msgStatus:
			code := -1
			err = each(body, func(a uint32, _ bool, p []byte) error {
				if a == attrStatus && len(p) == 4 {
					code = int(binary.BigEndian.Uint32(p))
				}
				return nil
			})
			switch {
			case err != nil:
				return err
			case code != 0:
				return busError(code)
			}
			return nil
		}
	}
}

func (b *Bus) receive() (typ byte, seq uint16, body []byte, err error) {
	var h [12]byte
	if _, err = io.ReadFull(b.conn, h[:]); err != nil {
		return 0, 0, nil, err
	}
	n := int(binary.BigEndian.Uint32(h[8:]) & 0xffffff)
	if h[0] != 0 || n < 4 || n > maxBlob {
		return 0, 0, nil, errBlob
	}
	body = make([]byte, (n-4+3)&^3)
	_, err = io.ReadFull(b.conn, body)
	return h[1], binary.BigEndian.Uint16(h[2:]), body[:n-4], err
}

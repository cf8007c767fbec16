package labnet

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

// strongSwan's control protocol, as far as listing SAs needs it: packets of a
// length (32 bits), a type, a name and a message of nested sections. swanctl
// does the same, but a process for each look is what a virtual machine is
// slowest at.

// Types of packets.
const (
	viciRequest       = 0
	viciResponse      = 1
	viciEventRegister = 3
	viciEventConfirm  = 5
	viciEvent         = 7
)

// viciSection is a decoded message: values are string, []string or
// *viciSection, in the order of keys.
type viciSection struct {
	keys   []string
	values map[string]any
}

func (s *viciSection) text(key string) string {
	text, _ := s.values[key].(string)
	return text
}

func (s *viciSection) section(key string) *viciSection {
	if sub, ok := s.values[key].(*viciSection); ok {
		return sub
	}
	return &viciSection{}
}

// viciRekey has charon rekey an SA: kind is "ike" or "child", name that of its
// configuration. The answer comes when the request is on its way.
func viciRekey(path, kind, name string) error {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	body := append([]byte{viciRequest, byte(len("rekey"))}, "rekey"...)
	body = append(append(body, 3, byte(len(kind))), kind...)
	body = append(binary.BigEndian.AppendUint16(body, uint16(len(name))), name...)
	if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)); err != nil {
		return err
	}
	_, _, err = viciReceive(conn)
	return err
}

// viciList returns the message of every "list-sa" event of one list-sas
// command.
func viciList(path string) ([]*viciSection, error) {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if err := viciSend(conn, viciEventRegister, "list-sa"); err != nil {
		return nil, err
	}
	if kind, _, err := viciReceive(conn); err != nil || kind != viciEventConfirm {
		return nil, fmt.Errorf("vici: registering for list-sa: answer %d, %w", kind, err)
	}
	if err := viciSend(conn, viciRequest, "list-sas"); err != nil {
		return nil, err
	}
	var list []*viciSection
	for {
		kind, body, err := viciReceive(conn)
		switch {
		case err != nil:
			return nil, err
		case kind == viciResponse:
			return list, nil
		case kind == viciEvent && len(body) > 0 && len(body) > int(body[0]):
			s, _, err := viciParse(body[1+body[0]:])
			if err != nil {
				return nil, err
			}
			list = append(list, s)
		}
	}
}

func viciSend(w io.Writer, kind byte, name string) error {
	b := binary.BigEndian.AppendUint32(nil, uint32(2+len(name)))
	_, err := w.Write(append(append(b, kind, byte(len(name))), name...))
	return err
}

func viciReceive(r io.Reader) (kind byte, body []byte, err error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, fmt.Errorf("vici: %w", err)
	}
	size := binary.BigEndian.Uint32(head[:])
	if size == 0 || size > 512<<10 {
		return 0, nil, fmt.Errorf("vici: packet of %d bytes", size)
	}
	body = make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, nil, fmt.Errorf("vici: %w", err)
	}
	return body[0], body[1:], nil
}

// viciParse reads elements up to the end of the section or the message.
func viciParse(b []byte) (*viciSection, []byte, error) {
	const (
		sectionStart = 1
		sectionEnd   = 2
		keyValue     = 3
		listStart    = 4
		listItem     = 5
		listEnd      = 6
	)
	s := &viciSection{values: map[string]any{}}
	name := func() (string, bool) {
		if len(b) < 1 || len(b) < 1+int(b[0]) {
			return "", false
		}
		text := string(b[1 : 1+b[0]])
		b = b[1+b[0]:]
		return text, true
	}
	value := func() (string, bool) {
		if len(b) < 2 || len(b) < 2+int(binary.BigEndian.Uint16(b)) {
			return "", false
		}
		n := 2 + int(binary.BigEndian.Uint16(b))
		text := string(b[2:n])
		b = b[n:]
		return text, true
	}
	bad := fmt.Errorf("vici: malformed message")
	list := ""
	for len(b) > 0 {
		kind := b[0]
		b = b[1:]
		switch kind {
		case sectionEnd:
			return s, b, nil
		case sectionStart:
			key, ok := name()
			if !ok {
				return nil, nil, bad
			}
			sub, rest, err := viciParse(b)
			if err != nil {
				return nil, nil, err
			}
			b = rest
			s.keys, s.values[key] = append(s.keys, key), sub
		case keyValue:
			key, ok := name()
			text, ok2 := value()
			if !ok || !ok2 {
				return nil, nil, bad
			}
			s.keys, s.values[key] = append(s.keys, key), text
		case listStart:
			key, ok := name()
			if !ok {
				return nil, nil, bad
			}
			list = key
			s.keys, s.values[key] = append(s.keys, key), []string{}
		case listItem:
			text, ok := value()
			items, open := s.values[list].([]string)
			if !ok || !open {
				return nil, nil, bad
			}
			s.values[list] = append(items, text)
		case listEnd:
			list = ""
		default:
			return nil, nil, bad
		}
	}
	return s, nil, nil
}

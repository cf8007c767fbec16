package rpcd

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"

	"github.com/tinylib/msgp/msgp"

	"greseal/tunnel/status"
	"greseal/uci"
)

// maxMessage is what ubusd carries, less its own headers. It hangs up on who sends
// more, and rpcd then serves nobody until it is restarted.
const maxMessage = 1<<20 - 1024

// maxProblems is how many of a config's mistakes the list names: a mistake in
// [defaults] may be one of each tunnel.
const maxProblems = 50

// want names fields of a map: a nil one is taken whole, another is a map of which
// its own are.
type want map[string]want

// listed is what a list of tunnels shows.
var listed = want{
	"name": nil, "source": nil, "netifd": nil, "enabled": nil, "desired": nil, "state": nil, "waiting_for": nil, "since": nil,
	"next_attempt": nil, "reason": nil, "remedy": nil, "commands": nil, "code": nil,
	"peer":       {"address": nil, "configured": nil, "remote_id": nil, "proved": nil, "last_heard": nil},
	"ike":        {"suite": nil},
	"child":      {"suite": nil, "rekey": nil},
	"outside":    {"encap": nil, "encap_why": nil},
	"mtu":        {"bytes": nil, "how": nil, "peer": nil, "decides": nil, "differs": nil},
	"in":         {"bytes": nil},
	"out":        {"bytes": nil},
	"contention": nil,
	"differs":    nil,
	"guards":     nil, // those that are open
	"history":    nil, // when it is asked for
	"drops":      {"replay": nil, "integrity": nil, "selector": nil, "malformed": nil, "no_sa": nil, "too_big": nil, "queue": nil, "key": nil, "gre": nil},
}

// errNothing is why no daemon runs on a router without tunnels.
var errNothing = errors.New("there is no tunnel")

// list answers with the time, the daemon and what a list of its tunnels shows, from the one
// with the index "from" on: as many as one message holds, and in "next" the index
// of the first that had no room, 0 when there is none. Fields are those of status, with
// each tunnel's history when "history" is true; numbers that are zero, empty texts and
// what is not there are left out.
func (p *Plugin) list(c *call) error {
	raw, reply, err := p.ask(status.Request{Op: status.OpStatus, History: c.History})
	if errors.Is(err, status.ErrNoDaemon) {
		if any, _, cerr := uci.Configured(p.Config); !any && (cerr == nil || errors.Is(cerr, fs.ErrNotExist)) {
			return errNothing
		}
	}
	if err != nil {
		return err
	}
	d := &reply.Snapshot.Daemon
	if more := len(d.ConfigProblems) - maxProblems; more > 0 {
		d.ConfigProblems = append(d.ConfigProblems[:maxProblems], fmt.Sprintf("and %d more; greseal check shows them all", more))
	}
	daemon, err := d.MarshalMsg(nil)
	if err != nil {
		return err
	}
	daemon, err = object(daemon, "")
	if err != nil {
		return err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"running":true,"time":%d,"daemon":`, reply.Snapshot.Time)
	b.Write(daemon)
	b.WriteString(`,"tunnels":[`)

	n, rest, err := msgp.ReadArrayHeaderBytes(msgp.Locate("tunnels", msgp.Locate("snapshot", raw)))
	if err != nil {
		return err
	}
	next, room, from := 0, maxMessage-blobBound(b.Bytes())-100, max(c.From, 0)
	for i := range int(n) {
		if i < from {
			if rest, err = msgp.Skip(rest); err != nil {
				return err
			}
			continue
		}
		var t bytes.Buffer
		if rest, err = listed.pick(&t, rest); err != nil {
			return err
		}
		if room -= blobBound(t.Bytes()) + len(",") + fieldBound; room < 0 && i > from {
			next = i
			break
		}
		if i > from {
			b.WriteByte(',')
		}
		b.Write(t.Bytes())
	}
	fmt.Fprintf(&b, `],"next":%d}`, next)
	c.object(b.Bytes())
	return nil
}

// pick appends those fields of the MessagePack map at the head of b that are named
// and not zero, as a JSON object, and returns what follows the map.
func (w want) pick(out *bytes.Buffer, b []byte) ([]byte, error) {
	n, b, err := msgp.ReadMapHeaderBytes(b)
	if err != nil {
		return nil, err
	}
	out.WriteByte('{')
	empty := true
	for range n {
		key, value, err := msgp.ReadStringZC(b)
		if err != nil {
			return nil, err
		}
		if b, err = msgp.Skip(value); err != nil {
			return nil, err
		}
		value = value[:len(value)-len(b)]
		if string(key) == "guards" {
			value = open(value)
		}
		inner, ok := w[string(key)]
		if !ok || zero(value) {
			continue
		}
		if !empty {
			out.WriteByte(',')
		}
		empty = false
		fmt.Fprintf(out, "%q:", key)
		if inner != nil {
			_, err = inner.pick(out, value)
		} else {
			_, err = msgp.UnmarshalAsJSON(out, value)
		}
		if err != nil {
			return nil, err
		}
	}
	out.WriteByte('}')
	return b, nil
}

// open is the part of a MessagePack array of guards that are not in place.
func open(guards []byte) []byte {
	n, rest, err := msgp.ReadArrayHeaderBytes(guards)
	var found []byte
	some := uint32(0)
	for ; n > 0 && err == nil; n-- {
		g := rest
		if rest, err = msgp.Skip(g); err != nil {
			break
		}
		if in, _, _ := msgp.ReadBoolBytes(msgp.Locate("in_place", g)); !in {
			found = append(found, g[:len(g)-len(rest)]...)
			some++
		}
	}
	return append(msgp.AppendArrayHeader(nil, some), found...)
}

// zero says that a MessagePack value is nil, false, 0, "" or an empty list.
func zero(value []byte) bool {
	return len(value) == 1 && bytes.IndexByte([]byte{0xc0, 0xc2, 0x00, 0xa0, 0x90}, value[0]) >= 0
}

// fieldBound is by how many bytes a value is at most longer in blobmsg than in
// JSON: a header, the length of its name, and padding.
const fieldBound = 12

// blobBound is at least the length that a JSON object has as a blobmsg.
func blobBound(b []byte) int {
	n, inString := len(b), false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			inString = !inString
		case inString && c == '\\':
			i++
		case !inString && (c == ',' || c == '{' || c == '['):
			n += fieldBound
		}
	}
	return n
}

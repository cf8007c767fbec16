package status

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/tinylib/msgp/msgp"
)

// Operations a client can ask for.
const (
	OpStatus = "status" // one snapshot
	OpWatch  = "watch"  // a snapshot each Interval seconds and after each event
	OpEvents = "events" // the last Last events, then those to come when Follow

	OpHandshakes = "handshakes" // the latest handshakes of the tunnel, or of all, decoded

	OpUp      = "up"      // want the tunnel up, whatever the config says
	OpDown    = "down"    // want it down; its guards stay unless Open
	OpRestart = "restart" // delete its SAs and make them anew
	OpReload  = "reload"  // read the config file again; answered when it is carried out

	OpDoctorStart = "doctor-start" // examine the tunnel, or all; the reply's Job is to be polled
	OpLeakStart   = "leak-start"   // try to send GRE in the clear to the tunnel's peer
	OpDoctorPoll  = "doctor-poll"  // what Job has found so far

	OpPlan          = "plan"            // what OpReload would do; changes nothing
	OpPlanCandidate = "plan-candidate"  // what OpCandidate would do; changes nothing
	OpCandidate     = "apply-candidate" // run the candidate, and go back after Seconds unless it is confirmed
	OpHold          = "hold"            // the running candidate's digest; no going back for some seconds, in which it is saved
	OpConfirm       = "confirm"         // keep the candidate of Digest, which is in the config file now
	OpRollback      = "rollback"        // go back to the config before the candidate, now
)

// Limits of a request.
const (
	MaxRequest  = 4096 // bytes of a whole request
	maxName     = 64   // bytes of a tunnel's name, more than any interface has
	maxLast     = 1000 // events asked for
	maxInterval = 3600 // seconds
	maxJob      = 1 << 30
	MinSeconds  = 5    // of a candidate's time
	MaxSeconds  = 3600 // of a candidate's time
)

// Request is what a client asks, one map on the wire with the keys v, op, tunnel,
// open, last, follow, interval, job, target, seconds, client, digest, force, netifd and
// history; keys at their zero value are left out.
type Request struct {
	Op       string
	Tunnel   string // empty for all, where that makes sense
	Open     bool   // down: also take away the guards
	Last     int    // events: how many of the past
	Follow   bool   // events: keep printing new events as they happen
	Interval int    // watch: seconds between snapshots, 1 by default
	Job      int    // doctor-poll: the job's ID
	Target   string // doctor-start: address inside the tunnel to ping
	Seconds  int    // apply-candidate: time to confirm it in
	Client   string // apply-candidate: address whose SSH session must not be lost
	Digest   string // confirm: SHA-256 of the config file, 64 hex digits
	Force    bool   // hold: also with a tunnel down that was up before
	Netifd   bool   // up, down: netifd asks, for an interface of its own
	History  bool   // status: also the History of each tunnel
}

// Changes reports whether the request changes anything or makes the daemon send
// something: only root may.
func (r Request) Changes() bool {
	switch r.Op {
	case OpStatus, OpWatch, OpEvents, OpHandshakes, OpDoctorPoll:
		return false
	}
	return true
}

// requestKey is one key of a request on the wire.
type requestKey struct {
	name   string
	set    func(*Request) bool
	append func(*Request, []byte) []byte
	read   func(*Request, []byte) ([]byte, error)
}

// requestKeys are all keys, in the order in which they are written. The first two
// must be there.
var requestKeys = [...]requestKey{
	{"v", always, func(_ *Request, b []byte) []byte { return msgp.AppendInt(b, Version) }, readVersion},
	{"op", always, func(r *Request, b []byte) []byte { return msgp.AppendString(b, r.Op) }, wordKey("op", func(r *Request) *string { return &r.Op }).read},
	wordKey("tunnel", func(r *Request) *string { return &r.Tunnel }),
	flagKey("open", func(r *Request) *bool { return &r.Open }),
	numberKey("last", maxLast, func(r *Request) *int { return &r.Last }),
	flagKey("follow", func(r *Request) *bool { return &r.Follow }),
	numberKey("interval", maxInterval, func(r *Request) *int { return &r.Interval }),
	numberKey("job", maxJob, func(r *Request) *int { return &r.Job }),
	wordKey("target", func(r *Request) *string { return &r.Target }),
	numberKey("seconds", MaxSeconds, func(r *Request) *int { return &r.Seconds }),
	wordKey("client", func(r *Request) *string { return &r.Client }),
	wordKey("digest", func(r *Request) *string { return &r.Digest }),
	flagKey("force", func(r *Request) *bool { return &r.Force }),
	flagKey("netifd", func(r *Request) *bool { return &r.Netifd }),
	flagKey("history", func(r *Request) *bool { return &r.History }),
}

func always(*Request) bool { return true }

func readVersion(_ *Request, b []byte) ([]byte, error) {
	v, rest, err := readInt(b, 1<<30)
	if err == nil && v != Version {
		err = fmt.Errorf("request is of schema version %d, this daemon speaks %d: use the greseal of the same version", v, Version)
	}
	return rest, err
}

func wordKey(name string, of func(*Request) *string) requestKey {
	return requestKey{name,
		func(r *Request) bool { return *of(r) != "" },
		func(r *Request, b []byte) []byte { return msgp.AppendString(b, *of(r)) },
		func(r *Request, b []byte) (rest []byte, err error) { *of(r), rest, err = readWord(b); return rest, err },
	}
}

func flagKey(name string, of func(*Request) *bool) requestKey {
	return requestKey{name,
		func(r *Request) bool { return *of(r) },
		func(r *Request, b []byte) []byte { return msgp.AppendBool(b, *of(r)) },
		func(r *Request, b []byte) (rest []byte, err error) {
			*of(r), rest, err = msgp.ReadBoolBytes(b)
			return rest, err
		},
	}
}

func numberKey(name string, most int64, of func(*Request) *int) requestKey {
	return requestKey{name,
		func(r *Request) bool { return *of(r) != 0 },
		func(r *Request, b []byte) []byte { return msgp.AppendInt(b, *of(r)) },
		func(r *Request, b []byte) (rest []byte, err error) {
			*of(r), rest, err = readInt(b, most)
			return rest, err
		},
	}
}

// Append appends the request's MessagePack form to b.
func (r Request) Append(b []byte) []byte {
	n := uint32(0)
	for _, k := range requestKeys {
		if k.set(&r) {
			n++
		}
	}
	b = msgp.AppendMapHeader(b, n)
	for _, k := range requestKeys {
		if k.set(&r) {
			b = k.append(&r, msgp.AppendString(b, k.name))
		}
	}
	return b
}

// ErrShort says that a request is not complete yet.
var ErrShort = errors.New("request is incomplete")

// ParseRequest decodes the request at the head of b and returns what follows it.
// It accepts exactly one flat map with the keys of Request, each at most once and
// of its type, and returns ErrShort while b could still become one by growing. An
// unknown key is an error: a client that asks for more than this daemon knows is
// told so instead of getting something else done.
func ParseRequest(b []byte) (Request, []byte, error) {
	r, rest, err := parseRequest(b)
	if errors.Is(err, msgp.ErrShortBytes) {
		if len(b) >= MaxRequest {
			return Request{}, nil, fmt.Errorf("request is larger than %d bytes", MaxRequest)
		}
		return Request{}, b, ErrShort
	}
	if err == nil && len(b)-len(rest) > MaxRequest {
		err = fmt.Errorf("request is larger than %d bytes", MaxRequest)
	}
	if err != nil {
		return Request{}, nil, err
	}
	return r, rest, nil
}

// operations are those that a request may ask for.
var operations = [...]string{OpStatus, OpWatch, OpEvents, OpHandshakes, OpUp, OpDown, OpRestart, OpReload, OpDoctorStart, OpLeakStart,
	OpDoctorPoll, OpPlan, OpPlanCandidate, OpCandidate, OpHold, OpConfirm, OpRollback}

func parseRequest(b []byte) (r Request, rest []byte, err error) {
	n, b, err := msgp.ReadMapHeaderBytes(b)
	if err != nil {
		return r, nil, notA("a map", err)
	}
	if n > uint32(len(requestKeys)) {
		return r, nil, fmt.Errorf("request has %d keys, at most %d are known", n, len(requestKeys))
	}
	var seen [len(requestKeys)]bool
	for range n {
		var name []byte
		if name, b, err = readText(b); err != nil {
			return r, nil, notA("a string as key", err)
		}
		i := slices.IndexFunc(requestKeys[:], func(k requestKey) bool { return k.name == string(name) })
		if i < 0 {
			return r, nil, fmt.Errorf("request has the unknown key %.40q", name)
		}
		if seen[i] {
			return r, nil, fmt.Errorf("request has the key %q twice", name)
		}
		seen[i] = true
		if b, err = requestKeys[i].read(&r, b); err != nil {
			return r, nil, notA("key "+requestKeys[i].name+" of its type", err)
		}
	}
	if !seen[0] || !seen[1] {
		return r, nil, errors.New(`request lacks "v" or "op"`)
	}
	if !slices.Contains(operations[:], r.Op) {
		return r, nil, fmt.Errorf("request asks for the unknown op %.40q", r.Op)
	}
	return r, b, nil
}

func readInt(b []byte, max int64) (int, []byte, error) {
	v, rest, err := msgp.ReadInt64Bytes(b)
	if err == nil && (v < 0 || v > max) {
		err = fmt.Errorf("number %d is out of range 0 to %d", v, max)
	}
	return int(v), rest, err
}

// readText reads a string within b. The library takes the length of a str32 for
// an int unchecked, which is negative from 2 GB on where an int has 32 bits; no
// string of a request is that long, so one that says so is refused here.
func readText(b []byte) (text, rest []byte, err error) {
	const str32 = 0xdb // its length follows in 4 bytes, network order
	if len(b) >= 5 && b[0] == str32 && binary.BigEndian.Uint32(b[1:]) > MaxRequest {
		return nil, nil, fmt.Errorf("request is larger than %d bytes", MaxRequest)
	}
	return msgp.ReadStringZC(b)
}

func readWord(b []byte) (string, []byte, error) {
	v, rest, err := readText(b)
	if err != nil {
		return "", nil, err
	}
	if len(v) > maxName {
		return "", nil, fmt.Errorf("string is longer than %d bytes", maxName)
	}
	for _, c := range v {
		if c < 0x20 || c == 0x7f {
			return "", nil, errors.New("string has a control character")
		}
	}
	return string(v), rest, nil
}

func notA(what string, err error) error {
	if errors.Is(err, msgp.ErrShortBytes) {
		return err
	}
	return fmt.Errorf("request: expected %s: %w", what, err)
}

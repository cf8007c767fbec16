package status

import (
	"errors"
	"fmt"
	"slices"

	"greseal/tunnel/status/pack"
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
	OpLeakStart   = "leak-start"   // try to send GRE in clear to the tunnel's peer
	OpDoctorPoll  = "doctor-poll"  // what Job has found so far

	OpPlan          = "plan"            // what OpReload would do; changes nothing
	OpPlanCandidate = "plan-candidate"  // what OpCandidate would do; changes nothing
	OpCandidate     = "apply-candidate" // run the candidate, and go back after Seconds unless it is confirmed
	OpHold          = "hold"            // the running candidate's digest; no going back for some seconds, in which it is saved
	OpConfirm       = "confirm"         // keep the candidate of Digest, which stands in the config file now
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
// open, last, follow, interval, job, target, seconds, client, digest and force; keys
// at their zero value are left out.
type Request struct {
	Op       string `msg:"op"`
	Tunnel   string `msg:"tunnel,omitempty"`   // empty for all, where that makes sense
	Open     bool   `msg:"open,omitempty"`     // down: also take away the guards
	Last     int    `msg:"last,omitempty"`     // events: how many of the past
	Follow   bool   `msg:"follow,omitempty"`   // events: go on with those to come
	Interval int    `msg:"interval,omitempty"` // watch: seconds between snapshots, 1 by default
	Job      int    `msg:"job,omitempty"`      // doctor-poll: the job's ID
	Target   string `msg:"target,omitempty"`   // doctor-start: address inside the tunnel to ping
	Seconds  int    `msg:"seconds,omitempty"`  // apply-candidate: time to confirm it in
	Client   string `msg:"client,omitempty"`   // apply-candidate: address whose SSH session must not be lost
	Digest   string `msg:"digest,omitempty"`   // confirm: SHA-256 of the config file, 64 hex digits
	Force    bool   `msg:"force,omitempty"`    // hold: also with a tunnel down that was up before
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

// Append appends the request's MessagePack form to b.
func (r Request) Append(b []byte) []byte {
	return pack.Append(b, struct {
		Version int `msg:"v"`
		Request
	}{Version, r})
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
	if errors.Is(err, pack.ErrShort) {
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

// requestKeys are the keys in the order of their bits in parseRequest's seen.
var requestKeys = [...]string{"v", "op", "tunnel", "open", "last", "follow", "interval", "job", "target",
	"seconds", "client", "digest", "force"}

func parseRequest(b []byte) (r Request, rest []byte, err error) {
	var seen uint
	rest, err = pack.Each(b, len(requestKeys), func(key string, value []byte) error {
		bit := slices.Index(requestKeys[:], key)
		if bit < 0 {
			return errors.New("this daemon does not know it")
		}
		if seen&(1<<bit) != 0 {
			return errors.New("it is there twice")
		}
		seen |= 1 << bit
		return r.set(key, value)
	})
	var at *pack.TypeError
	switch {
	case errors.As(err, &at):
		return r, nil, fmt.Errorf("request: key %.40q: %w", at.Key, at.Err)
	case err != nil:
		return r, nil, fmt.Errorf("request: a map of at most %d keys was expected: %w", len(requestKeys), err)
	}
	if seen&3 != 3 {
		return r, nil, errors.New(`request lacks "v" or "op"`)
	}
	switch r.Op {
	case OpStatus, OpWatch, OpEvents, OpHandshakes, OpUp, OpDown, OpRestart, OpReload, OpDoctorStart, OpLeakStart, OpDoctorPoll,
		OpPlan, OpPlanCandidate, OpCandidate, OpHold, OpConfirm, OpRollback:
	default:
		return r, nil, fmt.Errorf("request asks for the unknown op %.40q", r.Op)
	}
	return r, rest, nil
}

// set sets the field of one key.
func (r *Request) set(key string, value []byte) error {
	switch key {
	case "v":
		var v int
		if err := readInt(value, &v, 1<<30); err != nil {
			return err
		}
		if v != Version {
			return fmt.Errorf("it is of schema version %d, this daemon speaks %d: use the greseal of the same version", v, Version)
		}
	case "op":
		return readWord(value, &r.Op)
	case "tunnel":
		return readWord(value, &r.Tunnel)
	case "open":
		return pack.Read(value, &r.Open)
	case "last":
		return readInt(value, &r.Last, maxLast)
	case "follow":
		return pack.Read(value, &r.Follow)
	case "interval":
		return readInt(value, &r.Interval, maxInterval)
	case "job":
		return readInt(value, &r.Job, maxJob)
	case "target":
		return readWord(value, &r.Target)
	case "seconds":
		return readInt(value, &r.Seconds, MaxSeconds)
	case "client":
		return readWord(value, &r.Client)
	case "digest":
		return readWord(value, &r.Digest)
	case "force":
		return pack.Read(value, &r.Force)
	}
	return nil
}

func readInt(value []byte, v *int, max int) error {
	err := pack.Read(value, v)
	if err == nil && (*v < 0 || *v > max) {
		err = fmt.Errorf("number %d is out of range 0 to %d", *v, max)
	}
	return err
}

func readWord(value []byte, v *string) error {
	if err := pack.Read(value, v); err != nil {
		return err
	}
	if len(*v) > maxName {
		return fmt.Errorf("string is longer than %d bytes", maxName)
	}
	for i := range len(*v) {
		if c := (*v)[i]; c < 0x20 || c == 0x7f {
			return errors.New("string has a control character")
		}
	}
	return nil
}

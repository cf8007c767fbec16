package status

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/tinylib/msgp/msgp"
)

func TestRequestsSurviveTheWire(t *testing.T) {
	for _, r := range []Request{
		{Op: OpStatus},
		{Op: OpStatus, Tunnel: "hq", History: true},
		{Op: OpWatch, Interval: 5},
		{Op: OpEvents, Last: 20, Follow: true, Tunnel: "hq"},
		{Op: OpUp, Tunnel: "hq"},
		{Op: OpDown, Tunnel: "hq", Open: true},
		{Op: OpRestart},
		{Op: OpReload},
		{Op: OpDoctorStart, Tunnel: "hq", Target: "10.255.0.1"},
		{Op: OpLeakStart, Tunnel: "hq"},
		{Op: OpDoctorPoll, Job: 7},
		{Op: OpPlanCandidate, Client: "2001:db8::1"},
		{Op: OpCandidate, Seconds: 60, Client: "192.0.2.7"},
		{Op: OpHold, Force: true},
		{Op: OpConfirm, Digest: strings.Repeat("0f", 32)},
	} {
		b := r.Append(nil)
		got, rest, err := ParseRequest(append(b, "tail"...))
		if err != nil || got != r || string(rest) != "tail" {
			t.Errorf("%+v came back as %+v, rest %q, error %v", r, got, rest, err)
		}
		for n := range b {
			if _, _, err := ParseRequest(b[:n]); !errors.Is(err, ErrShort) {
				t.Errorf("%+v cut to %d of %d bytes: error %v, want ErrShort", r, n, len(b), err)
			}
		}
	}
}

func TestBadRequestsAreRefusedWithAReason(t *testing.T) {
	pairs := func(kv ...any) []byte {
		b := msgp.AppendMapHeader(nil, uint32(len(kv)/2))
		for _, x := range kv {
			b, _ = msgp.AppendIntf(b, x)
		}
		return b
	}
	nested := msgp.AppendString(msgp.AppendMapHeader(nil, 2), "op")
	for range 2000 {
		nested = msgp.AppendArrayHeader(nested, 1)
	}
	for _, c := range []struct {
		what string
		b    []byte
		want string
	}{
		{"no map", msgp.AppendString(nil, "status"), "expected a map"},
		{"text", []byte("GET / HTTP/1.1\r\n\r\n"), "expected a map"},
		{"no op", pairs("v", 1), "lacks"},
		{"no version", pairs("op", "status"), "lacks"},
		{"other version", pairs("v", 2, "op", "status"), "schema version 2"},
		{"unknown op", pairs("v", 1, "op", "selfdestruct"), `unknown op "selfdestruct"`},
		{"unknown key", pairs("v", 1, "op", "down", "dry_run", true), `unknown key "dry_run"`},
		{"key twice", pairs("v", 1, "op", "down", "op", "up"), `"op" twice`},
		{"key of another type", pairs("v", 1, "op", 7), "key op of its type"},
		{"number as key", pairs(1, 1), "a string as key"},
		{"negative number", pairs("v", 1, "op", "events", "last", -1), "out of range"},
		{"large number", pairs("v", 1, "op", "events", "last", int64(1)<<40), "out of range"},
		{"long name", pairs("v", 1, "op", "up", "tunnel", strings.Repeat("x", 65)), "longer than 64"},
		{"control character", pairs("v", 1, "op", "up", "tunnel", "a\x1b[2J"), "control character"},
		{"too many keys", pairs("a", 1, "b", 1, "c", 1, "d", 1, "e", 1, "f", 1, "g", 1, "h", 1, "i", 1, "j", 1, "k", 1, "l", 1, "m", 1, "n", 1, "o", 1, "p", 1, "q", 1, "r", 1, "s", 1, "t", 1), "has 20 keys"},
		{"huge map header", msgp.AppendMapHeader(nil, 1<<31), "keys"},
		{"nested", nested, "key op of its type"},
		{"endless string", append(msgp.AppendMapHeader(nil, 2), bytes.Repeat([]byte{0xdb}, MaxRequest)...), "larger than 4096"},
	} {
		_, _, err := ParseRequest(c.b)
		if err == nil || errors.Is(err, ErrShort) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.what, err, c.want)
		}
	}
}

// FuzzRequest holds that no input makes the decoder panic, and that what it
// accepts means the same when it is encoded again.
func FuzzRequest(f *testing.F) {
	for _, r := range []Request{
		{Op: OpStatus},
		{Op: OpWatch, Interval: 3600},
		{Op: OpEvents, Last: 1000, Follow: true, Tunnel: "hq"},
		{Op: OpDown, Tunnel: "branch-2", Open: true},
		{Op: OpReload},
	} {
		f.Add(r.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, rest, err := ParseRequest(b)
		if errors.Is(err, ErrShort) && len(b) >= MaxRequest {
			t.Fatalf("asks for more than %d bytes", MaxRequest)
		}
		if err != nil {
			return
		}
		if !bytes.HasSuffix(b, rest) {
			t.Fatal("the rest is not the end of the input")
		}
		again, tail, err := ParseRequest(r.Append(nil))
		if err != nil || again != r || len(tail) != 0 {
			t.Fatalf("%+v became %+v: %v", r, again, err)
		}
	})
}

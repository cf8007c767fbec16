package status

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// However many of those connect who may only look, root and the daemon's own
// process find a place, and so does another user.
func TestReadersLeaveOthersTheirPlaces(t *testing.T) {
	s := &Server{owner: 0}
	of := func(uid uint32, pid int) party { return s.partyOf(&unix.Ucred{Uid: uid, Pid: int32(pid)}) }
	own, root, one, two := of(0, os.Getpid()), of(0, 1), of(1000, 7), of(1001, 8)
	if one != of(1000, os.Getpid()) {
		t.Error("a thread with another user is not a guest")
	}
	for range 100 {
		s.places.enter(one)
	}
	r, ok := s.places.enter(one)
	if ok || !strings.Contains(r.Error, "12 clients of user 1000") {
		t.Errorf("a reader beyond its share: %v, %+v", ok, r)
	}
	for _, who := range []party{own, root, two} {
		if r, ok := s.places.enter(who); !ok {
			t.Errorf("%+v is turned away: %s", who, r.Error)
		}
	}
	// All users together have no more than theirs.
	for uid := range uint32(50) {
		for range 10 {
			s.places.enter(of(2000+uid, 9))
		}
	}
	if s.places.guests != maxGuests {
		t.Errorf("%d readers are in, want %d", s.places.guests, maxGuests)
	}
	if _, ok := s.places.enter(root); !ok {
		t.Error("root is turned away")
	}
	for range 12 {
		s.places.leave(one)
	}
	if _, ok := s.places.enter(one); !ok {
		t.Error("places that came free are not given again")
	}
}

// Who follows events does not keep the same user from asking.
func TestStreamsLeavePlacesForQuestions(t *testing.T) {
	_, path := serve(t, twoTunnels)
	for range maxOwn - keptFree {
		c := dial(t, path)
		if err := c.Send(Request{Op: OpEvents, Follow: true}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Next(); err != nil {
			t.Fatal(err)
		}
	}
	c := dial(t, path)
	c.Send(Request{Op: OpWatch})
	if _, err := c.Next(); err == nil || !strings.Contains(err.Error(), "12 clients follow") {
		t.Errorf("one more that follows: %v", err)
	}
	if _, err := dial(t, path).Call(Request{Op: OpStatus}); err != nil {
		t.Errorf("a question: %v", err)
	}
}

// A client that is turned away learns why, also when the daemon has closed the
// connection before the question was written.
func TestARefusalReachesTheClient(t *testing.T) {
	_, path := serve(t, twoTunnels)
	for range maxOwn {
		if _, err := dial(t, path).Call(Request{Op: OpStatus}); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		c := dial(t, path)
		for {
			// Written to until the other end is closed.
			if _, err := c.conn.Write([]byte{0xc0}); err != nil {
				break
			}
		}
		var refused *RequestError
		if _, err := c.Call(Request{Op: OpStatus}); !errors.As(err, &refused) || !strings.Contains(err.Error(), "16 clients") {
			t.Fatalf("error %v, want the daemon's words", err)
		}
	}
}

package status

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// How many clients may be connected at a time. Those who may only look have places
// of their own, and each user a share of them, so that nobody keeps root from the
// daemon; and of everybody's places some are kept for questions with one answer, so
// that those who follow do not keep their own user from asking.
const (
	maxOwn    = 16 // of the daemon's own process
	maxRoot   = 24 // of root and the daemon's user
	maxGuests = 32 // of all others
	maxGuest  = 12 // of one of them
	keptFree  = 4  // of each of these, not for streams
)

// party is whose places a client takes.
type party struct {
	kind partyKind
	uid  int // of a guest
}

type partyKind uint8

const (
	partyOwn partyKind = iota
	partyRoot
	partyGuest
)

var mostOf = [...]int{partyOwn: maxOwn, partyRoot: maxRoot, partyGuest: maxGuest}

// partyOf is the party of a client as the kernel knows it.
func (s *Server) partyOf(c *unix.Ucred) party {
	switch uid := int(c.Uid); {
	case uid != 0 && uid != s.owner:
		return party{partyGuest, uid}
	case int(c.Pid) == os.Getpid():
		return party{kind: partyOwn}
	default:
		return party{kind: partyRoot}
	}
}

// places are those that are taken.
type places struct {
	mu      sync.Mutex
	clients map[party]int
	streams map[party]int
	guests  int
}

// enter takes a place for a client. Else it says why there is none, and that is
// the answer to the client.
func (p *places) enter(who party) (refused Reply, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	most := mostOf[who.kind]
	switch {
	case p.clients[who] >= most && who.kind == partyGuest:
		return Fail("close one of them", "%d clients of user %d are connected, which is the maximum", most, who.uid), false
	case p.clients[who] >= most:
		return Fail("close one of them", "%d clients are connected, which is the maximum", most), false
	case who.kind == partyGuest && p.guests >= maxGuests:
		return Fail("close one of them", "%d read-only clients are connected, which is the maximum", maxGuests), false
	}
	if p.clients == nil {
		p.clients, p.streams = map[party]int{}, map[party]int{}
	}
	p.clients[who]++
	if who.kind == partyGuest {
		p.guests++
	}
	return Reply{}, true
}

func (p *places) leave(who party) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.clients[who]--; p.clients[who] == 0 {
		delete(p.clients, who)
	}
	if who.kind == partyGuest {
		p.guests--
	}
}

// follow is enter for a connected client that wants a stream.
func (p *places) follow(who party) (refused Reply, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	most := mostOf[who.kind] - keptFree
	if p.streams[who] >= most {
		return Fail("close one of them", "%d clients follow or watch, which is the maximum for one user", most), false
	}
	p.streams[who]++
	return Reply{}, true
}

func (p *places) unfollow(who party) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.streams[who]--; p.streams[who] == 0 {
		delete(p.streams, who)
	}
}

package status

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

// Bounds of the server.
const (
	readTimeout   = 30 * time.Second // for the next request of a connection
	writeTimeout  = 10 * time.Second // for a client to take a reply
	statusTimeout = 5 * time.Second  // for the loop to answer a question
	changeTimeout = 60 * time.Second // for the loop to carry out a change
	watchGap      = 100 * time.Millisecond
)

// Query is a request on its way to the daemon's loop: status, up, down, restart or
// reload. The loop answers it once; it may do so later than it took it.
type Query struct {
	Request
	UID    int // of the client, as the kernel knows it
	gone   <-chan struct{}
	answer chan Reply
}

// Answer gives the client its reply. It never blocks; only the first answer counts,
// and a client that has gone does not matter. What r points to must not be changed
// afterwards: it is encoded on another goroutine.
func (q *Query) Answer(r Reply) {
	select {
	case q.answer <- r:
	default:
	}
}

// Gone is closed when the client no longer waits for the answer.
func (q *Query) Gone() <-chan struct{} { return q.gone }

// Done is the reply of a request that was carried out.
func Done(lines ...string) Reply { return Reply{OK: true, Lines: lines} }

// Fail is the reply of a request that was not carried out, with what to do.
func Fail(remedy, format string, args ...any) Reply {
	return Reply{Error: fmt.Sprintf(format, args...), Remedy: remedy}
}

// Server answers on the status socket. Its goroutines own connections and the
// event log; everything about tunnels comes from the loop through Queries.
type Server struct {
	listener    *net.UnixListener
	queries     chan *Query
	published   chan Event
	subscribe   chan *subscription
	unsubscribe chan *subscription
	hubDone     chan struct{} // closed when the hub takes no more
	owner       int           // the daemon's own user may change things, as root may
	places      places
	guests      chan struct{} // held by the guest whose question the loop has
}

// Listen makes the socket at path, readable by group too unless it is empty. Call
// Serve to answer, or Close.
func Listen(path, group string) (*Server, error) {
	l, err := listenUnix(path, group)
	if err != nil {
		return nil, err
	}
	s := New()
	s.listener = l
	return s, nil
}

// New returns a server without a socket, whose Answer alone is of use.
func New() *Server {
	return &Server{
		queries:     make(chan *Query, maxOwn+maxRoot),
		published:   make(chan Event, publishBacklog),
		subscribe:   make(chan *subscription),
		unsubscribe: make(chan *subscription),
		hubDone:     make(chan struct{}),
		owner:       os.Geteuid(),
		guests:      make(chan struct{}, 1),
	}
}

// Queries is what the loop has to answer.
func (s *Server) Queries() <-chan *Query { return s.queries }

// Publish hands an event to the log and to those who follow. It never blocks.
func (s *Server) Publish(e Event) {
	select {
	case s.published <- e:
	default:
	}
}

// Close removes the socket. Serve returns when it was running.
func (s *Server) Close() error { return s.listener.Close() }

// Serve answers clients until ctx ends, then closes the socket, waits for its
// goroutines and returns nil; an error means that the socket failed before that.
func (s *Server) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { s.hub(ctx.Done()) })
	stop := context.AfterFunc(ctx, func() { s.listener.Close() })
	defer stop()
	defer s.listener.Close()

	for {
		c, err := s.listener.AcceptUnix()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			// Out of descriptors, most likely: wait for some to come free.
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(200 * time.Millisecond):
				continue
			}
		}
		cred, err := peer(c)
		if err != nil {
			c.Close()
			continue
		}
		who := s.partyOf(cred)
		if refused, ok := s.places.enter(who); !ok {
			write(c, refused)
			c.Close()
			continue
		}
		wg.Go(func() {
			defer s.places.leave(who)
			s.client(ctx, c, who, int(cred.Uid))
		})
	}
}

// client answers the requests of one connection in turn.
func (s *Server) client(ctx context.Context, c *net.UnixConn, who party, uid int) {
	defer c.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()

	buf := make([]byte, 0, MaxRequest)
	for {
		req, rest, err := ParseRequest(buf)
		if errors.Is(err, ErrShort) {
			c.SetReadDeadline(time.Now().Add(readTimeout))
			n, rerr := c.Read(buf[len(buf):cap(buf)])
			if rerr != nil {
				return
			}
			buf = buf[:len(buf)+n]
			continue
		}
		if err != nil {
			write(c, Fail("", "%v", err))
			return
		}
		buf = buf[:copy(buf[:cap(buf)], rest)]
		if req.Op == OpWatch || req.Op == OpEvents && req.Follow {
			refused, ok := s.places.follow(who)
			if !ok {
				write(c, refused)
				return
			}
			defer s.places.unfollow(who)
			s.stream(ctx, cancel, c, uid, req)
			return
		}
		if write(c, s.Answer(ctx, uid, req)) != nil {
			return
		}
	}
}

// Answer carries out one request that has one reply, for a client of this user.
func (s *Server) Answer(ctx context.Context, uid int, req Request) Reply {
	if req.Changes() && uid != 0 && uid != s.owner {
		return Fail("run this command as root", "only root may ask for %q", req.Op)
	}
	if req.Op == OpEvents {
		sub := &subscription{tunnel: req.Tunnel, last: req.Last, past: make(chan []Event, 1)}
		select {
		case s.subscribe <- sub:
			return Reply{OK: true, Events: <-sub.past}
		case <-s.hubDone:
			return Fail("", "the daemon is stopping")
		}
	}
	timeout := statusTimeout
	if req.Changes() {
		timeout = changeTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if uid != 0 && uid != s.owner {
		// One at a time: whoever may only look does not fill the loop's queue.
		select {
		case s.guests <- struct{}{}:
			defer func() { <-s.guests }()
		case <-ctx.Done():
			return late(req)
		}
	}
	q := &Query{Request: req, UID: uid, gone: ctx.Done(), answer: make(chan Reply, 1)}
	select {
	case s.queries <- q:
	case <-ctx.Done():
		return late(req)
	}
	select {
	case r := <-q.answer:
		return r
	case <-ctx.Done():
		return late(req)
	}
}

func late(req Request) Reply {
	return Fail("see its log; it may be waiting for the kernel", "the daemon did not answer %q in time", req.Op)
}

// NoTunnel is the reply to a request for a tunnel that is not configured.
func NoTunnel(tunnel string, names []string) Reply {
	if len(names) == 0 {
		return Fail("add a [[tunnel]] to the config file, then run: greseal apply", "no tunnel %q: none is configured", tunnel)
	}
	return Fail("the tunnels are: "+strings.Join(names, ", "), "no tunnel is called %q", tunnel)
}

// stream writes replies until the client goes or ctx ends. Anything the client
// sends meanwhile ends the stream as well.
func (s *Server) stream(ctx context.Context, cancel func(), c *net.UnixConn, uid int, req Request) {
	c.SetReadDeadline(time.Time{})
	reader := make(chan struct{})
	go func() {
		defer close(reader)
		var b [1]byte
		c.Read(b[:])
		cancel()
	}()
	defer func() { c.Close(); <-reader }()

	sub := &subscription{tunnel: req.Tunnel, last: req.Last, past: make(chan []Event, 1), events: make(chan Event, followBacklog)}
	select {
	case s.subscribe <- sub:
	case <-s.hubDone:
		return
	}
	defer func() {
		select {
		case s.unsubscribe <- sub:
		case <-s.hubDone:
		}
	}()
	if req.Op == OpEvents {
		s.follow(ctx, c, sub)
		return
	}
	<-sub.past
	s.watch(ctx, c, uid, req, sub)
}

func (s *Server) follow(ctx context.Context, c *net.UnixConn, sub *subscription) {
	if write(c, Reply{OK: true, Events: <-sub.past}) != nil {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-sub.events:
			batch := []Event{e}
			for more := true; more; {
				select {
				case e := <-sub.events:
					batch = append(batch, e)
				default:
					more = false
				}
			}
			if write(c, Reply{OK: true, Events: batch}) != nil {
				return
			}
		}
	}
}

func (s *Server) watch(ctx context.Context, c *net.UnixConn, uid int, req Request, sub *subscription) {
	every := max(time.Duration(req.Interval)*time.Second, time.Second)
	for {
		r := s.Answer(ctx, uid, Request{Op: OpStatus, Tunnel: req.Tunnel})
		if write(c, r) != nil || !r.OK {
			return
		}
		next := time.NewTimer(every)
		select {
		case <-ctx.Done():
			next.Stop()
			return
		case <-next.C:
		case <-sub.events:
			next.Stop()
			// A burst of events is one picture.
			select {
			case <-ctx.Done():
				return
			case <-time.After(watchGap):
			}
			for more := true; more; {
				select {
				case <-sub.events:
				default:
					more = false
				}
			}
		}
	}
}

// write sends one reply within writeTimeout.
func write(c *net.UnixConn, r Reply) error {
	r.Version = Version
	b, err := r.MarshalMsg(nil)
	if err != nil {
		return err
	}
	c.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err = c.Write(b)
	return err
}

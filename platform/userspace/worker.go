package userspace

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// worker is the loop that egress and ingress workers share: wait for any of
// its descriptors, serve those that are ready, and between batches do what the
// daemon's loop asks for. That is the only way others reach what a worker owns.
type worker struct {
	epoll  int
	wake   int // eventfd
	ask    chan *request
	done   chan struct{} // closed when the worker has ended
	end    bool          // set by a request
	events [64]unix.EpollEvent
}

// wakeToken marks the eventfd among epoll's events; descriptors of the
// worker have tokens from 0.
const wakeToken = -1

func newWorker() (*worker, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		_ = unix.Close(epoll)
		return nil, err
	}
	w := &worker{epoll: epoll, wake: wake, ask: make(chan *request, 1), done: make(chan struct{})}
	if err := w.watch(wake, wakeToken); err != nil {
		w.release()
		return nil, err
	}
	return w, nil
}

func (w *worker) release() {
	_ = unix.Close(w.epoll)
	_ = unix.Close(w.wake)
}

// watch adds a descriptor; its events carry token.
func (w *worker) watch(fd int, token int32) error {
	return unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: token})
}

func (w *worker) unwatch(fd int) {
	_ = unix.EpollCtl(w.epoll, unix.EPOLL_CTL_DEL, fd, new(unix.EpollEvent))
}

// request is something a worker is asked to do between two batches.
type request struct {
	f    func()
	done chan struct{}
}

// do has the worker call f between two batches and waits for it; when the
// worker has ended f is called here. One goroutine at a time may ask.
func (w *worker) do(f func()) {
	r := &request{f: f, done: make(chan struct{})}
	select {
	case w.ask <- r:
		wakeUp(w.wake)
	case <-w.done:
		f()
		return
	}
	select {
	case <-r.done:
	case <-w.done:
		w.asked() // it ended without looking again
	}
}

// asked does what was asked for, if anything.
func (w *worker) asked() {
	select {
	case r := <-w.ask:
		r.f()
		close(r.done)
	default:
	}
}

// briefly is how long, in milliseconds, a worker waits without telling the
// scheduler. A pause longer than that costs a wake-up of the runtime's monitor.
const briefly = 10

// ready waits for descriptors with something to read, at most timeout
// milliseconds (-1: for ever).
//
// While packets come at short intervals it waits by a raw system call, like all
// of a worker's calls: the scheduler then leaves the thread its processor. Else
// it would take that away during each wait and each long call, and wake other
// threads to do so: a tenth of the processor time of a bulk transfer, more than
// half of it for single packets. The runtime's own requests get through all the
// same: its preemption signal ends the call.
func (w *worker) ready(timeout int) []unix.EpollEvent {
	n := w.peek(min(uint(timeout), briefly)) // -1 is a large uint
	if n == 0 && timeout < 0 {
		n, _ = unix.EpollWait(w.epoll, w.events[:], timeout)
	}
	n = max(n, 0) // EINTR
	for _, e := range w.events[:n] {
		if e.Fd == wakeToken {
			var b [8]byte
			_, _ = unix.Read(w.wake, b[:])
			break
		}
	}
	return w.events[:n]
}

// peek is epoll_wait without the scheduler's knowledge.
func (w *worker) peek(timeout uint) int {
	n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(w.epoll), uintptr(unsafe.Pointer(&w.events[0])), uintptr(len(w.events)), uintptr(timeout), 0, 0)
	if e != 0 {
		return -1
	}
	return int(n)
}

// writable waits until fd can be written, at most a tenth of a second.
func (w *worker) writable(fd int) bool {
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	n, err := unix.Poll(fds[:], 100)
	return err == nil && n == 1 || err == unix.EINTR
}

// stop ends the worker and waits until it has.
func (w *worker) stop() {
	w.do(func() { w.end = true })
	<-w.done
}

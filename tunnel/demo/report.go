package demo

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"

	"greseal/tunnel/status"
)

// report is the demonstration's text on the terminal, 80 columns wide, and the
// count of its proofs.
type report struct {
	w      io.Writer
	style  status.Style
	start  time.Time
	mu     sync.Mutex
	muted  bool // events are collected, not shown
	step   int
	proofs int
	failed []string
}

func (r *report) printf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(r.w, format, args...)
}

func (r *report) title(text string) {
	r.step++
	r.printf("\n%s\n", r.style.Bold(fmt.Sprintf("%d. %s", r.step, text)))
}

// prove states one fact that was measured.
func (r *report) prove(ok bool, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	r.mu.Lock()
	r.proofs++
	mark := r.style.Good("[ok]  ")
	if !ok {
		mark = r.style.Bad("[FAIL]")
		r.failed = append(r.failed, text)
	}
	r.mu.Unlock()
	r.wrapped("   "+mark+" ", 10, text)
}

// note is an indented sentence.
func (r *report) note(format string, args ...any) {
	r.wrapped("   ", 3, fmt.Sprintf(format, args...))
}

func (r *report) wrapped(lead string, cols int, text string) {
	var b bytes.Buffer
	status.Style{}.Fill(&b, lead, cols, text)
	r.printf("%s", b.Bytes())
}

// event shows what a daemon tells, with the seconds since the demo began.
func (r *report) event(daemon string, e status.Event) {
	r.mu.Lock()
	muted := r.muted
	r.mu.Unlock()
	if muted {
		return
	}
	at := time.Unix(e.Time, int64(e.Millis)*1e6).Sub(r.start).Seconds()
	r.wrapped(fmt.Sprintf("   %6.3f %-5s  ", max(at, 0), daemon), 17, e.Text)
}

// mute stops and resumes the showing of events.
func (r *report) mute(on bool) {
	r.mu.Lock()
	r.muted = on
	r.mu.Unlock()
}

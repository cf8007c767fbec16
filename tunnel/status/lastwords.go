package status

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// What a daemon says when it ends in a way it was not asked to is kept in a file beside
// its socket, for those who ask when none answers any more. While it runs the file is
// empty; one that is found so says that the daemon was killed.
const lastWords = ".last"

// maxLastWords bounds what is shown of them, in bytes.
const maxLastWords = 2000

// crashes is a file with the number of daemons that were killed or panicked.
const crashes = ".crashes"

// Crashes counts the daemons at a socket that were killed, or panicked, since the machine
// was started; last tells whether the one before was. It is called once, before
// AwaitLastWords.
func Crashes(socket string) (n uint64, last bool, err error) {
	words, err := ReadBeside(socket, lastWords)
	last = err == nil && (len(words) == 0 || strings.Contains(string(words), "\ngoroutine "))
	before, err := ReadBeside(socket, crashes)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, last, err
	}
	n, _ = strconv.ParseUint(string(before), 10, 64)
	if !last {
		return n, false, nil
	}
	n++
	return n, true, WriteBeside(socket, crashes, strconv.AppendUint(nil, n, 10))
}

// LivedBriefly tells how much of a second is left since the daemon at a socket began that
// was killed, or ended that could not run. A service manager starts the next one at once,
// which must not become a loop that takes all of the processor.
func LivedBriefly(socket string) time.Duration {
	st, err := os.Stat(socket + lastWords)
	if err != nil {
		return 0
	}
	if age := time.Since(st.ModTime()); age >= 0 {
		return max(time.Second-age, 0)
	}
	return 0 // the clock was set
}

// AwaitLastWords has the Go runtime write what a panic says beside the socket.
func AwaitLastWords(socket string) error {
	f, err := openOwn(socket+lastWords, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	defer f.Close()
	return debug.SetCrashOutput(f, debug.CrashOptions{})
}

// LeaveLastWords writes why a daemon ends; nil removes the file of one that was asked
// to. An error that holds a secret must not come here.
func LeaveLastWords(socket string, why error) error {
	if why == nil {
		return os.Remove(socket + lastWords)
	}
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		return err
	}
	text := why.Error()
	return WriteBeside(socket, lastWords, []byte(text[:min(len(text), maxLastWords)]))
}

// LastWords are those of the daemon that was to answer at the socket, one sentence with
// the time; "" when none died, or the caller may not read them.
func LastWords(socket string) string {
	f, err := openOwn(socket+lastWords, os.O_RDONLY)
	if err != nil {
		return ""
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return ""
	}
	at := st.ModTime().Format("2006-01-02 15:04:05")
	b, _ := io.ReadAll(io.LimitReader(f, maxLastWords))
	text, _, _ := strings.Cut(string(b), "\n\ngoroutine ") // of a panic: what it says, and not where
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' }), "; ")
	if text == "" {
		return "the one started at " + at + " was killed, perhaps for lack of memory (see the kernel's log)"
	}
	return "the last one ended at " + at + ": " + text
}

package status

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
)

// What a daemon says when it ends in a way it was not asked to is kept in a file beside
// its socket, for those who ask when none answers any more. While it runs the file is
// empty; one that is found so says that the daemon was killed.
func lastWords(socket string) string { return socket + ".last" }

// maxLastWords bounds what is shown of them, in bytes.
const maxLastWords = 2000

func openLastWords(socket string, flags int) (*os.File, error) {
	return openOwn(lastWords(socket), flags)
}

// AwaitLastWords has the Go runtime write what a panic says beside the socket.
func AwaitLastWords(socket string) error {
	f, err := openLastWords(socket, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
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
		return os.Remove(lastWords(socket))
	}
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		return err
	}
	f, err := openLastWords(socket, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	text := why.Error()
	_, err = f.WriteString(text[:min(len(text), maxLastWords)])
	return errors.Join(err, f.Close())
}

// LastWords are those of the daemon that was to answer at the socket, one sentence with
// the time; "" when none died, or the caller may not read them.
func LastWords(socket string) string {
	f, err := openLastWords(socket, os.O_RDONLY)
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

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// readSecret reads a file that holds a pre-shared key. Anybody else who can
// read it is a fault, with the command that mends it.
func readSecret(path string) (Secret, fault) {
	data, st, err := readFile(path, maxPSK+1)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Secret{}, missing(path, "name the file with the key, or make one: greseal genpsk -o "+shell(path))
	case err != nil:
		return Secret{}, fault{path + ": " + plainError(err), "name a file that can be read"}
	}
	if perm := st.Mode().Perm(); perm&0o077 != 0 {
		clear(data)
		return Secret{}, fault{fmt.Sprintf("%s is accessible to others (mode %04o)", path, perm), "run chmod 600 " + shell(path)}
	}
	if own, ok := st.Sys().(*syscall.Stat_t); ok && own.Uid != 0 && int(own.Uid) != os.Geteuid() {
		clear(data)
		return Secret{}, fault{fmt.Sprintf("%s belongs to user %d", path, own.Uid), "run chown root " + shell(path)}
	}
	if n := len(data); n > 0 && data[n-1] == '\n' {
		data = data[:n-1]
	}
	switch {
	case len(data) == 0:
		return Secret{}, fault{path + " is empty", "write the key into it, or make one: greseal genpsk -o " + shell(path)}
	case len(data) > maxPSK:
		clear(data)
		return Secret{}, fault{fmt.Sprintf("%s holds more than %d bytes", path, maxPSK), "write a shorter key; greseal genpsk makes one"}
	}
	return NewSecret(data), fault{}
}

// shell writes a path as a word of a command line.
func shell(path string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+@%", r)
	}
	if path != "" && strings.IndexFunc(path, func(r rune) bool { return !plain(r) }) < 0 && path[0] != '-' {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"greseal/tunnel/status"

	"golang.org/x/sys/unix"
)

// candidate is the locked file from which the daemon takes a config on trial
// (see status.Candidate). The lock is the kernel's and ends with the process.
type candidate struct{ file *os.File }

// lockCandidate takes the lock, or says that another process has it.
func lockCandidate(socket string) (candidate, error) {
	f, err := status.OpenCandidate(socket, os.O_CREATE|os.O_RDWR)
	if err != nil {
		return candidate{}, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return candidate{}, errors.New("another greseal edit, confirm or rollback is open; end that one first")
		}
		return candidate{}, fmt.Errorf("locking %s: %w", f.Name(), err)
	}
	return candidate{f}, nil
}

// write replaces what the candidate holds.
func (c candidate) write(data []byte) error {
	if err := c.file.Truncate(0); err != nil {
		return err
	}
	if _, err := c.file.WriteAt(data, 0); err != nil {
		return fmt.Errorf("writing the candidate: %w", err)
	}
	return nil
}

// read returns what it holds when its digest is the one given.
func (c candidate) read(digest string) ([]byte, error) {
	data, err := io.ReadAll(io.NewSectionReader(c.file, 0, status.MaxCandidate))
	if err != nil {
		return nil, fmt.Errorf("reading the candidate: %w", err)
	}
	if status.Digest(data) != digest {
		return nil, fmt.Errorf("%s was changed meanwhile and is not what is running; take the change back with: greseal rollback", c.file.Name())
	}
	return data, nil
}

// daemonFile is the config file of the daemon that answers, symbolic links
// followed.
func daemonFile(snap *status.Snapshot) (string, error) {
	file := snap.Daemon.ConfigFile
	if !filepath.IsAbs(file) {
		return "", fmt.Errorf("the daemon does not say where its config file is (%q); restart it with this version", file)
	}
	if real, err := filepath.EvalSymlinks(file); err == nil {
		file = real
	}
	return file, nil
}

// snapshot asks the daemon how it is.
func (p *place) snapshot() (*status.Snapshot, error) {
	r, err := p.call(status.Request{Op: status.OpStatus})
	if err != nil {
		return nil, err
	}
	return r.Snapshot, nil
}

// startTrial runs what the candidate holds on trial and says what that means.
func (p *place) startTrial(env *Env, seconds int) error {
	_, err := p.call(status.Request{Op: status.OpCandidate, Seconds: seconds, Client: sshClient()})
	if err != nil {
		return refusal(env, err)
	}
	fmt.Fprintf(env.Stdout, "on trial for %d s; unless you confirm it, the previous config comes back then,\n"+
		"or sooner if a tunnel that was up, or this SSH session's route, is gone for %d s\n"+
		"  keep it:       greseal confirm\n"+
		"  take it back:  greseal rollback\n", seconds, min(30, seconds/2))
	return nil
}

// refusal prints the mistakes the daemon found in a config.
func refusal(env *Env, err error) error {
	var refused *status.RequestError
	if errors.As(err, &refused) && len(refused.Lines) > 0 {
		printLines(env.Stderr, refused.Lines)
		return refusedConfig{refused.Error()}
	}
	return err
}

// sshClient is the address of who sits at the other end of this SSH session, ""
// without one. sudo takes the variable out of the environment, so that of the
// parents is looked at too.
func sshClient() string {
	if c := clientOf(os.Getenv("SSH_CONNECTION")); c != "" {
		return c
	}
	for pid, n := os.Getppid(), 0; pid > 1 && n < 16; n++ {
		dir := "/proc/" + strconv.Itoa(pid)
		if env, err := os.ReadFile(dir + "/environ"); err == nil {
			for _, v := range bytes.Split(env, []byte{0}) {
				if value, ok := strings.CutPrefix(string(v), "SSH_CONNECTION="); ok {
					if c := clientOf(value); c != "" {
						return c
					}
				}
			}
		}
		stat, err := os.ReadFile(dir + "/stat")
		if err != nil {
			return ""
		}
		// PID (NAME) STATE PPID …, and NAME may hold anything.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) < 2 {
			return ""
		}
		pid, _ = strconv.Atoi(fields[1])
	}
	return ""
}

// clientOf takes the client's address out of SSH_CONNECTION: client address and
// port, server address and port.
func clientOf(connection string) string {
	first, _, _ := strings.Cut(connection, " ")
	a, err := netip.ParseAddr(first)
	if err != nil {
		return ""
	}
	return a.Unmap().WithZone("").String()
}

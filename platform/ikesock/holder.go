package ikesock

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// holder names the process that has bound a UDP port in this thread's network
// namespace, for a person to act on. An IPv6 socket may hold the port of both
// IP versions.
func holder(port uint16) string {
	const unknown = "another process, probably another IKE daemon such as strongSwan's charon or libreswan's pluto"
	inodes := make(map[string]bool)
	for _, t := range []string{"/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"} {
		b, err := os.ReadFile(t)
		if err != nil {
			continue
		}
		for _, i := range portInodes(string(b), port) {
			inodes["socket:["+i+"]"] = true
		}
	}
	if len(inodes) == 0 {
		return unknown
	}
	fds, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return unknown
	}
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err != nil || !inodes[to] {
			continue
		}
		dir := filepath.Dir(filepath.Dir(fd))
		comm, err := os.ReadFile(filepath.Join(dir, "comm"))
		if err != nil {
			continue
		}
		name := strings.TrimSpace(string(comm))
		switch name {
		case "charon", "charon-systemd", "charon-nm", "starter":
			name += ", strongSwan's IKE daemon"
		case "pluto":
			name += ", libreswan's IKE daemon"
		case "iked":
			name += ", OpenIKED"
		}
		return fmt.Sprintf("%s (pid %s)", name, filepath.Base(dir))
	}
	return unknown
}

// portInodes finds the sockets bound to port in the text of /proc/net/udp:
// local_address is the second column, as hex ADDRESS:PORT, the inode the tenth.
func portInodes(table string, port uint16) []string {
	var inodes []string
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 10 {
			continue
		}
		_, hex, ok := strings.Cut(f[1], ":")
		if p, err := strconv.ParseUint(hex, 16, 16); ok && err == nil && uint16(p) == port {
			inodes = append(inodes, f[9])
		}
	}
	return inodes
}

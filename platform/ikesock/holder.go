package ikesock

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// unknown is a holder that cannot be named.
const unknown = "another process, probably another IKE daemon such as strongSwan's charon or libreswan's pluto"

// Holder names the process that has bound a UDP port in this thread's network
// namespace, for a person to act on; "" when none has. An IPv6 socket may hold the
// port of both IP versions.
func Holder(port uint16) string {
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
		return ""
	}
	for _, pid := range names("/proc") {
		if _, err := strconv.Atoi(pid); err != nil {
			continue
		}
		dir := "/proc/" + pid
		holds := slices.ContainsFunc(names(dir+"/fd"), func(fd string) bool {
			to, err := os.Readlink(dir + "/fd/" + fd)
			return err == nil && inodes[to]
		})
		comm, err := os.ReadFile(dir + "/comm")
		if !holds || err != nil {
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
		return fmt.Sprintf("%s (pid %s)", name, pid)
	}
	return unknown
}

// names lists a directory, empty when it cannot be read.
func names(folder string) []string {
	f, err := os.Open(folder)
	if err != nil {
		return nil
	}
	defer f.Close()
	all, _ := f.Readdirnames(-1)
	return all
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

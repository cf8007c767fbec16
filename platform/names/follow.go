package names

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
)

// deleted is what the kernel appends to the root of a mount that is gone from its
// folder.
const deleted = "//deleted"

// follow says whether path is the mount of a single file that another one has
// replaced, and where that other is seen: below a mount of the same file system
// that shows its folder. It is "" when none does.
func follow(mountinfo []byte, path string) (now string, replaced bool) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	var all []mount
	var own mount
	for line := range bytes.Lines(mountinfo) {
		if m, ok := parseMount(string(line)); ok {
			if all = append(all, m); m.point == path {
				own = m // the last one lies on top
			}
		}
	}
	root, replaced := strings.CutSuffix(own.root, deleted)
	if !replaced {
		return "", false
	}
	for _, m := range all {
		rest, ok := strings.CutPrefix(root, strings.TrimSuffix(m.root, "/")+"/")
		if !ok || m.device != own.device || m.point == own.point {
			continue
		}
		seen := filepath.Join(m.point, rest)
		if _, err := os.Stat(seen); err == nil {
			return seen, true
		}
	}
	return "", true
}

type mount struct{ device, root, point string }

// parseMount reads a line of /proc/self/mountinfo (proc_pid_mountinfo(5)).
func parseMount(line string) (mount, bool) {
	f := strings.Fields(line)
	if len(f) < 6 {
		return mount{}, false
	}
	plain := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	return mount{f[2], plain.Replace(f[3]), plain.Replace(f[4])}, true
}

package cli

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// ownMount reports whether a file is a mount of its own, as in a container that is
// given this one file: nothing can be renamed to its place.
func ownMount(path string) bool {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	return err == nil && slices.Contains(mountPoints(string(mounts)), path)
}

// mountPoints reads those of /proc/PID/mountinfo (proc(5)).
func mountPoints(mountinfo string) (points []string) {
	for line := range strings.Lines(mountinfo) {
		if fields := strings.Fields(line); len(fields) > 4 {
			points = append(points, unescape(fields[4]))
		}
	}
	return points
}

// unescape takes the octal numbers out of which white space is written there.
func unescape(s string) string {
	before, after, found := strings.Cut(s, `\`)
	if !found || len(after) < 3 {
		return s
	}
	n, err := strconv.ParseUint(after[:3], 8, 8)
	if err != nil {
		return s
	}
	return before + string(rune(n)) + unescape(after[3:])
}

// overwrite writes a file in place. What a crash leaves in the middle is no config,
// so that the new one must be in the history first: a start with a file that is
// refused takes it from there.
func overwrite(path string, data []byte) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	h := historyOf(path)
	for _, text := range [][]byte{old, data} {
		if err := h.add(text); err != nil {
			return fmt.Errorf("it is a mount of its own and can only be written over in place, and a copy to survive a power cut in the middle cannot be kept in %s (%w); mount the folder of the file instead of the file", h.dir, err)
		}
	}
	if err := writeInPlace(path, data); err != nil {
		if back := writeInPlace(path, old); back != nil {
			return fmt.Errorf("%w; its former text is kept in %s", err, h.dir)
		}
		_ = h.add(old)
		return err
	}
	return nil
}

func writeInPlace(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	if err == nil {
		err = f.Truncate(int64(len(data)))
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

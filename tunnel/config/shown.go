package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The daemon may see less of the file system than the shell that a config is
// checked in: what can't be read there must not be found right here.

// runFolder is the one folder that the daemon writes to.
const runFolder = "/var/run/greseal"

// missing is the fault of a file that is not there, for us. In procd's jail it
// may well be there for everybody else.
func missing(path, remedy string) fault {
	if os.Getenv("container") == "ujail" {
		return fault{path + " does not exist, or is not visible to the daemon in its jail", "move the file to " + filepath.Dir(DefaultFile)}
	}
	if os.Getenv("INVOCATION_ID") != "" && slices.ContainsFunc(privateFolders, func(f string) bool { return strings.HasPrefix(path, f+"/") }) {
		return fault{path + " does not exist, or is hidden from the daemon by its systemd unit", "move the file to " + filepath.Dir(DefaultFile)}
	}
	return fault{path + " does not exist", remedy}
}

// shown refuses files that are there and that the daemon won't see (File.Shown),
// and warns of those that a unit hides: it may make exceptions (File.Hidden).
func (r *reading) shown() {
	if r.file.Shown == nil && r.file.Hidden == nil {
		return
	}
	for key := range r.written {
		k, ok := LookUp(key)
		if !ok || r.bad[key] || k.Kind != Path && k.Kind != Paths {
			continue
		}
		switch f := k.field(&r.Tunnel).(type) {
		case *string:
			r.seen(key, -1, *f)
		case *[]string:
			for i, path := range *f {
				r.seen(key, i, path)
			}
		}
	}
}

func (r *reading) seen(key string, item int, path string) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil || path == "" { // reported elsewhere
		return
	}
	if r.file.Shown != nil {
		if f := unseen(path, real, r.file.Shown); f.bad() {
			r.mistake(key, item, f)
		}
	}
	for _, folder := range r.file.Hidden {
		if strings.HasPrefix(real, folder+"/") || strings.HasPrefix(path, folder+"/") {
			r.warn(key, item, fault{path + " is in " + folder + ", which its systemd unit hides from the daemon", "move the file to " + filepath.Dir(DefaultFile)})
		}
	}
}

// unseen is the fault of a file that is in none of the folders, itself or where a
// link leads to.
func unseen(path, real string, folders []string) fault {
	inside := func(path string, name func(string) string) bool {
		return slices.ContainsFunc(folders, func(f string) bool { return strings.HasPrefix(path, name(f)+"/") })
	}
	named := inside(filepath.Clean(path), filepath.Clean)
	if named && inside(real, followed) {
		return fault{}
	}
	what := path + " is not visible to the daemon, which runs in a jail"
	if named {
		what = fmt.Sprintf("%s leads to %s, which is not visible to the daemon: it runs in a jail", path, real)
	}
	return fault{what, "move the file to " + folders[0]}
}

// followed is a folder without links, as /var is one on OpenWrt.
func followed(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// privateFolders are what ProtectHome and PrivateTmp hide.
var privateFolders = []string{"/home", "/root", "/run/user", "/tmp", "/var/tmp"}

// HiddenByUnit are the folders that greseal's systemd unit hides from it, drop-ins
// counted, where there is such a unit and this is not the daemon itself.
func HiddenByUnit(root string) []string {
	if os.Getenv("INVOCATION_ID") != "" {
		return nil
	}
	var text []byte
	places := []string{"/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib"}
	for _, place := range places {
		if unit, err := os.ReadFile(root + place + "/systemd/system/greseal.service"); err == nil {
			text = unit
			break
		}
	}
	if text == nil {
		return nil
	}
	for _, place := range slices.Backward(places) {
		more, _ := filepath.Glob(root + place + "/systemd/system/greseal.service.d/*.conf")
		for _, path := range more {
			drop, _ := os.ReadFile(path)
			text = append(append(text, '\n'), drop...)
		}
	}
	set := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			set[key] = slices.Contains([]string{"yes", "true", "on", "1", "tmpfs", "disconnected"}, value)
		}
	}
	var hidden []string
	if set["ProtectHome"] {
		hidden = append(hidden, privateFolders[:3]...)
	}
	if set["PrivateTmp"] {
		hidden = append(hidden, privateFolders[3:]...)
	}
	return hidden
}

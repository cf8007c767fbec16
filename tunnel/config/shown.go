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
		return fault{path + " does not exist, or is not shown to the daemon in its jail", "move the file to " + filepath.Dir(DefaultFile)}
	}
	return fault{path + " does not exist", remedy}
}

// shown refuses files that are there and that the daemon won't see (File.Shown).
func (r *reading) shown() {
	if r.file.Shown == nil {
		return
	}
	for key := range r.written {
		k, ok := LookUp(key)
		if !ok || r.bad[key] || k.Kind != Path && k.Kind != Paths {
			continue
		}
		switch f := k.field(&r.Tunnel).(type) {
		case *string:
			r.mistakeIf(key, -1, unseen(*f, r.file.Shown))
		case *[]string:
			for i, path := range *f {
				r.mistakeIf(key, i, unseen(path, r.file.Shown))
			}
		}
	}
}

func (r *reading) mistakeIf(key string, item int, f fault) {
	if f.bad() {
		r.mistake(key, item, f)
	}
}

// unseen is the fault of a file that is in none of the folders, itself or where a
// link leads to. One that does not exist is reported elsewhere.
func unseen(path string, folders []string) fault {
	real, err := filepath.EvalSymlinks(path)
	inside := func(path string, name func(string) string) bool {
		return slices.ContainsFunc(folders, func(f string) bool { return strings.HasPrefix(path, name(f)+"/") })
	}
	named := inside(filepath.Clean(path), filepath.Clean)
	if err != nil || path == "" || named && inside(real, followed) {
		return fault{}
	}
	what := path + " is not shown to the daemon, which runs in a jail"
	if named {
		what = fmt.Sprintf("%s leads to %s, which is not shown to the daemon: it runs in a jail", path, real)
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

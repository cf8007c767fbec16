package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// template is the translation template of a LuCI package: every text that its
// JavaScript gives to _, and the titles of its menu entries and access groups,
// as LuCI's own scanner finds them.
func template(dir, name string) file {
	return file{filepath.Join(dir, "po/templates", name+".pot"), func([]byte) ([]byte, error) { return translations(dir) }}
}

// translations makes the template of the package in a folder.
func translations(dir string) ([]byte, error) {
	where := map[string][]string{} // the files of each text
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		var found []string
		switch filepath.Ext(name) {
		case ".js":
			found, err = texts(string(data))
		case ".json":
			found, err = titles(data)
		}
		rel, _ := filepath.Rel(filepath.Dir(dir), name)
		for _, s := range found {
			if !slices.Contains(where[s], rel) {
				where[s] = append(where[s], rel)
			}
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", name, err)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var all []string
	for s := range where {
		all = append(all, s)
	}
	slices.Sort(all)
	var b strings.Builder
	b.WriteString("msgid \"\"\nmsgstr \"Content-Type: text/plain; charset=UTF-8\"\n")
	for _, s := range all {
		b.WriteByte('\n')
		for _, f := range where[s] {
			fmt.Fprintf(&b, "#: %s\n", f)
		}
		fmt.Fprintf(&b, "msgid %s\nmsgstr \"\"\n", quote(s))
	}
	return []byte(b.String()), nil
}

var (
	called = regexp.MustCompile(`(?:^|[^\w.$])N?_\(`)
	first  = regexp.MustCompile(`^'((?:[^'\\\n]|\\.)*)'\s*[,)]`)
)

// texts finds what a script has translated. A text that is not written out as
// one string in single quotes could not be found by LuCI's scanner either.
func texts(script string) (list []string, err error) {
	for _, at := range called.FindAllStringIndex(script, -1) {
		rest := script[at[1]:]
		m := first.FindStringSubmatch(rest)
		if m == nil {
			return nil, errors.New("no single text to translate: " + strings.SplitN(rest, "\n", 2)[0])
		}
		list = append(list, strings.NewReplacer(`\'`, `'`, `\\`, `\`).Replace(m[1]))
	}
	return list, nil
}

// titles are those of a menu entry, and the descriptions of an access group.
func titles(data []byte) (list []string, err error) {
	var nodes map[string]struct{ Title, Description string }
	if err := json.Unmarshal(data, &nodes); err != nil {
		return nil, err
	}
	for _, n := range nodes {
		for _, s := range []string{n.Title, n.Description} {
			if s != "" {
				list = append(list, s)
			}
		}
	}
	return list, nil
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

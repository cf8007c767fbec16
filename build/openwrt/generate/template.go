package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"greseal/build/openwrt/po"
)

// translations are the translation template of a LuCI package (every text that its
// JavaScript gives to _, and the titles of its menu entries and access groups, as
// LuCI's own scanner finds them), and what there is of it in each language.
func translations(dir, name string) []file {
	list := []file{{filepath.Join(dir, "po/templates", name+".pot"), func([]byte) ([]byte, error) {
		entries, err := template(dir)
		return po.Format(entries), err
	}}}
	for _, l := range po.Languages {
		list = append(list, file{filepath.Join(dir, "po", l.Folder, name+".po"), func(now []byte) ([]byte, error) {
			return translated(dir, now)
		}})
	}
	return list
}

// translated is a translation of the package in a folder with the texts of its
// template: what a new one is in the language is left empty, for a test to find.
func translated(dir string, now []byte) ([]byte, error) {
	entries, err := template(dir)
	if err != nil {
		return nil, err
	}
	old, err := po.Parse(now)
	if err != nil {
		return nil, err
	}
	known := map[string]po.Entry{}
	for _, e := range old {
		known[e.Key] = e
	}
	for i, e := range entries {
		before := known[e.Key]
		// Comments are the translators', but for where the text stands.
		said := slices.DeleteFunc(before.Comments, func(c string) bool { return strings.HasPrefix(c, "#:") })
		entries[i] = po.Entry{Comments: append(said, e.Comments...), Key: e.Key, Text: before.Text}
	}
	return po.Format(entries), nil
}

// template makes the template of the package in a folder.
func template(dir string) ([]po.Entry, error) {
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
	list := []po.Entry{{Text: "Content-Type: text/plain; charset=UTF-8"}}
	for _, key := range slices.SortedFunc(maps.Keys(where), byText) {
		e := po.Entry{Key: key}
		for _, f := range where[key] {
			e.Comments = append(e.Comments, "#: "+f)
		}
		list = append(list, e)
	}
	return list, nil
}

// byText orders keys by their texts.
func byText(a, b string) int {
	return cmp.Or(strings.Compare(po.English(a), po.English(b)), strings.Compare(a, b))
}

var (
	called = regexp.MustCompile(`(?:^|[^\w.$])N?_\(`)
	first  = regexp.MustCompile(`^` + literally + `(?:, ` + literally + `)?\s*\)`)
)

// literally is one string in single quotes.
const literally = `'((?:[^'\\\n]|\\.)*)'`

// texts finds the keys of what a script has translated. A text that is not written
// out as one string in single quotes could not be found by LuCI's scanner either,
// and one with white space around it not by LuCI's pages, which trim it.
func texts(script string) (list []string, err error) {
	for _, at := range called.FindAllStringIndex(script, -1) {
		rest := script[at[1]:]
		m := first.FindStringSubmatch(rest)
		if m == nil || strings.Join(strings.Fields(m[1]), " ") != m[1] {
			return nil, errors.New("no single text to translate: " + strings.SplitN(rest, "\n", 2)[0])
		}
		plain := strings.NewReplacer(`\'`, `'`, `\\`, `\`).Replace
		list = append(list, po.Key(plain(m[2]), plain(m[1])))
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

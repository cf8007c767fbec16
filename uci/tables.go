package uci

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"greseal/tunnel/config"
	"greseal/uci/syntax"
)

// iproute2 is where names of routing tables are written.
var iproute2 = "/etc/iproute2"

// tables reads ip4table and ip6table as netifd does: by number, or by name.
type tables struct {
	options []syntax.Option
	numbers []int64
	fail    func(o syntax.Option, what, remedy string)
	warn    func(o syntax.Option, what, remedy string)
}

func (t *tables) add(o syntax.Option) {
	name := o.Values[0]
	n, seen := tableNumber(name)
	switch {
	case n == 0:
		n = mainTable
		t.warn(o, "there is no routing table "+strconv.Quote(name)+", and netifd takes main instead", "write a number, or its name into "+iproute2+"/rt_tables")
	case !seen:
		t.warn(o, "the name "+strconv.Quote(name)+" stands in "+iproute2+"/rt_tables.d, which netifd does not read: it takes main", "write it into "+iproute2+"/rt_tables, or the number here")
	}
	t.options, t.numbers = append(t.options, o), append(t.numbers, n)
}

// entry is the table of the unreachable routes: those belong underneath the
// routes. Where the two options differ it is that of the only family there is.
func (t *tables) entry(path string, routes []config.Entry) (config.Entry, bool) {
	if len(t.options) == 0 {
		return config.Entry{}, false
	}
	i := 0
	if len(t.options) > 1 && t.numbers[0] != t.numbers[1] {
		four, six := families(routes)
		if four == six {
			o := t.options[1]
			t.fail(o, "is another table than "+t.options[0].Name, "write the same for both")
		}
		if six == (t.options[1].Name == "ip6table") {
			i = 1
		}
	}
	e := entry("table", t.numbers[i], place(path, t.options[i].Line))
	if t.numbers[i] == mainTable {
		e.Value = "main"
	}
	return e, true
}

// families are those of the routes that are written.
func families(entries []config.Entry) (four, six bool) {
	for _, e := range entries {
		if items, ok := e.Value.([]any); ok && e.Key == "routes" {
			for _, r := range items {
				colon := strings.Contains(text(r), ":")
				four, six = four || !colon, six || colon
			}
		}
	}
	return four, six
}

const mainTable = 254

// tableNumber is the number of a routing table, 0 when there is none of that
// name, and whether netifd finds it too.
func tableNumber(name string) (number int64, netifd bool) {
	if n, err := strconv.ParseUint(name, 0, 32); err == nil {
		return int64(n), true
	}
	switch name {
	case "default":
		return 253, true
	case "main":
		return mainTable, true
	case "local":
		return 255, true
	}
	if n := named(filepath.Join(iproute2, "rt_tables"), name); n > 0 {
		return n, true
	}
	more, _ := filepath.Glob(filepath.Join(iproute2, "rt_tables.d", "*.conf"))
	for _, path := range more {
		if n := named(path, name); n > 0 {
			return n, false
		}
	}
	return 0, false
}

// named looks a name up in a file of lines with a number and a name each.
func named(path, name string) int64 {
	data, _ := os.ReadFile(path)
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 2 || strings.HasPrefix(f[0], "#") || f[1] != name {
			continue
		}
		if n, err := strconv.ParseUint(f[0], 0, 32); err == nil {
			return int64(n)
		}
	}
	return 0
}

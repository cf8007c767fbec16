package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// Limits of a config file: a tunnel whose keys are in [defaults] takes some 100
// bytes, one with everything of its own 500.
const (
	maxFile  = 4 << 20 // bytes
	maxDepth = 1000    // of brackets
	maxDots  = 200     // of a key

	maxTunnels  = 8192
	maxItems    = 4096 // of a list
	maxProblems = 1000
	maxWrong    = 50 // mistakes that are remembered of one tunnel
)

// Entry is one key as it was written down.
type Entry struct {
	Key     string // schema name, such as "gre.key"
	Value   any    // string, int64, float64, bool, time.Time, []any, or a table
	KeyAt   Position
	ValueAt Position
	Items   []Position // of the elements of a list
}

// Section is one table as it was written down, unchecked.
type Section struct {
	At      Position // of its heading
	Entries []Entry  // in the order of the file
	Netifd  bool     // see Tunnel.Netifd

	// Wrong is what kept the section from being read as a whole. It is also among
	// the file's Problems.
	Wrong Problems
}

// Has tells whether a key is written in it.
func (s Section) Has(key string) bool {
	return slices.ContainsFunc(s.Entries, func(e Entry) bool { return e.Key == key })
}

// Text is the value of a key, "" unless it is there and text.
func (s Section) Text(key string) string {
	for _, e := range s.Entries {
		if e.Key == key {
			text, _ := e.Value.(string)
			return text
		}
	}
	return ""
}

// File is a configuration as it was written down: what every source of tunnels
// is turned into before Build checks it.
type File struct {
	Name     string
	Perm     fs.FileMode // permission bits of the file, 0 when they do not matter
	Daemon   Section
	Defaults Section
	Tunnels  []Section
	Problems Problems // found on the way here
	Stray    []Entry  // keys of tunnels that stand outside of any
	lost     []lost   // lines that could not be read

	// Shown are the folders whose files the daemon will see, where those are not
	// all; the first is for the owner's own.
	Shown []string
	// Hidden are folders whose files it most likely won't see.
	Hidden []string
}

// Load reads and checks a config file and the secret files it names. An error
// about the file is a Problems with all that is wrong with it, warnings
// included; on success the warnings are in Config.Warnings.
func Load(path string) (*Config, error) {
	f, err := ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Build(f)
}

// ReadFile is Read for a file, which is not checked yet. The error is a Problems;
// that of a missing file wraps fs.ErrNotExist too.
func ReadFile(path string) (File, error) {
	data, st, err := readFile(path, maxFile)
	if err != nil {
		remedy := ""
		switch {
		case errors.Is(err, fs.ErrNotExist):
			remedy = "write one, or name another with -c"
		case errors.Is(err, fs.ErrPermission):
			remedy = "run this as root"
		}
		return File{Name: path}, unreadable{Problems{{Position: Position{File: path}, What: plainError(err), Remedy: remedy}}, err}
	}
	f, ps := Read(path, data)
	f.Perm = st.Mode().Perm()
	if len(ps) > 0 {
		return f, ps
	}
	return f, nil
}

// unreadable is a Problems that has a cause.
type unreadable struct {
	Problems
	cause error
}

func (u unreadable) Unwrap() []error { return []error{u.Problems, u.cause} }

// Parse checks a config file that was already read. name is for messages, and
// paths in the file are relative to its folder. perm holds the permission bits
// of the file; 0 skips the check that others can't read its secrets.
func Parse(name string, data []byte, perm fs.FileMode) (*Config, error) {
	f, ps := Read(name, data)
	if len(ps) > 0 {
		return nil, ps
	}
	f.Perm = perm
	return Build(f)
}

// Read turns TOML into sections. It reports what keeps a file from being read
// at all: a syntax error alone, or tables that are no tables. The sections of such
// a file are what can be told of it all the same.
func Read(name string, data []byte) (File, Problems) {
	f := File{Name: name}
	text := strings.TrimPrefix(string(data), "\uFEFF")
	ps := f.read(text)
	if len(ps) == 0 || len(f.Tunnels) > 0 || len(text) > maxFile {
		return f, ps
	}
	text, f.lost = readable(text)
	if _, deep := tooDeep(text); deep {
		return f, ps
	}
	more := f.read(text)
	if len(more) > 0 && len(f.Tunnels) == 0 {
		if left, lines, ok := rest(text); ok {
			f.lost = append(f.lost, lines...)
			more = f.read(left)
		}
	}
	for i := range f.lost {
		f.lost[i].why = ps[0]
	}
	if len(f.Tunnels) > 0 {
		ps = append(ps, more...)
	}
	return f, ps
}

// read fills f.
func (f *File) read(text string) Problems {
	name := f.Name
	fail := func(at Position, what, remedy string) Problems {
		return Problems{{Position: at, What: what, Remedy: remedy}}
	}
	where := newLines(name, text)
	switch {
	case len(text) > maxFile:
		return fail(Position{File: name}, fmt.Sprintf("is larger than %d KiB", maxFile>>10), "write less, or several files with a daemon each")
	case strings.HasPrefix(text, "\xff\xfe") || strings.HasPrefix(text, "\xfe\xff"):
		return fail(Position{File: name, Line: 1, Column: 1}, "is UTF-16", "save it as UTF-8")
	case strings.IndexByte(text, 0) >= 0:
		return fail(where.position(strings.IndexByte(text, 0)), "there is a NUL byte", "save the file as plain UTF-8 text")
	case !utf8.ValidString(text):
		return fail(where.position(invalidUTF8(text)), "this is not UTF-8", "save the file as UTF-8")
	}
	if at, deep := tooDeep(text); deep {
		return fail(where.position(at), "tables are nested too deeply", "close brackets, and write keys of few parts")
	}
	tables, md, err := decode(text)
	if err != nil {
		var pe toml.ParseError
		if errors.As(err, &pe) {
			what, remedy := syntaxError(pe)
			return fail(where.position(pe.Position.Start), what, remedy)
		}
		return fail(Position{File: name}, err.Error(), "look for a mistake in the file's syntax")
	}
	root, keys, err := scan(text)
	if err != nil || !slices.Equal(keys, listed(md)) {
		// Never seen; without it a message could point to the wrong line.
		root = nil
		for i := range f.lost {
			f.lost[i].all = true
		}
	}
	r := tableReader{where: where}
	*f = r.file(tables, root, *f)
	r.problems.sort()
	return r.problems
}

// decode is the library with its bugs turned into errors.
func decode(text string) (tables map[string]any, md toml.MetaData, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the file can't be read as TOML: %v", r)
		}
	}()
	md, err = toml.Decode(text, &tables)
	return tables, md, err
}

func listed(md toml.MetaData) []string {
	keys := md.Keys()
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = joinKey(k)
	}
	return out
}

// visible replaces the control characters that the library repeats from the file;
// a NUL is its sign for the file's end.
func visible(message string) string {
	var b strings.Builder
	for _, r := range message {
		switch {
		case r == 0:
			b.WriteString("(end of file)")
		case unicode.IsControl(r):
			b.WriteByte('?')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// syntaxError rewords what the library says where it helps people.
func syntaxError(pe toml.ParseError) (what, remedy string) {
	what = visible(strings.TrimSuffix(pe.Message, "."))
	switch {
	case strings.Contains(what, "has already been defined"):
		return what, "remove one of the two"
	case strings.Contains(what, "expected value but found"):
		return what, "put text in quotes, and write true or false without them"
	case strings.Contains(what, "strings cannot contain newlines"):
		return what, "close the quotes on the same line"
	}
	return what, "fix this first; the rest is checked after that"
}

func invalidUTF8(text string) int {
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return len(text)
}

// tooDeep finds nesting that would take any reader much stack or, as dotted
// keys, the library quadratic time. It does not know strings and comments,
// hence the generous limits.
func tooDeep(text string) (at int, deep bool) {
	depth, dots := 0, 0
	for i := range len(text) {
		switch c := text[i]; {
		case c == '[' || c == '{':
			depth++
			dots = 0
		case c == ']' || c == '}':
			depth = max(depth-1, 0)
			dots = 0
		case c == '.':
			dots++
		case !bareKey(c) && !strings.ContainsRune(" \t\"'\\", rune(c)):
			dots = 0
		}
		if depth > maxDepth || dots > maxDots {
			return i, true
		}
	}
	return 0, false
}

// tableReader takes the decoded tables apart.
type tableReader struct {
	where    *lines
	problems Problems
}

func (r *tableReader) fail(at Position, what, remedy string) {
	r.problems = append(r.problems, Problem{Position: at, What: what, Remedy: remedy})
}

// at is the position of an offset of m, or the file when there is no mark.
func (r *tableReader) at(m *mark, value bool) Position {
	switch {
	case m == nil:
		return Position{File: r.where.file}
	case value:
		return r.where.position(m.value)
	}
	return r.where.position(m.name)
}

func (r *tableReader) file(all map[string]any, root *mark, f File) File {
	for _, name := range inOrder(all, root) {
		value, m := all[name], root.child(name)
		switch name {
		case "daemon", "defaults":
			table, ok := value.(map[string]any)
			if !ok && name == "defaults" {
				f.Stray = append(f.Stray, r.entry(name, value, m))
			}
			if !ok {
				r.fail(r.at(m, false), name+" is "+typeName(value)+", not a table", "write a line ["+name+"] and its keys below")
				continue
			}
			s := r.section(table, m, name == "defaults")
			if name == "daemon" {
				f.Daemon = s
			} else {
				f.Defaults = s
			}
		case "tunnel":
			if n := len(tunnelTables(value)); n > maxTunnels {
				r.fail(r.at(m, false), fmt.Sprintf("there are %d tunnels", n), fmt.Sprintf("write at most %d, and run another daemon for more", maxTunnels))
				continue
			}
			for i, table := range tunnelTables(value) {
				f.Tunnels = append(f.Tunnels, r.section(table, m.item(i), true))
			}
			if tunnelTables(value) == nil {
				r.fail(r.at(m, false), "tunnel is "+typeName(value)+", not a list of tables", "write [[tunnel]] with two brackets")
				f.Tunnels = append(f.Tunnels, r.meant(value, m)...)
			}
		default:
			r.unknownTop(name, value, m)
			_, isTunnelKey := LookUp(name)
			switch {
			case Nearest(name, tables) == "tunnel":
				f.Tunnels = append(f.Tunnels, r.meant(value, m)...)
			case isTunnelKey, name == "gre":
				f.Stray = append(f.Stray, r.entry(name, value, m))
			}
		}
	}
	return f
}

// tables are those that a file can have.
var tables = []string{"daemon", "defaults", "tunnel"}

// meant reads what was probably meant for tunnels, whose networks can be closed
// then. What is wrong with it was said at the same position.
func (r *tableReader) meant(value any, m *mark) (out []Section) {
	if table, ok := value.(map[string]any); ok {
		return []Section{r.section(table, m, true)}
	}
	for i, table := range tunnelTables(value) {
		s := r.section(table, m.item(i), true)
		s.At = r.at(m, false)
		out = append(out, s)
	}
	return out
}

// tunnelTables gives the tables of [[tunnel]], nil for anything else.
func tunnelTables(value any) []map[string]any {
	switch v := value.(type) {
	case []map[string]any:
		return v
	case []any:
		out := []map[string]any{}
		for _, item := range v {
			table, ok := item.(map[string]any)
			if !ok {
				return nil
			}
			out = append(out, table)
		}
		return out
	}
	return nil
}

func (r *tableReader) unknownTop(name string, value any, m *mark) {
	at := r.at(m, false)
	_, isTunnelKey := LookUp(name)
	_, isTable := value.(map[string]any)
	_, isTables := value.([]map[string]any)
	switch near := Nearest(name, tables); {
	case name == "gre":
		r.fail(at, "gre stands outside of a tunnel", "write [tunnel.gre] below its [[tunnel]]")
	case !isTable && !isTables && isTunnelKey:
		r.fail(at, name+" stands outside of a tunnel", "write [[tunnel]] in a line before it")
	case !isTable && !isTables && slices.ContainsFunc(daemonKeys, func(k Key) bool { return k.Name == name }):
		r.fail(at, name+" stands outside of a table", "write [daemon] in a line before it")
	case near != "":
		if near == "tunnel" {
			near = "[tunnel]"
		}
		r.fail(at, "there is no table "+quote(name), "did you mean ["+near+"]?")
	default:
		r.fail(at, "there is no table or key "+quote(name)+" here", "the file has [daemon], [defaults] and [[tunnel]]")
	}
}

// section lists the keys of a table in the order of the file. With gre its
// table of that name is taken in, keys with a dot.
func (r *tableReader) section(table map[string]any, m *mark, gre bool) Section {
	s := Section{At: r.at(m, false)}
	for _, name := range inOrder(table, m) {
		value, child := table[name], m.child(name)
		if sub, ok := value.(map[string]any); ok && gre && name == "gre" {
			for _, n := range inOrder(sub, child) {
				s.Entries = append(s.Entries, r.entry("gre."+n, sub[n], child.child(n)))
			}
			continue
		}
		if strings.Contains(name, ".") {
			name = strconv.Quote(name) // "gre.key" in quotes is not gre.key
		}
		s.Entries = append(s.Entries, r.entry(name, value, child))
	}
	return s
}

func (r *tableReader) entry(key string, value any, m *mark) Entry {
	e := Entry{Key: key, Value: value, KeyAt: r.at(m, false), ValueAt: r.at(m, true)}
	if list, ok := value.([]any); ok {
		for i := range list {
			e.Items = append(e.Items, r.at(m.item(i), true))
		}
	}
	return e
}

// inOrder lists the keys of a table in the order of the file.
func inOrder(table map[string]any, m *mark) []string {
	place := func(name string) int {
		if c := m.child(name); c != nil {
			return c.name
		}
		return 0
	}
	names := slices.Sorted(maps.Keys(table))
	sort.SliceStable(names, func(i, j int) bool { return place(names[i]) < place(names[j]) })
	return names
}

// child and item descend in marks; both take nil.
func (m *mark) child(name string) *mark {
	if m == nil {
		return nil
	}
	return m.table[name]
}

func (m *mark) item(i int) *mark {
	if m == nil || i >= len(m.list) {
		return nil
	}
	return m.list[i]
}

// readFile reads a regular file, at most one byte more than most.
func readFile(path string, most int) ([]byte, fs.FileInfo, error) {
	// O_NONBLOCK: opening a FIFO must not wait for its writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, nil, errors.New("is not a regular file")
	}
	data, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	return data, st, err
}

// plainError is an error of the file system without the path that the message
// names anyway.
func plainError(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	if errors.Is(err, fs.ErrNotExist) {
		return "does not exist"
	}
	return err.Error()
}

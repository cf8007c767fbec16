package syntax

import (
	"bytes"
	"fmt"
)

// maxMistakes bounds the reading of a file that has nothing right: each open quote
// is looked after to the end of the file.
const maxMistakes = 100

// Parse reads the file of the package name. file is what errors call it. The
// error is an *Error, the first mistake. What can be read around mistakes is
// returned as well, for those who need to know what was meant: a section that has
// one, in Err, may lack any of its options.
func Parse(file, name string, data []byte) (*Package, error) {
	p := &parser{
		lexer:   lexer{file: file, data: data},
		pkg:     &Package{Name: name},
		named:   map[string]*Section{},
		indexes: map[*Section]map[string]int{},
	}
	if len(data) > MaxSize {
		return nil, p.fail(fmt.Sprintf("the file has %d bytes", len(data)), fmt.Sprintf("keep it below %d", MaxSize))
	}
	var end error
	if i := bytes.IndexByte(data, 0); i >= 0 {
		p.data = data[:i]
		end = &Error{File: file, Line: 1 + bytes.Count(p.data, []byte("\n")), Byte: i - 1 - bytes.LastIndexByte(p.data, '\n'),
			Reason: "a NUL byte, which ends the file for libuci", Remedy: "remove it"}
	}
	for p.mistakes < maxMistakes && p.next() {
		if err := p.command(); err != nil {
			p.spoil(err)
			p.back()
		}
	}
	if end != nil {
		p.spoil(end)
	}
	return p.pkg, p.first
}

// spoil notes a mistake of the section where it stands.
func (p *parser) spoil(err error) {
	e, _ := err.(*Error)
	if p.first == nil {
		p.first = err
	}
	p.mistakes++
	if p.section == nil {
		p.openUnknown("")
	}
	if p.section.Err == nil {
		p.section.Err = e
	}
	if p.elsewhere {
		p.elsewhere = false
		p.openUnknown("")
		p.section.Err = e
	}
}

// openUnknown begins a section whose heading has a mistake.
func (p *parser) openUnknown(typ string) {
	s := p.pkg.Add(typ, "")
	s.Line = p.begin
	p.open(s)
}

type parser struct {
	lexer
	pkg     *Package
	named   map[string]*Section
	section *Section
	options map[string]int // of section: index by name
	indexes map[*Section]map[string]int

	first     error // mistake
	mistakes  int
	elsewhere bool // the command that cannot be read may have been a heading
}

func (p *parser) command() error {
	keyword := p.keyword()
	if keyword == "" || keyword[0] == '#' {
		return nil
	}
	var run func(list bool) error
	switch keyword {
	case "package", "p":
		run, keyword = p.packageLine, "package"
	case "config", "c":
		run, keyword = p.config, "config"
	case "option", "o", "list", "l":
		if p.section == nil {
			p.pos = p.start + p.leading()
			return p.fail("option/list command found before the first section", "write a config line above it")
		}
		run = p.option
	default:
		p.elsewhere = p.leading() == 0 && p.section != nil
		p.pos = p.start + p.leading()
		return p.fail("invalid command", keywordRemedy(keyword))
	}
	if p.pos == p.end { // the file ends behind the keyword
		p.pos = p.start + p.leading()
		if keyword != "config" && keyword != "package" {
			keyword = "option"
		}
		return p.fail(keyword+" without name", "write one behind it")
	}
	p.pos++ // the space or tab behind the keyword
	return run(keyword[0] == 'l')
}

// leading is the length of the white space before the command.
func (p *parser) leading() int {
	n := 0
	for p.start+n < p.end && isSpace(p.data[p.start+n]) {
		n++
	}
	return n
}

func keywordRemedy(keyword string) string {
	switch {
	case bytes.HasPrefix([]byte(keyword), []byte("\xef\xbb\xbf")):
		return "save the file as UTF-8 without a byte order mark"
	case keyword[0] == '\'' || keyword[0] == '"':
		return "write the keyword without quotes"
	}
	return "a line begins with config, option or list, and a space before the name"
}

// name takes an argument that must be there and be a name.
func (p *parser) name(valid func(string) bool) (string, error) {
	w, err := p.word()
	if err != nil {
		return "", err
	}
	if w.text == "" {
		return "", p.fail("insufficient arguments", "write a name")
	}
	if !valid(w.text) {
		return "", p.fail("invalid character in name field", "names are made of letters, digits and _")
	}
	return w.text, nil
}

func (p *parser) endOfLine() error {
	w, err := p.word()
	if err != nil {
		return err
	}
	const remedy = "put a value with spaces in single quotes"
	if w.text != "" || w.quoted {
		return p.fail("too many arguments", remedy)
	}
	// A word is also empty where white space follows a line that went on: what
	// stands behind that must not get lost.
	if p.skipSpace(); p.pos < p.stop && p.cur() != '#' {
		return p.fail("too many arguments", remedy)
	}
	return nil
}

// packageLine is what "uci export" writes first. libuci takes no notice of it
// in a file below /etc/config; one that names another package is a mistake.
func (p *parser) packageLine(bool) error {
	name, err := p.name(ValidPackage)
	if err != nil {
		return err
	}
	if err := p.endOfLine(); err != nil {
		return err
	}
	if p.pkg.Name == "" && p.section == nil {
		p.pkg.Name = name
	}
	if name != p.pkg.Name {
		return p.fail(fmt.Sprintf("a line for package %s in the file of package %q", name, p.pkg.Name), "remove it")
	}
	return nil
}

func (p *parser) config(bool) error {
	p.section = nil // what follows a heading with a mistake is none of the section above
	typ, err := p.word()
	if err != nil {
		return err
	}
	if typ.text == "" {
		return p.fail("insufficient arguments", "write the section's type")
	}
	if !ValidType(typ.text) {
		return p.fail("invalid character in type field", "a type has no spaces and no special characters")
	}
	old, name, err := p.heading(typ.text)
	switch {
	case err != nil:
		p.openUnknown(typ.text)
		return err
	case old != nil:
		p.open(old) // the same section, continued
		return nil
	}
	s := p.pkg.Add(typ.text, name)
	s.Line = p.line
	p.named[s.Name] = s
	p.open(s)
	return nil
}

// heading takes a section's name, and finds the section that has it already.
func (p *parser) heading(typ string) (old *Section, name string, err error) {
	w, err := p.word()
	if err != nil {
		return nil, "", err
	}
	if w.text != "" && !ValidName(w.text) {
		return nil, "", p.fail("invalid character in name field", "names are made of letters, digits and _")
	}
	if err := p.endOfLine(); err != nil {
		return nil, "", err
	}
	if w.text != "" {
		old = p.named[w.text]
	}
	if old != nil && old.Type != typ {
		return nil, "", p.fail("section of different type overwrites prior section with same name",
			fmt.Sprintf("line %d has it as %s; give one of them another name", old.Line, old.Type))
	}
	return old, w.text, nil
}

func (p *parser) open(s *Section) {
	p.section, p.options = s, p.indexes[s]
	if p.options == nil {
		p.options = map[string]int{}
		p.indexes[s] = p.options
	}
}

func (p *parser) option(list bool) error {
	name, err := p.name(ValidName)
	if err != nil {
		return err
	}
	value, err := p.word()
	if err != nil {
		return err
	}
	if err := p.endOfLine(); err != nil {
		return err
	}
	if !list && value.text == "" && !value.quoted {
		return p.fail(fmt.Sprintf("no value for %s, which libuci drops silently", name), "write one, or remove the line")
	}
	i, known := p.options[name]
	if !list && value.text == "" {
		// UCI has no empty options: the line says that it is not set.
		if known {
			return p.fail(fmt.Sprintf("an empty value for %s, for which libuci keeps the one of line %d", name, p.section.Options[i].Line),
				"remove one of the two lines")
		}
		return nil
	}
	switch {
	case !known:
		p.options[name] = len(p.section.Options)
		p.section.Options = append(p.section.Options, Option{Name: name, List: list, Values: []string{value.text}, Line: p.line})
	case list:
		o := &p.section.Options[i]
		o.List, o.Values, o.Line = true, append(o.Values, value.text), p.line
	default:
		p.section.Options[i] = Option{Name: name, Values: []string{value.text}, Line: p.line}
	}
	return nil
}

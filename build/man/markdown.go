package main

import (
	"os"
	"regexp"
	"strings"
)

// docs is the folder of the pages that the man pages repeat.
const docs = "../doc/"

// document writes a page of build/doc: its title as a section, its "## "
// headings as subsections. It knows the Markdown those pages use: headings,
// paragraphs, lists of "- ", tables, indented and fenced code, and links.
func (r *roff) document(file string) error {
	text, err := os.ReadFile(docs + file)
	if err != nil {
		return err
	}
	r.markdown(string(text))
	return nil
}

// section writes the named "## " sections of a page of build/doc.
func (r *roff) section(file string, titles ...string) error {
	text, err := os.ReadFile(docs + file)
	if err != nil {
		return err
	}
	for _, title := range titles {
		_, body, ok := strings.Cut(string(text), "\n## "+title+"\n")
		if !ok {
			return &os.PathError{Op: "section " + title, Path: file, Err: os.ErrNotExist}
		}
		body, _, _ = strings.Cut(body, "\n## ")
		r.macro("SH %s", escape(strings.ToUpper(title)))
		r.markdown(body)
	}
	return nil
}

func (r *roff) markdown(text string) {
	fenced := strings.Split(text, "\n```")
	for i, part := range fenced {
		if i%2 == 1 { // the rest of the opening fence's line is the language
			_, code, _ := strings.Cut(part, "\n")
			r.code(code)
			continue
		}
		for _, block := range strings.Split(part, "\n\n") {
			r.block(strings.Trim(block, "\n"))
		}
	}
}

// block writes what stands between two empty lines.
func (r *roff) block(b string) {
	switch {
	case strings.TrimSpace(b) == "" || strings.HasPrefix(b, "<!--"):
	case strings.HasPrefix(b, "# "):
		r.macro("SH %s", escape(strings.ToUpper(plain(b[2:]))))
	case strings.HasPrefix(b, "## "):
		r.macro(`SS "%s"`, escape(plain(b[3:])))
	case strings.HasPrefix(b, "    "):
		r.code(strings.ReplaceAll(b[4:], "\n    ", "\n"))
	case strings.HasPrefix(b, "| "):
		r.table(strings.Split(b, "\n"))
	case strings.HasPrefix(b, "- "):
		for _, item := range strings.Split(b[2:], "\n- ") {
			r.macro(`IP \(bu 2`)
			r.text(plain(item))
		}
	case strings.Contains(b, "\n- "):
		lead, items, _ := strings.Cut(b, "\n- ")
		r.block(lead)
		r.block("- " + items)
	default:
		r.macro("PP")
		r.text(plain(b))
	}
}

// table writes each row as an item: its first cell, then the others behind the
// heads of their columns where there are several.
func (r *roff) table(lines []string) {
	cells := func(line string) []string {
		cs := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cs {
			cs[i] = plain(strings.TrimSpace(cs[i]))
		}
		return cs
	}
	head := cells(lines[0])
	for _, line := range lines[2:] {
		row := cells(line)
		var facts []string
		for i, c := range row[1:] {
			switch {
			case c == "":
			case len(row) == 2:
				facts = append(facts, c)
			default:
				facts = append(facts, head[i+1]+": "+c)
			}
		}
		r.item(row[0], strings.Join(facts, "; "))
	}
}

var (
	marks = strings.NewReplacer("`", "", "**", "", "\n  ", " ", "\n", " ")
	links = regexp.MustCompile(`\[([^\]]+)\]\(([^)]+)\)`)
	slant = regexp.MustCompile(`\*(\w[^*\n]*\w)\*`)
)

// plain is a paragraph without marks, in one line.
func plain(s string) string {
	s = links.ReplaceAllString(marks.Replace(s), "$1")
	s = strings.ReplaceAll(s, "config.md", "greseal.toml(5)")
	return slant.ReplaceAllString(s, "$1")
}

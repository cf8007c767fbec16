package syntax

import (
	"bytes"
	"fmt"
	"strings"
)

// Bytes writes the package as libuci does on commit: the file of /etc/config.
// It refuses what would not be read back as it is.
func (p *Package) Bytes() ([]byte, error) {
	var b bytes.Buffer
	names := map[string]bool{}
	for i, s := range p.Sections {
		if err := s.write(&b); err != nil {
			return nil, fmt.Errorf("section %d: %w", i+1, err)
		}
		if !s.Anonymous && names[s.Name] {
			return nil, fmt.Errorf("section %d: the name %s is taken; give it another one", i+1, s.Name)
		}
		names[s.Name] = true
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

func (s *Section) write(b *bytes.Buffer) error {
	if !ValidType(s.Type) {
		return fmt.Errorf("%q is not a section type", s.Type)
	}
	// libuci writes a type without quotes, and what it wrote is then read as
	// something else.
	if strings.ContainsAny(s.Type, `'"\;#`) {
		return fmt.Errorf("the type %q can't be written to a UCI file", s.Type)
	}
	b.WriteString("\nconfig " + s.Type)
	if !s.Anonymous {
		if !ValidName(s.Name) {
			return fmt.Errorf("%q is not a section name; use letters, digits and _", s.Name)
		}
		b.WriteString(" '" + s.Name + "'")
	}
	b.WriteByte('\n')
	for _, o := range s.Options {
		if err := o.write(b); err != nil {
			return fmt.Errorf("option %s: %w", o.Name, err)
		}
	}
	return nil
}

func (o Option) write(b *bytes.Buffer) error {
	keyword := "option"
	if o.List {
		keyword = "list"
	}
	switch {
	case !ValidName(o.Name):
		return fmt.Errorf("%q is not an option name; use letters, digits and _", o.Name)
	case !o.List && len(o.Values) != 1, len(o.Values) == 0:
		return fmt.Errorf("%d values", len(o.Values))
	case !o.List && o.Values[0] == "":
		return fmt.Errorf("an empty value; leave the option out")
	}
	for _, v := range o.Values {
		if strings.IndexByte(v, 0) >= 0 {
			return fmt.Errorf("a value with a NUL byte")
		}
		b.WriteString("\t" + keyword + " " + o.Name + " " + Quote(v) + "\n")
	}
	return nil
}

// Quote writes a value in single quotes, as libuci does and a shell reads it.
func Quote(value string) string { return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'" }

package wire

import "fmt"

// Unknown is a payload whose content is not read: of a type nobody knows here,
// or one that has a name but no use (EAP).
type Unknown struct {
	Kind     PayloadType
	Critical bool
	Body     []byte
}

// Type is the payload's type as received.
func (p *Unknown) Type() PayloadType { return p.Kind }

// AppendBody appends the body as received.
func (p *Unknown) AppendBody(b []byte) ([]byte, error) { return append(b, p.Body...), nil }

func (p *Unknown) String() string {
	c := ""
	if p.Critical {
		c = "critical, "
	}
	return fmt.Sprintf("%s(%s%d octets)", p.Kind, c, len(p.Body))
}

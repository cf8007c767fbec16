package wire

import "fmt"

// VendorID is the Vendor ID payload (RFC 7296 section 3.12).
type VendorID struct{ Data []byte }

// Type is TypeVendor.
func (*VendorID) Type() PayloadType { return TypeVendor }

func parseVendorID(_ PayloadType, b []byte) (Payload, error) { return &VendorID{Data: b}, nil }

// AppendBody appends the vendor ID.
func (p *VendorID) AppendBody(b []byte) ([]byte, error) { return append(b, p.Data...), nil }

// String shows the vendor ID as text when it is text, else its head in hex.
func (p *VendorID) String() string {
	for _, c := range p.Data {
		if c < ' ' || c > '~' {
			return fmt.Sprintf("V(%s)", hexShort(p.Data))
		}
	}
	return fmt.Sprintf("V(%s)", printable(p.Data))
}

package wire

// Contents is a chain of payloads sorted by kind. What may occur once only is a
// pointer, nil when it is not there.
type Contents struct {
	SA        *SA
	KE        *KE
	IDi, IDr  *ID
	Auth      *Auth
	Nonce     *Nonce
	TSi, TSr  *TS
	CP        *CP
	Certs     []*Cert
	CertReqs  []*CertReq
	Notifies  []*Notify
	Deletes   []*Delete
	VendorIDs []*VendorID
	Unknown   []*Unknown
}

// Collect sorts a chain by kind. A second payload of a kind that no exchange
// repeats is an INVALID_SYNTAX error. Order is not checked: RFC 7296 section
// 2.5 has payloads accepted in any. SK and SKF are passed over.
func Collect(ps []Payload) (*Contents, error) {
	c := &Contents{}
	for _, p := range ps {
		twice := false
		switch p := p.(type) {
		case *SA:
			twice, c.SA = c.SA != nil, p
		case *KE:
			twice, c.KE = c.KE != nil, p
		case *ID:
			if p.Of == TypeIDi {
				twice, c.IDi = c.IDi != nil, p
			} else {
				twice, c.IDr = c.IDr != nil, p
			}
		case *Auth:
			twice, c.Auth = c.Auth != nil, p
		case *Nonce:
			twice, c.Nonce = c.Nonce != nil, p
		case *TS:
			if p.Of == TypeTSi {
				twice, c.TSi = c.TSi != nil, p
			} else {
				twice, c.TSr = c.TSr != nil, p
			}
		case *CP:
			// Several have no meaning, but some send a CFG_SET beside a CFG_REQUEST.
			if c.CP == nil {
				c.CP = p
			}
		case *Cert:
			c.Certs = append(c.Certs, p)
		case *CertReq:
			c.CertReqs = append(c.CertReqs, p)
		case *Notify:
			c.Notifies = append(c.Notifies, p)
		case *Delete:
			c.Deletes = append(c.Deletes, p)
		case *VendorID:
			c.VendorIDs = append(c.VendorIDs, p)
		case *Unknown:
			c.Unknown = append(c.Unknown, p)
		}
		if twice {
			return nil, syntaxf(p.Type(), "occurs twice")
		}
	}
	return c, nil
}

// Notify is the first notify of that type, nil when there is none.
func (c *Contents) Notify(t NotifyType) *Notify {
	for _, n := range c.Notifies {
		if n.Kind == t {
			return n
		}
	}
	return nil
}

// Error is the first notify of an error type, nil when there is none.
func (c *Contents) Error() *Notify {
	for _, n := range c.Notifies {
		if n.Kind.IsError() {
			return n
		}
	}
	return nil
}

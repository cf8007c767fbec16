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

// Collect is CollectOf for a chain whose exchange does not matter.
func Collect(ps []Payload) (*Contents, error) { return CollectOf(0, ps) }

// CollectOf sorts the chain of a message of exchange x by kind. A second payload of a
// kind that the exchange is decided by and that is not repeated is an
// INVALID_SYNTAX error; of another kind the first one counts. Order is not
// checked: RFC 7296 section 2.5 has payloads accepted in any. SK and SKF are
// passed over.
func CollectOf(x ExchangeType, ps []Payload) (*Contents, error) {
	c := &Contents{}
	for _, p := range ps {
		twice := false
		switch p := p.(type) {
		case *SA:
			twice = put(&c.SA, p)
		case *KE:
			twice = put(&c.KE, p)
		case *ID:
			if p.Of == TypeIDi {
				twice = put(&c.IDi, p)
			} else {
				twice = put(&c.IDr, p)
			}
		case *Auth:
			twice = put(&c.Auth, p)
		case *Nonce:
			twice = put(&c.Nonce, p)
		case *TS:
			if p.Of == TypeTSi {
				twice = put(&c.TSi, p)
			} else {
				twice = put(&c.TSr, p)
			}
		case *CP:
			// Several have no meaning, but some send a CFG_SET beside a CFG_REQUEST.
			_ = put(&c.CP, p)
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
		if twice && x.reads(p.Type()) {
			return nil, syntaxf(p.Type(), "occurs twice")
		}
	}
	return c, nil
}

// put keeps the first payload of a kind and tells whether there was one already.
func put[P any](to **P, p *P) (twice bool) {
	if *to == nil {
		*to = p
		return false
	}
	return true
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

package ikev2

import (
	"time"

	"greseal/ikev2/fragment"
	"greseal/ikev2/keymat"
	"greseal/ikev2/wire"
)

// lastResponse is the response that is kept of a closed IKE SA, for repetitions of
// the request: the Delete that ended it, or the IKE_AUTH that was refused. No other
// response outlives its SA: a peer that got it would take for up what is gone.
type lastResponse struct {
	spi     uint64
	answer  cached
	expires Time
}

// A response is kept for as long as a peer is likely to repeat a request. Their
// number is bounded; the oldest go first.
const (
	responseLife = 90 * time.Second
	maxResponses = 1024
	maxRefused   = 128 // of peers that were not authenticated, who push out each other only
)

// keepResponse keeps the last response of an SA that is gone.
func (e *Engine) keepResponse(s *ikeSA) {
	if s.answered.Data == nil || s.answered.at != e.now || s.own() == 0 {
		return
	}
	g := &lastResponse{s.own(), s.answered, e.now + responseLife}
	s.answered = cached{}
	e.responses[g.spi] = g
	list, most := &e.byExpiry, maxResponses
	if s.peer == nil {
		list, most = &e.refusals, maxRefused
		g.answer.Settle()
	}
	if *list = append(*list, g); len(*list) > most {
		e.evictResponse(list)
	}
}

// expireResponses removes responses whose time is over.
func (e *Engine) expireResponses() {
	for _, list := range []*[]*lastResponse{&e.byExpiry, &e.refusals} {
		for len(*list) > 0 && (*list)[0].expires <= e.now {
			e.evictResponse(list)
		}
	}
}

func (e *Engine) evictResponse(list *[]*lastResponse) {
	g := (*list)[0]
	(*list)[0] = nil
	*list = (*list)[1:]
	if e.responses[g.spi] == g {
		delete(e.responses, g.spi)
	}
}

// cached is the answer to the last request, kept until the next one comes (RFC
// 7296 section 2.1).
type cached struct {
	fragment.Message
	mark  fragment.Mark // of the request
	id    uint32
	total uint16 // fragments of the request, 0 for none
	again uint8  // how often it was asked for again
	at    Time   // when it was given
}

func (c *cached) is(id uint32, datagram []byte) bool {
	return c.Data != nil && c.id == id && c.mark == fragment.MarkOf(datagram)
}

// askedAnew tells whether a request is the answered one in more fragments than
// before, of which the first asks for the answer (RFC 7383 section 2.6.1), or as
// a peer sends it that seals its repetitions anew (against RFC 7296 section 2.1).
func (c *cached) askedAnew(m *wire.Message, keys *keymat.Keys) bool {
	p := m.SKF()
	if c.Data == nil || m.MessageID != c.id || keys == nil || p != nil && (p.Number != 1 || p.Total < c.total) {
		return false
	}
	var err error
	total := uint16(0)
	if p == nil {
		_, err = m.Decrypt(keys.In)
	} else {
		total = p.Total
		_, err = m.DecryptFragment(keys.In)
	}
	if err == nil {
		c.mark, c.total = fragment.MarkOf(m.Raw), total
	}
	return err == nil
}

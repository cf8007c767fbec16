package ikev2

import (
	"time"

	"greseal/ikev2/fragment"
	"greseal/ikev2/keymat"
	"greseal/ikev2/wire"
)

// lastResponse is the response that is kept of a closed IKE SA, for repetitions of
// the request: the Delete that ended it, or the IKE_AUTH that was refused. No other
// response outlives its SA: a peer that got it would take the SA to be up.
type lastResponse struct {
	spi     uint64
	answer  cached
	expires Time
}

// lastResponses are those that are kept, by our SPI.
type lastResponses struct {
	responses map[uint64]*lastResponse
	byExpiry  []*lastResponse // in the order they expire
	refusals  []*lastResponse // likewise, of strangers
}

// A response is kept for as long as a peer is likely to repeat a request. Their
// number is bounded; the oldest go first.
const (
	responseLife = 90 * time.Second
	maxResponses = 1024
	maxRefused   = 128 // of peers that were not authenticated, who push out each other only
)

// keepResponse keeps the last response of an SA that is gone.
func (l *lastResponses) keepResponse(now Time, s *ikeSA) {
	if s.answered.Data == nil || s.answered.at != now || s.own() == 0 {
		return
	}
	g := &lastResponse{s.own(), s.answered, now + responseLife}
	s.answered = cached{}
	l.responses[g.spi] = g
	list, most := &l.byExpiry, maxResponses
	if s.peer == nil {
		list, most = &l.refusals, maxRefused
		g.answer.Settle()
	}
	if *list = append(*list, g); len(*list) > most {
		l.evictResponse(list)
	}
}

// expireResponses removes responses whose time is over.
func (l *lastResponses) expireResponses(now Time) {
	for _, list := range []*[]*lastResponse{&l.byExpiry, &l.refusals} {
		for len(*list) > 0 && (*list)[0].expires <= now {
			l.evictResponse(list)
		}
	}
}

func (l *lastResponses) evictResponse(list *[]*lastResponse) {
	g := (*list)[0]
	(*list)[0] = nil
	*list = (*list)[1:]
	if l.responses[g.spi] == g {
		delete(l.responses, g.spi)
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

// askedAnew reports whether a request is the answered one in more fragments than
// before, of which the first asks for the answer (RFC 7383 section 2.6.1), or as
// a peer sends it that seals its repetitions again (against RFC 7296 section 2.1).
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

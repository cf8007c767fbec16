package ikev2

import "time"

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

package ikev2

import "time"

// ghost answers repeated requests to an SA that is gone: the Delete that ended
// it, or the IKE_AUTH that was refused. No other answer outlives its SA: a peer
// that got it would take for up what is gone.
type ghost struct {
	spi     uint64
	answer  cached
	expires Time
}

// Ghosts stay for as long as a peer is likely to repeat a request, and are
// bounded in number; the oldest go first.
const (
	ghostLife  = 90 * time.Second
	maxGhosts  = 1024
	maxRefused = 128 // of peers that were not authenticated, who push out each other only
)

// haunt leaves a ghost of an SA that is gone.
func (e *Engine) haunt(s *ikeSA) {
	if s.answered.data == nil || s.answered.at != e.now || s.own() == 0 {
		return
	}
	g := &ghost{s.own(), s.answered, e.now + ghostLife}
	s.answered = cached{}
	e.ghosts[g.spi] = g
	list, most := &e.buried, maxGhosts
	if s.peer == nil {
		list, most = &e.turned, maxRefused
		g.answer.plain, g.answer.sealer = nil, nil
	}
	if *list = append(*list, g); len(*list) > most {
		e.exorcise(list)
	}
}

// bury removes ghosts whose time is over.
func (e *Engine) bury() {
	for _, list := range []*[]*ghost{&e.buried, &e.turned} {
		for len(*list) > 0 && (*list)[0].expires <= e.now {
			e.exorcise(list)
		}
	}
}

func (e *Engine) exorcise(list *[]*ghost) {
	g := (*list)[0]
	(*list)[0] = nil
	*list = (*list)[1:]
	if e.ghosts[g.spi] == g {
		delete(e.ghosts, g.spi)
	}
}

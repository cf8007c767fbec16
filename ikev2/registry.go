package ikev2

// registry is what an engine knows by its numbers: the IKE SAs, their Child SAs, and the
// SPIs in requests of ours that are not answered yet.
type registry struct {
	sas       map[uint64]*ikeSA // by our SPI
	ids       map[SAID]*ikeSA
	bySPI     map[uint32]*child // by inbound SPI
	childSAs  map[ChildID]*child
	nextSA    SAID
	nextChild ChildID

	ikeReserved map[uint64]bool
	espReserved map[uint32]bool
}

func newRegistry() registry {
	return registry{
		sas: map[uint64]*ikeSA{}, ids: map[SAID]*ikeSA{}, bySPI: map[uint32]*child{}, childSAs: map[ChildID]*child{},
		ikeReserved: map[uint64]bool{}, espReserved: map[uint32]bool{},
	}
}

// register makes an IKE SA known, and gives it its ID.
func (r *registry) register(s *ikeSA) {
	r.nextSA++
	s.ID = r.nextSA
	r.sas[s.own()] = s
	r.ids[s.ID] = s
}

func (r *registry) unregister(s *ikeSA) {
	delete(r.sas, s.own())
	delete(r.ids, s.ID)
}

// registerChild makes a Child SA known, and gives it its ID.
func (r *registry) registerChild(c *child) {
	r.nextChild++
	c.pub.ID = r.nextChild
	r.bySPI[c.pub.SPIIn] = c
	r.childSAs[c.pub.ID] = c
}

func (r *registry) unregisterChild(c *child) {
	delete(r.bySPI, c.pub.SPIIn)
	delete(r.childSAs, c.pub.ID)
}

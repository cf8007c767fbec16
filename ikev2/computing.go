package ikev2

import (
	"time"

	"greseal/crypto/suite"
)

// Computing for strangers is counted in key exchanges of Curve25519, and costs
// are fixed, so that the engine needs no clock; its owner says how many a second
// strangers may have (Config.Computing). An authenticated peer gets back what its
// handshake cost. The bucket is drawn on by all alike down to a level that depends
// on how a network has behaved: what is below half is for those of whom no
// handshake has come to nothing lately. Peers with a configured address, and those
// at addresses heard before, have a bucket of their own.
const (
	defaultComputing = 2000 // key exchanges a second
	computingBurst   = 8 * time.Second

	handshakeCost = 2         // of a handshake beside its key exchanges
	signatureCost = 4         // of a certificate or signature to be verified
	lookCost      = 1.0 / 256 // of a tunnel whose identity is compared
	slowCost      = 4         // from here on a key exchange is slow
)

// exchangeCosts are rounded means of 32 and 64 bit machines.
var exchangeCosts = map[uint16]float64{
	suite.KE_CURVE25519: 1, suite.KE_ECP_256: 1, suite.KE_ECP_384: 7, suite.KE_ECP_521: 22,
	suite.KE_MODP_1024: 4, suite.KE_MODP_1536: 6, suite.KE_MODP_2048: 15, suite.KE_MODP_3072: 40, suite.KE_MODP_4096: 60,
	suite.KE_MLKEM_768: 1, suite.KE_MLKEM_1024: 1,
}

// costOf is what a whole handshake costs a responder.
func costOf(s *suite.Suite) float64 {
	n := handshakeCost + exchangeCosts[s.KE.ID]
	for _, m := range addKEs(s) {
		n += exchangeCosts[m]
	}
	return n
}

// slow reports whether a handshake of this cost has a slow key exchange.
func slow(cost float64) bool { return cost >= handshakeCost+slowCost }

// slowMethod reports whether a key exchange method is slow.
func slowMethod(m uint16) bool { return exchangeCosts[m] >= slowCost }

// withoutSlow are the proposals that have a key exchange which is not slow, with
// those alone.
func withoutSlow(own []suite.Proposal) []suite.Proposal {
	var out []suite.Proposal
	for _, p := range own {
		q := suite.Proposal{Protocol: p.Protocol}
		for _, t := range p.Transforms {
			if t.Type != suite.TypeKE || !slowMethod(t.ID) {
				q.Transforms = append(q.Transforms, t)
			}
		}
		if q.Has(suite.TypeKE) {
			out = append(out, q)
		}
	}
	return out
}

type computing struct {
	strange, known purse
}

func newComputing(rate float64) computing {
	if rate <= 0 {
		rate = defaultComputing
	}
	p := purse{rate: rate, most: rate * computingBurst.Seconds()}
	p.left = p.most
	return computing{p, p}
}

// purse is a bucket of computing. It may be overdrawn by what cannot be put off.
type purse struct {
	rate, most, left float64
	at               Time
}

func (p *purse) level(now Time) float64 {
	p.left = min(p.most, p.left+(now-p.at).Seconds()*p.rate)
	p.at = now
	return p.left
}

func (c *computing) of(b *standing) *purse {
	if b.known {
		return &c.known
	}
	return &c.strange
}

// short reports that only the reserved part is left.
func (c *computing) short(now Time) bool { return c.strange.level(now) <= c.strange.most/2 }

// affords reports whether there is computing for a handshake.
func (c *computing) affords(now Time, b *standing, cost float64) bool {
	p := c.of(b)
	return p.level(now)-cost >= p.most*b.floor(now) || p.left == p.most
}

// floor is the part of the bucket that is not for b.
func (b *standing) floor(now Time) float64 {
	if b.known {
		return 0
	}
	n := len(b.origins)
	for i := n - 1; i >= 0; i-- {
		if o := b.origins[i]; o.wasted.Level(now)+float64(o.open)/8 >= 1 {
			return 0.5 / float64(n-i) // of one's own address, or of a network around it
		}
	}
	return 0
}

// charge takes computing for b.
func (c *computing) charge(now Time, b *standing, cost float64) {
	p := c.of(b)
	p.level(now)
	p.left -= cost
	b.cost += cost
}

// refund gives back what an authenticated peer has cost.
func (c *computing) refund(b *standing) {
	p := c.of(b)
	p.left = min(p.most, p.left+b.cost)
	b.cost = 0
}

package kex

import (
	"fmt"
	"io"
	"math/big"

	"greseal/crypto/suite"
)

// modpGroup is what tells the MODP groups apart. Their primes have one form,
//
//	p = 2^n - 2^(n-64) - 1 + 2^64 * ([2^(n-130) pi] + c)
//
// (RFC 7296 appendix B.2, RFC 3526 sections 2 to 5), and their generator is 2.
type modpGroup struct {
	n        uint // bits of the prime
	c        int64
	exponent uint // bits of an exponent: the upper estimate of RFC 3526 section 8
}

var modpGroups = map[uint16]modpGroup{
	suite.KE_MODP_1024: {1024, 129093, 240},
	suite.KE_MODP_1536: {1536, 741804, 240},
	suite.KE_MODP_2048: {2048, 124476, 320},
	suite.KE_MODP_3072: {3072, 1690314, 420},
	suite.KE_MODP_4096: {4096, 240904, 480},
}

func modpBits(group uint16) int { return int(modpGroups[group].n) }

// prime4096 is the prime of RFC 3526 section 5, from which the digits of pi in
// the smaller ones are taken.
const prime4096 = "" +
	"ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74" +
	"020bbea63b139b22514a08798e3404ddef9519b3cd3a431b302b0a6df25f1437" +
	"4fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7ed" +
	"ee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf05" +
	"98da48361c55d39a69163fa8fd24cf5f83655d23dca3ad961c62f356208552bb" +
	"9ed529077096966d670c354e4abc9804f1746c08ca18217c32905e462e36ce3b" +
	"e39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf695581718" +
	"3995497cea956ae515d2261898fa051015728e5a8aaac42dad33170d04507a33" +
	"a85521abdf1cba64ecfb850458dbef0a8aea71575d060c7db3970f85a6e1e4c7" +
	"abf5ae8cdb0933d71e8c94e04a25619dcee3d2261ad2ee6bf12ffa06d98a0864" +
	"d87602733ec86a64521f2b18177b200cbbe117577a615d6c770988c0bad946e2" +
	"08e24fa074e5ab3143db5bfce0fd108e4b82d120a92108011a723c12a787e6d7" +
	"88719a10bdba5b2699c327186af4e23c1a946834b6150bda2583e9ca2ad44ce8" +
	"dbbbc2db04de8ef92e8efc141fbecaa6287c59474e6bc05d99b2964fa090c3a2" +
	"233ba186515be7ed1f612970cee2d7afb81bdd762170481cd0069127d5b05aa9" +
	"93b4ea988d8fddc186ffb7dc90a6c08f4df435c934063199ffffffffffffffff"

func (g modpGroup) prime() *big.Int {
	p4096, _ := new(big.Int).SetString(prime4096, 16)
	// [2^3966 pi], and from it [2^(n-130) pi].
	pi := p4096.Sub(p4096, form(4096))
	pi.Rsh(pi, 64)
	pi.Sub(pi, big.NewInt(modpGroups[suite.KE_MODP_4096].c))
	pi.Rsh(pi, 4096-g.n)

	pi.Add(pi, big.NewInt(g.c))
	pi.Lsh(pi, 64)
	return pi.Add(pi, form(g.n))
}

// form is 2^n - 2^(n-64) - 1.
func form(n uint) *big.Int {
	one := big.NewInt(1)
	f := new(big.Int).Lsh(one, n)
	f.Sub(f, new(big.Int).Lsh(one, n-64))
	return f.Sub(f, one)
}

type modpExchange struct {
	group  uint16
	p, x   *big.Int
	public []byte
}

func newMODP(group uint16, rand io.Reader) (Exchange, error) {
	g := modpGroups[group]
	secret := make([]byte, (g.exponent+7)/8)
	defer clear(secret)
	if _, err := io.ReadFull(rand, secret); err != nil {
		return nil, fmt.Errorf("randomness for %s: %w", name(group), err)
	}
	e := &modpExchange{group: group, p: g.prime(), x: new(big.Int).SetBytes(secret)}
	// All exponents have the same length, and none is so small that g^x does
	// not wrap around p.
	e.x.Rsh(e.x, uint(len(secret))*8-g.exponent)
	e.x.SetBit(e.x, int(g.exponent)-1, 1)
	e.public = e.fill(new(big.Int).Exp(big.NewInt(2), e.x, e.p))
	return e, nil
}

// fill writes n with the leading zeros that make it as long as the prime
// (RFC 7296 sections 2.14 and 3.4).
func (e *modpExchange) fill(n *big.Int) []byte {
	return n.FillBytes(make([]byte, PublicLen(e.group)))
}

func (e *modpExchange) Group() uint16  { return e.group }
func (e *modpExchange) Public() []byte { return e.public }

func (e *modpExchange) Shared(peer []byte) ([]byte, error) {
	if len(peer) != PublicLen(e.group) {
		return nil, lengthError(e.group, len(peer), PublicLen(e.group))
	}
	// 1 < r < p-1 (RFC 6989 section 2.1); these groups have no other small
	// subgroup.
	one := big.NewInt(1)
	r := new(big.Int).SetBytes(peer)
	if r.Cmp(one) <= 0 || r.Cmp(new(big.Int).Sub(e.p, one)) >= 0 {
		return nil, fmt.Errorf("%s: %w: not between 1 and p-1", name(e.group), ErrPublic)
	}
	return e.fill(r.Exp(r, e.x, e.p)), nil
}

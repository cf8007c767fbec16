package ikev2

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/netip"
	"testing"
	"time"

	"greseal/crypto/sign/cert"
)

// manyTunnels is a responder with tunnels for anybody, each with certificates and
// as many trusted authorities.
func manyTunnels(t testing.TB, tunnels, anchors int) *Engine {
	t.Helper()
	var roots [][]byte
	for i := range anchors {
		key := rawEd(fmt.Sprint("root ", i))
		template := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: fmt.Sprint("root ", i)},
			NotBefore: testTime.AddDate(-1, 0, 0), NotAfter: testTime.AddDate(9, 0, 0), IsCA: true, BasicConstraintsValid: true,
		}
		roots = append(roots, parsed(template, template, key.Public(), key).Raw)
	}
	trusted, err := cert.NewAnchors(certFile(roots...))
	if err != nil {
		t.Fatal(err)
	}
	e := New(Config{Rand: seeded(1), Computing: 1e9})
	e.kex = keyExchanges{cheapStart, cheapRespond}
	own := certificatesOf("east").Own
	for i := range tunnels {
		p := testPeer(fmt.Sprint(i))
		p.PSK, p.Certificates, p.RemoteID = nil, &Certificates{Own: own, Anchors: trusted}, pattern(fmt.Sprintf("b%d.example", i))
		e.SetPeer(0, p)
	}
	return e
}

// requestFrom gives an engine the IKE_SA_INIT request number i, from an address of
// its own.
func requestFrom(e *Engine, i int) []Action {
	from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 500)
	return e.Receive(Time(i)*time.Second, Datagram{benchEast, from, initRequest(uint64(i+1), nil)})
}

// A stranger's IKE_SA_INIT request costs the same however many tunnels and
// authorities there are.
func TestInitCostsTheSameWithManyTunnels(t *testing.T) {
	allocations := func(tunnels, anchors int) float64 {
		e, i := manyTunnels(t, tunnels, anchors), 0
		return testing.AllocsPerRun(50, func() {
			if i++; len(answers(t, requestFrom(e, i))) != 1 {
				t.Fatal("not answered")
			}
			e.Tick(Time(i)*time.Second + time.Millisecond)
		})
	}
	few, many := allocations(1, 16), allocations(200, 144)
	if many > few+10 {
		t.Errorf("a request makes %.0f allocations, with one tunnel %.0f", many, few)
	}
}

func BenchmarkInitWithManyTunnels(b *testing.B) {
	e := manyTunnels(b, 200, 144)
	for i := 0; b.Loop(); i++ {
		requestFrom(e, i)
		e.Tick(Time(i) * time.Second)
	}
}

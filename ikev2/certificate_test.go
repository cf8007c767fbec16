package ikev2

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"greseal/crypto/sign"
	"greseal/crypto/sign/cert"
	"greseal/ikev2/fragment"
	"greseal/ikev2/wire"
)

// testTime is when the tests' engines begin.
var testTime = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// rawEd is a key that is the same in every run, so that messages have the same
// length in every run.
func rawEd(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("greseal test key of " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func edKey(name string) *sign.PrivateKey {
	k, err := sign.ParsePrivateKey(keyFile(rawEd(name)))
	if err != nil {
		panic(err)
	}
	return k
}

func keyFile(key any) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func certFile(der ...[]byte) (out []byte) {
	for _, d := range der {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: d})...)
	}
	return out
}

// authority is a CA of the tests: root "NAME root" and under it "NAME sub",
// which issues.
type authority struct {
	name      string
	root, sub *x509.Certificate
}

var authorities = sync.OnceValue(func() map[string]*authority {
	out := map[string]*authority{}
	for _, name := range []string{"lab", "other"} {
		ca := func(what string, parent *x509.Certificate, signer ed25519.PrivateKey) *x509.Certificate {
			template := &x509.Certificate{
				SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{"example"}, CommonName: name + " " + what},
				NotBefore: testTime.AddDate(-1, 0, 0), NotAfter: testTime.AddDate(9, 0, 0),
				IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
			}
			if parent == nil {
				parent = template
			}
			return parsed(template, parent, rawEd(name+what).Public(), signer)
		}
		a := &authority{name: name}
		a.root = ca("root", nil, rawEd(name+"root"))
		a.sub = ca("sub", a.root, rawEd(name+"root"))
		out[name] = a
	}
	return out
})

func parsed(template, parent *x509.Certificate, public, signer any) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		panic(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return c
}

// issue makes a certificate with the domain name NAME.example.
func (a *authority) issue(name string, public any, change func(*x509.Certificate)) *x509.Certificate {
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes([]byte(name)), Subject: pkix.Name{Organization: []string{"example"}, CommonName: name},
		NotBefore: testTime.AddDate(0, -1, 0), NotAfter: testTime.AddDate(1, 0, 0),
		DNSNames: []string{name + ".example"}, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if change != nil {
		change(template)
	}
	return parsed(template, a.sub, public, rawEd(a.name+"sub"))
}

func credential(c *authority, leaf *x509.Certificate, key any) *cert.Credential {
	own, err := cert.NewCredential(certFile(leaf.Raw, c.sub.Raw), keyFile(key))
	if err != nil {
		panic(err)
	}
	return own
}

func testAnchors(name string) *cert.Anchors {
	a, err := cert.NewAnchors(certFile(authorities()[name].root.Raw))
	if err != nil {
		panic(err)
	}
	return a
}

// certificatesOf are the credentials of NAME, with a certificate of the lab's,
// or NAME@AUTHORITY; "expired-NAME" has one whose time is over.
func certificatesOf(name string) *Certificates {
	name, ca, other := strings.Cut(name, "@")
	if !other {
		ca = "lab"
	}
	name, old := strings.CutPrefix(name, "expired-")
	c := authorities()[ca]
	leaf := c.issue(name, rawEd(name).Public(), func(t *x509.Certificate) {
		if old {
			t.NotAfter = testTime.AddDate(0, 0, -1)
		}
	})
	return &Certificates{Own: credential(c, leaf, rawEd(name)), Anchors: testAnchors("lab")}
}

// revoking are lists of both authorities on which NAME stands.
func revoking(name string) *cert.CRLs {
	c := authorities()["lab"]
	list := func(issuer *x509.Certificate, signer ed25519.PrivateKey, revoked ...string) []byte {
		template := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: testTime.AddDate(0, 0, -1), NextUpdate: testTime.AddDate(0, 0, 7)}
		for _, r := range revoked {
			template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
				x509.RevocationListEntry{SerialNumber: new(big.Int).SetBytes([]byte(r)), RevocationTime: testTime.AddDate(0, 0, -1)})
		}
		der, err := x509.CreateRevocationList(rand.Reader, template, issuer, signer)
		if err != nil {
			panic(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
	}
	s, err := cert.NewCRLs(list(c.root, rawEd("labroot")), list(c.sub, rawEd("labsub"), name))
	if err != nil {
		panic(err)
	}
	return s
}

// signers are two peers that authenticate each other by certificates; east has
// more tunnels beside the one that change sees.
func signers(change func(west, east *Peer), more ...Peer) *network {
	n := newNetwork(3)
	west, east := testPeer("t"), testPeer("t")
	west.PSK, east.PSK = nil, nil
	west.Certificates, east.Certificates = certificatesOf("west"), certificatesOf("east")
	west.RemoteID, east.RemoteID = pattern("east.example"), pattern("*.example")
	west.LocalID = ident("west.example")
	if change != nil {
		change(&west, &east)
	}
	n.add("west", "192.0.2.1", "192.0.2.2", west)
	n.add("east", "192.0.2.2", "192.0.2.1", east)
	for _, p := range more {
		n.nodes[1].e.SetPeer(n.now, p)
	}
	n.nodes[0].initiate()
	n.run(n.now + time.Second)
	return n
}

// Every kind of key authenticates both roles, in one datagram and in fragments.
func TestEveryKindOfKeyAuthenticates(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ec := func(c elliptic.Curve) *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	p256, p384, p521, ed := ec(elliptic.P256()), ec(elliptic.P384()), ec(elliptic.P521()), rawEd("x")
	for _, c := range []struct {
		key, public any
		want        string
	}{
		{rsaKey, rsaKey.Public(), "RSASSA-PSS with SHA2-256"},
		{p256, p256.Public(), "ECDSA with SHA2-256"},
		{p384, p384.Public(), "ECDSA with SHA2-384"},
		{p521, p521.Public(), "ECDSA with SHA2-512"},
		{ed, ed.Public(), "Ed25519"},
	} {
		for _, mtu := range []int{0, fragment.IPv4MinMTU} {
			for _, raw := range []bool{false, true} {
				n := signers(func(west, east *Peer) {
					west.PathMTU, east.PathMTU = mtu, mtu
					if raw {
						k, err := sign.ParsePrivateKey(keyFile(c.key))
						if err != nil {
							t.Fatal(err)
						}
						west.Certificates, east.Certificates = nil, nil
						west.RawKeys, east.RawKeys = &RawKeys{k, edKey("east").Public()}, &RawKeys{edKey("east"), k.Public()}
						west.RemoteID = Pattern{}
						return
					}
					ca := authorities()["lab"]
					west.Certificates.Own = credential(ca, ca.issue("west", c.public, nil), c.key)
				})
				w, e := n.nodes[0].e.SAs("t"), n.nodes[1].e.SAs("t")
				if len(w) != 1 || len(e) != 1 {
					t.Errorf("%s, MTU %d, raw %v: no IKE SA: %v %v", c.want, mtu, raw, n.nodes[0].failed, n.nodes[1].noted)
					continue
				}
				if w[0].Auth.Ours != c.want || e[0].Auth.Theirs != c.want || e[0].Auth.Ours != "Ed25519" || e[0].RemoteID.String() != "west.example" {
					t.Errorf("%s, MTU %d, raw %v: %+v and %+v", c.want, mtu, raw, w[0].Auth, e[0].Auth)
				}
				if raw != (e[0].Auth.Key != "") || raw != (e[0].Auth.Subject == "") || raw != e[0].Auth.Expires.IsZero() {
					t.Errorf("%s, raw %v: %+v", c.want, raw, e[0].Auth)
				}
			}
		}
	}
}

func TestAuthenticationOutlivesRekeying(t *testing.T) {
	n := signers(nil)
	n.nodes[0].rekeyIKE()
	n.run(n.now + time.Second)
	for _, x := range n.nodes {
		if sas := x.e.SAs("t"); len(sas) != 1 || sas[0].Replaces == 0 || sas[0].Auth.Theirs != "Ed25519" || sas[0].Auth.Subject == "" {
			t.Errorf("%s: %+v", x.name, sas)
		}
	}
}

// What a side does not accept, and what it says about it.
func TestCertificateFaultsAreExplained(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(west, east *Peer)
		kind   FailureKind
		must   []string
	}{
		{"expired", func(w, _ *Peer) { w.Certificates = certificatesOf("expired-west") }, FailCertificate, []string{"expired"}},
		{"foreign authority", func(w, _ *Peer) { w.Certificates = certificatesOf("west@other") }, FailCertificate, []string{"other sub"}},
		{"revoked", func(_, e *Peer) { e.Certificates.CRLs = revoking("west") }, FailCertificate, []string{"revoked"}},
		{"another's name", func(w, _ *Peer) { w.LocalID = ident("east.example") }, FailCertificate, []string{"east.example", "west.example"}},
		{"another's key", func(w, _ *Peer) { w.Certificates.Own = mismatched() }, FailAuthentication, []string{"signature"}},
		{"not the pattern", func(_, e *Peer) { e.RemoteID = pattern("*.example.org") }, FailIdentity, []string{"*.example.org", "west.example"}},
		{"a shared key instead", func(w, _ *Peer) { w.Certificates, w.PSK = nil, []byte("one") }, FailAuthentication, []string{"certificates are configured here"}},
		{"certificates instead", func(w, e *Peer) {
			ca, k := authorities()["lab"], p256()
			w.Certificates.Own = credential(ca, ca.issue("west", k.Public(), nil), k)
			e.Certificates, e.PSK, e.LocalID = nil, []byte("one"), ident("east.example")
		}, FailAuthentication, []string{"a shared key is configured here"}},
		{"raw key of another", func(w, e *Peer) {
			w.Certificates, e.Certificates = nil, nil
			w.RawKeys, e.RawKeys = &RawKeys{edKey("west"), edKey("east").Public()}, &RawKeys{edKey("east"), edKey("mallory").Public()}
			e.LocalID = ident("east.example")
		}, FailAuthentication, []string{"peer_raw_key", edKey("west").Public().ShortFingerprint()}},
	} {
		n := signers(c.change)
		west, east := n.nodes[0], n.nodes[1]
		if len(west.e.SAs("t"))+len(east.e.SAs("t")) > 0 {
			t.Errorf("%s: authenticated", c.name)
		}
		if len(east.noted) != 1 || len(west.failed) != 1 {
			t.Errorf("%s: %v, %v", c.name, east.noted, west.failed)
			continue
		}
		f := east.noted[0].Reason
		for _, m := range c.must {
			if f.Kind != c.kind || !strings.Contains(f.Error(), m) || f.Remedy == "" {
				t.Errorf("%s: %q (%d) does not say %q", c.name, f, f.Kind, m)
			}
		}
	}
}

func p256() *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
}

// mismatched signs with a key that is not the certificate's. NewCredential does
// not make such a thing, so the certificate is swapped under it.
func mismatched() *cert.Credential {
	c := certificatesOf("west").Own
	wrong := *certificatesOf("mallory").Own
	certificate := c.Certificate()
	*wrong.Certificate() = *certificate
	return &wrong
}

// The initiator refuses in the same way, and tells the responder.
func TestInitiatorChecksTheCertificate(t *testing.T) {
	for name, change := range map[string]func(west, east *Peer){
		"not the expected name": func(w, _ *Peer) { w.RemoteID = pattern("*.hq.example") },
		"revoked":               func(w, _ *Peer) { w.Certificates.CRLs = revoking("east") },
		"foreign":               func(w, _ *Peer) { w.Certificates.Anchors = testAnchors("other") },
	} {
		n := signers(func(w, e *Peer) {
			change(w, e)
			e.LocalID = ident("east.example")
		})
		if len(n.nodes[0].e.SAs("t")) > 0 || len(n.nodes[0].failed) != 1 || n.nodes[0].failed[0].Reason.Kind != FailCertificate || n.nodes[0].failed[0].Reason.ByPeer {
			t.Errorf("%s: %v", name, n.nodes[0].failed)
		}
	}
}

// A responder that answers under its subject is accepted when the expected name
// is in its certificate too, and one without local_id answers as it is asked.
func TestCertificateSpeaksForAllItsNames(t *testing.T) {
	n := signers(func(w, _ *Peer) { w.RemoteID = pattern("*.example") })
	if sas := n.nodes[0].e.SAs("t"); len(sas) != 1 || sas[0].RemoteID.String() != "O=example, CN=east" {
		t.Errorf("by pattern: %v %v", sas, n.nodes[0].failed)
	}
	n = signers(nil)
	if sas := n.nodes[0].e.SAs("t"); len(sas) != 1 || sas[0].RemoteID.String() != "east.example" {
		t.Errorf("by name: %v %v", sas, n.nodes[0].failed)
	}
	n = signers(func(_, e *Peer) { e.LocalID = ident("O=example, CN=east") })
	if len(n.nodes[0].failed) != 1 || n.nodes[1].noted[0].Reason.Kind != FailIdentity {
		t.Errorf("another name than local_id: %v", n.nodes[1].noted)
	}
}

// subject is how an initiator that has no other identity configured calls itself.
const subject = "O=example, CN=west"

// An initiator calls itself by one name of its certificate, and is expected by
// another: the certificate has both (RFC 4945 section 3.1).
func TestResponderFindsTheExpectedNameInTheCertificate(t *testing.T) {
	for _, expected := range []string{"west.example", "WEST.example", "*.example", "*"} {
		n := signers(func(w, e *Peer) { w.LocalID, e.RemoteID = ident(subject), pattern(expected) })
		if sas := n.nodes[1].e.SAs("t"); len(sas) != 1 || sas[0].RemoteID.String() != subject || sas[0].Auth.Subject != subject {
			t.Errorf("%s: %v, %v", expected, sas, n.nodes[1].noted)
		}
	}
	n := signers(func(w, e *Peer) {
		w.LocalID, e.RemoteID = ident("west.example"), pattern("192.0.2.1")
		ca := authorities()["lab"]
		w.Certificates.Own = credential(ca, ca.issue("west", rawEd("west").Public(), func(c *x509.Certificate) {
			c.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 1)}
		}), rawEd("west"))
	})
	if sas := n.nodes[1].e.SAs("t"); len(sas) != 1 {
		t.Errorf("an address: %v", n.nodes[1].noted)
	}
}

// A name that the certificate only seems to have opens nothing, nor does the name
// of a certificate that is not the sender's.
func TestNamesThatAreNotTheCertificatesOpenNothing(t *testing.T) {
	with := func(change func(*x509.Certificate)) func(w, e *Peer) {
		return func(w, e *Peer) {
			ca := authorities()["lab"]
			leaf := ca.issue("west", rawEd("west").Public(), change)
			w.LocalID = Identity{Type: IDDN, Data: string(leaf.RawSubject)}
			w.Certificates.Own = credential(ca, leaf, rawEd("west"))
			e.RemoteID = pattern("west.example")
		}
	}
	for name, c := range map[string]struct {
		change func(w, e *Peer)
		kind   FailureKind
	}{
		"another name":          {func(w, e *Peer) { w.LocalID, e.RemoteID = ident(subject), pattern("north.example") }, FailIdentity},
		"an identity of no one": {func(w, e *Peer) { w.LocalID, e.RemoteID = ident("keyid:west"), pattern("west.example") }, FailIdentity},
		"another's identity":    {func(w, e *Peer) { w.LocalID, e.RemoteID = ident("O=example, CN=north"), pattern("west.example") }, FailIdentity},
		"a common name alone": {with(func(c *x509.Certificate) {
			c.DNSNames, c.Subject = []string{"other.example"}, pkix.Name{CommonName: "west.example"}
		}), FailIdentity},
		"a wildcard":             {with(func(c *x509.Certificate) { c.DNSNames = []string{"*.example"} }), FailIdentity},
		"a name of another type": {with(func(c *x509.Certificate) { c.DNSNames, c.EmailAddresses = nil, []string{"west.example"} }), FailIdentity},
		"a foreign authority": {func(w, e *Peer) {
			w.Certificates, w.LocalID, e.RemoteID = certificatesOf("west@other"), ident(subject), pattern("west.example")
		}, FailCertificate},
		"another's certificate": {func(w, e *Peer) {
			w.Certificates.Own, w.LocalID, e.RemoteID = mismatched(), ident(subject), pattern("west.example")
		}, FailAuthentication},
		"a tunnel with a shared key": {func(w, e *Peer) {
			ca, k := authorities()["lab"], p256()
			w.Certificates.Own = credential(ca, ca.issue("west", k.Public(), nil), k)
			w.LocalID, e.RemoteID = ident(subject), pattern("west.example")
			e.Certificates, e.PSK, e.LocalID = nil, []byte("one"), ident("east.example")
		}, FailIdentity},
	} {
		n := signers(c.change)
		if got := n.nodes[1].noted; len(n.nodes[1].e.SAs("t")) > 0 || len(got) != 1 || got[0].Reason.Kind != c.kind {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// The identity decides before the certificate's other names do, and names that fit
// two tunnels decide nothing.
func TestIdentityDecidesBeforeOtherNames(t *testing.T) {
	names := func(w, e *Peer) {
		ca := authorities()["lab"]
		w.Certificates.Own = credential(ca, ca.issue("west", rawEd("west").Public(), func(c *x509.Certificate) {
			c.DNSNames = append(c.DNSNames, "north.example")
		}), rawEd("west"))
		e.RemoteID = pattern("west.example")
	}
	north := testPeer("north")
	north.PSK, north.Certificates, north.RemoteID, north.GRERemoteAny = nil, certificatesOf("east"), pattern("north.example"), true
	for identity, tunnel := range map[string]PeerID{"west.example": "t", "north.example": "north", subject: ""} {
		n := signers(func(w, e *Peer) { names(w, e); w.LocalID = ident(identity) }, north)
		for _, id := range []PeerID{"t", "north"} {
			if sas := n.nodes[1].e.SAs(id); (len(sas) == 1) != (id == tunnel) {
				t.Errorf("%s: %d SAs of tunnel %q: %v", identity, len(sas), id, n.nodes[1].noted)
			}
		}
		if noted := n.nodes[1].noted; tunnel == "" && (len(noted) != 1 || !strings.Contains(noted[0].Reason.Error(), "several tunnels expect")) {
			t.Errorf("%s: %v", identity, noted)
		}
	}
}

// Contract 9: tunnels with shared keys and with certificates stand beside each
// other on one address, and the most specific pattern decides.
func TestTunnelIsChosenByTheMostSpecificPattern(t *testing.T) {
	hub := New(Config{Rand: seeded(1)})
	hub.SetWall(0, testTime)
	set := func(id, remote string, how func(*Peer)) {
		p := testPeer(id)
		p.LocalID = ident("east.example")
		p.RemoteID, p.GRERemoteAny = pattern(remote), true
		how(&p)
		hub.SetPeer(0, p)
	}
	certs := func(p *Peer) { p.PSK, p.Certificates = nil, certificatesOf("east") }
	set("psk", "keyid:old", func(p *Peer) {})
	set("all", "*.example", certs)
	set("west", "west.example", certs)
	set("names", "O=example, CN=*", certs)
	seed := uint64(1)
	for local, want := range map[string]PeerID{
		"west.example": "west", "north.example": "all", "O=example, CN=south": "names", "keyid:old": "psk",
	} {
		p := testPeer("hub")
		p.LocalID, p.RemoteID = ident(local), pattern("east.example")
		if want != "psk" {
			name := strings.TrimSuffix(local, ".example")
			if _, cn, ok := strings.Cut(local, "CN="); ok {
				name = cn
			}
			p.PSK, p.Certificates = nil, certificatesOf(name)
		}
		seed++
		spoke := New(Config{Rand: seeded(seed)})
		spoke.SetWall(0, testTime)
		spoke.SetPeer(0, p)
		to := netip.AddrPortFrom(addr("192.0.2.9"), 500)
		from := netip.AddrPortFrom(addr("192.0.2.1"), 500)
		up := PeerID("")
		var failures []string
		queue := spoke.Initiate(0, "hub", from, to)
		for hops := 0; len(queue) > 0 && hops < 50; hops++ {
			a := queue[0]
			queue = queue[1:]
			switch a := a.(type) {
			case Send:
				e := hub
				if a.Remote.Addr() == from.Addr() {
					e = spoke
				}
				queue = append(queue, e.Receive(0, Datagram{Local: a.Remote, Remote: a.Local, Data: a.Data})...)
			case IKEUp:
				if !a.Initiator {
					up = a.Peer
				}
			case Failed:
				failures = append(failures, a.Reason.Error())
			case Noted:
				failures = append(failures, a.Reason.Error())
			}
		}
		if up != want {
			t.Errorf("%s came to tunnel %q: %v", local, up, failures)
		}
		hub.RemovePeer(0, up)
		set(string(up), map[PeerID]string{"west": "west.example", "all": "*.example", "names": "O=example, CN=*", "psk": "keyid:old"}[want], func(p *Peer) {
			if want != "psk" {
				certs(p)
			}
		})
	}
}

// Without the time no certificate is accepted.
func TestNoClockNoCertificate(t *testing.T) {
	n := signers(nil)
	for _, x := range n.nodes {
		x.do(x.e.Close(n.now, "t"))
	}
	n.run(n.now + time.Second)
	n.nodes[1].e.SetWall(n.now, time.Time{})
	n.nodes[0].initiate()
	n.run(n.now + time.Second)
	if len(n.nodes[1].noted) != 1 || !strings.Contains(n.nodes[1].noted[0].Reason.Error(), "clock") {
		t.Errorf("%v", n.nodes[1].noted)
	}
}

// SIGNATURE_HASH_ALGORITHMS and CERTREQ only go where signatures may be meant.
func TestPeersWithSharedKeysSeeNothingOfSignatures(t *testing.T) {
	psk, certs, raw := &peer{cfg: testPeer("a")}, &peer{cfg: testPeer("b")}, &peer{cfg: testPeer("c")}
	certs.cfg.Certificates, raw.cfg.RawKeys = certificatesOf("west"), &RawKeys{edKey("west"), edKey("east").Public()}
	if hashPayload(psk) != nil || len(requests(psk)) > 0 {
		t.Error("with a shared key")
	}
	all, _ := sign.ParseHashes(hashPayload(psk, certs, raw).(*wire.Notify).Data)
	if !slices.Equal(all, sign.Announced()) || slices.Contains(all, sign.SHA1) {
		t.Errorf("with a certificate: %v", all)
	}
	one, _ := sign.ParseHashes(hashPayload(raw).(*wire.Notify).Data)
	if !slices.Equal(one, []sign.Hash{sign.Identity}) {
		t.Errorf("with an Ed25519 key: %v", one)
	}
	if rs := requests(psk, certs, certs, raw); len(rs) != 2 || len(rs[0].(*wire.CertReq).Authorities) != wire.AuthorityLen {
		t.Errorf("requests: %v", rs)
	}
}

package config

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"greseal/crypto/sign"
	"greseal/crypto/sign/cert"
	"greseal/crypto/sign/id"
)

// Credentials are the contents of the files a tunnel authenticates with, read
// and found to belong together. What they point to is never changed.
type Credentials struct {
	Own     *cert.Credential // cert and key
	Anchors *cert.Anchors    // ca
	CRLs    *cert.CRLs       // crl, nil without

	RawOwn  *sign.PrivateKey // raw_key
	RawPeer *sign.PublicKey  // peer_raw_key

	sums map[string][sha256.Size]byte // of the contents, by key
}

// sameFiles compares a key that names files by their contents too.
func sameFiles(key string, named func(*Tunnel) []string) func(a, b *Tunnel) bool {
	return func(a, b *Tunnel) bool {
		x, y := named(a), named(b)
		if len(x) != len(y) || a.Credentials.sums[key] != b.Credentials.sums[key] {
			return false
		}
		for i := range x {
			if x[i] != y[i] {
				return false
			}
		}
		return true
	}
}

// SameAnchors reports whether the peers of two tunnels are vouched for by the same
// authorities.
func SameAnchors(a, b *Tunnel) bool {
	return sameFiles("ca", func(t *Tunnel) []string { return t.CA })(a, b)
}

const maxKeyFile = 64 << 10

// certificate checks and reads cert, key, ca and crl.
func (r *reading) certificate() {
	for _, k := range []struct{ key, with, remedy string }{
		{"cert", "key", "write the file with its private key as key"},
		{"key", "cert", "write the file with its certificate as cert"},
		{"cert", "ca", "write the file with the certificates of the authorities the peer's must come from as ca"},
	} {
		_, has := r.written[k.key]
		if _, also := r.written[k.with]; has && !also {
			r.mistake(k.key, -1, fault{"is of no use without " + k.with, k.remedy})
			return
		}
	}
	if !r.has("cert") || !r.has("key") || !r.has("ca") {
		return
	}
	own, ok1 := r.contents("cert", r.Cert, cert.MaxFile, false)
	key, ok2 := r.contents("key", r.Key, maxKeyFile, true)
	var err error
	if ok1 && ok2 {
		r.Credentials.Own, err = cert.NewCredential(own, key)
		r.refuse("cert", err)
	}
	clear(key)
	if files, ok := r.all("ca", r.CA, cert.MaxFile); ok {
		r.Credentials.Anchors, err = cert.NewAnchors(files...)
		r.refuse("ca", err)
		r.skipped()
	}
	if r.has("crl") {
		if files, ok := r.all("crl", r.CRL, cert.MaxCRLFile); ok {
			r.Credentials.CRLs, err = cert.NewCRLs(files...)
			r.refuse("crl", err)
		}
	}
	r.certificateNames()
}

// skipped warns of authorities that are not trusted because they can't be read.
func (r *reading) skipped() {
	if r.Credentials.Anchors == nil {
		return
	}
	for _, s := range r.Credentials.Anchors.Skipped() {
		f := faultOf(s.Err)
		var known *sign.Error
		if errors.As(s.Err, &known) {
			f.what = known.Detail
		}
		r.warn("ca", s.File, fault{"is taken without one of its certificates: " + f.what, "remove it from the file, or get it anew if peers need it"})
	}
	for _, c := range r.Credentials.Anchors.Certificates() {
		if !c.MayIssue() && !c.SelfSigned() {
			r.warn("ca", -1, fault{"has the certificate " + c.String() + ", which is no authority's: it vouches for nothing but itself", fmt.Sprintf("put the certificate of its issuer there, %s", c.Issuer())})
		}
	}
}

// certificateNames checks that the two identities can be proved (contract 17).
func (r *reading) certificateNames() {
	if _, ok := r.written["remote_id"]; !ok {
		switch {
		case r.RemoteAny:
			r.mistake("cert", -1, fault{`needs remote_id with remote = "any": otherwise anybody with a certificate from ca is let in`, `write the peer's name, or a pattern such as remote_id = "*.example.net", which lets in one peer at a time`})
		case len(r.Remotes) == 1:
			r.RemoteID = r.Remotes[0]
		case len(r.Remotes) > 1:
			r.mistake("cert", -1, fault{"needs remote_id with more than one remote", "write the name that the peer's certificate has"})
		}
	}
	own := r.Credentials.Own
	if own == nil || r.bad["local_id"] {
		return
	}
	i := own.Identity()
	if r.has("local_id") {
		parsed, err := id.Parse(r.LocalID)
		if err != nil {
			return
		}
		i = parsed
		if err := own.Certificate().CheckIdentity(i, "our"); err != nil {
			r.refuse("local_id", err)
			return
		}
	}
	if err := own.Check(time.Now(), i); err != nil {
		f := faultOf(err)
		var known *sign.Error
		if errors.As(err, &known) {
			f = fault{known.Detail, known.Remedy}
		}
		r.warn("cert", -1, f)
	}
}

// rawKeys checks and reads raw_key and peer_raw_key.
func (r *reading) rawKeys() {
	for _, k := range []struct{ key, with, remedy string }{
		{"raw_key", "peer_raw_key", "write the file with the peer's public key as peer_raw_key"},
		{"peer_raw_key", "raw_key", "run greseal genkey FILE, and write that file as raw_key"},
	} {
		_, has := r.written[k.key]
		if _, also := r.written[k.with]; has && !also {
			r.mistake(k.key, -1, fault{"is of no use without " + k.with, k.remedy})
			return
		}
	}
	if !r.has("raw_key") || !r.has("peer_raw_key") {
		return
	}
	var err error
	if data, ok := r.contents("raw_key", r.RawKey, maxKeyFile, true); ok {
		r.Credentials.RawOwn, err = sign.ParsePrivateKey(data)
		clear(data)
		r.refuse("raw_key", err)
	}
	if data, ok := r.contents("peer_raw_key", r.PeerRawKey, maxKeyFile, false); ok {
		r.Credentials.RawPeer, err = sign.ParsePublicKeyFile(data)
		r.refuse("peer_raw_key", err)
	}
	own, peer := r.Credentials.RawOwn, r.Credentials.RawPeer
	if own != nil && peer != nil && own.Public().Equal(peer) {
		r.mistake("peer_raw_key", -1, fault{"is our own public key", "write the file with the peer's"})
	}
}

// refuse turns an error about a file's contents into a mistake.
func (r *reading) refuse(key string, err error) {
	if err == nil {
		return
	}
	f := faultOf(err)
	var known *sign.Error
	if errors.As(err, &known) {
		f = fault{known.Detail, known.Remedy}
	}
	r.mistake(key, -1, f)
}

// contents reads one file of a key and notes its sum.
func (r *reading) contents(key, path string, most int, private bool) ([]byte, bool) {
	data, f := readCredential(path, most, private)
	if f.bad() {
		r.mistake(key, -1, f)
		return nil, false
	}
	r.note(key, data)
	return data, true
}

func (r *reading) all(key string, paths []string, most int) (files [][]byte, ok bool) {
	ok = true
	for i, path := range paths {
		data, f := readCredential(path, most, false)
		if f.bad() {
			r.mistake(key, i, f)
			ok = false
			continue
		}
		files = append(files, data)
	}
	r.note(key, files...)
	return files, ok
}

func (r *reading) note(key string, files ...[]byte) {
	h := sha256.New()
	for _, f := range files {
		fmt.Fprintf(h, "%d ", len(f))
		h.Write(f)
	}
	if r.Credentials.sums == nil {
		r.Credentials.sums = map[string][sha256.Size]byte{}
	}
	r.Credentials.sums[key] = [sha256.Size]byte(h.Sum(nil))
}

// readCredential reads a file with a certificate, list or key. A private one
// must be its owner's alone.
func readCredential(path string, most int, private bool) ([]byte, fault) {
	data, st, err := readFile(path, most)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, missing(path, "put the file there, or name another")
	case err != nil:
		return nil, fault{path + ": " + plainError(err), "name a file that can be read"}
	case len(data) > most:
		clear(data)
		return nil, fault{fmt.Sprintf("%s is larger than %d kB", path, most>>10), "name the right file"}
	}
	if !private {
		return data, fault{}
	}
	if perm := st.Mode().Perm(); perm&0o077 != 0 {
		clear(data)
		return nil, fault{fmt.Sprintf("%s is accessible to others (mode %04o)", path, perm), "run chmod 600 " + shell(path)}
	}
	if own, ok := st.Sys().(*syscall.Stat_t); ok && own.Uid != 0 && int(own.Uid) != os.Geteuid() {
		clear(data)
		return nil, fault{fmt.Sprintf("%s belongs to user %d", path, own.Uid), "run chown root " + shell(path)}
	}
	return data, fault{}
}

// ReadCRLs reads revocation lists again. Those in use stay when it fails.
func ReadCRLs(paths []string) (*cert.CRLs, error) {
	var files [][]byte
	for _, path := range paths {
		data, f := readCredential(path, cert.MaxCRLFile, false)
		if f.bad() {
			return nil, errors.New(f.what + "; " + f.remedy)
		}
		files = append(files, data)
	}
	return cert.NewCRLs(files...)
}

package doctor

import (
	"fmt"

	"greseal/ikev2"
)

// checkIdentity: each side is who the other expects, and both have the same
// pre-shared key. Which identity came and which was expected is in the
// failure, on the side that refused.
func checkIdentity(x *exam) Step {
	p := &x.now.Tunnel.Peer
	f := x.failure()
	switch {
	case x.now.up():
		return fine(fmt.Sprintf("this side is %s, the peer proved to be %s", p.LocalID, p.RemoteID))
	case f == nil:
		return fine(fmt.Sprintf("no sign of a mismatch: this side is %s and expects %s", p.LocalID, p.RemoteID))
	case f.Kind == ikev2.FailIdentity, f.Kind == ikev2.FailAuthentication:
		return x.told().and(x.secretNote()).and(x.odd(partOfKey, "psk", "psk_file", "ppk", "ppk_file")...)
	case f.Kind == ikev2.FailInUse:
		return x.told()
	case f.Kind == ikev2.FailTimeout && isAuth(f):
		return fault("the peer silently drops IKE_AUTH: its log says why; most often the pre-shared key or the identities differ",
			f.What(), "IKE_SA_INIT is answered, IKE_AUTH is not, and UDP 4500 is open")
	}
	return fine(fmt.Sprintf("no sign of a mismatch: this side is %s and expects %s", p.LocalID, p.RemoteID))
}

// partOfKey is what the warnings say that make a key another one than it seems.
const partOfKey = "part of the key"

// secretNote says where the secret comes from, and nothing about it.
func (x *exam) secretNote() string {
	switch {
	case x.Tunnel.PSKFile != "":
		return "the pre-shared key is read from " + x.Tunnel.PSKFile
	case x.Tunnel.Cert == "" && x.Tunnel.RawKey == "":
		return "the pre-shared key is in the configuration"
	}
	return ""
}

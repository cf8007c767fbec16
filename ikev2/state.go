package ikev2

// saState is the life of an IKE SA. The package's comment draws it.
type saState uint8

const (
	stateInitiating     saState = iota // initiator: IKE_SA_INIT request sent
	stateHalfOpen                      // responder: IKE_SA_INIT answered, IKE_AUTH not yet seen
	stateAuthenticating                // initiator: IKE_AUTH request sent; responder: it is being looked at

	// From here to stateCollisionLost both sides are authenticated.
	stateEstablished // in use
	stateChildless   // responder: IKE_AUTH was answered without a Child SA, for which the peer may ask still
	stateUnconfirmed // made by the peer's rekeying: it may not have our answer, so nothing is asked
	stateColliding   // the same, while our own rekeying of the same IKE SA is unanswered

	// Redundant: another IKE SA with the peer stays, and this one
	stateRedundantOurs   // is ours to delete, once that has been heard
	stateRedundantTheirs // is the peer's to delete
	stateRedundantGone   // seems to be forgotten by the peer: it expires
	stateCollisionLost   // was made by the peer's rekeying, which lost against ours: it is the peer's to delete

	stateReplaced // rekeyed; the peer is to delete it, or we are about to
	stateDeleting // our Delete is due or unanswered
	stateGone     // only inbound SAs linger
)

// stands reports whether both sides are authenticated and neither has ended it.
func (s *ikeSA) stands() bool { return s.state >= stateEstablished && s.state <= stateCollisionLost }

// redundant reports whether another IKE SA has superseded it.
func (s *ikeSA) redundant() bool {
	return s.state >= stateRedundantOurs && s.state <= stateCollisionLost
}

// inUse reports whether it is established and no other has superseded it.
func (s *ikeSA) inUse() bool { return s.stands() && !s.redundant() }

// mayAsk reports whether we may begin exchanges on it.
func (s *ikeSA) mayAsk() bool { return s.state == stateEstablished || s.state == stateChildless }

// settled reports whether it takes requests for new SAs: it is in use, and no
// rekeying of it is still undecided.
func (s *ikeSA) settled() bool {
	return s.inUse() && s.state != stateColliding && s.collidingSA() == nil
}

// collidingSA is the IKE SA that the peer's rekeying of s has made while ours is
// unanswered, nil: there is none.
func (s *ikeSA) collidingSA() *ikeSA {
	if s.peer == nil {
		return nil
	}
	for _, o := range s.peer.sas {
		if o.state == stateColliding && o.Replaces == s.ID {
			return o
		}
	}
	return nil
}

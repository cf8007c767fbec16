package ikev2

import (
	"fmt"
	"strings"
)

// FailureKind is the typed reason of a Failure.
type FailureKind uint8

// Failure kinds. Where a notify of RFC 7296 section 3.10.1 exists the kind has
// its name.
const (
	FailTimeout        FailureKind = iota + 1 // a request was never answered
	FailNoProposal                            // NO_PROPOSAL_CHOSEN
	FailInvalidKE                             // INVALID_KE_PAYLOAD without a way on
	FailAuthentication                        // AUTHENTICATION_FAILED
	FailIdentity                              // the peer's identity is not the expected one
	FailSelectors                             // TS_UNACCEPTABLE
	FailSyntax                                // INVALID_SYNTAX
	FailMajorVersion                          // INVALID_MAJOR_VERSION: the peer speaks another IKE version
	FailCritical                              // UNSUPPORTED_CRITICAL_PAYLOAD
	FailNoAdditionalSA                        // NO_ADDITIONAL_SAS
	FailTemporary                             // TEMPORARY_FAILURE without end
	FailMode                                  // transport mode asked for and not confirmed, or the reverse
	FailInstall                               // the datapath could not install an SA
	FailDead                                  // liveness: no answer for the dead threshold
	FailDeleted                               // the peer deleted the SA
	FailNotify                                // any other error notify
	FailAddresses                             // UNACCEPTABLE_ADDRESSES or UNEXPECTED_NAT_DETECTED
	FailInUse                                 // another peer has the tunnel, and lives
	FailModeChanged                           // a Child SA was rekeyed without transport mode
	FailUnfinished                            // the peer's IKE_SA_INIT was answered, and nothing followed
	FailCertificate                           // a certificate or key that cannot be accepted or used
)

// Silent reports that nobody said anything: the failure is that no answer came.
func (k FailureKind) Silent() bool {
	return k == FailTimeout || k == FailDead || k == FailUnfinished
}

// Failure is a typed reason with both sides' view where both are known. Its
// Error method is the one sentence that status, log and doctor print.
type Failure struct {
	Kind     FailureKind
	Exchange string // RFC name of the exchange, such as "IKE_AUTH"
	ByPeer   bool   // the peer refused; otherwise we did
	Local    string // own address and port
	Remote   string // the peer's address and port
	Ours     string // our side's view (proposals, identity, selectors), or empty
	Theirs   string // the peer's view, or empty when it is not known
	Detail   string // the first transform, identity or selector without a match
	Remedy   string // what to change, and on which side
	Attempts int    // FailTimeout: how often the request was sent
	NAT      bool   // FailTimeout: the peer sees us behind a NAT

	ike      SAID // 0: none
	stranger bool // can be caused without authentication
}

var failureWhat = [...]string{
	FailTimeout:        "no answer",
	FailNoProposal:     "no common proposal (NO_PROPOSAL_CHOSEN)",
	FailInvalidKE:      "no common key exchange group (INVALID_KE_PAYLOAD)",
	FailAuthentication: "authentication failed (AUTHENTICATION_FAILED)",
	FailIdentity:       "the peer's identity is not the expected one (AUTHENTICATION_FAILED)",
	FailSelectors:      "no common traffic selectors (TS_UNACCEPTABLE)",
	FailSyntax:         "malformed message (INVALID_SYNTAX)",
	FailMajorVersion:   "the peer speaks another IKE version (INVALID_MAJOR_VERSION)",
	FailCritical:       "unknown critical payload (UNSUPPORTED_CRITICAL_PAYLOAD)",
	FailNoAdditionalSA: "no further Child SA wanted (NO_ADDITIONAL_SAS)",
	FailTemporary:      "still busy (TEMPORARY_FAILURE)",
	FailMode:           "the modes differ",
	FailInstall:        "the datapath could not install the SA",
	FailDead:           "the peer is dead",
	FailDeleted:        "the peer deleted the SA",
	FailNotify:         "error notify",
	FailInUse:          "another peer has the tunnel",
	FailAddresses:      "addresses that are not accepted",
	FailModeChanged:    "transport mode was dropped in rekeying",
	FailUnfinished:     "answered, and nothing followed",
	FailCertificate:    "certificate not accepted (AUTHENTICATION_FAILED)",
}

// Error is one sentence: What and, after a semicolon, the Remedy.
func (f *Failure) Error() string {
	if f.Remedy == "" {
		return f.What()
	}
	return f.What() + "; " + f.Remedy
}

// What says where, who refused what, and both views.
func (f *Failure) What() string {
	var b strings.Builder
	if f.Exchange != "" {
		b.WriteString(f.Exchange)
	} else {
		b.WriteString("IKE")
	}
	if f.Remote != "" {
		fmt.Fprintf(&b, " with %s", f.Remote)
	}
	b.WriteString(": ")
	what := "refused"
	if int(f.Kind) < len(failureWhat) && failureWhat[f.Kind] != "" {
		what = failureWhat[f.Kind]
	}
	switch f.Kind {
	case FailTimeout, FailDead, FailDeleted, FailInstall, FailModeChanged, FailUnfinished:
		b.WriteString(what)
	default:
		if f.ByPeer {
			b.WriteString("the peer refused: ")
		} else {
			b.WriteString("we refused: ")
		}
		b.WriteString(what)
	}
	if f.Attempts > 0 {
		attempts := "attempts"
		if f.Attempts == 1 {
			attempts = "attempt"
		}
		fmt.Fprintf(&b, " after %d %s", f.Attempts, attempts)
		if f.Local != "" {
			fmt.Fprintf(&b, " from %s", f.Local)
		}
	}
	if f.Detail != "" {
		fmt.Fprintf(&b, ": %s", f.Detail)
	}
	if f.Ours != "" {
		fmt.Fprintf(&b, "; ours: %s", f.Ours)
	}
	if f.Theirs != "" {
		fmt.Fprintf(&b, "; theirs: %s", f.Theirs)
	}
	return b.String()
}

// byPeer makes it one of the peer's.
func (f *Failure) byPeer() *Failure {
	f.ByPeer = true
	return f
}

package wire

import "strconv"

// ExchangeType is the exchange a message belongs to (RFC 7296 section 3.1).
type ExchangeType uint8

// Exchange types.
const (
	IKESAInit        ExchangeType = 34
	IKEAuth          ExchangeType = 35
	CreateChildSA    ExchangeType = 36
	Informational    ExchangeType = 37
	IKESessionResume ExchangeType = 38 // RFC 5723
	IKEIntermediate  ExchangeType = 43 // RFC 9242
	IKEFollowupKE    ExchangeType = 44 // RFC 9370
)

var exchangeNames = [...]string{
	IKESAInit:        "IKE_SA_INIT",
	IKEAuth:          "IKE_AUTH",
	CreateChildSA:    "CREATE_CHILD_SA",
	Informational:    "INFORMATIONAL",
	IKESessionResume: "IKE_SESSION_RESUME",
	39:               "GSA_AUTH",
	40:               "GSA_REGISTRATION",
	41:               "GSA_REKEY",
	IKEIntermediate:  "IKE_INTERMEDIATE",
	IKEFollowupKE:    "IKE_FOLLOWUP_KE",
}

// String is the IANA name.
func (t ExchangeType) String() string { return named(exchangeNames[:], t, "exchange") }

// PayloadType is a payload's type (RFC 7296 section 3.2); 0 ends a chain.
type PayloadType uint8

// Payload types.
const (
	NoNext      PayloadType = 0
	TypeSA      PayloadType = 33
	TypeKE      PayloadType = 34
	TypeIDi     PayloadType = 35
	TypeIDr     PayloadType = 36
	TypeCert    PayloadType = 37
	TypeCertReq PayloadType = 38
	TypeAuth    PayloadType = 39
	TypeNonce   PayloadType = 40
	TypeNotify  PayloadType = 41
	TypeDelete  PayloadType = 42
	TypeVendor  PayloadType = 43
	TypeTSi     PayloadType = 44
	TypeTSr     PayloadType = 45
	TypeSK      PayloadType = 46
	TypeCP      PayloadType = 47
	TypeEAP     PayloadType = 48
	TypeSKF     PayloadType = 53 // RFC 7383
)

// payloadNames are the short forms of RFC 7296 section 1.2, from 33 on.
var payloadNames = [...]string{
	"SA", "KE", "IDi", "IDr", "CERT", "CERTREQ", "AUTH", "Nonce", "N", "D", "V",
	"TSi", "TSr", "SK", "CP", "EAP", "GSPM", "IDg", "GSA", "KD", "SKF",
}

// String is the RFC's short form.
func (t PayloadType) String() string {
	if i := int(t) - int(TypeSA); i >= 0 && i < len(payloadNames) {
		return payloadNames[i]
	}
	return "payload-" + strconv.Itoa(int(t))
}

// understood tells whether this implementation recognises the type in the sense
// of the critical bit (RFC 7296 section 2.5): all of RFC 7296's own, and SKF.
func (t PayloadType) understood() bool {
	return t >= TypeSA && t <= TypeEAP || t == TypeSKF
}

// named is the name of a number, or what it is a number of.
func named[T ~uint8](names []string, t T, what string) string {
	if int(t) < len(names) && names[t] != "" {
		return names[t]
	}
	return what + " " + strconv.Itoa(int(t))
}

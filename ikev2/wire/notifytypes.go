package wire

import "strconv"

// NotifyType is a notify message type (RFC 7296 section 3.10.1): errors below
// 16384, status from there on.
type NotifyType uint16

// Error types.
const (
	UnsupportedCriticalPayload NotifyType = 1  // UNSUPPORTED_CRITICAL_PAYLOAD
	InvalidIKESPI              NotifyType = 4  // INVALID_IKE_SPI
	InvalidMajorVersion        NotifyType = 5  // INVALID_MAJOR_VERSION
	InvalidSyntax              NotifyType = 7  // INVALID_SYNTAX
	InvalidMessageID           NotifyType = 9  // INVALID_MESSAGE_ID
	InvalidSPI                 NotifyType = 11 // INVALID_SPI
	NoProposalChosen           NotifyType = 14 // NO_PROPOSAL_CHOSEN
	InvalidKEPayload           NotifyType = 17 // INVALID_KE_PAYLOAD
	AuthenticationFailed       NotifyType = 24 // AUTHENTICATION_FAILED
	SinglePairRequired         NotifyType = 34 // SINGLE_PAIR_REQUIRED
	NoAdditionalSAs            NotifyType = 35 // NO_ADDITIONAL_SAS
	InternalAddressFailure     NotifyType = 36 // INTERNAL_ADDRESS_FAILURE
	FailedCPRequired           NotifyType = 37 // FAILED_CP_REQUIRED
	TSUnacceptable             NotifyType = 38 // TS_UNACCEPTABLE
	InvalidSelectors           NotifyType = 39 // INVALID_SELECTORS
	UnacceptableAddresses      NotifyType = 40 // UNACCEPTABLE_ADDRESSES
	UnexpectedNATDetected      NotifyType = 41 // UNEXPECTED_NAT_DETECTED
	UseAssignedHoA             NotifyType = 42 // USE_ASSIGNED_HoA
	TemporaryFailure           NotifyType = 43 // TEMPORARY_FAILURE
	ChildSANotFound            NotifyType = 44 // CHILD_SA_NOT_FOUND
	InvalidGroupID             NotifyType = 45 // INVALID_GROUP_ID
	AuthorizationFailed        NotifyType = 46 // AUTHORIZATION_FAILED
	StateNotFound              NotifyType = 47 // STATE_NOT_FOUND
	TSMaxQueue                 NotifyType = 48 // TS_MAX_QUEUE
	RegistrationFailed         NotifyType = 49 // REGISTRATION_FAILED
)

// Status types.
const (
	InitialContact                  NotifyType = 16384 // INITIAL_CONTACT
	SetWindowSize                   NotifyType = 16385 // SET_WINDOW_SIZE
	AdditionalTSPossible            NotifyType = 16386 // ADDITIONAL_TS_POSSIBLE
	IPCompSupported                 NotifyType = 16387 // IPCOMP_SUPPORTED
	NATDetectionSourceIP            NotifyType = 16388 // NAT_DETECTION_SOURCE_IP
	NATDetectionDestinationIP       NotifyType = 16389 // NAT_DETECTION_DESTINATION_IP
	Cookie                          NotifyType = 16390 // COOKIE
	UseTransportMode                NotifyType = 16391 // USE_TRANSPORT_MODE
	HTTPCertLookupSupported         NotifyType = 16392 // HTTP_CERT_LOOKUP_SUPPORTED
	RekeySA                         NotifyType = 16393 // REKEY_SA
	ESPTFCPaddingNotSupported       NotifyType = 16394 // ESP_TFC_PADDING_NOT_SUPPORTED
	NonFirstFragmentsAlso           NotifyType = 16395 // NON_FIRST_FRAGMENTS_ALSO
	MOBIKESupported                 NotifyType = 16396 // MOBIKE_SUPPORTED
	AdditionalIP4Address            NotifyType = 16397 // ADDITIONAL_IP4_ADDRESS
	AdditionalIP6Address            NotifyType = 16398 // ADDITIONAL_IP6_ADDRESS
	NoAdditionalAddresses           NotifyType = 16399 // NO_ADDITIONAL_ADDRESSES
	UpdateSAAddresses               NotifyType = 16400 // UPDATE_SA_ADDRESSES
	Cookie2                         NotifyType = 16401 // COOKIE2
	NoNATsAllowed                   NotifyType = 16402 // NO_NATS_ALLOWED
	AuthLifetime                    NotifyType = 16403 // AUTH_LIFETIME
	MultipleAuthSupported           NotifyType = 16404 // MULTIPLE_AUTH_SUPPORTED
	AnotherAuthFollows              NotifyType = 16405 // ANOTHER_AUTH_FOLLOWS
	RedirectSupported               NotifyType = 16406 // REDIRECT_SUPPORTED
	Redirect                        NotifyType = 16407 // REDIRECT
	RedirectedFrom                  NotifyType = 16408 // REDIRECTED_FROM
	TicketLTOpaque                  NotifyType = 16409 // TICKET_LT_OPAQUE
	TicketRequest                   NotifyType = 16410 // TICKET_REQUEST
	TicketACK                       NotifyType = 16411 // TICKET_ACK
	TicketNACK                      NotifyType = 16412 // TICKET_NACK
	TicketOpaque                    NotifyType = 16413 // TICKET_OPAQUE
	LinkID                          NotifyType = 16414 // LINK_ID
	UseWESPMode                     NotifyType = 16415 // USE_WESP_MODE
	ROHCSupported                   NotifyType = 16416 // ROHC_SUPPORTED
	EAPOnlyAuthentication           NotifyType = 16417 // EAP_ONLY_AUTHENTICATION
	ChildlessIKEv2Supported         NotifyType = 16418 // CHILDLESS_IKEV2_SUPPORTED
	QuickCrashDetection             NotifyType = 16419 // QUICK_CRASH_DETECTION
	IKEv2MessageIDSyncSupported     NotifyType = 16420 // IKEV2_MESSAGE_ID_SYNC_SUPPORTED
	IPsecReplayCounterSyncSupported NotifyType = 16421 // IPSEC_REPLAY_COUNTER_SYNC_SUPPORTED
	IKEv2MessageIDSync              NotifyType = 16422 // IKEV2_MESSAGE_ID_SYNC
	IPsecReplayCounterSync          NotifyType = 16423 // IPSEC_REPLAY_COUNTER_SYNC
	SecurePasswordMethods           NotifyType = 16424 // SECURE_PASSWORD_METHODS
	PSKPersist                      NotifyType = 16425 // PSK_PERSIST
	PSKConfirm                      NotifyType = 16426 // PSK_CONFIRM
	ERXSupported                    NotifyType = 16427 // ERX_SUPPORTED
	IFOMCapability                  NotifyType = 16428 // IFOM_CAPABILITY
	GroupSender                     NotifyType = 16429 // GROUP_SENDER
	FragmentationSupported          NotifyType = 16430 // IKEV2_FRAGMENTATION_SUPPORTED
	SignatureHashAlgorithms         NotifyType = 16431 // SIGNATURE_HASH_ALGORITHMS
	CloneIKESASupported             NotifyType = 16432 // CLONE_IKE_SA_SUPPORTED
	CloneIKESA                      NotifyType = 16433 // CLONE_IKE_SA
	Puzzle                          NotifyType = 16434 // PUZZLE
	UsePPK                          NotifyType = 16435 // USE_PPK
	PPKIdentity                     NotifyType = 16436 // PPK_IDENTITY
	NoPPKAuth                       NotifyType = 16437 // NO_PPK_AUTH
	IntermediateExchangeSupported   NotifyType = 16438 // INTERMEDIATE_EXCHANGE_SUPPORTED
	IP4Allowed                      NotifyType = 16439 // IP4_ALLOWED
	IP6Allowed                      NotifyType = 16440 // IP6_ALLOWED
	AdditionalKeyExchange           NotifyType = 16441 // ADDITIONAL_KEY_EXCHANGE
	UseAggFrag                      NotifyType = 16442 // USE_AGGFRAG
	SupportedAuthMethods            NotifyType = 16443 // SUPPORTED_AUTH_METHODS
	SAResourceInfo                  NotifyType = 16444 // SA_RESOURCE_INFO
	UsePPKInt                       NotifyType = 16445 // USE_PPK_INT
	PPKIdentityKey                  NotifyType = 16446 // PPK_IDENTITY_KEY
	PathMTUProbe                    NotifyType = 58899 // private use: padding of a path MTU probe, for nobody to read
	TunnelInUse                     NotifyType = 58900 // private use: beside AUTHENTICATION_FAILED, that another peer has the tunnel
	SameRun                         NotifyType = 58901 // private use: names this run of the program, in IKE_AUTH
	InterfaceMTU                    NotifyType = 58902 // private use: the MTU of the GRE interface, two octets
)

// notifyNames are the IANA names.
var notifyNames = map[NotifyType]string{
	UnsupportedCriticalPayload:      "UNSUPPORTED_CRITICAL_PAYLOAD",
	InvalidIKESPI:                   "INVALID_IKE_SPI",
	InvalidMajorVersion:             "INVALID_MAJOR_VERSION",
	InvalidSyntax:                   "INVALID_SYNTAX",
	InvalidMessageID:                "INVALID_MESSAGE_ID",
	InvalidSPI:                      "INVALID_SPI",
	NoProposalChosen:                "NO_PROPOSAL_CHOSEN",
	InvalidKEPayload:                "INVALID_KE_PAYLOAD",
	AuthenticationFailed:            "AUTHENTICATION_FAILED",
	SinglePairRequired:              "SINGLE_PAIR_REQUIRED",
	NoAdditionalSAs:                 "NO_ADDITIONAL_SAS",
	InternalAddressFailure:          "INTERNAL_ADDRESS_FAILURE",
	FailedCPRequired:                "FAILED_CP_REQUIRED",
	TSUnacceptable:                  "TS_UNACCEPTABLE",
	InvalidSelectors:                "INVALID_SELECTORS",
	UnacceptableAddresses:           "UNACCEPTABLE_ADDRESSES",
	UnexpectedNATDetected:           "UNEXPECTED_NAT_DETECTED",
	UseAssignedHoA:                  "USE_ASSIGNED_HoA",
	TemporaryFailure:                "TEMPORARY_FAILURE",
	ChildSANotFound:                 "CHILD_SA_NOT_FOUND",
	InvalidGroupID:                  "INVALID_GROUP_ID",
	AuthorizationFailed:             "AUTHORIZATION_FAILED",
	StateNotFound:                   "STATE_NOT_FOUND",
	TSMaxQueue:                      "TS_MAX_QUEUE",
	RegistrationFailed:              "REGISTRATION_FAILED",
	InitialContact:                  "INITIAL_CONTACT",
	SetWindowSize:                   "SET_WINDOW_SIZE",
	AdditionalTSPossible:            "ADDITIONAL_TS_POSSIBLE",
	IPCompSupported:                 "IPCOMP_SUPPORTED",
	NATDetectionSourceIP:            "NAT_DETECTION_SOURCE_IP",
	NATDetectionDestinationIP:       "NAT_DETECTION_DESTINATION_IP",
	Cookie:                          "COOKIE",
	UseTransportMode:                "USE_TRANSPORT_MODE",
	HTTPCertLookupSupported:         "HTTP_CERT_LOOKUP_SUPPORTED",
	RekeySA:                         "REKEY_SA",
	ESPTFCPaddingNotSupported:       "ESP_TFC_PADDING_NOT_SUPPORTED",
	NonFirstFragmentsAlso:           "NON_FIRST_FRAGMENTS_ALSO",
	MOBIKESupported:                 "MOBIKE_SUPPORTED",
	AdditionalIP4Address:            "ADDITIONAL_IP4_ADDRESS",
	AdditionalIP6Address:            "ADDITIONAL_IP6_ADDRESS",
	NoAdditionalAddresses:           "NO_ADDITIONAL_ADDRESSES",
	UpdateSAAddresses:               "UPDATE_SA_ADDRESSES",
	Cookie2:                         "COOKIE2",
	NoNATsAllowed:                   "NO_NATS_ALLOWED",
	AuthLifetime:                    "AUTH_LIFETIME",
	MultipleAuthSupported:           "MULTIPLE_AUTH_SUPPORTED",
	AnotherAuthFollows:              "ANOTHER_AUTH_FOLLOWS",
	RedirectSupported:               "REDIRECT_SUPPORTED",
	Redirect:                        "REDIRECT",
	RedirectedFrom:                  "REDIRECTED_FROM",
	TicketLTOpaque:                  "TICKET_LT_OPAQUE",
	TicketRequest:                   "TICKET_REQUEST",
	TicketACK:                       "TICKET_ACK",
	TicketNACK:                      "TICKET_NACK",
	TicketOpaque:                    "TICKET_OPAQUE",
	LinkID:                          "LINK_ID",
	UseWESPMode:                     "USE_WESP_MODE",
	ROHCSupported:                   "ROHC_SUPPORTED",
	EAPOnlyAuthentication:           "EAP_ONLY_AUTHENTICATION",
	ChildlessIKEv2Supported:         "CHILDLESS_IKEV2_SUPPORTED",
	QuickCrashDetection:             "QUICK_CRASH_DETECTION",
	IKEv2MessageIDSyncSupported:     "IKEV2_MESSAGE_ID_SYNC_SUPPORTED",
	IPsecReplayCounterSyncSupported: "IPSEC_REPLAY_COUNTER_SYNC_SUPPORTED",
	IKEv2MessageIDSync:              "IKEV2_MESSAGE_ID_SYNC",
	IPsecReplayCounterSync:          "IPSEC_REPLAY_COUNTER_SYNC",
	SecurePasswordMethods:           "SECURE_PASSWORD_METHODS",
	PSKPersist:                      "PSK_PERSIST",
	PSKConfirm:                      "PSK_CONFIRM",
	ERXSupported:                    "ERX_SUPPORTED",
	IFOMCapability:                  "IFOM_CAPABILITY",
	GroupSender:                     "GROUP_SENDER",
	FragmentationSupported:          "IKEV2_FRAGMENTATION_SUPPORTED",
	SignatureHashAlgorithms:         "SIGNATURE_HASH_ALGORITHMS",
	CloneIKESASupported:             "CLONE_IKE_SA_SUPPORTED",
	CloneIKESA:                      "CLONE_IKE_SA",
	Puzzle:                          "PUZZLE",
	UsePPK:                          "USE_PPK",
	PPKIdentity:                     "PPK_IDENTITY",
	NoPPKAuth:                       "NO_PPK_AUTH",
	IntermediateExchangeSupported:   "INTERMEDIATE_EXCHANGE_SUPPORTED",
	IP4Allowed:                      "IP4_ALLOWED",
	IP6Allowed:                      "IP6_ALLOWED",
	AdditionalKeyExchange:           "ADDITIONAL_KEY_EXCHANGE",
	UseAggFrag:                      "USE_AGGFRAG",
	SupportedAuthMethods:            "SUPPORTED_AUTH_METHODS",
	SAResourceInfo:                  "SA_RESOURCE_INFO",
	UsePPKInt:                       "USE_PPK_INT",
	PPKIdentityKey:                  "PPK_IDENTITY_KEY",
	PathMTUProbe:                    "PATH_MTU_PROBE",
	TunnelInUse:                     "TUNNEL_IN_USE",
	SameRun:                         "SAME_RUN",
	InterfaceMTU:                    "INTERFACE_MTU",
}

// IsError tells whether the type is an error; a type not known in that range
// still means that the exchange failed (RFC 7296 section 3.10.1).
func (t NotifyType) IsError() bool { return t < 16384 }

// String is the IANA name, or the number with the range it falls in.
func (t NotifyType) String() string {
	if s, ok := notifyNames[t]; ok {
		return s
	}
	if t.IsError() {
		return "error " + strconv.Itoa(int(t))
	}
	return "status " + strconv.Itoa(int(t))
}

package config

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Kind is the TOML type of a key's value.
type Kind uint8

// Kinds.
const (
	Text      Kind = iota + 1 // a string
	SecretKey                 // a string that is never shown
	Path                      // a string: path, relative to the file that names it
	Switch                    // a boolean
	Number                    // an integer
	Duration                  // a string such as "90s", "10m", "24h"
	Size                      // an integer of bytes, or a string such as "10GB", "512MiB"
	Texts                     // a list of strings; one string will do
	Paths                     // a list of Path
	Prefixes                  // a list of addresses with prefix length; one string will do
	Address                   // a string with an IP address
	NumberOr                  // an integer, or one of the words in Choices
)

func (k Kind) String() string {
	return [...]string{"", "string", "string", "path", "boolean", "integer", "duration",
		"size", "list of strings", "list of paths", "list of prefixes", "address", "integer or word"}[k]
}

// Key is all there is to know of one key. Everything that reads, checks,
// documents or translates a configuration works from these.
type Key struct {
	Name    string   // as written; with a dot for keys of [tunnel.gre]
	Kind    Kind     // TOML type
	Default string   // as it would be written in TOML; "" when leaving it out means off or by itself
	Choices []string // the words allowed, for Text and NumberOr
	Min     int64    // of Number and NumberOr; nanoseconds of Duration; bytes of Size
	Max     int64
	Class   Class  // what a change costs
	Doc     string // what it does, in whole sentences of plain text; a form shows these
	More    string // further sentences, for a manual
	Example string // as it would be written in TOML
	Tab     Tab    // of a form
	Title   string // label of its field in a form; "" with no Tab
	Unset   string // what leaving it out means, in a word, where no Default says so

	field func(*Tunnel) any                               // pointer to the field, typed as Kind wants it
	dmn   func(*Daemon) any                               // the same for keys of [daemon]
	check func(string) fault                              // of each string, after its type
	read  func(k *Key, t *Tunnel, raw any, fail failFunc) // instead of field, for values that are more than one field
	same  func(a, b *Tunnel) bool
}

// Tab is the page of a form on which a key stands; the zero value is for keys
// that an interface of netifd does not have.
type Tab string

// Tabs, by the name LuCI knows them by.
const (
	TabGeneral  Tab = "general"
	TabSecurity Tab = "security"
	TabGRE      Tab = "gre"
	TabAdvanced Tab = "advanced"
)

// Manual is all there is to say of a key.
func (k *Key) Manual() string { return strings.TrimSpace(k.Doc + " " + k.More) }

// List says whether a key takes several values.
func (k Kind) List() bool { return k == Texts || k == Paths || k == Prefixes }

// TunnelKeys is the schema of [[tunnel]] and [defaults], in the order in which
// people should read about it.
func TunnelKeys() []Key { return tunnelKeys }

// DaemonKeys is the schema of [daemon].
func DaemonKeys() []Key { return daemonKeys }

// LookUp finds a key of [[tunnel]] by its exact name.
func LookUp(name string) (*Key, bool) {
	for i := range tunnelKeys {
		if tunnelKeys[i].Name == name {
			return &tunnelKeys[i], true
		}
	}
	return nil, false
}

const (
	second = int64(time.Second)
	minute = 60 * second
	hour   = 60 * minute
	day    = 24 * hour
)

var daemonKeys = []Key{
	{
		Name: "datapath", Kind: Text, Default: `"auto"`, Choices: []string{DatapathAuto, DatapathKernel, DatapathUserspace},
		Doc: "What carries the packets. \"auto\" tests what the kernel can really do, by sending a packet with a known answer through each algorithm, and uses the kernel if it works, otherwise the datapath built into greseal. One daemon runs one datapath for all its tunnels.",
		dmn: func(d *Daemon) any { return &d.Datapath },
	},
	{
		Name: "log_level", Kind: Text, Default: `"info"`, Choices: []string{"debug", "info", "warn", "error"},
		Doc: "How much is written to standard error. No level shows a secret.",
		dmn: func(d *Daemon) any { return &d.LogLevel },
	},
	{
		Name: "status_socket", Kind: Text, Default: `"/var/run/greseal/status.sock"`, check: checkSocket,
		Doc: "Unix socket on which the daemon answers greseal status and the other commands. Each daemon on a machine needs its own.",
		dmn: func(d *Daemon) any { return &d.StatusSocket },
	},
	{
		Name: "status_group", Kind: Text, check: checkGroup, Example: `"adm"`,
		Doc: "Group whose members may read the status. Without it only root may. Only root may change anything.",
		dmn: func(d *Daemon) any { return &d.StatusGroup },
	},
}

var tunnelKeys = slices.Concat(endpointKeys, authKeys, ikeKeys, livenessKeys, routingKeys, greKeys)

var endpointKeys = []Key{
	{
		Name: "name", Kind: Text, Class: Reestablish, check: checkName, Example: `"hq"`,
		Doc:   "Name of the tunnel and of its network interface: at most 15 letters, digits, \"-\", \"_\" and \".\".",
		field: func(t *Tunnel) any { return &t.Name },
	},
	{
		Name: "enabled", Kind: Switch, Default: "true", Class: Reestablish,
		Doc:   "false keeps the tunnel in the file without bringing it up. Its checks are still made.",
		field: func(t *Tunnel) any { return &t.Enabled },
	},
	{
		Name: "remote", Kind: Texts, Class: Beside, check: checkRemote, Example: `"vpn.example.net"`,
		Tab: TabGeneral, Title: "Remote",
		Doc:  "The peer: an address, a host name, or a list of them in order of preference. \"any\" waits for peers from any address and never initiates.",
		read: readRemote,
		same: func(a, b *Tunnel) bool { return a.RemoteAny == b.RemoteAny && slices.Equal(a.Remotes, b.Remotes) },
	},
	{
		Name: "remote_port", Kind: Number, Default: "500", Min: 1, Max: 65535, Class: Beside,
		Tab: TabGeneral, Title: "Remote port",
		Doc:   "UDP port on which the peer answers. 4500 starts with UDP encapsulation at once, for peers behind a NAT that forwards only this port.",
		field: func(t *Tunnel) any { return &t.RemotePort },
	},
	{
		Name: "local", Kind: Text, Class: Beside, check: checkLocal, Example: `"wan"`,
		Tab: TabGeneral, Title: "Local", Unset: "by route",
		Doc:   "Own address, or the interface whose address is used and through which alone the peer is reached. Without it, the route to the peer decides.",
		field: func(t *Tunnel) any { return &t.Local },
	},
}

var authKeys = []Key{
	{
		Name: "psk", Kind: SecretKey, Class: Beside, check: checkPSK, Example: `"…"`,
		Tab: TabGeneral, Title: "Pre-shared key",
		Doc:   "Pre-shared key, the same on both sides, used exactly as written, without any decoding.",
		More:  "greseal genpsk makes a good one. The file that holds it must be readable by its owner only. Exactly one of psk, psk_file, cert and raw_key is given.",
		field: func(t *Tunnel) any { return &t.PSK },
		same:  func(a, b *Tunnel) bool { return inline(a.PSK, a.PSKFile).Equal(inline(b.PSK, b.PSKFile)) },
	},
	{
		Name: "psk_file", Kind: Path, Class: Beside, Example: `"/etc/greseal/hq.psk"`,
		Tab: TabGeneral, Title: "Key file",
		Doc:   "File that holds the pre-shared key, readable by its owner only.",
		More:  "One newline at its end does not count.",
		field: func(t *Tunnel) any { return &t.PSKFile },
		same:  func(a, b *Tunnel) bool { return a.PSKFile == b.PSKFile && (a.PSKFile == "" || a.PSK.Equal(b.PSK)) },
	},
	{
		Name: "psk_old", Kind: SecretKey, Class: Hitless, check: checkPSK, Example: `"…"`,
		Tab: TabSecurity, Title: "Earlier key",
		Doc:   "The pre-shared key from before a change, accepted until the first handshake with the new one.",
		More:  "It is needed only where the daemon may be restarted before both sides have the new key: a running one keeps the key from before a change for a day.",
		field: func(t *Tunnel) any { return &t.PSKOld },
		same:  func(a, b *Tunnel) bool { return a.PSKOld.Equal(b.PSKOld) },
	},
	{
		Name: "cert", Kind: Path, Class: Beside, Example: `"/etc/greseal/router.crt"`,
		Tab: TabGeneral, Title: "Certificate",
		Doc:   "Own certificate and its intermediates in PEM form.",
		More:  "Goes together with key and ca.",
		field: func(t *Tunnel) any { return &t.Cert },
		same:  sameFiles("cert", func(t *Tunnel) []string { return []string{t.Cert} }),
	},
	{
		Name: "key", Kind: Path, Class: Beside, Example: `"/etc/greseal/router.key"`,
		Tab: TabGeneral, Title: "Private key",
		Doc:   "Private key of the certificate in PEM form, readable by its owner only.",
		field: func(t *Tunnel) any { return &t.Key },
		same:  sameFiles("key", func(t *Tunnel) []string { return []string{t.Key} }),
	},
	{
		Name: "ca", Kind: Paths, Class: Beside, Example: `"/etc/greseal/ca.crt"`,
		Tab: TabGeneral, Title: "CA certificates",
		Doc:   "Certificates of the authorities that may have issued the peer's certificate.",
		field: func(t *Tunnel) any { return &t.CA },
		same:  sameFiles("ca", func(t *Tunnel) []string { return t.CA }),
	},
	{
		Name: "crl", Kind: Paths, Class: Hitless, Example: `"/etc/greseal/ca.crl"`,
		Tab: TabGeneral, Title: "Revocation lists",
		Doc:   "Revocation lists of these authorities. With lists, each certificate of the peer needs a current one from its issuer.",
		More:  "They are read again when they change. Each list must be complete: deltas, lists for some certificates or reasons (with an issuing distribution point) and lists of several authorities are refused; authorities have a complete one too. Without this key, revocation is not checked.",
		field: func(t *Tunnel) any { return &t.CRL },
		same:  sameFiles("crl", func(t *Tunnel) []string { return t.CRL }),
	},
	{
		Name: "raw_key", Kind: Path, Class: Beside, Example: `"/etc/greseal/router.key"`,
		Tab: TabGeneral, Title: "Own raw key",
		Doc:   "Own private key for authentication by raw public keys, readable by its owner only.",
		More:  "greseal genkey makes one. Used together with peer_raw_key.",
		field: func(t *Tunnel) any { return &t.RawKey },
		same:  sameFiles("raw_key", func(t *Tunnel) []string { return []string{t.RawKey} }),
	},
	{
		Name: "peer_raw_key", Kind: Path, Class: Beside, Example: `"/etc/greseal/hq.pub"`,
		Tab: TabGeneral, Title: "Peer's public key",
		Doc:   "File that holds the peer's public key.",
		field: func(t *Tunnel) any { return &t.PeerRawKey },
		same:  sameFiles("peer_raw_key", func(t *Tunnel) []string { return []string{t.PeerRawKey} }),
	},
	{
		Name: "local_id", Kind: Text, Class: Beside, check: checkIdentity, Example: `"branch1.example.net"`,
		Tab: TabSecurity, Title: "Local identity",
		Doc:   "Own identity: a domain name, mail address, IP address or distinguished name, or keyid: before any other text. Without it, the own address or the subject of the certificate.",
		field: func(t *Tunnel) any { return &t.LocalID },
	},
	{
		Name: "remote_id", Kind: Text, Class: Beside, check: checkPattern, Example: `"hq.example.net"`,
		Tab: TabSecurity, Title: "Peer identity",
		Doc:   "Identity the peer must prove. Without it, any is accepted from whoever knows the pre-shared key; with a certificate it is the host or address of the remote.",
		More:  "A pattern admits several peers, one at a time, with an asterisk for what may differ: a domain or mail address beginning with one, or values of a distinguished name; also an address with a prefix length.",
		field: func(t *Tunnel) any { return &t.RemoteID },
	},
	{
		Name: "ppk_id", Kind: Text, Class: Beside, check: checkPPKID, Example: `"ppk1"`,
		Tab: TabSecurity, Title: "Post-quantum key name",
		Doc:   "Name of the post-quantum pre-shared key (RFC 8784) that both sides share.",
		field: func(t *Tunnel) any { return &t.PPKID },
	},
	{
		Name: "ppk", Kind: SecretKey, Class: Beside, check: checkPSK, Example: `"…"`,
		Tab: TabSecurity, Title: "Post-quantum key",
		Doc:   "The post-quantum pre-shared key itself, mixed into the keys in addition to the authentication.",
		field: func(t *Tunnel) any { return &t.PPK },
		same:  func(a, b *Tunnel) bool { return inline(a.PPK, a.PPKFile).Equal(inline(b.PPK, b.PPKFile)) },
	},
	{
		Name: "ppk_file", Kind: Path, Class: Beside, Example: `"/etc/greseal/hq.ppk"`,
		Tab: TabSecurity, Title: "Post-quantum key file",
		Doc:   "File that holds the post-quantum pre-shared key, readable by its owner only.",
		field: func(t *Tunnel) any { return &t.PPKFile },
		same:  func(a, b *Tunnel) bool { return a.PPKFile == b.PPKFile && (a.PPKFile == "" || a.PPK.Equal(b.PPK)) },
	},
	{
		Name: "ppk_required", Kind: Switch, Default: "false", Class: Beside,
		Tab: TabSecurity, Title: "Require the post-quantum key",
		Doc:   "Refuse a peer that does not use the post-quantum pre-shared key.",
		field: func(t *Tunnel) any { return &t.PPKRequired },
	},
}

var ikeKeys = []Key{
	{
		Name: "mode", Kind: Text, Default: `"tunnel"`, Choices: []string{ModeTunnel, ModeTransport}, Class: Beside,
		Tab: TabAdvanced, Title: "Mode",
		Doc:   "\"tunnel\" hides the whole GRE packet, its IP header included. \"transport\" saves 20 bytes per packet (40 with IPv6) and is in use only when the peer confirms it.",
		field: func(t *Tunnel) any { return &t.Mode },
	},
	{
		Name: "encap", Kind: Text, Default: `"auto"`, Choices: []string{EncapAuto, EncapAlways, EncapNever}, Class: Beside,
		Tab: TabAdvanced, Title: "UDP encapsulation",
		Doc:   "When ESP travels in UDP port 4500: \"auto\" when a NAT is found or bare ESP does not get through, \"always\", or \"never\".",
		More:  "In userspace, where UDP is faster, \"auto\" uses it unless UDP does not get through.",
		field: func(t *Tunnel) any { return &t.Encap },
	},
	{
		Name: "ike", Kind: Texts, Class: Rekey, check: checkIKE, Example: `"aes256gcm16-prfsha384-x25519"`,
		Tab: TabSecurity, Title: "IKE proposals",
		Doc:   "Proposals for the IKE SA in order of preference, algorithms joined with \"-\": encryption, integrity unless the encryption brings its own, pseudorandom function, key exchange. Without it, a strong list that most peers share.",
		field: func(t *Tunnel) any { return &t.IKE },
	},
	{
		Name: "esp", Kind: Texts, Class: Rekey, check: checkESP, Example: `"aes128gcm16"`,
		Tab: TabSecurity, Title: "ESP proposals",
		Doc:   "Proposals for the Child SA in order of preference: encryption, and integrity unless the encryption brings its own. Without it, a strong list of what the datapath can do.",
		More:  "\"esn\" or \"noesn\" insists on extended or on 32-bit sequence numbers.",
		field: func(t *Tunnel) any { return &t.ESP },
	},
	{
		Name: "pfs", Kind: Switch, Default: "true", Class: Rekey,
		Tab: TabSecurity, Title: "Perfect forward secrecy",
		Doc:   "Make a new key exchange at each rekey of the Child SA.",
		More:  "A peer that wants none is still accepted when it initiates.",
		field: func(t *Tunnel) any { return &t.PFS },
	},
	{
		Name: "ike_lifetime", Kind: Duration, Default: `"24h"`, Min: second, Max: 30 * day, Class: Hitless,
		Tab: TabAdvanced, Title: "IKE SA lifetime",
		Doc:   "Age by which the IKE SA has been rekeyed. Rekeying starts earlier, by a random margin.",
		field: func(t *Tunnel) any { return &t.IKELifetime },
	},
	{
		Name: "child_lifetime", Kind: Duration, Default: `"1h"`, Min: second, Max: 30 * day, Class: Hitless,
		Tab: TabAdvanced, Title: "Child SA lifetime",
		Doc:   "Age by which the Child SA has been rekeyed. Rekeying starts earlier, by a random margin.",
		field: func(t *Tunnel) any { return &t.ChildLifetime },
	},
	{
		Name: "child_bytes", Kind: Size, Min: 1 << 20, Max: 1e15, Class: Rekey, Example: `"50GB"`,
		Tab: TabAdvanced, Title: "Child SA bytes", Unset: "no limit",
		Doc:   "Bytes by which the Child SA has been rekeyed: a number, or one with kB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (powers of 1024).",
		field: func(t *Tunnel) any { return &t.ChildBytes },
	},
	{
		Name: "child_packets", Kind: Number, Min: 1000, Max: 1e15, Class: Rekey, Example: "1000000000",
		Tab: TabAdvanced, Title: "Child SA packets", Unset: "no limit",
		Doc:   "Packets by which the Child SA has been rekeyed.",
		More:  "With 32-bit sequence numbers it is rekeyed before they run out in any case.",
		field: func(t *Tunnel) any { return &t.ChildPackets },
	},
	{
		Name: "reauth", Kind: Duration, Min: second, Max: 365 * day, Class: Hitless, Example: `"168h"`,
		Tab: TabAdvanced, Title: "Reauthenticate after", Unset: "never",
		Doc:   "Age by which the peers have reauthenticated.",
		More:  "The new IKE SA is made before the old one goes; where that fails, the old one is closed then. A peer that initiated is asked to do it (AUTH_LIFETIME).",
		field: func(t *Tunnel) any { return &t.Reauth },
	},
	{
		Name: "replay_window", Kind: Number, Default: "2048", Min: 32, Max: 4096, Class: Rekey,
		Tab: TabAdvanced, Title: "Replay window",
		Doc:   "How many packets late a packet may arrive and still be accepted, rounded up to a multiple of 64.",
		field: func(t *Tunnel) any { return &t.ReplayWindow },
	},
}

var livenessKeys = []Key{
	{
		Name: "dpd", Kind: Duration, Default: `"10s"`, Min: second, Max: hour, Class: Hitless,
		Tab: TabAdvanced, Title: "Liveness check",
		Doc:   "Silence after which the peer is asked whether it is alive. 10 s cost about 45 MB a month on an idle line.",
		field: func(t *Tunnel) any { return &t.DPD },
	},
	{
		Name: "dpd_suspect", Kind: Duration, Default: `"15s"`, Min: second, Max: 6 * hour, Class: Hitless,
		Tab: TabAdvanced, Title: "Link down after",
		Doc:   "Silence after which the link is shown as down and other routes take over.",
		More:  "Without it, at least one and a half times dpd.",
		field: func(t *Tunnel) any { return &t.DPDSuspect },
	},
	{
		Name: "dpd_dead", Kind: Duration, Default: `"120s"`, Min: second, Max: 24 * hour, Class: Hitless,
		Tab: TabAdvanced, Title: "Peer dead after",
		Doc:   "Silence after which the SAs are given up and negotiated again.",
		More:  "A shorter outage needs no new handshake. Without it, at least twice dpd_suspect.",
		field: func(t *Tunnel) any { return &t.DPDDead },
	},
	{
		Name: "failback", Kind: Duration, Default: `"60s"`, Min: 0, Max: 7 * day, Class: Hitless,
		Tab: TabAdvanced, Title: "Failback",
		Doc:   "How long a preferred remote must have been healthy before it is used again.",
		field: func(t *Tunnel) any { return &t.Failback },
	},
}

var routingKeys = []Key{
	{
		Name: "address", Kind: Prefixes, Class: Hitless, Example: `["10.255.0.2/30"]`,
		Tab: TabGeneral, Title: "Address",
		Doc:   "Addresses of the interface inside the tunnel, with prefix length.",
		field: func(t *Tunnel) any { return &t.Address },
	},
	{
		Name: "routes", Kind: Prefixes, Class: Hitless, Example: `["10.0.0.0/16"]`,
		Tab: TabGeneral, Title: "Routes",
		Doc:   "Networks behind the peer. While the tunnel is down, their traffic is rejected by an unreachable route instead of leaving another way.",
		field: func(t *Tunnel) any { return &t.Routes },
	},
	{
		Name: "metric", Kind: Number, Default: "0", Min: 0, Max: 1<<32 - 2, Class: Hitless,
		Tab: TabAdvanced, Title: "Metric",
		Doc:   "Metric of the routes; the lowest wins.",
		field: func(t *Tunnel) any { return &t.Metric },
	},
	{
		Name: "table", Kind: NumberOr, Default: `"main"`, Choices: []string{"main"}, Min: 1, Max: 1<<32 - 1, Class: Hitless,
		Tab: TabAdvanced, Title: "Routing table",
		Doc:  "Routing table of the routes: \"main\" or a number.",
		read: readTable, same: func(a, b *Tunnel) bool { return a.Table == b.Table },
	},
	{
		Name: "fwmark", Kind: Number, Default: "0", Min: 0, Max: 1<<32 - 1, Class: Reestablish,
		Tab: TabAdvanced, Title: "Firewall mark",
		Doc:   "Firewall mark of the outer packets, for policy routing.",
		field: func(t *Tunnel) any { return &t.FWMark },
	},
	{
		Name: "link_down", Kind: Text, Default: `"withdraw"`, Choices: []string{LinkDownWithdraw, LinkDownMetric}, Class: Hitless,
		Doc:   "What happens to the routes while the peer does not answer: \"withdraw\" removes them, \"metric\" gives them the worst metric.",
		field: func(t *Tunnel) any { return &t.LinkDown },
	},
	{
		Name: "fallback", Kind: Switch, Default: "false", Class: Hitless,
		Tab: TabAdvanced, Title: "Fall back to other routes",
		Doc:   "Let traffic for the routes take other routes, even unencrypted ones, while the tunnel is down.",
		field: func(t *Tunnel) any { return &t.Fallback },
	},
	{
		Name: "mtu", Kind: NumberOr, Default: `"auto"`, Choices: []string{"auto"}, Min: 576, Max: 65000, Class: Hitless,
		Tab: TabAdvanced, Title: "MTU",
		Doc:  "Largest packet inside, in bytes. \"auto\" computes it from the negotiated algorithms and the path MTU, which is searched.",
		read: readMTU, same: func(a, b *Tunnel) bool { return a.MTU == b.MTU },
	},
	{
		Name: "mss_clamp", Kind: Switch, Default: "true", Class: Hitless,
		Tab: TabAdvanced, Title: "MSS clamping",
		Doc:   "Clamp the segment size of TCP connections through the tunnel to what fits.",
		field: func(t *Tunnel) any { return &t.MSSClamp },
	},
}

var greKeys = []Key{
	{
		Name: "gre.type", Kind: Text, Default: `"ip"`, Choices: []string{"ip", "ethernet"}, Class: Reestablish,
		Tab: TabGRE, Title: "Payload",
		Doc:  "\"ip\" carries IPv4 and IPv6 packets, \"ethernet\" whole frames (gretap), so that the interface can join a bridge.",
		read: readGREType, same: func(a, b *Tunnel) bool { return a.GRE.Ethernet == b.GRE.Ethernet },
	},
	{
		Name: "gre.bridge", Kind: Text, Class: Hitless, check: checkBridge, Example: `"br-lan"`,
		Tab: TabGRE, Title: "Bridge",
		Doc:   "Bridge that the interface joins, when it carries Ethernet frames.",
		field: func(t *Tunnel) any { return &t.GRE.Bridge },
	},
	{
		Name: "gre.key", Kind: Number, Min: 0, Max: 1<<32 - 1, Class: Reestablish, Example: "42",
		Tab: TabGRE, Title: "GRE key",
		Doc:  "A number, the same on both sides. It distinguishes several tunnels to one peer.",
		read: readGREKey,
		same: func(a, b *Tunnel) bool { return a.GRE.HasKey == b.GRE.HasKey && a.GRE.Key == b.GRE.Key },
	},
	{
		Name: "gre_local", Kind: Address, Class: Reestablish, Example: `"192.168.9.2"`,
		Tab: TabGRE, Title: "Local GRE endpoint",
		Doc:   "Own GRE endpoint inside ESP, in tunnel mode. Without it, the outer address.",
		field: func(t *Tunnel) any { return &t.GRELocal },
	},
	{
		Name: "gre_remote", Kind: Address, Class: Reestablish, Example: `"192.168.9.1"`,
		Tab: TabGRE, Title: "Remote GRE endpoint",
		Doc:   "The peer's GRE endpoint inside ESP, in tunnel mode. Without it, the outer address; with \"any\" as remote, what the authenticated peer proposes.",
		field: func(t *Tunnel) any { return &t.GRERemote },
	},
	{
		Name: "gre.ttl", Kind: Number, Default: "64", Min: 0, Max: 255, Class: Reestablish,
		Tab: TabGRE, Title: "TTL",
		Doc:   "Time to live of the GRE packet. 0 copies that of the packet inside, which breaks routing protocols that send with 1.",
		field: func(t *Tunnel) any { return &t.GRE.TTL },
	},
	{
		Name: "gre.tos", Kind: NumberOr, Default: "0", Choices: []string{"inherit"}, Min: 0, Max: 255, Class: Reestablish, Example: `"inherit"`,
		Tab: TabGRE, Title: "TOS byte",
		Doc:  "TOS byte of the GRE packet, or \"inherit\" to copy that of the packet inside, where an observer can then read it.",
		read: readTOS,
		same: func(a, b *Tunnel) bool { return a.GRE.TOS == b.GRE.TOS && a.GRE.TOSInherit == b.GRE.TOSInherit },
	},
	{
		Name: "gre.keepalive", Kind: Duration, Min: second, Max: hour, Class: Hitless, Example: `"10s"`,
		Tab: TabGRE, Title: "Keepalive interval", Unset: "off",
		Doc:   "Interval of GRE keepalives in Cisco's form, for peers that want them. Liveness does not need them.",
		field: func(t *Tunnel) any { return &t.GRE.Keepalive },
	},
	{
		Name: "gre.sequence", Kind: Switch, Default: "false", Class: Reestablish,
		Tab: TabGRE, Title: "Sequence numbers",
		Doc:   "Number the GRE packets and drop those that come out of order. ESP protects against replay without it.",
		field: func(t *Tunnel) any { return &t.GRE.Sequence },
	},
	{
		Name: "gre.checksum", Kind: Switch, Default: "false", Class: Reestablish,
		Tab: TabGRE, Title: "Checksum",
		Doc:   "Carry a GRE checksum. ESP protects integrity without it.",
		field: func(t *Tunnel) any { return &t.GRE.Checksum },
	},
	{
		Name: "gre.ignore_df", Kind: Switch, Default: "false", Class: Reestablish,
		Tab: TabGRE, Title: "Ignore DF",
		Doc:   "Fragment packets that are too large after encryption, even if their DF bit is set.",
		field: func(t *Tunnel) any { return &t.GRE.IgnoreDF },
	},
}

// A failFunc takes up a fault of a value, or of its item when item is not -1.
type failFunc func(item int, f fault)

// A fault is what a check found: what is wrong and what to write instead. The
// zero value is "nothing".
type fault struct{ what, remedy string }

func (f fault) bad() bool { return f.what != "" }

// sameField says whether two pointers to fields of one key point to equal
// values.
func sameField(a, b any) bool {
	switch a := a.(type) {
	case *string:
		return *a == *b.(*string)
	case *bool:
		return *a == *b.(*bool)
	case *int:
		return *a == *b.(*int)
	case *uint8:
		return *a == *b.(*uint8)
	case *uint16:
		return *a == *b.(*uint16)
	case *uint32:
		return *a == *b.(*uint32)
	case *uint64:
		return *a == *b.(*uint64)
	case *time.Duration:
		return *a == *b.(*time.Duration)
	case *netip.Addr:
		return *a == *b.(*netip.Addr)
	case *[]string:
		return slices.Equal(*a, *b.(*[]string))
	case *[]netip.Prefix:
		return slices.Equal(*a, *b.(*[]netip.Prefix))
	case *Secret:
		return a.Equal(*b.(*Secret))
	}
	return false
}

// inline is a secret that stands in the config itself.
func inline(s Secret, file string) Secret {
	if file != "" {
		return Secret{}
	}
	return s
}

// sameKey says whether two tunnels agree in one key.
func (k *Key) sameKey(a, b *Tunnel) bool {
	if k.same != nil {
		return k.same(a, b)
	}
	return sameField(k.field(a), k.field(b))
}

package peerconf

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Parts of the patterns below.
const (
	pName    = `[A-Za-z0-9_-]+`
	pIPv4    = `(?:\d+\.\d+\.\d+\.\d+|GRESEAL_ADDRESS|PEER_ADDRESS)`
	pIPv6    = `[0-9a-f:]*:[0-9a-f:]*`
	pIP      = `(?:` + pIPv4 + `|` + pIPv6 + `)`
	pNet     = pIP + `/\d+`
	pHost    = `(?:` + pIP + `|[a-z0-9.-]+)`
	pTime    = `\d+[smhd]`
	pGroups  = `(?:modp1024|modp1536|modp2048|modp3072|modp4096|ecp256|ecp384|ecp521)`
	pHash    = `(?:sha1|sha256|sha384|sha512)`
	pESPEncr = `(?:aes-(?:128|192|256)-(?:cbc|gcm)|chacha20poly1305)`
	pVyEncr  = `(?:aes(?:128|192|256)(?:gcm128)?|chacha20poly1305)`
)

// syntax has, for products that cannot be run here, every form of line that is
// written, by their documentation and schemas: RouterOS' property lists, IOS-XE's
// YANG model and command reference, VyOS' interface definitions.
var syntax = map[string][]string{
	"mikrotik": {
		`/ip ipsec profile add name=` + pName + ` hash-algorithm=` + pHash + ` prf-algorithm=` + pHash + ` enc-algorithm=aes-(?:128|192|256)` +
			` dh-group=(?:x25519|` + pGroups + `) lifetime=` + pTime + ` dpd-interval=` + pTime + ` dpd-maximum-failures=\d+ nat-traversal=(?:yes|no)`,
		`/ip ipsec peer add name=` + pName + ` address=(?:` + pNet + `|` + pHost + `)(?: local-address=` + pIP + `)? exchange-mode=ike2 profile=` + pName,
		`/ip ipsec identity add peer=` + pName + ` auth-method=pre-shared-key secret="(?:[^"\\$]|\\["\\$])*"(?: my-id=(?:address|fqdn|user-fqdn|key-id):\S+)?(?: remote-id=(?:address|fqdn|user-fqdn|key-id):\S+)? generate-policy=no`,
		`/ip ipsec proposal add name=` + pName + ` enc-algorithms=` + pESPEncr + `(?:,` + pESPEncr + `)* auth-algorithms=(?:sha1|sha256|sha512|null) pfs-group=(?:none|` + pGroups + `) lifetime=` + pTime,
		`/ip ipsec policy add peer=` + pName + ` src-address=` + pNet + ` dst-address=` + pNet + ` protocol=gre tunnel=(?:yes|no) level=require proposal=` + pName,
		`/interface gre add name=` + pName + ` local-address=` + pIPv4 + ` remote-address=` + pIPv4 + ` mtu=\d+ clamp-tcp-mss=yes allow-fast-path=no dont-fragment=(?:no|inherit)(?: !keepalive| keepalive=` + pTime + `,10)`,
		`/interface gre6 add name=` + pName + ` local-address=` + pIPv6 + ` remote-address=` + pIPv6 + ` mtu=\d+ clamp-tcp-mss=yes allow-fast-path=no(?: !keepalive| keepalive=` + pTime + `,10)`,
		`/ip address add address=` + pIPv4 + `/\d+ interface=` + pName,
		`/ipv6 address add address=` + pIPv6 + `/\d+ interface=` + pName,
		`/ip route add dst-address=` + pIPv4 + `/\d+ gateway=` + pName,
		`/ipv6 route add dst-address=` + pIPv6 + `/\d+ gateway=` + pName,
		`/ip(?:v6)? firewall filter add chain=input action=accept protocol=udp dst-port=500,4500 src-address=` + pIP,
		`/ip(?:v6)? firewall filter add chain=input action=accept protocol=ipsec-esp src-address=` + pIP,
		`/ip(?:v6)? firewall filter add chain=input action=(?:accept|drop) protocol=gre src-address=` + pIP + ` ipsec-policy=in,(?:ipsec|none)`,
		`/ip(?:v6)? firewall filter add chain=output action=drop protocol=gre dst-address=` + pIP + ` ipsec-policy=out,none`,
	},
	"cisco": {
		`crypto ikev2 (?:proposal|policy|keyring|profile) ` + pName,
		` encryption aes-(?:gcm-(?:128|256)|cbc-(?:128|192|256))`,
		` (?:prf|integrity) ` + pHash,
		` group (?:2|14|15|16|19|20|21)`,
		` proposal ` + pName,
		` peer ` + pName,
		`  address (?:` + pIPv4 + `|` + pIPv6 + `/128)`,
		`  pre-shared-key (?:[A-Za-z0-9+/=_.-]+|hex 0x(?:[0-9a-f]{2})+)`,
		` match identity remote (?:address ` + pIPv4 + `(?: 255\.255\.255\.255)?|address ` + pIPv6 + `/128|fqdn \S+|email \S+|key-id \S+)`,
		` identity local (?:address ` + pIP + `|fqdn \S+|email \S+|key-id \S+)`,
		` authentication (?:remote|local) pre-share`,
		` keyring local ` + pName,
		` lifetime \d+`,
		` dpd \d+ 5 periodic`,
		`crypto ipsec transform-set ` + pName + ` (?:esp-gcm (?:128|192|256)|esp-aes (?:128|192|256) esp-(?:sha|sha256|sha384|sha512)-hmac)`,
		` mode (?:tunnel|transport)`,
		`crypto ipsec profile ` + pName,
		` set transform-set ` + pName + `(?: ` + pName + `)*`,
		` set ikev2-profile ` + pName,
		` set pfs group(?:2|14|15|16|19|20|21)`,
		` set security-association lifetime seconds \d+`,
		` set security-association replay window-size (?:64|128|256|512|1024)`,
		`interface Tunnel\d+`,
		` description .*`,
		` ip address ` + pIPv4 + ` ` + pIPv4 + `(?: secondary)?`,
		` ipv6 address ` + pIPv6 + `/\d+`,
		` ip mtu \d+`,
		` ip tcp adjust-mss \d+`,
		` tunnel (?:source|destination) ` + pIP,
		` tunnel mode gre (?:ip|ipv6)`,
		` tunnel key \d+`,
		` tunnel sequence-datagrams`,
		` tunnel checksum`,
		` tunnel ttl \d+`,
		` tunnel protection ipsec profile ` + pName,
		`ip route ` + pIPv4 + ` ` + pIPv4 + ` Tunnel\d+`,
		`ipv6 route ` + pIPv6 + `/\d+ Tunnel\d+`,
	},
	"vyos": {
		`set vpn ipsec ike-group ` + pName + ` (?:key-exchange ikev2|lifetime \d+|disable-mobike|close-action start)`,
		`set vpn ipsec ike-group ` + pName + ` dead-peer-detection (?:action restart|interval \d+)`,
		`set vpn ipsec ike-group ` + pName + ` proposal \d+ (?:encryption ` + pVyEncr + `|hash ` + pHash + `|prf prf` + pHash + `|dh-group (?:2|5|14|15|16|19|20|21|31))`,
		`set vpn ipsec esp-group ` + pName + ` (?:mode (?:tunnel|transport)|lifetime \d+|pfs (?:disable|dh-group(?:2|5|14|15|16|19|20|21|31)))`,
		`set vpn ipsec esp-group ` + pName + ` proposal \d+ (?:encryption ` + pVyEncr + `|hash ` + pHash + `)`,
		`set vpn ipsec authentication psk ` + pName + ` (?:id '[^']+'|secret '.*')`,
		`set vpn ipsec interface eth\d+`,
		`set vpn ipsec site-to-site peer ` + pName + ` authentication (?:mode pre-shared-secret|local-id '[^']+'|remote-id '[^']+')`,
		`set vpn ipsec site-to-site peer ` + pName + ` (?:connection-type initiate|ike-group ` + pName + `|default-esp-group ` + pName + `|force-udp-encapsulation|replay-window \d+)`,
		`set vpn ipsec site-to-site peer ` + pName + ` (?:local-address (?:any|` + pIP + `)|remote-address ` + pHost + `)`,
		`set vpn ipsec site-to-site peer ` + pName + ` tunnel 1 (?:protocol gre|(?:local|remote) prefix ` + pNet + `)`,
		`set interfaces dummy dum\d+ address ` + pNet,
		`set interfaces tunnel tun\d+ (?:encapsulation (?:ip6)?gre(?:tap)?|source-address ` + pIP + `|remote ` + pIP + `|address ` + pNet + `|mtu \d+|ip adjust-mss clamp-mss-to-pmtu|enable-multicast)`,
		`set interfaces tunnel tun\d+ parameters ip (?:key \d+|ttl \d+|no-pmtu-discovery|ignore-df)`,
		`set interfaces tunnel tun\d+ parameters ipv6 (?:encaplimit none|hoplimit \d+)`,
		`set protocols static route6? ` + pNet + ` interface tun\d+`,
		`set firewall ipv[46] (?:input|output) filter rule \d+ (?:action drop|protocol gre|(?:source|destination) address ` + pIP + `|ipsec match-none-(?:in|out))`,
	},
}

func TestEveryLineIsOfTheProductsSyntax(t *testing.T) {
	for vendor, patterns := range syntax {
		all := regexp.MustCompile(`^(?:` + strings.Join(patterns, "|") + `)$`)
		files, err := filepath.Glob("testdata/*." + vendor)
		if err != nil || len(files) < len(cases) {
			t.Fatalf("%s: %v, %v", vendor, files, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for n, line := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
				if line == "" || strings.HasPrefix(line, "# ") || strings.HasPrefix(line, "! ") {
					continue
				}
				if !all.MatchString(line) {
					t.Errorf("%s:%d: %s has no such line: %q", file, n+1, vendor, line)
				}
			}
		}
	}
}

// libreswan's own parser judges, where it is installed.
func TestLibreswanTakesItsConfig(t *testing.T) {
	const addconn = "/usr/libexec/ipsec/addconn"
	if _, err := os.Stat(addconn); err != nil {
		t.Skip("libreswan is not installed")
	}
	for _, c := range cases {
		data, err := os.ReadFile("testdata/" + c.name + ".libreswan")
		if err != nil {
			t.Fatal(err)
		}
		_, text, _ := strings.Cut(string(data), ".conf <<'END'\n")
		text, _, _ = strings.Cut(text, "END\n")
		text = strings.ReplaceAll(text, "vpn.example.net", "192.0.2.1") // it would be looked up
		path := filepath.Join(t.TempDir(), "ipsec.conf")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(addconn, "--config", path, "--checkconfig").CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s\n%s", c.name, err, out, text)
		}
	}
}

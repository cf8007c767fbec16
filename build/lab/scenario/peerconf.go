package scenario

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"greseal/build/lab/labnet"
)

// What greseal writes for its other side works: the script for strongSwan is run
// as it is, twice (without the kernel's GRE where there is none), and the config for
// greseal starts a second daemon. Seen: tunnel up, pings, a rekey with its key
// exchange, wire sealed. With certificates the script asks for what only the other
// side can have, and brings the authority along. greseal's own address is not in
// the config: the daemon knows it before the first handshake.
func init() {
	for _, o := range []struct {
		name  string
		lines []string
		gre   labnet.GREOptions
		modes string
	}{
		{"peer-config: strongSwan", nil, labnet.GREOptions{}, ""},
		{"peer-config: identities, GRE key",
			[]string{`local_id = "hq.example.net"`, `remote_id = "keyid:branch-7"`, `gre.key = 7`, `esp = ["aes256-sha256", "chacha20poly1305"]`, `ike = "aes256-sha512-modp2048"`}, labnet.GREOptions{HasKey: true, Key: 7}, ""},
		{"peer-config: transport mode", []string{`mode = "transport"`, `local_id = "hq@example.net"`}, labnet.GREOptions{}, "kernel"},
		{"peer-config: certificates", []string{`remote_id = "` + nameB + `"`}, labnet.GREOptions{}, ""},
	} {
		paths := both
		if o.modes == "kernel" {
			paths = kernel
		}
		addOnce(Scenario{Name: o.name, Peer: StrongSwan, Paths: paths, Run: func(l *labnet.Lab) {
			runPeerConfig(l, o.lines, o.gre)
		}})
	}
	addOnce(Scenario{Name: "peer-config: greseal", Peer: Greseal, Paths: both, Run: func(l *labnet.Lab) {
		net := l.NewPair()
		a := net.A.Greseal(side(labnet.AddrB, innerA, `local = "`+labnet.AddrA+`"`, `mode = "transport"`, `gre.key = 99`, `remote_id = "b.example.net"`))
		b := net.B.Greseal(a.Must("peer-config", "t0", "--for", "greseal", "--show-secrets", "--networks", "10.77.0.0/24", "-c", a.Config))
		samePair(l, a, b)
		net.A.WaitPing(innerB, 10*time.Second)
		net.B.MustPing(innerA, 10)
		l.Check(contains(net.B.MustRun("ip", "route"), "10.77.0.0/24 dev t0"), "the route is not there")
		net.Wire.MustBeSealed()
	}})
}

func runPeerConfig(l *labnet.Lab, lines []string, gre labnet.GREOptions) {
	net := l.NewPair()
	const secret = `a "b" c's $d \e, 0x7`
	proof := fmt.Sprintf("psk = %q", secret)
	var keys *credentials
	if slices.ContainsFunc(lines, func(s string) bool { return contains(s, nameB) }) {
		keys = newCredentials(l, "ecdsa-256")
		proof = fmt.Sprintf("cert = %q\nkey = %q\nca = [%q]", l.File("keys/own.crt", keys.greseal.cert+keys.greseal.intermediate), l.File("keys/own.key", keys.greseal.key), l.File("keys/ca.crt", keys.root))
	}
	lines = append([]string{fmt.Sprintf("remote = %q", labnet.AddrB), proof,
		fmt.Sprintf("address = [\"%s/30\"]", innerA), fmt.Sprintf("child_lifetime = %q", l.Stretch(6*time.Second))}, lines...)
	if !labnet.KernelESP() { // kernel-libipsec has no extended sequence numbers
		suites := `esp = ["aes128gcm16-noesn", "aes256-sha256-noesn"]`
		if i := slices.IndexFunc(lines, func(s string) bool { return strings.HasPrefix(s, "esp") }); i >= 0 {
			lines[i] = strings.NewReplacer(`sha256"`, `sha256-noesn"`, `poly1305"`, `poly1305-noesn"`).Replace(lines[i])
		} else {
			lines = append(lines, suites)
		}
	}
	a := net.A.Greseal(labnet.Tunnel("t0", lines...))
	config := labnet.Swan{Local: labnet.AddrB, Remote: labnet.AddrA, PSK: "another one", Libipsec: !labnet.KernelESP()}
	swan := net.B.StrongSwan(config)
	l.Wait(10*time.Second, "its own address", func() bool { return a.Tunnel("t0").Peer.LocalAddr != "" })
	script := a.Must("peer-config", "t0", "--for", "strongswan", "--show-secrets", "-c", a.Config)
	if config.Libipsec {
		var kept []string
		for line := range strings.Lines(script) {
			if !strings.HasPrefix(line, "ip ") {
				kept = append(kept, line)
			}
		}
		script = strings.Join(kept, "")
	}
	if keys != nil {
		r := swan.Script(script)
		l.Check(r.Code == 1 && contains(r.Out(), "first put the certificate of the other side into"), "the script without certificates: exit code %d: %s", r.Code, r.Out())
		net.B.SwanFile("etc/x509/t0.pem", keys.peer.cert)
		net.B.SwanFile("etc/private/t0.pem", keys.peer.key)
		net.B.SwanFile("etc/x509ca/between.pem", keys.peer.intermediate)
	}
	for range 2 {
		r := swan.Script(script)
		l.Check(r.Code == 0, "the script: exit code %d: %s", r.Code, r.Out())
	}
	first := a.WaitUp("t0", 20*time.Second)
	if config.Libipsec {
		net.B.GREEnd(labnet.AddrB, labnet.AddrA, innerB+"/30", "ipsec0", gre)
	}
	net.A.WaitPing(innerB, 10*time.Second)
	net.A.MustPing(innerB, 20)
	net.B.MustPing(innerA, 20)
	l.Wait(90*time.Second, "a rekeyed Child SA", func() bool {
		t := a.Tunnel("t0")
		return t.Child != nil && t.Child.Rekeys > 0 && t.State == "up"
	})
	net.A.MustPing(innerB, 20)
	last := a.Tunnel("t0")
	l.Check(last.UpCount == 1, "the tunnel went down at its rekey")
	net.Wire.MustBeSealed()
	l.Fact("%s, first %s, rekeyed %s", first.IKE.Suite, first.Child.Suite, last.Child.Suite)
}

package labnet

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Swan is the configuration of one strongSwan daemon with one connection. Zero
// values are strongSwan's ordinary ones.
type Swan struct {
	Local  string // own outer address
	Remote string // the peer's, or "%any"

	LocalID, RemoteID string // default: the addresses
	PSK               string
	// How both sides authenticate, and further lines of the sections local and
	// remote; default PSK. Files named in them lie in the daemon's folder (SwanFile).
	LocalAuth, RemoteAuth string
	LocalMore, RemoteMore string
	Secrets               string // further lines of the section secrets

	IKE       string // proposals, such as "aes256gcm16-prfsha384-x25519"
	ESP       string
	Transport bool
	MOBIKE    bool
	Encap     bool   // force UDP encapsulation by faking a NAT
	LocalTS   string // default: Local/32[47]
	RemoteTS  string

	IKERekey, ChildRekey string // rekey times such as "30s"; default never
	DPD                  string // dpd_delay, default never
	Options              string // further lines of strongswan.conf, inside charon { }
	Conn, Child          string // further lines of swanctl.conf, in the connection and the child

	// Root is a chroot that has a strongSwan of its own, such as build/lab/sid
	// makes.
	Root string

	// Libipsec uses kernel-libipsec, strongSwan's own ESP, for machines whose
	// kernel has none: tunnel mode and ESP-in-UDP only.
	Libipsec bool
	// SoftAES leaves the plugin aesni out: AES as on CPUs without instructions
	// for it, and as without the package of the standard plugins.
	SoftAES bool
	Quiet   bool // logs errors alone, for measurements
}

// StrongSwan is a running charon.
type StrongSwan struct {
	Swan
	ns     *NS
	dir    string
	inside string // dir, as the programs see it
	proc   *Proc
}

// plugins of charon, in the order of loading; kernel-libipsec must stand
// before kernel-netlink.
const plugins = "random nonce drbg aesni aes sha1 sha2 hmac kdf gcm ccm ctr curve25519 gmp openssl chapoly pem pkcs1 pkcs8 x509 pubkey revocation constraints ml %s kernel-netlink socket-default vici updown counters"

const charon, swanctl = "/usr/lib/ipsec/charon", "/usr/sbin/swanctl"

// StrongSwan starts charon in the namespace and loads the connection "peer"
// with the child "gre". The scenario is skipped where strongSwan is not
// installed.
func (n *NS) StrongSwan(c Swan) *StrongSwan {
	s := &StrongSwan{Swan: c, ns: n, dir: filepath.Join(n.lab.Dir, "swan-"+n.Name)}
	s.inside = s.dir
	if _, err := os.Stat(c.Root + charon); err != nil {
		n.lab.Skipf("strongSwan is not installed; run build/lab/setup")
	}
	if c.Root != "" {
		s.inside = "/mnt"
	} else {
		// Copies, because on many machines AppArmor confines the originals to
		// files below /etc.
		for _, program := range []string{charon, swanctl} {
			data, err := os.ReadFile(program)
			n.lab.Must(err, "read "+program)
			n.lab.File("swan-"+n.Name+"/"+filepath.Base(program), string(data))
			os.Chmod(filepath.Join(s.dir, filepath.Base(program)), 0o755)
		}
	}
	n.lab.File("swan-"+n.Name+"/strongswan.conf", s.daemonConfig())
	s.Start()
	s.Load(c)
	return s
}

// Start starts charon and waits for its control socket.
func (s *StrongSwan) Start() {
	s.ns.BlockErrors() // kernel-libipsec has its SAs a moment before its routes
	os.Remove(filepath.Join(s.dir, "vici"))
	s.proc = s.ns.Start("charon-"+s.ns.Name, s.program(charon)...)
	s.ns.lab.Wait(30*time.Second, "charon's control socket", func() bool {
		if !s.proc.Running() {
			s.ns.lab.Failf("charon ended at once: %s", lastLines(s.proc.Output(), 5))
		}
		// The name is there a moment before anybody listens.
		c, err := net.Dial("unix", filepath.Join(s.dir, "vici"))
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// Pid is charon's process id.
func (s *StrongSwan) Pid() int { return s.proc.Pid() }

// Kill ends charon without giving it time for anything.
func (s *StrongSwan) Kill() { s.proc.Kill() }

// daemonConfig keeps swanctl to one plugin: by default it loads all there are,
// and each of its commands then takes a second in a virtual machine.
func (s *StrongSwan) daemonConfig() string {
	libipsec, extra := "", ""
	if s.Libipsec {
		libipsec = "kernel-libipsec"
		extra = "kernel-libipsec { allow_peer_ts = yes }\n kernel-netlink { fwmark = !0x42 }\n socket-default { fwmark = 0x42 }\n"
	}
	load := fmt.Sprintf(plugins, libipsec)
	level := 1
	if s.Quiet {
		level = 0
	}
	if s.SoftAES {
		load = strings.Replace(load, "aesni ", "", 1)
	}
	return fmt.Sprintf(`charon {
 load = %s
 pidfile = %[2]s/charon.pid
 install_virtual_ip = no
 filelog { log { path = %[2]s/charon.log
  time_format = %%H:%%M:%%S
  flush_line = yes
  default = %[5]d
  ike = %[6]d
  knl = %[6]d
 } }
 plugins {
 vici { socket = unix://%[2]s/vici }
 %[3]s
 }
 %[4]s
}
swanctl {
 load = random
}
`, load, s.inside, extra, s.Options, level, level*2)
}

// Load replaces the connection by this one; SAs that stand stay.
func (s *StrongSwan) Load(c Swan) {
	s.Swan = c
	or := func(value, other string) string {
		if value == "" {
			return other
		}
		return value
	}
	host := func(address string) string {
		if strings.Contains(address, ":") {
			return address + "/128[47]"
		}
		return address + "/32[47]"
	}
	mode, encap := "tunnel", "no"
	if c.Transport {
		mode = "transport"
	}
	if c.Encap || c.Libipsec {
		encap = "yes"
	}
	remote := c.Remote
	remoteTS := "dynamic[47]"
	if remote == "" || remote == "%any" {
		remote = "%any"
	} else {
		remoteTS = host(remote)
	}
	life := "0" // a lifetime without a rekey time would rekey at random times before it
	if c.ChildRekey != "" {
		life = "2h"
	}
	config := fmt.Sprintf(`connections {
 peer {
  version = 2
  local_addrs = %s
  remote_addrs = %s
  proposals = %s
  encap = %s
  mobike = %s
  rekey_time = %s
  over_time = 1h
  rand_time = 0
  dpd_delay = %s
  local { auth = %s
   id = "%s"
   %s
  }
  remote { auth = %s
   id = "%s"
   %s
  }
  %s
  children { gre {
   mode = %s
   esp_proposals = %s
   local_ts = %s
   remote_ts = %s
   rekey_time = %s
   life_time = %s
   rand_time = 0
   %s
  } }
 }
}
secrets { ike-peer { secret = "%s"
 }
 %s
}
`, c.Local, remote, or(c.IKE, "aes256gcm16-prfsha384-x25519"), encap, map[bool]string{true: "yes", false: "no"}[c.MOBIKE], or(c.IKERekey, "0"), or(c.DPD, "0"),
		or(c.LocalAuth, "psk"), or(c.LocalID, c.Local), c.LocalMore, or(c.RemoteAuth, "psk"), or(c.RemoteID, or(c.Remote, "%any")), c.RemoteMore, c.Conn,
		mode, or(c.ESP, "aes128gcm16-x25519"), or(c.LocalTS, host(c.Local)), or(c.RemoteTS, remoteTS), or(c.ChildRekey, "0"), life,
		c.Child, c.PSK, c.Secrets)
	s.ns.lab.File("swan-"+s.ns.Name+"/swanctl.conf", config)
	r := s.swanctl("--load-all", "--clear", "-f", s.inside+"/swanctl.conf")
	s.ns.lab.Check(r.Code == 0, "swanctl --load-all: %s", r.Out())
}

// swanctl runs a command against this charon.
func (s *StrongSwan) swanctl(args ...string) Result {
	argv := append(s.program(swanctl), args...)
	return s.ns.Run(append(argv, "--uri", "unix://"+s.inside+"/vici")...)
}

// program is how one of strongSwan's programs is started; arguments may follow.
func (s *StrongSwan) program(path string) []string {
	conf := "STRONGSWAN_CONF=" + s.inside + "/strongswan.conf"
	switch {
	case s.Root != "":
		return chrooted(s.Root, s.dir, "env", conf, path)
	case path == charon:
		return []string{"unshare", "-m", "sh", "-c", "mount -t tmpfs t /run; " + conf + " exec " + s.dir + "/charon"}
	}
	return []string{"env", conf, filepath.Join(s.dir, filepath.Base(path))}
}

// SwanFile writes a file for the daemon that StrongSwan will start: certificates go to x509, x509ca and
// pubkey, keys to private. Load takes them up.
func (n *NS) SwanFile(name, content string) { n.lab.File("swan-"+n.Name+"/"+name, content) }

// Initiate brings the child up and fails the scenario if that does not work
// within 20 s.
func (s *StrongSwan) Initiate() {
	r := s.TryInitiate()
	s.ns.lab.Check(r.Code == 0, "strongSwan could not initiate: %s", lastLines(r.Out(), 8))
}

// TryInitiate is Initiate whose failure is the scenario's to judge.
func (s *StrongSwan) TryInitiate() Result {
	return s.swanctl("--initiate", "--child", "gre", "--timeout", "20")
}

// RekeyChild, RekeyIKE, TerminateChild and TerminateIKE are strongSwan's own
// side of these events.
func (s *StrongSwan) RekeyChild()     { s.command("--rekey", "--child", "gre") }
func (s *StrongSwan) RekeyIKE()       { s.command("--rekey", "--ike", "peer") }
func (s *StrongSwan) TerminateChild() { s.command("--terminate", "--child", "gre") }
func (s *StrongSwan) TerminateIKE()   { s.command("--terminate", "--ike", "peer") }

// RekeyNow is RekeyChild or RekeyIKE within a millisecond, for who must not be
// late. It does not tell whether there was such an SA.
func (s *StrongSwan) RekeyNow(ike bool) {
	kind, name := "child", "gre"
	if ike {
		kind, name = "ike", "peer"
	}
	if err := viciRekey(filepath.Join(s.dir, "vici"), kind, name); err != nil {
		s.ns.lab.Logf("rekeying by strongSwan: %v", err)
	}
}

func (s *StrongSwan) command(args ...string) {
	r := s.swanctl(args...)
	s.ns.lab.Check(r.Code == 0, "swanctl %s: %s", strings.Join(args, " "), lastLines(r.Out(), 4))
}

// SAs is what strongSwan says it has, as swanctl --list-sas shows it.
type SAs struct {
	IKE      int      // established IKE SAs
	Children int      // installed Child SAs
	IKESPIs  []string // both SPIs of each IKE SA, 32 hex digits
	ESPSPIs  []string // inbound and outbound SPI of each installed Child SA
	Mode     string   // TUNNEL or TRANSPORT
	Encap    bool     // in UDP
}

// List asks for the SAs. A rekeyed Child SA that lingers on is not counted.
func (s *StrongSwan) List() SAs {
	list, err := viciList(filepath.Join(s.dir, "vici"))
	s.ns.lab.Must(err, "list strongSwan's SAs")
	var sas SAs
	for _, message := range list {
		ike := message.section("peer")
		if ike.text("state") != "ESTABLISHED" {
			continue
		}
		sas.IKE++
		sas.IKESPIs = append(sas.IKESPIs, ike.text("initiator-spi")+ike.text("responder-spi"))
		children := ike.section("child-sas")
		for _, key := range children.keys {
			child := children.section(key)
			if child.text("state") != "INSTALLED" {
				continue
			}
			sas.Children++
			sas.Mode, sas.Encap = child.text("mode"), child.text("encap") == "yes"
			sas.ESPSPIs = append(sas.ESPSPIs, child.text("spi-in"), child.text("spi-out"))
		}
	}
	return sas
}

// WaitUp waits until a Child SA is installed.
func (s *StrongSwan) WaitUp(limit time.Duration) {
	s.ns.lab.Wait(limit, "strongSwan shows a Child SA", func() bool { return s.List().Children > 0 })
}

// WaitGone waits until no SA is left.
func (s *StrongSwan) WaitGone(limit time.Duration) {
	s.ns.lab.Wait(limit, "strongSwan shows no SA", func() bool {
		sas := s.List()
		return sas.IKE == 0 && sas.Children == 0
	})
}

// Log is what charon has logged so far.
func (s *StrongSwan) Log() string {
	data, _ := os.ReadFile(filepath.Join(s.dir, "charon.log"))
	return string(data)
}

// Have tells whether a program is there.
func Have(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}

package scenario

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"greseal/build/lab/labnet"
)

// What a newcomer does in the first hour, word by word: the configs and commands of
// README.md and build/doc/certificates.md, in their order, on machines that have
// never seen greseal, with Debian's firewall closed and forwarding off. Seen: the
// network behind the branch reaches the one behind head office as soon as the last
// command is given and not before; status and doctor find nothing wrong; the same
// with certificates made on the spot; a second branch, which reaches the first one
// through head office, while the first one's tunnel is not touched; nothing in the
// clear on the wires of either branch.
func init() {
	addOnce(Scenario{Name: "the first hour, as README and build/doc have it", Peer: Greseal, Paths: userspace, Where: Host, Run: firstHour})
}

// newcomer is a router whose owner reads, with one machine in the network behind it.
type newcomer struct {
	*labnet.NS
	lab    *labnet.Lab
	lan    *labnet.NS
	host   string // the machine behind it
	tunnel string // as the text calls it here
	proc   *labnet.Proc
}

// newcomerAt makes one: its /etc is a copy that its owner may write to, its /run is
// empty, and greseal is in its PATH.
func newcomerAt(l *labnet.Lab, n *labnet.NS, tunnel, gateway, host string) *newcomer {
	etc := filepath.Join(l.Dir, "etc-"+n.Name)
	n.MustRun("cp", "-a", "/etc", etc)
	l.Must(os.RemoveAll(filepath.Join(etc, "greseal")), "clear /etc/greseal")
	n.Must("mount /etc and /run", func() error {
		if err := unix.Mount(etc, "/etc", "", unix.MS_BIND, ""); err != nil {
			return err
		}
		return unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755")
	})
	n.Hosts("vpn.example.net", labnet.AddrB)
	c := &newcomer{NS: n, lab: l, lan: l.NewNS("lan-" + n.Name), host: host, tunnel: tunnel}
	l.Veth(n, "lan", c.lan, "eth0")
	n.Addr("lan", gateway+"/16")
	c.lan.Addr("eth0", host+"/16")
	c.lan.Route("", gateway, "eth0")
	n.Sysctl("net.ipv4.ip_forward", "0")
	n.MustRun("nft", "add table inet filter; add chain inet filter input { type filter hook input priority 0; policy drop; }; "+
		"add chain inet filter forward { type filter hook forward priority 0; policy drop; }; add chain inet filter output { type filter hook output priority 0; }")
	return c
}

// shell runs commands as they stand in the text.
func (c *newcomer) shell(text string) labnet.Result {
	bin := filepath.Join(c.lab.Dir, "bin")
	binary, err := filepath.Abs(c.lab.Binary)
	c.lab.Must(err, "find greseal")
	c.lab.Must(os.MkdirAll(bin, 0o755), "make a folder for greseal")
	_ = os.Symlink(binary, filepath.Join(bin, "greseal")) // it may be there
	return c.Run("env", "PATH="+bin+":"+os.Getenv("PATH"), "sh", "-ec", text)
}

func (c *newcomer) must(text string) string {
	r := c.shell(text)
	c.lab.Check(r.Code == 0, "%s: %s\nexit code %d: %s", c.Name, text, r.Code, r.Out())
	return r.Stdout
}

// write writes the config, for its owner alone.
func (c *newcomer) write(tunnels ...string) {
	c.lab.File("etc-"+c.Name+"/greseal/greseal.toml", strings.Join(tunnels, "\n"))
}

// run gives the two commands, of which the second one stays.
func (c *newcomer) run(text string) {
	before, last, ok := strings.Cut(text, "\ngreseal run")
	c.lab.Check(ok && last == "", "the commands do not end with greseal run: %s", text)
	c.must(before)
	c.proc = c.Start("greseal-"+c.Name, filepath.Join(c.lab.Dir, "bin", "greseal"), "run")
}

// state is what status says of a tunnel: its state, and how often it came up.
func (c *newcomer) state(tunnel string) (state string, ups int) {
	var shown struct {
		Tunnels []struct {
			Name, State string
			UpCount     int `json:"up_count"`
		}
	}
	r := c.shell("greseal status --json")
	if json.Unmarshal([]byte(r.Stdout), &shown) != nil {
		return r.Out(), 0
	}
	for _, t := range shown.Tunnels {
		if t.Name == tunnel {
			return t.State, t.UpCount
		}
	}
	return "not there", 0
}

func (c *newcomer) waitUp(tunnel string) {
	c.lab.Wait(30*time.Second, tunnel+" is up at "+c.Name, func() bool { s, _ := c.state(tunnel); return s == "up" })
}

// example is what stands in a text set apart: commands, or with toml a config.
type example struct {
	text string
	toml bool
}

// examples are those below a heading of a text, in order. The row fails when there
// are more or fewer than it plays, so that none is left untried.
func examples(l *labnet.Lab, file, heading string, want int) (found []example) {
	data, err := os.ReadFile(file)
	l.Must(err, "read "+file)
	_, text, ok := strings.Cut(string(data), "\n"+heading+"\n")
	l.Check(ok, "%s has no %q", file, heading)
	var now *example
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "```toml"):
			found = append(found, example{toml: true})
			now = &found[len(found)-1]
		case strings.HasPrefix(line, "```"):
			now = nil
		case now != nil && now.toml:
			now.text += line
		case strings.HasPrefix(line, "#"):
			l.Check(len(found) == want, "%s, %s: %d examples, and %d are played", file, heading, len(found), want)
			return found
		case strings.HasPrefix(line, "    "):
			if now == nil {
				found = append(found, example{})
				now = &found[len(found)-1]
			}
			now.text += line[4:]
		default:
			now = nil
		}
	}
	return found
}

func firstHour(l *labnet.Lab) {
	const readme, certificates = "README.md", "build/doc/certificates.md"
	if _, err := os.Stat(readme); err != nil {
		l.Skipf("%s is not here: this is played from the folder of the sources", readme)
	}
	net := l.NewPair()
	second := l.NewNS("c")
	l.Veth(second, "wan", net.Router, "to-c")
	net.Router.Addr("to-c", "203.0.113.254/24")
	second.Addr("wan", "203.0.113.1/24")
	second.Route("", "203.0.113.254", "wan")
	wire := net.Router.Capture("wire-c", "to-c")
	branch := newcomerAt(l, net.A, "hq", "10.1.0.1", "10.1.0.10")
	office := newcomerAt(l, net.B, "branch1", "10.0.0.1", "10.0.0.10")
	third := newcomerAt(l, second, "hq", "10.2.0.1", "10.2.0.10")

	// The first tunnel.
	text := examples(l, readme, "## The first tunnel", 6)
	key := strings.TrimSpace(branch.must(text[0].text))
	l.Check(len(key) == 44, "greseal genpsk gave %q", key)
	office.must(strings.Split(text[0].text, ";")[0])
	_, public, _ := strings.Cut(text[1].text, "psk     = \"")
	public, _, _ = strings.Cut(public, `"`)
	branch.write(strings.ReplaceAll(text[1].text, public, key))
	office.write(strings.ReplaceAll(text[2].text, public, key))
	begin := time.Now()
	for _, c := range []*newcomer{branch, office} {
		c.run(strings.TrimSpace(text[3].text))
	}
	firewall := func(c *newcomer, tunnel string) { c.must(strings.ReplaceAll(text[4].text, "hq", tunnel)) }
	r := branch.lan.Run("ping", "-c", "1", "-W", "1", office.host)
	l.Check(r.Code != 0, "a closed firewall without forwarding lets pings through")
	firewall(branch, "hq")
	firewall(office, "branch1")
	branch.waitUp("hq")
	office.waitUp("branch1")
	both := func(a, b *newcomer) {
		a.lan.WaitPing(b.host, 10*time.Second)
		a.lan.MustPing(b.host, 5)
		b.lan.MustPing(a.host, 5)
	}
	both(branch, office)
	l.Fact("first ping after %v", time.Since(begin).Round(time.Second))
	for line := range strings.Lines(text[5].text) {
		if !strings.HasPrefix(line, "greseal edit") { // which asks
			branch.must(line)
		}
	}

	// Certificates.
	authority := l.NewNS("authority")
	ca := &newcomer{NS: authority, lab: l}
	folder := filepath.Join(l.Dir, "authority")
	l.Must(os.MkdirAll(folder, 0o700), "make the authority's folder")
	at := func(commands string) { ca.must("cd '" + folder + "'\n" + commands) }
	at(examples(l, certificates, "## 1. The authority", 1)[0].text)
	requests := examples(l, certificates, "## 2. A key and a request for each router", 2)
	sign := examples(l, certificates, "## 3. The certificates", 1)[0].text
	copied := func(from, to string) {
		data, err := os.ReadFile(from)
		l.Must(err, "copy "+from)
		l.Must(os.WriteFile(to, data, 0o644), "copy to "+to)
	}
	own := func(c *newcomer, name string) string { return filepath.Join(l.Dir, "etc-"+c.Name, "greseal", name) }
	enrol := func(names string, routers map[string]*newcomer) {
		for name := range routers {
			copied(own(routers[name], name+".csr"), filepath.Join(folder, name+".csr"))
		}
		at(strings.Replace(sign, "vpn branch1", names, 1))
		for name, c := range routers {
			copied(filepath.Join(folder, name+".pem"), own(c, name+".pem"))
			copied(filepath.Join(folder, "ca.pem"), own(c, "ca.pem"))
		}
	}
	office.must(requests[0].text)
	branch.must(requests[1].text)
	enrol("vpn branch1", map[string]*newcomer{"vpn": office, "branch1": branch})
	configs := examples(l, certificates, "## 4. The tunnel", 3)
	branch.write(configs[0].text)
	office.write(configs[1].text)
	branch.must(configs[2].text)
	office.must(configs[2].text)
	l.Wait(30*time.Second, "the tunnel by certificates", func() bool {
		return contains(branch.must("greseal status hq"), "valid until") && contains(office.must("greseal status branch1"), "valid until")
	})
	both(branch, office)

	// The second branch.
	third.must("mkdir -p /etc/greseal")
	third.must(strings.ReplaceAll(requests[1].text, "branch1", "branch2"))
	enrol("branch2", map[string]*newcomer{"branch2": third})
	more := examples(l, certificates, "## 5. The second branch", 2)
	office.write(configs[1].text, more[0].text)
	_, before := office.state("branch1")
	office.must("greseal check; greseal apply")
	firewall(office, "branch2")
	third.write(more[1].text)
	third.run(strings.TrimSpace(text[3].text))
	firewall(third, "hq")
	third.waitUp("hq")
	office.waitUp("branch2")
	both(third, office)
	branch.write(strings.Replace(configs[0].text, `["10.0.0.0/16"]`, `["10.0.0.0/16", "10.2.0.0/16"]`, 1))
	branch.must("greseal check; greseal apply")
	both(branch, third)
	both(branch, office)
	_, after := office.state("branch1")
	l.Check(before == after && after > 0, "the first branch's tunnel was touched: %d times up before, %d after", before, after)
	for _, c := range []*newcomer{branch, office, third} {
		for _, tunnel := range []string{"hq", "branch1", "branch2"} {
			if s, _ := c.state(tunnel); s == "up" {
				c.must("greseal doctor " + tunnel)
			}
		}
	}
	for _, w := range []*labnet.Wire{net.Wire, wire} {
		w.MustBeSealed()
		l.Check(!slices.ContainsFunc(w.Packets(), func(p labnet.Packet) bool { return strings.HasPrefix(p.Src.String(), "10.") }), "a packet of the networks inside is on the wire")
	}
	l.Fact("two branches by certificates after %v", time.Since(begin).Round(time.Second))
}

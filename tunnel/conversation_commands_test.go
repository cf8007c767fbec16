package tunnel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	sys "golang.org/x/sys/unix"

	"greseal/crypto/esp"
	"greseal/crypto/suite"
	"greseal/ikev2"
	"greseal/platform"
	"greseal/tunnel/status"
)

// commands are the first words of a conversation's commands.
//
//	tunnel NAME KEY=VALUE …          write a [[tunnel]] or change it; an empty value takes the key out
//	daemon KEY=VALUE …               the same of [daemon]
//	forget NAME                      take a [[tunnel]] out of the file
//	start                            the daemon, with the file; stop ends it
//	run DURATION                     let time pass
//	reload, plan                     the file
//	try SECONDS, plan candidate      the file as a candidate
//	hold, confirm, rollback          of a trial; force: whatever is down
//	save                             write the candidate's text into the file, as confirm's client does
//	up|down|restart [NAME]           by request; "open" opens guards, too
//	status [NAME]                    what is said of the tunnels
//	daemon                           and of the daemon
//	events NAME                      what is remembered of a tunnel
//	handshakes NAME                  what the recorder holds
//	doctor NAME                      an examination, as far as it needs no machine
//	examination of NAME finds nothing|STEP: TEXT   what one came to
//
//	NAME|name server says ADDRESS …  the addresses of a host; none: it does not exist
//	name server is silent|broken|slow|quick
//	wan|lte|… has ADDRESS …          an interface has these addresses, and no others
//	wan takes N                      its MTU
//	the path takes N                 more are lost on the way
//	IPv4|IPv6 leaves by NAME         where the default route leads, or nothing
//	SSH comes by NAME                the way to a client of the trial
//	NAME is somebody's GRE           a GRE interface that is not ours ends at this address
//	something changes                in the network, without saying what
//	somebody deletes|changes|sets down NAME   an interface of ours
//	audit finds|mends OBJECT WHICH of NAME: TEXT   as long as said, or once; "audit finds nothing" ends it
//
//	peer NAME ADDRESS … [KEY=VALUE]  a node at the other end; "greseal": of this program
//	peer NAME is silent|answers|restarts|moves to ADDRESS|has another key|has the key|has no room|has room
//	peer NAME initiates|rekeys|deletes|tells N
//	peer NAME is silent at ADDRESS, answers at ADDRESS
//
//	killed with NAME LOCAL REMOTE …  a daemon that had this SA, before the start; then mode=transport,
//	                                 age=DURATION, gre=ADDRESS, state=down
//	datapath KIND                    kernel (as usual) or userspace, before the start
//	CALL fails: ERROR                a call on datapath or network; "CALL works" ends it
//	datapath lacks ALGORITHM
//	SA of NAME reaches its soft|hard limit|sequence limit|is used|comes from ADDRESS
//	NAME sends|receives N            packets, as its SAs count them
//	NAME hears of a packet too big for N
//	ESP|UDP is lost|passes           between the ends
//	the peer has no GRE interface, has one
//	messages, no messages            show those of IKE, or don't
var commands = map[string]func(*conversation, []string){
	"tunnel": (*conversation).cmdTunnel,
	"daemon": (*conversation).cmdDaemon,
	"forget": (*conversation).cmdForget,
	"start":  func(c *conversation, _ []string) { c.write("greseal.toml"); c.start() },
	"stop":   func(c *conversation, _ []string) { c.stop() },
	"run":    func(c *conversation, w []string) { c.run(w[0]) },
	"reload": func(c *conversation, _ []string) {
		c.write("greseal.toml")
		c.tell(status.Request{Op: status.OpReload})
	},
	"plan":       (*conversation).cmdPlan,
	"try":        (*conversation).cmdTry,
	"save":       func(c *conversation, _ []string) { c.write("greseal.toml") },
	"hold":       (*conversation).cmdHold,
	"confirm":    (*conversation).cmdConfirm,
	"rollback":   func(c *conversation, _ []string) { c.tell(status.Request{Op: status.OpRollback}) },
	"up":         func(c *conversation, w []string) { c.tell(status.Request{Op: status.OpUp, Tunnel: first(w)}) },
	"down":       (*conversation).cmdDown,
	"restart":    func(c *conversation, w []string) { c.tell(status.Request{Op: status.OpRestart, Tunnel: first(w)}) },
	"status":     (*conversation).cmdStatus,
	"events":     (*conversation).cmdEvents,
	"handshakes": (*conversation).cmdHandshakes,
	"doctor":     (*conversation).cmdDoctor,

	"examination": (*conversation).cmdExamination,

	"name":      (*conversation).cmdNameServer,
	"the":       (*conversation).cmdThe,
	"IPv4":      func(c *conversation, w []string) { c.cmdRoute(&c.route4, &c.by4, w) },
	"IPv6":      func(c *conversation, w []string) { c.cmdRoute(&c.route6, &c.by6, w) },
	"SSH":       func(c *conversation, w []string) { c.act(func() { c.leaves = w[2] }) },
	"something": func(c *conversation, _ []string) { c.changed() },
	"somebody":  (*conversation).cmdSomebody,
	"audit":     (*conversation).cmdAudit,

	"peer":     (*conversation).cmdPeer,
	"killed":   (*conversation).cmdKilled,
	"datapath": (*conversation).cmdDatapath,
	"SA":       (*conversation).cmdSA,
	"ESP":      func(c *conversation, w []string) { c.act(func() { c.espLost["ESP"] = w[len(w)-1] == "lost" }) },
	"UDP":      func(c *conversation, w []string) { c.act(func() { c.espLost["UDP"] = w[len(w)-1] == "lost" }) },
	"messages": func(c *conversation, _ []string) { c.act(func() { c.showIKE = true }) },
	"no":       func(c *conversation, _ []string) { c.act(func() { c.showIKE = false }) },
}

func (c *conversation) command(where, line string) {
	defer func() {
		if r := recover(); r != nil {
			c.t.Fatalf("%s: %v", where, r)
		}
	}()
	w := strings.Fields(line)
	if do := commands[w[0]]; do != nil {
		do(c, w[1:])
		return
	}
	if len(w) < 2 {
		panic("no such command")
	}
	switch w[1] {
	case "has", "takes":
		c.cmdCard(w[0], w[1], w[2:])
	case "is":
		c.cmdIs(w[0], w[2:])
	case "fails:", "works":
		c.cmdFails(w[0], w[1] == "fails:", w[2:])
	case "sends", "receives":
		c.cmdTraffic(w[0], w[1] == "sends", number(w[2]))
	case "hears":
		c.events <- platform.Event{Kind: platform.OuterTooBig, Link: w[0], MTU: number(w[len(w)-1])}
	default:
		panic("no such command")
	}
}

func first(w []string) string {
	if len(w) == 0 {
		return ""
	}
	return w[0]
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

// act changes the world, where the loop runs in its goroutine.
func (c *conversation) act(f func()) {
	if c.done == nil {
		f()
		return
	}
	c.do(f)
}

func (c *conversation) run(d string) {
	t, err := time.ParseDuration(d)
	if err != nil {
		panic(err)
	}
	time.Sleep(t)
}

// tell asks the daemon for something and shows the reply.
func (c *conversation) tell(r status.Request) status.Reply {
	reply := c.ask(r)
	c.settle()
	show := func(s string) { c.out = append(c.out, "reply: "+strings.ReplaceAll(s, c.dir+"/", "")) }
	if reply.Error != "" {
		s := reply.Error
		if reply.Remedy != "" {
			s += "; " + reply.Remedy
		}
		show(s)
	}
	for _, line := range reply.Lines {
		show(line)
	}
	return reply
}

// The config file.

func (c *conversation) section(name string) *section {
	i := slices.IndexFunc(c.file, func(s section) bool { return s.name == name })
	if i < 0 {
		c.file = append(c.file, section{name: name})
		i = len(c.file) - 1
		if name != "" {
			c.file[i].lines = []string{
				fmt.Sprintf("name = %q", name), fmt.Sprintf("psk = %q", worldKey), `address = ["10.255.0.2/30"]`,
				`ike = "aes128gcm16-prfsha256-x25519"`, `esp = "aes128gcm16"`,
			}
		}
	}
	return &c.file[i]
}

func (s *section) set(w []string) {
	for _, kv := range w {
		k, v, _ := strings.Cut(kv, "=")
		s.lines = slices.DeleteFunc(s.lines, func(l string) bool { return strings.HasPrefix(l, k+" =") })
		if v != "" {
			s.lines = append(s.lines, k+" = "+toml(k, v))
		}
	}
}

// toml is a value as the file has it.
func toml(key, v string) string {
	_, err := strconv.Atoi(v)
	several := key == "address" || key == "routes" || strings.Contains(v, ",") && (key == "remote" || key == "ike" || key == "esp")
	switch {
	case several:
		return `["` + strings.ReplaceAll(v, ",", `", "`) + `"]`
	case err == nil, v == "true", v == "false":
		return v
	}
	return strconv.Quote(v)
}

func (c *conversation) cmdTunnel(w []string) { c.section(w[0]).set(w[1:]) }

func (c *conversation) cmdForget(w []string) {
	c.file = slices.DeleteFunc(c.file, func(s section) bool { return s.name == w[0] })
}

func (c *conversation) cmdDaemon(w []string) {
	if len(w) > 0 {
		c.section("").set(w)
		return
	}
	d := c.ask(status.Request{Op: status.OpStatus}).Snapshot.Daemon
	c.settle()
	c.line("daemon: %s datapath", d.Datapath)
	for _, n := range d.Notes {
		c.line("  note: %s", n)
	}
	for _, p := range d.ConfigProblems {
		c.line("  refused: %s", p)
	}
	if d.ConfigInstead != "" {
		c.line("  instead: %s", d.ConfigInstead)
	}
	if p := d.Pending; p != nil {
		c.line("  on trial, %d s left, watched %v", p.LeftS, p.Watched)
		for _, x := range p.Waiting {
			c.line("  waits, %d s more: %s", p.PatientS, x)
		}
	}
	if d.RolledBack != "" {
		c.line("  rolled back: %s", d.RolledBack)
	}
}

func (c *conversation) line(format string, args ...any) {
	c.out = append(c.out, strings.ReplaceAll(fmt.Sprintf(format, args...), c.dir+"/", ""))
}

// write writes the text of the config into a file of the conversation's folder.
func (c *conversation) write(name string) {
	var text strings.Builder
	for _, s := range c.file {
		head := "[daemon]"
		if s.name != "" {
			head = "[[tunnel]]"
		}
		fmt.Fprintf(&text, "%s\n%s\n", head, strings.Join(s.lines, "\n"))
	}
	path := filepath.Join(c.dir, name)
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		panic(err)
	}
	if err := os.Chtimes(path, time.Now(), time.Now()); err != nil { // the bubble's clock
		panic(err)
	}
}

func (c *conversation) cmdPlan(w []string) {
	if first(w) == "candidate" {
		c.write("status.sock.candidate")
		c.tell(status.Request{Op: status.OpPlanCandidate})
		return
	}
	c.write("greseal.toml")
	c.tell(status.Request{Op: status.OpPlan, Client: "203.0.113.5"})
}

func (c *conversation) cmdTry(w []string) {
	c.write("status.sock.candidate")
	r := status.Request{Op: status.OpCandidate, Seconds: number(w[0])}
	if len(w) > 1 {
		r.Client = w[2] // by ADDRESS
	}
	c.tell(r)
}

func (c *conversation) cmdHold(w []string) {
	c.tell(status.Request{Op: status.OpHold, Force: first(w) == "force"})
}

// cmdConfirm is what greseal confirm does, but for writing the file.
func (c *conversation) cmdConfirm(w []string) {
	r := c.ask(status.Request{Op: status.OpHold, Force: first(w) == "force"})
	if r.OK && first(w) == "another" {
		r.Digest = strings.Repeat("0", 64)
	}
	if !r.OK {
		c.tell(status.Request{Op: status.OpHold})
		return
	}
	c.tell(status.Request{Op: status.OpConfirm, Digest: r.Digest})
}

func (c *conversation) cmdDown(w []string) {
	r := status.Request{Op: status.OpDown, Tunnel: first(w)}
	r.Open = slices.Contains(w, "open")
	c.tell(r)
}

// What the daemon says.

func (c *conversation) cmdStatus(w []string) {
	r := c.ask(status.Request{Op: status.OpStatus, Tunnel: first(w)})
	c.settle()
	if r.Snapshot == nil {
		c.line("reply: %s", r.Error)
		return
	}
	for i := range r.Snapshot.Tunnels {
		c.show(&r.Snapshot.Tunnels[i])
	}
}

// show is a tunnel's status, as far as it has something to say.
func (c *conversation) show(t *status.Tunnel) {
	s := t.Name + ": " + t.State
	if t.WaitingFor != "" {
		s += ", waiting for " + t.WaitingFor
	}
	if t.Reason != "" {
		s += ": " + t.Reason
	}
	c.line("%s", s)
	if t.Remedy != "" {
		c.line("  remedy: %s", t.Remedy)
	}
	for _, command := range t.Commands {
		c.line("  run: %s", command)
	}
	for _, e := range t.Evidence {
		c.line("  shown by: %s", e)
	}
	if t.Code != "" {
		code := t.Code + ", " + t.Side
		if ago := time.Now().Unix() - t.Confirmed; t.Confirmed != 0 && ago > 60 {
			code += fmt.Sprintf(", %d s ago", ago)
		}
		c.line("  code: %s", code)
	}
	if t.NextAttempt != 0 {
		c.line("  next attempt in %d s, %d so far", t.NextAttemptInS, t.Attempts)
	}
	if ch := t.Child; ch != nil {
		c.line("  %s in %s, %s mode: %s to %s as %s, %d bytes of %s", ch.Suite, t.Outside.Encap, t.Outside.Mode, bare(t.Peer.LocalAddr), bare(t.Peer.Address), roleOf(t), t.MTU.Bytes, t.MTU.How)
		c.line("  because %s", t.Outside.EncapWhy)
	}
	for _, p := range append(t.Addresses, t.Routes...) {
		if p.Why != "" {
			c.line("  %s is not in place: %s", p.Prefix, p.Why)
		}
	}
	if t.Contention != nil {
		c.line("  %s turned away, %s has it; %s", t.Contention.Newcomer, t.Contention.Holder, t.Contention.Remedy)
	}
	if t.MTU.Differs != "" {
		c.line("  MTU %d, the peer's %d; %s", t.MTU.Bytes, t.MTU.Peer, t.MTU.Differs)
	}
	if t.MTU.Unclamped != "" {
		c.line("  not clamped: %s", t.MTU.Unclamped)
	}
}

func roleOf(t *status.Tunnel) string {
	if t.IKE == nil {
		return "nobody"
	}
	return t.IKE.Role
}

func bare(endpoint string) string {
	if a, err := netip.ParseAddrPort(endpoint); err == nil {
		return a.Addr().String()
	}
	return endpoint
}

func (c *conversation) cmdEvents(w []string) {
	r := c.ask(status.Request{Op: status.OpStatus, Tunnel: w[0]})
	c.settle()
	for _, e := range r.Snapshot.Tunnels[0].Events {
		c.line("%s %s: %s", e.Level, e.Kind, e.Text)
	}
}

func (c *conversation) cmdHandshakes(w []string) {
	r := c.ask(status.Request{Op: status.OpHandshakes, Tunnel: first(w)})
	c.settle()
	for _, h := range r.Handshakes {
		if h.Direction == "" {
			c.line("%s = %s", h.Role, h.Text)
			continue
		}
		c.line("%s %s %s: %s", h.Role, h.Direction, h.Exchange, h.Remote)
	}
}

func (c *conversation) cmdDoctor(w []string) {
	r := c.tell(status.Request{Op: status.OpDoctorStart, Tunnel: first(w)})
	if !r.OK {
		return
	}
	c.settle()
	r = c.ask(status.Request{Op: status.OpDoctorPoll, Job: r.Job.ID})
	for _, d := range r.Job.Checks {
		for _, f := range d.Findings {
			c.line("%s: %s %s: %s", d.Tunnel, f.Verdict, f.ID, strings.Join(f.Evidence, "; "))
		}
	}
	c.line("done: %v, %d faults", r.Job.Done, r.Job.Faults)
}

func (c *conversation) cmdExamination(w []string) { // of NAME finds …
	var d status.Diagnosis
	if step, text, any := strings.Cut(strings.Join(w[3:], " "), ": "); any {
		d.First = step
		d.Findings = []status.Finding{{ID: step, Title: "step " + step, Verdict: status.VerdictFault, Evidence: []string{text, "and more"}, Remedy: "mend it", Commands: []string{"mend"}}}
	}
	c.act(func() { c.l.examined(c.l.peers[ikev2.PeerID(w[1])], &d) })
}

// The network.

func (c *conversation) cmdNameServer(w []string) { // server is …
	c.act(func() {
		switch w[2] {
		case "silent":
			c.answerErr = &net.DNSError{Err: "i/o timeout", IsTimeout: true}
		case "broken":
			c.answerErr = &net.DNSError{Err: "server misbehaving"}
		case "slow":
			c.answerTime = 8 * time.Second
		case "quick":
			c.answerErr, c.answerTime = nil, 0
		default:
			panic(w[2])
		}
	})
}

// cmdIs is of a host name, or of an address.
func (c *conversation) cmdIs(name string, w []string) {
	c.act(func() {
		if first(w) == "somebody's" {
			c.foreign = map[netip.Addr]string{netip.MustParseAddr(name): "gre1"}
			return
		}
		c.known[name] = nil
		for _, a := range w {
			if a != "unknown" {
				c.known[name] = append(c.known[name], netip.MustParseAddr(a))
			}
		}
	})
}

func (c *conversation) cmdThe(w []string) { // path takes N, peer has …
	c.act(func() {
		if w[0] == "path" {
			c.pathMTU = number(w[2])
			return
		}
		c.noGRE = w[2] == "no"
	})
}

func (c *conversation) cmdRoute(there *bool, by *string, w []string) { // leaves by NAME
	c.act(func() {
		if *there = w[2] != "nothing"; *there {
			*by = w[2]
		}
	})
	if c.done != nil {
		c.changed()
	}
}

func (c *conversation) cmdCard(name, verb string, w []string) {
	c.act(func() {
		if verb == "takes" {
			c.wanMTU = number(w[0])
			return
		}
		var addrs []netip.Addr
		for _, a := range w {
			if a != "nothing" {
				addrs = append(addrs, netip.MustParseAddr(a))
			}
		}
		if name == "wan" {
			c.wan4, c.wan6 = netip.Addr{}, netip.Addr{}
			for _, a := range addrs {
				if a.Is4() {
					c.wan4 = a
				} else {
					c.wan6 = a
				}
			}
			return
		}
		c.others = slices.DeleteFunc(c.others, func(o card) bool { return o.name == name })
		c.others = append(c.others, card{name: name, index: 10 + len(c.others), mtu: 1400, addrs: addrs})
	})
	if c.done != nil {
		c.changed()
	}
}

func (c *conversation) cmdSomebody(w []string) {
	name := w[len(w)-1]
	switch w[0] {
	case "deletes":
		c.act(func() { delete(c.devices, name); delete(c.laid, name+" addresses") })
		c.events <- platform.Event{Kind: platform.LinkLost, Link: name}
	case "sets":
		c.act(func() { c.setDown = true })
		c.changes <- platform.Change{Own: []string{name}}
	default:
		c.act(func() { c.setDown = false; clear(c.laid) })
		c.changes <- platform.Change{Own: []string{name}}
	}
}

func (c *conversation) cmdAudit(w []string) {
	before, text, _ := strings.Cut(strings.Join(w, " "), ": ")
	f := strings.Fields(before)
	c.act(func() {
		if f[1] == "nothing" {
			c.deviations = nil
			return
		}
		c.deviations = append(c.deviations, platform.Deviation{
			Object: platform.Object(f[1]), Name: f[2], Link: f[len(f)-1], Text: text, Fixed: f[0] == "mends",
		})
	})
	c.changes <- platform.Change{Other: true}
	c.run("250ms")
}

// The datapath.

func (c *conversation) cmdDatapath(w []string) {
	c.act(func() {
		if w[0] == "lacks" {
			c.lacks = first(w[1:])
			return
		}
		c.kind = w[0]
	})
}

func (c *conversation) cmdKilled(w []string) {
	name, local, remote := w[1], netip.MustParseAddr(w[2]), netip.MustParseAddr(w[3])
	n := uint32(len(c.leftovers)+1) << 8
	sa := esp.ChildSA{
		Suite: suite.Suite{Protocol: suite.ESP, Encr: suite.Transform{Type: suite.TypeEncr, ID: suite.ENCR_AES_GCM_16, KeyLen: 128}},
		SPIIn: n, SPIOut: n + 1, Local: netip.AddrPortFrom(local, 0), Remote: netip.AddrPortFrom(remote, 0), GRELocal: local, GRERemote: remote,
	}
	left := platform.Leftover{Running: true, Since: time.Now()}
	for _, kv := range w[4:] {
		switch k, v, _ := strings.Cut(kv, "="); k {
		case "mode":
			sa.Transport = v == "transport"
		case "age":
			d, err := time.ParseDuration(v)
			if err != nil {
				panic(err)
			}
			left.Since = left.Since.Add(-d)
		case "gre":
			sa.GRERemote = netip.MustParseAddr(v)
		case "state":
			left.Running = v == "up"
		default:
			panic("no such setting")
		}
	}
	left.Link = platform.Link{Name: name, Local: sa.GRELocal, Remote: sa.GRERemote, MTU: 1400}
	if c.kind == platform.KindKernel {
		left.SAs = []esp.ChildSA{sa}
	}
	c.leftovers = append(c.leftovers, left)
}

func (c *conversation) cmdFails(call string, fails bool, w []string) {
	c.act(func() {
		delete(c.failing, call)
		if fails {
			c.failing[call] = errors.New(strings.Join(w, " "))
			if strings.Join(w, " ") == "permission denied" {
				c.failing[call] = sys.EPERM
			}
		}
	})
}

func (c *conversation) cmdSA(w []string) { // of NAME …
	name, what := w[1], strings.Join(w[2:], " ")
	ev := platform.Event{Link: name}
	c.act(func() {
		k, ok := c.l.dp.(*worldPath).newest(name, false)
		if !ok {
			panic("no SA")
		}
		ev.SPI = k.SPI
		if what == "reaches its sequence limit" {
			k, _ = c.l.dp.(*worldPath).newest(name, true)
			ev.SPI, ev.Out = k.SPI, true
		}
	})
	switch {
	case what == "reaches its soft limit":
		ev.Kind = platform.SoftExpire
	case what == "reaches its hard limit":
		ev.Kind = platform.HardExpire
	case what == "reaches its sequence limit":
		ev.Kind = platform.SequenceLow
	case what == "is used":
		ev.Kind, ev.Link = platform.FirstUse, ""
	case w[2] == "comes":
		ev.Kind, ev.Remote = platform.Mapping, netip.AddrPortFrom(netip.MustParseAddr(w[4]), 4500)
	default:
		panic(what)
	}
	c.world.events <- ev
}

func (c *conversation) cmdTraffic(name string, out bool, n int) {
	c.act(func() {
		p := c.l.dp.(*worldPath)
		if k, ok := p.newest(name, out); ok {
			p.counters[k].Packets += uint64(n)
		}
	})
}

// The peers.

func (c *conversation) cmdPeer(w []string) {
	var addrs []netip.Addr
	var settings []string
	for _, x := range w[1:] {
		if a, err := netip.ParseAddr(x); err == nil && (len(addrs) > 0 || x == w[1]) {
			addrs = append(addrs, a)
		} else if len(addrs) > 0 {
			settings = append(settings, x)
		}
	}
	if len(addrs) > 0 {
		c.act(func() {
			n := c.add(w[0], addrs...)
			n.ident = func(p *ikev2.Peer) { peerSettings(p, settings) }
			if slices.Contains(settings, "greseal") {
				settings = slices.DeleteFunc(settings, func(s string) bool { return s == "greseal" })
				n.run = 2
			}
			n.setPeer()
		})
		return
	}
	c.act(func() { c.peerDoes(w[0], w[1:]) })
}

// peerSettings changes what a node says of its peer.
func peerSettings(p *ikev2.Peer, w []string) {
	for _, kv := range w {
		k, v, _ := strings.Cut(kv, "=")
		var err error
		switch k {
		case "psk":
			p.PSK = []byte(v)
		case "id":
			p.LocalID, err = ikev2.ParseIdentity(v)
		case "gre_local":
			p.GRELocal = netip.MustParseAddr(v)
		case "encap":
			p.Encap = map[string]ikev2.EncapMode{"auto": ikev2.EncapAuto, "always": ikev2.EncapForce, "never": ikev2.EncapNever}[v]
		case "transport":
			p.Transport = v == "true"
		default:
			panic("no setting " + k)
		}
		if err != nil {
			panic(err)
		}
	}
}

func (c *conversation) peerDoes(name string, w []string) {
	i := slices.IndexFunc(c.nodes, func(n *node) bool { return n.name == name })
	if i < 0 {
		panic("no peer " + name)
	}
	n := c.nodes[i]
	switch what := strings.Join(w, " "); what {
	case "is silent":
		n.silent = true
	case "answers":
		n.silent = false
		clear(n.deaf)
	case "restarts":
		n.setPeer()
	case "has another key", "has the key":
		n.wrongKey = what == "has another key"
		n.setPeer()
	case "has no room":
		n.throwsOut = true
	case "has room":
		n.throwsOut = false
	case "rekeys":
		for _, ch := range n.peer.Children("branch") {
			n.do(n.peer.RekeyChild(n.now(), ch.ID))
		}
	case "rekeys IKE":
		for _, sa := range n.peer.SAs("branch") {
			n.do(n.peer.RekeyIKE(n.now(), sa.ID))
		}
	case "deletes":
		n.do(n.peer.Close(n.now(), "branch"))
	default:
		switch {
		case strings.HasPrefix(what, "is silent at "):
			n.deaf[netip.MustParseAddr(w[3])] = true
		case strings.HasPrefix(what, "moves to "):
			n.addrs = []netip.Addr{netip.MustParseAddr(w[2])}
			n.do(n.peer.Move(n.now(), "branch", n.addrs[0]))
		case w[0] == "tells":
			n.do(n.peer.TellMTU(n.now(), "branch", number(w[1])))
		case w[0] == "initiates":
			to := netip.MustParseAddr(w[2])
			n.do(n.peer.Initiate(n.now(), "branch", netip.AddrPortFrom(n.addrs[0], 500), netip.AddrPortFrom(to, 500)))
		default:
			panic("a peer does not do that: " + what)
		}
	}
}

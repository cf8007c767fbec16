package status

import (
	"bytes"
	"io"
	"strconv"
	"strings"
)

// Prometheus writes a snapshot in Prometheus' text format: names begin with
// greseal_, units are seconds and bytes, counters end in _total and start again
// with the daemon, but for its crashes. A nil snapshot says that no daemon answers.
func Prometheus(w io.Writer, s *Snapshot) error {
	var m metrics
	m.family("greseal_up", gauge, "Whether the daemon answers.")
	if s == nil {
		m.sample(0)
	} else {
		m.sample(1)
		m.daemon(s)
		m.tunnels(s.Tunnels)
		m.causes(s.Tunnels)
		m.drops(s.Tunnels)
	}
	_, err := w.Write(m.Bytes())
	return err
}

// Types of metrics.
const (
	gauge   = "gauge"
	counter = "counter"
)

// metrics collects the text.
type metrics struct {
	bytes.Buffer
	name string // of the family the samples belong to
}

// family begins a metric; its samples follow.
func (m *metrics) family(name, kind, help string) {
	m.name = name
	m.WriteString("# HELP " + name + " " + help + "\n# TYPE " + name + " " + kind + "\n")
}

// sample writes one value; labels are names and values in turn.
func (m *metrics) sample(value uint64, labels ...string) {
	m.WriteString(m.name)
	for i := 0; i < len(labels); i += 2 {
		m.WriteByte("{,"[min(i, 1)])
		m.WriteString(labels[i] + `="` + labelValue.Replace(labels[i+1]) + `"`)
	}
	if len(labels) > 0 {
		m.WriteByte('}')
	}
	m.WriteString(" " + strconv.FormatUint(value, 10) + "\n")
}

var labelValue = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func flag(on bool) uint64 {
	if on {
		return 1
	}
	return 0
}

func positive(n int64) uint64 { return uint64(max(n, 0)) }

// present is a value that is there when it is not 0.
func present(n int64) (v uint64, there bool) { return positive(n), n > 0 }

// ofIKE is a value that is there with an IKE SA, ofChild one with a Child SA.
func ofIKE(value func(*IKESA) (uint64, bool)) func(*Tunnel) (uint64, bool) {
	return func(t *Tunnel) (uint64, bool) {
		if t.IKE == nil {
			return 0, false
		}
		return value(t.IKE)
	}
}

func ofChild(value func(*ChildSA) (uint64, bool)) func(*Tunnel) (uint64, bool) {
	return func(t *Tunnel) (uint64, bool) {
		if t.Child == nil {
			return 0, false
		}
		return value(t.Child)
	}
}

func (m *metrics) daemon(s *Snapshot) {
	d := &s.Daemon
	one := func(name, kind, help string, value uint64) {
		m.family("greseal_"+name, kind, help)
		m.sample(value)
	}
	m.family("greseal_build_info", gauge, "Version of the daemon and its datapath.")
	m.sample(1, "version", d.Version, "platform", d.Platform, "datapath", d.Datapath)
	one("start_time_seconds", gauge, "When the daemon started, Unix time.", positive(d.Started))
	one("crashes_total", counter, "Daemons that were killed, or panicked, since the machine started.", d.Crashes)
	one("config_load_timestamp_seconds", gauge, "When the running config was loaded, Unix time.", positive(d.ConfigLoaded))
	one("config_problems", gauge, "Mistakes that made the last reload fail.", uint64(len(d.ConfigProblems)))
	one("config_on_trial", gauge, "Whether a config waits to be confirmed.", flag(d.Pending != nil))
	i := &d.IKE
	one("ike_received_datagrams_total", counter, "IKE datagrams received.", i.Received)
	one("ike_sent_datagrams_total", counter, "IKE datagrams sent, retransmissions included.", i.Sent)
	one("ike_malformed_datagrams_total", counter, "Datagrams dropped because they were not valid IKE messages.", i.Malformed)
	one("ike_dropped_datagrams_total", counter, "Valid IKE datagrams dropped: a queue was full, no IKE SA or peer matched, or the integrity check failed.", i.Dropped)
	one("ike_send_errors_total", counter, "IKE datagrams that the kernel refused to send.", i.SendErrors)
	one("ike_retransmits_total", counter, "IKE requests retransmitted.", i.Retransmits)
	one("ike_half_open", gauge, "Half-open IKE SAs, as responder.", uint64(max(i.HalfOpen, 0)))
	one("log_suppressed_lines_total", counter, "Log lines left out because strangers caused too many.", i.Unlogged)
	if len(d.XFRM) > 0 {
		m.family("greseal_xfrm_errors_total", counter, "Packets the kernel's XFRM dropped in this network namespace, by its own names.")
		for _, c := range d.XFRM {
			m.sample(c.Value, "error", c.Name)
		}
	}
}

// perTunnel are the metrics with a sample for each tunnel, or for those that have
// one.
var perTunnel = []struct {
	name, kind, help string
	value            func(*Tunnel) (v uint64, there bool)
}{
	{"up", gauge, "Whether there is a Child SA, the peer answers and the interface lets packets pass.", func(t *Tunnel) (uint64, bool) { return flag(t.State == StateUp), true }},
	{"wanted", gauge, "Whether the tunnel is meant to be up.", func(t *Tunnel) (uint64, bool) { return flag(t.Desired == DesiredUp), true }},
	{"ups_total", counter, "Times the tunnel came up.", func(t *Tunnel) (uint64, bool) { return t.UpCount, true }},
	{"state_change_timestamp_seconds", gauge, "When the tunnel entered its state, Unix time.", func(t *Tunnel) (uint64, bool) { return positive(t.Since), true }},
	{"contended", gauge, "Whether a second peer was turned away lately because the first one answers.", func(t *Tunnel) (uint64, bool) { return flag(t.Contention != nil), true }},
	{"handshake_attempts", gauge, "Handshakes started since the tunnel was last up.", func(t *Tunnel) (uint64, bool) { return t.Attempts, true }},
	{"last_handshake_timestamp_seconds", gauge, "When the IKE SA in use was created, Unix time.", ofIKE(func(i *IKESA) (uint64, bool) { return positive(i.Established), true })},
	{"last_heard_timestamp_seconds", gauge, "When the last authenticated message from the peer arrived, Unix time.", func(t *Tunnel) (uint64, bool) { return present(t.Peer.LastHeard) }},
	{"ike_rekeys_total", counter, "Times the IKE SA was rekeyed since the tunnel came up.", ofIKE(func(i *IKESA) (uint64, bool) { return i.Rekeys, true })},
	{"ike_rekey_timestamp_seconds", gauge, "When the IKE SA is due to be rekeyed, Unix time.", ofIKE(func(i *IKESA) (uint64, bool) { return present(i.Rekey) })},
	{"ike_retransmits", gauge, "Requests retransmitted on the IKE SA in use.", ofIKE(func(i *IKESA) (uint64, bool) { return i.Retransmits, true })},
	{"child_rekeys_total", counter, "Times the Child SA was rekeyed since the tunnel came up.", ofChild(func(c *ChildSA) (uint64, bool) { return c.Rekeys, true })},
	{"child_established_timestamp_seconds", gauge, "When the Child SA in use was created, Unix time.", ofChild(func(c *ChildSA) (uint64, bool) { return positive(c.Established), true })},
	{"child_rekey_timestamp_seconds", gauge, "When the Child SA is due to be rekeyed, Unix time.", ofChild(func(c *ChildSA) (uint64, bool) { return present(c.Rekey) })},
	{"open_guards", gauge, "Guards that do not stand: packets of the tunnel can leave in clear.", func(t *Tunnel) (uint64, bool) {
		open := uint64(0)
		for _, g := range t.Guards {
			open += flag(!g.InPlace)
		}
		return open, true
	}},
	{"differs", gauge, "What on the machine is not as the tunnel wants it and cannot be put right.", func(t *Tunnel) (uint64, bool) { return uint64(len(t.Differs)), true }},
	{"link_running", gauge, "Whether the interface shows its link as running.", func(t *Tunnel) (uint64, bool) { return flag(t.Interface.Running), true }},
	{"udp_encapsulation", gauge, "Whether ESP travels in UDP.", func(t *Tunnel) (uint64, bool) { return flag(t.Outside.Encap == "udp"), t.Outside.Encap != "" }},
	{"mtu_bytes", gauge, "MTU of the interface.", func(t *Tunnel) (uint64, bool) { return present(int64(t.MTU.Bytes)) }},
	{"outer_mtu_bytes", gauge, "MTU of the path or interface below.", func(t *Tunnel) (uint64, bool) { return present(int64(t.MTU.OuterMTU)) }},
	{"overhead_bytes", gauge, "Bytes added to the largest packet, outer header included.", func(t *Tunnel) (uint64, bool) { return present(int64(t.Outside.OverheadBytes)) }},
	{"receive_packets_total", counter, "Packets received through ESP.", func(t *Tunnel) (uint64, bool) { return t.In.Packets, true }},
	{"receive_bytes_total", counter, "Bytes of GRE packets received, without ESP.", func(t *Tunnel) (uint64, bool) { return t.In.Bytes, true }},
	{"transmit_packets_total", counter, "Packets sent through ESP.", func(t *Tunnel) (uint64, bool) { return t.Out.Packets, true }},
	{"transmit_bytes_total", counter, "Bytes of GRE packets sent, without ESP.", func(t *Tunnel) (uint64, bool) { return t.Out.Bytes, true }},
}

// states are all states of a tunnel, in the order they are shown.
var states = []string{StateDisabled, StateWaiting, StateConnecting, StateUp, StateSuspect, StateDown, StateListening}

func (m *metrics) tunnels(ts []Tunnel) {
	for _, f := range perTunnel {
		begun := false
		for i := range ts {
			v, there := f.value(&ts[i])
			if !there {
				continue
			}
			if !begun {
				m.family("greseal_tunnel_"+f.name, f.kind, f.help)
				begun = true
			}
			m.sample(v, "tunnel", ts[i].Name)
		}
	}
	if len(ts) == 0 {
		return
	}
	m.family("greseal_tunnel_state", gauge, "1 for the state the tunnel is in, 0 for the others.")
	for i := range ts {
		for _, state := range states {
			m.sample(flag(ts[i].State == state), "tunnel", ts[i].Name, "state", state)
		}
	}
}

// causes say why tunnels are not up.
func (m *metrics) causes(ts []Tunnel) {
	begun := false
	for i := range ts {
		t := &ts[i]
		if t.Code == "" {
			continue
		}
		if !begun {
			m.family("greseal_tunnel_cause_info", gauge, "Why the tunnel is not up, or carries nothing, and on which side that lies.")
			begun = true
		}
		m.sample(1, "tunnel", t.Name, "code", t.Code, "side", t.Side)
	}
}

func (m *metrics) drops(ts []Tunnel) {
	if len(ts) == 0 {
		return
	}
	m.family("greseal_tunnel_dropped_packets_total", counter, "Packets dropped, by direction and reason.")
	for i := range ts {
		for _, r := range ts[i].Drops.reasons() {
			m.sample(r.n, "tunnel", ts[i].Name, "direction", r.direction, "reason", r.name)
		}
	}
}

// dropReason is a field of Drops, for those who show it.
type dropReason struct {
	direction, name string
	text            string // for people
	n               uint64
}

func (d *Drops) reasons() []dropReason {
	return []dropReason{
		{"in", "replay", "replay", d.Replay},
		{"in", "integrity", "integrity", d.Integrity},
		{"in", "selector", "selector", d.Selector},
		{"in", "malformed", "malformed", d.Malformed},
		{"in", "key", "GRE key", d.Key},
		{"in", "gre", "GRE header", d.GRE},
		{"out", "no_sa", "no SA", d.NoSA},
		{"out", "too_big", "too big", d.TooBig},
		{"any", "queue", "queue full", d.Queue},
	}
}

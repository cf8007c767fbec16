package status

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func sampleSnapshot() *Snapshot {
	return &Snapshot{
		Daemon: Daemon{Version: `1.0"x\`, Platform: "linux/mipsle", Datapath: "kernel", Started: 1700000000, ConfigLoaded: 1700000100,
			IKE:  IKETotals{Received: 10, Sent: 11, Malformed: 1, Dropped: 2, HalfOpen: 3, SendErrors: 4, Retransmits: 5, Unlogged: 6},
			XFRM: []Count{{"XfrmInNoStates", 7}, {"XfrmInStateProtoError", 1<<64 - 1}}},
		Tunnels: []Tunnel{
			{Name: "hq", State: StateUp, Desired: DesiredUp, UpCount: 2, Since: 1700000200, Peer: Peer{LastHeard: 1700000300},
				IKE: &IKESA{Established: 1700000190, Rekeys: 1, Rekey: 1700080000, Retransmits: 3}, Child: &ChildSA{Established: 1700000195, Rekeys: 4, Rekey: 1700003000},
				Outside: Outside{Encap: "udp", OverheadBytes: 86}, Interface: Interface{Running: true},
				MTU: MTU{Bytes: 1414, OuterMTU: 1500}, In: Traffic{Packets: 5, Bytes: 500}, Out: Traffic{Packets: 6, Bytes: 600},
				Drops: Drops{Replay: 1, Integrity: 2, Selector: 3, Malformed: 4, NoSA: 5, TooBig: 6, Queue: 7}},
			{Name: "branch-1", State: StateListening, Desired: DesiredUp, Code: CodeAuth, Side: SideUnknown},
		},
	}
}

func TestPrometheusTextFollowsTheNamingConventions(t *testing.T) {
	var b bytes.Buffer
	if err := Prometheus(&b, sampleSnapshot()); err != nil {
		t.Fatal(err)
	}
	helped, typed, seen := map[string]bool{}, map[string]string{}, map[string]bool{}
	current := ""
	sample := regexp.MustCompile(`^([a-z_]+)(\{(?:[a-z_]+="(?:[^"\\]|\\.)*",?)*\})? ([0-9]+)$`)
	for line := range strings.Lines(b.String()) {
		line = strings.TrimSuffix(line, "\n")
		f := strings.SplitN(line, " ", 4)
		switch {
		case strings.HasPrefix(line, "# HELP "):
			if helped[f[2]] || !strings.HasSuffix(f[3], ".") {
				t.Errorf("%q comes twice or is no sentence", line)
			}
			helped[f[2]], current = true, f[2]
		case strings.HasPrefix(line, "# TYPE "):
			if f[2] != current {
				t.Errorf("%q does not follow its HELP", line)
			}
			typed[f[2]] = f[3]
			if (f[3] == counter) != strings.HasSuffix(f[2], "_total") {
				t.Errorf("%s is a %s", f[2], f[3])
			}
			if !strings.HasPrefix(f[2], "greseal_") || strings.Contains(f[2], "millis") {
				t.Errorf("the name %s", f[2])
			}
		default:
			m := sample.FindStringSubmatch(line)
			if m == nil {
				t.Errorf("%q is no sample", line)
				continue
			}
			if m[1] != current || typed[current] == "" {
				t.Errorf("%q stands under %s", line, current)
			}
			if seen[m[1]+m[2]] {
				t.Errorf("%q comes twice", line)
			}
			seen[m[1]+m[2]] = true
			if _, err := strconv.ParseUint(m[3], 10, 64); err != nil {
				t.Errorf("%q: %v", line, err)
			}
		}
	}
	for _, want := range []string{
		"greseal_up 1",
		`greseal_build_info{version="1.0\"x\\",platform="linux/mipsle",datapath="kernel"} 1`,
		`greseal_tunnel_up{tunnel="hq"} 1`, `greseal_tunnel_up{tunnel="branch-1"} 0`,
		`greseal_tunnel_state{tunnel="branch-1",state="listening"} 1`,
		`greseal_tunnel_cause_info{tunnel="branch-1",code="AUTH_FAILED",side="unknown"} 1`,
		`greseal_tunnel_mtu_bytes{tunnel="hq"} 1414`, `greseal_tunnel_last_handshake_timestamp_seconds{tunnel="hq"} 1700000190`,
		`greseal_tunnel_dropped_packets_total{tunnel="hq",direction="out",reason="too_big"} 6`,
		`greseal_xfrm_errors_total{error="XfrmInStateProtoError"} 18446744073709551615`,
		"greseal_log_suppressed_lines_total 6",
	} {
		if !strings.Contains(b.String(), want+"\n") {
			t.Errorf("no line %s", want)
		}
	}
	if strings.Contains(b.String(), `mtu_bytes{tunnel="branch-1"}`) {
		t.Error("a tunnel without an interface has an MTU")
	}
}

func TestPrometheusSaysWhenNoDaemonAnswers(t *testing.T) {
	var b bytes.Buffer
	if err := Prometheus(&b, nil); err != nil {
		t.Fatal(err)
	}
	if want := "# HELP greseal_up Whether the daemon answers.\n# TYPE greseal_up gauge\ngreseal_up 0\n"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}

package rpcd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"greseal/tunnel/status"
)

// typical is a tunnel that is up, with everything a status says of one.
func typical(name string) status.Tunnel {
	return status.Tunnel{
		Name: name, Source: "/etc/config/greseal:12345", Netifd: true, Enabled: true, Desired: status.DesiredUp,
		State: status.StateUp, Since: 1795912345, InStateS: 123456, UpCount: 3,
		Peer: status.Peer{
			Configured: []string{"branch1234.vpn.example.net"}, Address: "[2001:db8:1234:5678::1234]:4500", LocalAddr: "192.0.2.1:4500",
			LocalID: "fqdn:hq.example.net", RemoteID: "fqdn:branch1234.vpn.example.net", Proved: true, Auth: "psk",
			LastHeard: 1795912345, SilentS: 8, Liveness: "alive",
		},
		IKE: &status.IKESA{Role: "initiator", SPIi: "0123456789abcdef", SPIr: "0123456789abcdef",
			Suite: "aes256gcm16-prfsha384-x25519-mlkem768", SuiteIANA: "ENCR_AES_GCM_16 (256 bits), PRF_HMAC_SHA2_384, Curve25519, ml-kem-768",
			Established: 1795912345, AgeS: 12345, Rekey: 1795912345, RekeyInS: 71234, Children: 1},
		Child: &status.ChildSA{SPIIn: "01234567", SPIOut: "89abcdef", Suite: "aes128gcm16-esn", SuiteIANA: "ENCR_AES_GCM_16 (128 bits), extended sequence numbers",
			ESN: true, Established: 1795912345, AgeS: 1234, Rekey: 1795912345, RekeyInS: 2345, ReplayWin: 2048, BytesIn: 1 << 40, BytesOut: 1 << 40,
			SelectorIn: "192.0.2.1/32 proto 47", SelectorOut: "192.0.2.101/32 proto 47"},
		Outside: status.Outside{Family: 6, Encap: "udp", EncapAsked: "auto", EncapWhy: "a NAT stands before the peer", Mode: "tunnel", ModeAsked: "tunnel"},
		MTU:     status.MTU{Bytes: 1399, How: "computed", Why: "1500 of wan less 101", Sum: []status.Step{{Name: "wan", Bytes: 1500}}},
		In:      status.Traffic{Packets: 1 << 32, Bytes: 1 << 40}, Out: status.Traffic{Packets: 1 << 32, Bytes: 1 << 40},
		Drops:  status.Drops{Replay: 12, NoSA: 1234},
		Guards: []status.Guard{{What: "gre", Target: "192.0.2.101", InPlace: true, How: "no code path"}},
		Events: []status.Event{{Time: 1795912345, Tunnel: name, Level: "info", Kind: "up", Text: "up: ESP in UDP with 192.0.2.101"}},
	}
}

func tunnels(n int, change func(*status.Tunnel)) *status.Snapshot {
	s := &status.Snapshot{Version: 1, Daemon: status.Daemon{Version: "1.0", Datapath: "userspace"}}
	for i := range n {
		t := typical(fmt.Sprintf("branch%04d", i))
		change(&t)
		s.Tunnels = append(s.Tunnels, t)
	}
	return s
}

func serve(t *testing.T, s *status.Snapshot) *Plugin {
	return daemon(t, func(r status.Request) status.Reply {
		asked := *s
		if r.Tunnel != "" {
			i := slices.IndexFunc(s.Tunnels, func(t status.Tunnel) bool { return t.Name == r.Tunnel })
			asked.Tunnels = s.Tunnels[i : i+1]
		}
		if !r.History {
			asked.Tunnels = slices.Clone(asked.Tunnels)
			for i := range asked.Tunnels {
				asked.Tunnels[i].History = nil
			}
		}
		return status.Reply{OK: true, Snapshot: &asked}
	})
}

// partOf says where a differs from b, but for what it leaves out because it is
// zero or not listed.
func partOf(a, b any, at string) error {
	m, ok := a.(map[string]any)
	if !ok {
		if !reflect.DeepEqual(a, b) {
			return fmt.Errorf("%s is %v, in the status %v", at, a, b)
		}
		return nil
	}
	for k, v := range m {
		if err := partOf(v, b.(map[string]any)[k], at+"."+k); err != nil {
			return err
		}
	}
	return nil
}

func TestTheListIsPartOfTheStatusAndLeavesOutZeros(t *testing.T) {
	p := serve(t, tunnels(1, func(t *status.Tunnel) {
		t.Reason, t.Code, t.Commands, t.Out.Bytes = "why", "CODE", []string{"run"}, 0
		t.Contention = &status.Contention{Holder: "fqdn:a", Newcomer: "fqdn:b", Times: 2, LastS: 5, Remedy: "what"}
	}))
	full := ask(t, p, "status", `{}`)["tunnels"].([]any)[0]
	got := ask(t, p, "list", `{}`)
	row := got["tunnels"].([]any)[0].(map[string]any)
	if err := partOf(row, full, "tunnel"); err != nil {
		t.Error(err)
	}
	for k := range listed {
		if _, ok := row[k]; !ok && k != "differs" && k != "guards" && k != "history" && k != "waiting_for" && k != "next_attempt" && k != "remedy" {
			t.Errorf("the list lacks %s: %v", k, row)
		}
	}
	for f := range reflect.TypeFor[status.Drops]().Fields() {
		if _, ok := listed["drops"][f.Tag.Get("msg")]; !ok {
			t.Errorf("the list lacks drops.%s", f.Tag.Get("msg"))
		}
	}
	if !reflect.DeepEqual(row["out"], map[string]any{}) || !reflect.DeepEqual(row["drops"], map[string]any{"replay": 12.0, "no_sa": 1234.0}) {
		t.Errorf("zeros are there: %v, %v", row["out"], row["drops"])
	}
	if got["running"] != true || got["next"] != 0.0 || got["daemon"].(map[string]any)["datapath"] != "userspace" {
		t.Errorf("%v", got)
	}
}

// field is one of a tunnel in the scripts of the status page.
var field = regexp.MustCompile(`\bt\.([a-z_]+)(?:\.([a-z_]+)\b)?`)

func TestTheListHasTheGuardsThatAreOpen(t *testing.T) {
	p := serve(t, tunnels(1, func(t *status.Tunnel) {
		t.Guards = append(t.Guards, status.Guard{What: "route", Target: "10.1.0.0/16", How: "somebody's route is there"}, status.Guard{What: "route", Target: "10.2.0.0/16", InPlace: true})
		t.Differs = []string{"somebody's route is there"}
	}))
	row := ask(t, p, "list", `{}`)["tunnels"].([]any)[0].(map[string]any)
	want := []any{map[string]any{"what": "route", "target": "10.1.0.0/16", "in_place": false, "how": "somebody's route is there"}}
	if !reflect.DeepEqual(row["guards"], want) || !reflect.DeepEqual(row["differs"], []any{"somebody's route is there"}) {
		t.Errorf("%v, %v", row["guards"], row["differs"])
	}
	whole := ask(t, serve(t, tunnels(1, func(*status.Tunnel) {})), "list", `{}`)["tunnels"].([]any)[0].(map[string]any)
	if g, ok := whole["guards"]; ok {
		t.Errorf("all stand: %v", g)
	}
}

func TestTheListHasWhatThePageShowsOfATunnel(t *testing.T) {
	row, err := os.ReadFile("../../build/openwrt/luci/luci-app-greseal/htdocs/luci-static/resources/greseal/row.js")
	if err != nil {
		t.Fatal(err)
	}
	uses := field.FindAllStringSubmatch(string(row), -1)
	if len(uses) < 20 {
		t.Fatalf("only %d fields: %q", len(uses), uses)
	}
	for _, u := range uses {
		inner, ok := listed[u[1]]
		if ok && inner != nil && u[2] != "" {
			_, ok = inner[u[2]]
		}
		if !ok {
			t.Errorf("the page shows %s, which the list lacks", u[0])
		}
	}
}

// blobLen is the length of a value as a blobmsg, as libubox lays it out.
func blobLen(name string, v any) int {
	pad := func(n int) int { return (n + 3) &^ 3 }
	n := 4 + pad(2+len(name)+1)
	switch v := v.(type) {
	case string:
		n += pad(len(v) + 1)
	case json.Number:
		if i, err := v.Int64(); err != nil || i != int64(int32(i)) {
			n += 4
		}
		n += 4
	case []any:
		for _, e := range v {
			n += blobLen("", e)
		}
	case map[string]any:
		for k, e := range v {
			n += blobLen(k, e)
		}
	default:
		n += 4
	}
	return n
}

// answer is a call's answer, with its length as a blobmsg.
func answer(t *testing.T, p *Plugin, method, args string) (map[string]any, int) {
	t.Helper()
	var out bytes.Buffer
	p.Main([]string{"call", method}, strings.NewReader(args), &out)
	d := json.NewDecoder(&out)
	d.UseNumber()
	text := out.String()
	var v map[string]any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v: %.200s", err, text)
	}
	n := blobLen("", v)
	if bound := blobBound([]byte(text)); n > bound {
		t.Errorf("%s: %d bytes as a blobmsg, taken for at most %d", method, n, bound)
	}
	return v, n
}

func TestAThousandTunnelsAreOneAnswer(t *testing.T) {
	p := serve(t, tunnels(1000, func(*status.Tunnel) {}))
	got, n := answer(t, p, "list", `{}`)
	if len(got["tunnels"].([]any)) != 1000 || got["next"] != json.Number("0") || n > 1<<20 {
		t.Errorf("%d tunnels in %d bytes, the next is %v", len(got["tunnels"].([]any)), n, got["next"])
	}
	t.Logf("%d bytes as a blobmsg", n)
}

func TestMoreTunnelsThanUbusCarriesComeInParts(t *testing.T) {
	p := serve(t, tunnels(2500, func(t *status.Tunnel) {
		t.State, t.Reason = status.StateDown, strings.Repeat("we offer aes256gcm16 ", 40)
	}))
	seen, from := map[string]bool{}, 0
	for range 100 {
		got, n := answer(t, p, "list", fmt.Sprintf(`{"from":%d}`, from))
		if n > 1<<20 {
			t.Fatalf("from %d: %d bytes", from, n)
		}
		for _, row := range got["tunnels"].([]any) {
			seen[row.(map[string]any)["name"].(string)] = true
		}
		next, _ := got["next"].(json.Number).Int64()
		if next == 0 {
			break
		}
		if int(next) != len(seen) {
			t.Fatalf("from %d the next is %d, %d were there", from, next, len(seen))
		}
		from = int(next)
	}
	if len(seen) != 2500 || from == 0 {
		t.Errorf("%d tunnels, the last part begins at %d", len(seen), from)
	}
	for _, odd := range []string{`{"from":-5}`, `{"from":null}`} {
		if got, _ := answer(t, p, "list", odd); got["tunnels"].([]any)[0].(map[string]any)["name"] != "branch0000" {
			t.Errorf("%s: %v", odd, got["tunnels"].([]any)[0])
		}
	}
	if got, _ := answer(t, p, "list", `{"from":999999}`); len(got["tunnels"].([]any)) != 0 || got["next"] != json.Number("0") {
		t.Errorf("behind the last: %v", got)
	}
}

func TestTheListHasHistoriesWhenTheyAreAskedFor(t *testing.T) {
	p := serve(t, tunnels(300, func(t *status.Tunnel) {
		for i := range int64(60) {
			t.History = append(t.History, status.Point{Time: 1795912345 + 30*i, In: 1<<32 - 1, Out: uint32(i)})
		}
	}))
	if got, _ := answer(t, p, "list", `{"history":false}`); len(got["tunnels"].([]any)) != 300 || got["tunnels"].([]any)[0].(map[string]any)["history"] != nil {
		t.Errorf("%d tunnels, the first is %v", len(got["tunnels"].([]any)), got["tunnels"].([]any)[0])
	}
	n := 0
	for {
		got, size := answer(t, p, "list", fmt.Sprintf(`{"history":true,"from":%d}`, n))
		if size > 1<<20 {
			t.Fatalf("from %d: %d bytes", n, size)
		}
		for _, row := range got["tunnels"].([]any) {
			h := row.(map[string]any)["history"].([]any)
			want := map[string]any{"time": json.Number("1795914115"), "in_rate": json.Number("4294967295"), "out_rate": json.Number("59")}
			if n++; len(h) != 60 || !reflect.DeepEqual(h[59], want) {
				t.Fatalf("%d points, the last is %v", len(h), h[len(h)-1])
			}
		}
		if got["next"] == json.Number("0") {
			break
		}
	}
	if n != 300 {
		t.Errorf("%d tunnels", n)
	}
}

func TestAnAnswerThatUbusDoesNotCarryIsNotGiven(t *testing.T) {
	s := tunnels(1000, func(*status.Tunnel) {})
	s.Daemon.ConfigProblems = make([]string, 20000)
	for i := range s.Daemon.ConfigProblems {
		s.Daemon.ConfigProblems[i] = fmt.Sprintf("greseal.toml:%d:1: tunnel: dpd: 10 has no unit; write \"10s\"", i)
	}
	p := serve(t, s)
	if got, _ := answer(t, p, "status", `{}`); got["ok"] != false || got["running"] != true || !strings.Contains(got["error"].(string), "ask for one tunnel") {
		t.Errorf("%v", got["error"])
	}
	s.Daemon.ConfigProblems = s.Daemon.ConfigProblems[:1000]
	if got, _ := answer(t, p, "status", `{"tunnel":"branch0500"}`); got["ok"] != true || len(got["tunnels"].([]any)) != 1 {
		t.Errorf("one tunnel: %v", got["error"])
	}
	got, _ := answer(t, p, "list", `{}`)
	problems := got["daemon"].(map[string]any)["config_problems"].([]any)
	if len(problems) != maxProblems+1 || problems[maxProblems] != "and 950 more; greseal check shows them all" || len(got["tunnels"].([]any)) < 900 {
		t.Errorf("%d problems, the last %v; %d tunnels", len(problems), problems[len(problems)-1], len(got["tunnels"].([]any)))
	}

	refused := daemon(t, func(status.Request) status.Reply {
		r := status.Fail("mend it", "the configuration has mistakes")
		r.Lines = strings.Split(strings.Repeat("a mistake\n", 20000), "\n")
		return r
	})
	if got, n := answer(t, refused, "reload", `{}`); got["ok"] != false || len(got["lines"].([]any)) != maxProblems || n > 1<<20 {
		t.Errorf("%d lines, %d bytes", len(got["lines"].([]any)), n)
	}
}

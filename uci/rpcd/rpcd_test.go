package rpcd

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"greseal/tunnel/cli"
	"greseal/tunnel/status"
	"greseal/uci"
)

// daemon is a status server whose requests the test answers.
func daemon(t *testing.T, answer func(status.Request) status.Reply) *Plugin {
	t.Helper()
	path := filepath.Join(t.TempDir(), "status.sock")
	s, err := status.Listen(path, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(ctx) }()
	go func() {
		for {
			select {
			case q := <-s.Queries():
				q.Answer(answer(q.Request))
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done; s.Close() })
	s.Publish(status.Event{Tunnel: "hq", Text: "came up"})
	return &Plugin{Socket: path, Config: "/nonexistent"}
}

// ask calls a method and decodes the one JSON object of its answer.
func ask(t *testing.T, p *Plugin, method, args string) map[string]any {
	t.Helper()
	var out bytes.Buffer
	p.Main([]string{"call", method}, strings.NewReader(args), &out)
	d := json.NewDecoder(bytes.NewReader(out.Bytes()))
	var got map[string]any
	if err := d.Decode(&got); err != nil || d.More() {
		t.Fatalf("%s: not exactly one JSON object: %v: %q", method, err, out.String())
	}
	if strings.Contains(out.String(), "5e5510n") {
		t.Errorf("%s: the session is in the answer: %s", method, out.String())
	}
	return got
}

func TestListDescribesEveryMethod(t *testing.T) {
	var out bytes.Buffer
	if code := new(Plugin).Main([]string{"list"}, nil, &out); code != 0 {
		t.Fatalf("code %d", code)
	}
	var got map[string]map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != len(methods) {
		t.Errorf("%d methods, want %d", len(got), len(methods))
	}
	if !reflect.DeepEqual(got["doctor_start"], map[string]any{"tunnel": "", "target": ""}) {
		t.Errorf("doctor_start takes %v", got["doctor_start"])
	}
}

func TestMethodsAskTheDaemonAndAnswerWithItsFacts(t *testing.T) {
	var asked status.Request
	p := daemon(t, func(r status.Request) status.Reply {
		asked = r
		switch r.Op {
		case status.OpStatus:
			return status.Reply{OK: true, Snapshot: &status.Snapshot{Version: 1, Time: 5, Tunnels: []status.Tunnel{
				{Name: "hq", State: status.StateUp, MTU: status.MTU{Bytes: 1400, Sum: []status.Step{{Name: "GRE", Bytes: -4}}}}}}}
		case status.OpDoctorStart, status.OpDoctorPoll:
			return status.Reply{OK: true, Job: &status.Job{ID: 3, What: "doctor"}}
		}
		return status.Done("hq: up")
	})
	session := `"ubus_rpc_session":"5e5510n"`
	for _, c := range []struct {
		method, args string
		request      status.Request
		want         func(map[string]any) bool
	}{
		{"status", `{` + session + `}`, status.Request{Op: status.OpStatus}, func(a map[string]any) bool {
			return a["running"] == true && a["time"] == 5.0 && a["tunnels"].([]any)[0].(map[string]any)["name"] == "hq"
		}},
		{"list", `{"history":true,` + session + `}`, status.Request{Op: status.OpStatus, History: true}, func(a map[string]any) bool { return a["next"] == 0.0 }},
		{"mtu", `{"tunnel":"hq",` + session + `}`, status.Request{Op: status.OpStatus, Tunnel: "hq"}, func(a map[string]any) bool {
			return a["mtu"].(map[string]any)["bytes"] == 1400.0
		}},
		{"up", `{"tunnel":"hq"}`, status.Request{Op: status.OpUp, Tunnel: "hq"}, func(a map[string]any) bool { return a["lines"].([]any)[0] == "hq: up" }},
		{"down", `{"tunnel":"hq","open":true}`, status.Request{Op: status.OpDown, Tunnel: "hq", Open: true}, func(map[string]any) bool { return true }},
		{"down", `{"tunnel":"hq","open":null}`, status.Request{Op: status.OpDown, Tunnel: "hq"}, func(map[string]any) bool { return true }},
		{"restart", `{"tunnel":"hq"}`, status.Request{Op: status.OpRestart, Tunnel: "hq"}, func(map[string]any) bool { return true }},
		{"reload", ``, status.Request{Op: status.OpReload}, func(map[string]any) bool { return true }},
		{"rollback", `{}`, status.Request{Op: status.OpRollback}, func(map[string]any) bool { return true }},
		{"doctor_start", `{"tunnel":"hq","target":"10.0.0.1"}`, status.Request{Op: status.OpDoctorStart, Tunnel: "hq", Target: "10.0.0.1"}, func(a map[string]any) bool {
			return a["job"].(map[string]any)["id"] == 3.0
		}},
		{"doctor_poll", `{"job":3}`, status.Request{Op: status.OpDoctorPoll, Job: 3}, func(a map[string]any) bool { return a["job"].(map[string]any)["done"] == false }},
	} {
		asked = status.Request{}
		got := ask(t, p, c.method, c.args)
		if got["ok"] != true || !c.want(got) {
			t.Errorf("%s %s: %v", c.method, c.args, got)
		}
		if asked != c.request {
			t.Errorf("%s %s: asked %+v, want %+v", c.method, c.args, asked, c.request)
		}
	}
	if got := ask(t, p, "handshakes", `{"tunnel":"hq"}`); got["ok"] != true || len(got["handshakes"].([]any)) != 0 || asked.Op != status.OpHandshakes || asked.Tunnel != "hq" {
		t.Errorf("handshakes: %v after %+v", got, asked)
	}
	got := ask(t, p, "events", `{"last":5}`)
	if got["ok"] != true || got["events"].([]any)[0].(map[string]any)["text"] != "came up" {
		t.Errorf("events: %v", got)
	}
	if got := ask(t, p, "events", `{"tunnel":"quiet"}`); len(got["events"].([]any)) != 0 {
		t.Errorf("events of a quiet tunnel: %v", got)
	}
}

func TestAnInterfaceOfNetifdIsLeftToNetifd(t *testing.T) {
	p := daemon(t, func(r status.Request) status.Reply {
		if r.Op != status.OpStatus {
			t.Errorf("the daemon was asked for %s", r.Op)
		}
		return status.Reply{OK: true, Snapshot: &status.Snapshot{Tunnels: []status.Tunnel{{Name: "hq", Netifd: true}}}}
	})
	p.Bus = filepath.Join(t.TempDir(), "no-ubusd")
	for _, m := range []string{"up", "down"} {
		if got := ask(t, p, m, `{"tunnel":"hq"}`); got["ok"] != false || got["running"] != true || !strings.Contains(got["error"].(string), "ubus") {
			t.Errorf("%s: %v", m, got)
		}
	}
}

func TestEveryArgumentIsChecked(t *testing.T) {
	p := daemon(t, func(status.Request) status.Reply { return status.Done() })
	for _, c := range []struct{ method, args, want string }{
		{"up", `{}`, "the argument tunnel is missing"},
		{"up", `{"tunnel":""}`, "the argument tunnel is missing"},
		{"up", `{"tunnel":["5e5510n"]}`, "the argument tunnel is of the wrong type"},
		{"up", `{"tunnel":"` + strings.Repeat("x", 100) + `"}`, ""},
		{"doctor_poll", `{}`, "the argument job is missing"},
		{"doctor_poll", `{"job":"5e5510n"}`, "the argument job is of the wrong type"},
		{"status", `5e5510n`, "the arguments are not a JSON object"},
		{"status", `[1]`, "the arguments are not a JSON object"},
		{"status", `{"tunnel":"` + strings.Repeat("x", maxArguments) + `"}`, "the arguments are too long"},
		{"nonsense", `{}`, "there is no such method"},
	} {
		got := ask(t, p, c.method, c.args)
		if got["ok"] != false || c.want != "" && got["error"] != c.want {
			t.Errorf("%s %.40s: %v", c.method, c.args, got)
		}
	}
}

func TestARefusalKeepsReasonRemedyAndLines(t *testing.T) {
	p := daemon(t, func(status.Request) status.Reply {
		r := status.Fail("fix the file", "the configuration has mistakes")
		r.Lines = []string{"line 1"}
		return r
	})
	got := ask(t, p, "reload", `{}`)
	want := map[string]any{"ok": false, "running": true, "error": "the configuration has mistakes", "remedy": "fix the file", "lines": []any{"line 1"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestWithoutADaemonItSaysSo(t *testing.T) {
	p := &Plugin{Socket: filepath.Join(t.TempDir(), "none")}
	for _, m := range []string{"status", "events", "reload", "rollback"} {
		got := ask(t, p, m, "")
		if got["ok"] != false || got["running"] != false || got["error"] != "greseal is not running" {
			t.Errorf("%s: %v", m, got)
		}
	}
}

func TestThePeersConfigurationHasNoSecret(t *testing.T) {
	const psk = "0dV3l1pZkqf7qWq2Jw1m0H7oYyPp9Qm3bC5tR8xN2sU="
	file := filepath.Join(t.TempDir(), "greseal.toml")
	if err := os.WriteFile(file, []byte("[[tunnel]]\nname = \"hq\"\nremote = \"192.0.2.1\"\npsk = \""+psk+"\"\naddress = [\"10.0.0.1/30\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &Plugin{Socket: filepath.Join(t.TempDir(), "none"), Config: file}
	vendors := ask(t, p, "peer_config", `{}`)["vendors"].([]any)
	if len(vendors) < 6 {
		t.Errorf("vendors %v", vendors)
	}
	for _, v := range vendors {
		got := ask(t, p, "peer_config", `{"tunnel":"hq","vendor":"`+v.(string)+`","own":"198.51.100.7"}`)
		text, _ := got["text"].(string)
		if got["ok"] != true || !strings.Contains(text, "198.51.100.7") || strings.Contains(text, psk) || strings.Contains(text, "--show-secrets") {
			t.Errorf("%s: %v", v, got)
		}
		got = ask(t, p, "peer_config", `{"tunnel":"hq","secrets":true,"vendor":"`+v.(string)+`"}`)
		if text, _ := got["text"].(string); !strings.Contains(text, "PRE_SHARED_KEY") || strings.Contains(text, psk) {
			t.Errorf("%s: peer_config gives the key: %v", v, got)
		}
	}
	for args, want := range map[string]string{
		`{"vendor":"cisco"}`:                           "the argument tunnel is missing",
		`{"tunnel":"--show-secrets","vendor":"cisco"}`: "no tunnel is called",
		`{"tunnel":"hq","vendor":"nobody"}`:            "nobody",
	} {
		got := ask(t, p, "peer_config", args)
		if got["ok"] != false || !strings.Contains(got["error"].(string), want) {
			t.Errorf("%s: %v", args, got)
		}
	}
}

// formOf is the JSON of a form of an interface called hq, with a session beside
// it as a call by HTTP has.
func formOf(options string) string {
	return `{"tunnel":"hq","vendor":"cisco","own":"198.51.100.7","ubus_rpc_session":"5e5510n","options":{` + options + `}}`
}

func TestAFormIsCheckedAsTheDaemonWould(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("UCI_CONFIG_DIR", dir)
	network := "config interface 'other'\n\toption proto 'greseal'\n\toption remote '192.0.2.9'\n\toption psk 'ofx3Qk1W9u5Yt7Lm2Zr8VbNc4Pd6Hs0='\n" +
		"config interface 'hq'\n\toption proto 'greseal'\n\toption remote 'old.example.net'\n"
	if err := os.WriteFile(filepath.Join(dir, "network"), []byte(network), 0o600); err != nil {
		t.Fatal(err)
	}
	const psk = "0dV3l1pZkqf7qWq2Jw1m0H7oYyPp9Qm3bC5tR8xN2sU="
	good := `"proto":"greseal","remote":["192.0.2.1"],"psk":"` + psk + `","address":["10.0.0.1/30"],"mtu":"auto","auto":"1"`
	p := &Plugin{Socket: filepath.Join(dir, "none"), Config: filepath.Join(dir, "none.toml")}
	for options, want := range map[string]string{
		good:                            "",
		good + `,"gre_key":"-1"`:        "gre_key",
		good + `,"ike":["aes256"]`:      "ike",
		good + `,"dpd":"10"`:            "dpd",
		good + `,"link_down":"metric"`:  "link_down",
		good + `,"local":"192.0.2.1"`:   "remote",
		good + `,"cert":"/nonexistent"`: "cert",
		`"remote":"192.0.2.1","address":["10.0.0.1"],"psk":"` + psk + `"`: "address",
		`"remote":"192.0.2.1"`:                              "",       // no way to authenticate: of the whole
		`"psk":"` + psk + `"`:                               "remote", // missing
		`"remote":"192.0.2.9","psk":"` + psk + `"`:          "remote", // as the other's
		`"remote":"192.0.2.1","psk":"` + psk + `","mode":5`: "-",
	} {
		got := ask(t, p, "check", formOf(options))
		if want == "-" {
			if got["ok"] != false {
				t.Errorf("%s: %v", options, got)
			}
			continue
		}
		list, _ := got["problems"].([]any)
		var at []string
		for _, f := range list {
			if f := f.(map[string]any); f["warning"] == false {
				at = append(at, f["option"].(string))
			}
		}
		switch {
		case got["ok"] != true, options == good && len(at) > 0, options != good && len(at) == 0:
			t.Errorf("%s: %v", options, got)
		case options != good && !slices.Contains(at, want):
			t.Errorf("%s: %v, want one of %q", options, list, want)
		}
		if b, _ := json.Marshal(got); strings.Contains(string(b), psk) {
			t.Errorf("%s: the key is in the answer: %s", options, b)
		}
	}
	alone := ask(t, p, "check", strings.Replace(formOf(`"remote":"192.0.2.9"`), `{"tunnel"`, `{"alone":true,"tunnel"`, 1))
	for _, f := range alone["problems"].([]any) {
		if f.(map[string]any)["option"] == "remote" {
			t.Errorf("alone, the remote is right: %v", f)
		}
	}

	// A name that is taken is refused of what is new, and not of what has it.
	for name, want := range map[string]bool{"lo": true, "hq": false, "hq-2": false, "other": false, "a-name-that-is-too-long": true} {
		got := ask(t, p, "check", strings.Replace(formOf(""), `"hq"`, `"`+name+`"`, 1))
		if refused := slices.ContainsFunc(got["problems"].([]any), func(f any) bool { return f.(map[string]any)["option"] == "name" }); refused != want {
			t.Errorf("a form called %s: %v", name, got)
		}
	}

	got := ask(t, p, "peer_preview", formOf(good))
	text, _ := got["text"].(string)
	if !strings.Contains(text, "crypto ikev2") || !strings.Contains(text, "198.51.100.7") || strings.Contains(text, psk) {
		t.Errorf("peer_preview: %v", got)
	}
	// With the key when that is asked for, and as an interface that is one.
	got = ask(t, p, "peer_preview", strings.Replace(formOf(good+`,"gre_key":"7","pfs":"0","gre_type":"ethernet"`), `"cisco"`, `"openwrt","secrets":true,"networks":"10.7.0.0/16,fd07::/48"`, 1))
	text, _ = got["text"].(string)
	if strings.Count(text, psk) != 1 {
		t.Errorf("peer_preview with the key: %v", got)
	}
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "network"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("UCI_CONFIG_DIR", other)
	mirror, err := uci.Load(p.Config, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if m := mirror.Tunnel("hq"); m == nil || !m.Netifd || m.Remotes[0] != "198.51.100.7" || m.Address[0].String() != "10.0.0.2/30" || len(m.Routes) != 2 ||
		m.GRE.Key != 7 || m.PFS || !m.GRE.Ethernet || string(m.PSK.Bytes()) != psk {
		t.Errorf("%+v is no mirror:\n%s", m, text)
	}
	t.Setenv("UCI_CONFIG_DIR", dir)
	got = ask(t, p, "peer_preview", formOf(`"remote":"192.0.2.1"`))
	if lines, _ := got["lines"].([]any); got["ok"] != false || len(lines) != 1 || !strings.Contains(lines[0].(string), "authenticate") {
		t.Errorf("peer_preview of a form with mistakes: %v", got)
	}
}

func TestGenpskAnswersWithANewKeyEachTime(t *testing.T) {
	p := new(Plugin)
	a, b := ask(t, p, "genpsk", "{}"), ask(t, p, "genpsk", "{}")
	if len(a["psk"].(string)) != 44 || a["psk"] == b["psk"] {
		t.Errorf("%v, %v", a, b)
	}
}

func TestARouterWithoutTunnelsIsToldFromOneWhoseDaemonDied(t *testing.T) {
	load, usable := cli.Load, cli.LoadUsable
	defer func() { cli.Load, cli.LoadUsable = load, usable }()
	cli.Load, cli.LoadUsable = uci.Load, uci.LoadUsable // as main does
	dir := t.TempDir()
	t.Setenv("UCI_CONFIG_DIR", dir)
	p := &Plugin{Socket: filepath.Join(dir, "none"), Config: filepath.Join(dir, "none.toml")}
	if got := ask(t, p, "list", "{}"); got["ok"] != false || got["running"] != false || got["nothing"] != true {
		t.Errorf("no file: %v", got)
	}
	for text, want := range map[string]any{
		"# nothing\n": true,
		"config tunnel hq\n\toption remote 192.0.2.1\n\toption psk ofx3Qk1W9u5Yt7Lm2Zr8VbNc4Pd6Hs0=\n": nil,
		"config tunnel hq\n\toption remote 192.0.2.1/24\n":                                             nil,
	} {
		if err := os.WriteFile(filepath.Join(dir, "greseal"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := ask(t, p, "list", "{}"); got["ok"] != false || got["running"] != false || got["nothing"] != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestTheNetworkIsRestartedBesideTheCall(t *testing.T) {
	dir := t.TempDir()
	script, done := filepath.Join(dir, "network"), filepath.Join(dir, "done")
	if err := syscall.Mkfifo(done, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho \"$@\" >"+done+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, &Plugin{Network: script}, "network_restart", "{}"); got["ok"] != true {
		t.Errorf("%v", got)
	}
	if b, err := os.ReadFile(done); string(b) != "restart\n" {
		t.Errorf("it was called with %q, %v", b, err)
	}
	if got := ask(t, &Plugin{Network: filepath.Join(dir, "none")}, "network_restart", "{}"); got["ok"] != false {
		t.Errorf("without the script: %v", got)
	}
}

func TestFilesOfAFormAreKeptOnceAndForRootAlone(t *testing.T) {
	dir := t.TempDir()
	p := &Plugin{Config: filepath.Join(dir, "greseal.toml")}
	made := ask(t, p, "genkey", `{"tunnel":"hq"}`)
	key, _ := made["path"].(string)
	if made["ok"] != true || key != filepath.Join(dir, "hq-raw-key.pem") || !strings.Contains(made["public"].(string), "PUBLIC KEY") {
		t.Fatalf("genkey: %v", made)
	}
	if again := ask(t, p, "genkey", `{"tunnel":"hq"}`); again["path"] != filepath.Join(dir, "hq-raw-key-2.pem") || again["public"] == made["public"] {
		t.Errorf("the first key is written over: %v", again)
	}
	private, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	store := func(option, data string) map[string]any {
		b, _ := json.Marshal(map[string]string{"tunnel": "hq", "option": option, "data": data})
		return ask(t, p, "store", string(b))
	}
	for range 2 { // the same again is the same file
		got := store("key", string(private))
		if got["path"] != filepath.Join(dir, "hq-key.pem") {
			t.Errorf("store: %v", got)
		}
	}
	if st, err := os.Stat(filepath.Join(dir, "hq-key.pem")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	if got := store("peer_raw_key", made["public"].(string)); got["path"] != filepath.Join(dir, "hq-peer-raw-key.pem") {
		t.Errorf("store: %v", got)
	}
	cert := "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
	if got := store("ca", cert+cert); got["path"] != filepath.Join(dir, "hq-ca.pem") {
		t.Errorf("store: %v", got)
	}
	for _, c := range [][2]string{
		{"cert", "Dear sir"}, {"cert", cert + "Dear sir"}, {"cert", ""}, {"ca", string(private)}, {"crl", cert}, {"key", cert}, {"peer_raw_key", string(private)},
		{"psk_file", "x"}, {"../x", cert},
	} {
		if got := store(c[0], c[1]); got["ok"] != false || strings.Contains(got["error"].(string), "Dear") {
			t.Errorf("%s with %.20q: %v", c[0], c[1], got)
		}
	}
	for _, name := range []string{"", "../hq", "a/b", "hq.", "sixteen-bytes-ok"} {
		if got := ask(t, p, "genkey", `{"tunnel":"`+name+`"}`); got["ok"] != false {
			t.Errorf("a tunnel called %q: %v", name, got)
		}
	}
	list, _ := os.ReadDir(dir)
	if len(list) != 7 { // two keys with their public halves, and three files
		t.Errorf("%v", list)
	}
}

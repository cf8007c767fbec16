package netifd

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"greseal/tunnel/status"
)

// hq is a tunnel in some state.
func hq(state string) *status.Tunnel {
	return &status.Tunnel{
		Name: "hq", Netifd: true, State: state, Desired: status.DesiredUp,
		Interface: status.Interface{Name: "hq", Index: 7},
		Addresses: []status.Placed{{Prefix: "10.0.0.1/30"}, {Prefix: "fd00::1/64"}},
		Routes:    []status.Placed{{Prefix: "10.9.0.0/16"}, {Prefix: "0.0.0.0/0"}, {Prefix: "::/0"}},
	}
}

// text is a Table as the JSON that ubus would show.
func text(v any) string {
	switch v := v.(type) {
	case Table:
		var parts []string
		for _, f := range v {
			parts = append(parts, fmt.Sprintf("%q:%s", f.Name, text(f.Value)))
		}
		return "{" + strings.Join(parts, ",") + "}"
	case []any:
		var parts []string
		for _, i := range v {
			parts = append(parts, text(i))
		}
		return "[" + strings.Join(parts, ",") + "]"
	case string:
		return fmt.Sprintf("%q", v)
	}
	return fmt.Sprint(v)
}

func TestAnUpdateHasWhatTheShellHelpersSend(t *testing.T) {
	got := text(update(hq(status.StateUp), place{zone: "vpn", table: "42"}))
	want := `{"action":0,"ifname":"hq","link-up":true,"data":{"zone":"vpn"},"keep":false,` +
		`"ipaddr":[{"ipaddr":"10.0.0.1","mask":"30"}],"ip6addr":[{"ipaddr":"fd00::1","mask":"64"}],` +
		`"routes":[{"target":"10.9.0.0","netmask":"16","table":"42"},{"target":"0.0.0.0","netmask":"1","table":"42"},{"target":"128.0.0.0","netmask":"1","table":"42"}],` +
		`"routes6":[{"target":"::","netmask":"1","table":"42"},{"target":"8000::","netmask":"1","table":"42"}],"interface":"hq"}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := text(downMessage("hq")), `{"action":0,"link-up":false,"interface":"hq"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := text(errorMessage("hq", "AUTH_FAILED")), `{"action":3,"error":["AUTH_FAILED"],"interface":"hq"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// play lets a line judge a tunnel second by second: one letter a second, u for up
// and d for not. It returns the seconds at which netifd was told, as "u3 d9".
func play(t *testing.T, seconds string) string {
	t.Helper()
	l := &line{}
	start := time.Unix(1e9, 0)
	netifd := false
	var told []string
	for i, c := range seconds {
		now := start.Add(time.Duration(i) * time.Second)
		tn := hq(status.StateConnecting)
		if c == 'u' {
			tn = hq(status.StateUp)
		}
		v := l.judge(now, tn, netifd)
		l.tell(now, v, tn)
		switch {
		case v.up && v.down:
			t.Fatal("up and down at once")
		case v.up:
			netifd = true
			told = append(told, fmt.Sprintf("u%d", i))
		case v.down:
			netifd = false
			told = append(told, fmt.Sprintf("d%d", i))
		}
	}
	return strings.Join(told, " ")
}

func TestLinkUpFollowsTheTunnelWithHysteresis(t *testing.T) {
	for _, c := range []struct{ what, seconds, want string }{
		{"the first time at once", "dduuuu", "u2"},
		{"a short gap is never told", "uuuduuu", "u0"},
		{"a loss is told after two seconds", "uuudddddd", "u0 d5"},
		{"coming back takes longer", "uddduuuuu", "u0 d3 u6"},
		{"and longer with each flap", "uddduuuddduuuuuuuuu", "u0 d3 u6 d9 u14"},
		{"a long calm is forgiven", "uddd" + strings.Repeat("u", 310) + "ddduuu", "u0 d3 u6 d316 u319"},
	} {
		if got := play(t, c.seconds); got != c.want {
			t.Errorf("%s: got %s, want %s", c.what, got, c.want)
		}
	}
}

func TestAChangeOfRoutesIsToldAtOnceAndOnlyOnce(t *testing.T) {
	l, now, tn := &line{}, time.Unix(1e9, 0), hq(status.StateUp)
	v := l.judge(now, tn, false)
	l.tell(now, v, tn)
	if v = l.judge(now, tn, true); v.up {
		t.Error("told again without a change")
	}
	tn.Routes = tn.Routes[:1]
	if v = l.judge(now, tn, true); !v.up {
		t.Error("the change was not told")
	}
	l.tell(now, v, tn)
	if v = l.judge(now, tn, true); v.up {
		t.Error("told twice")
	}
	if v = l.judge(now, tn, false); !v.up {
		t.Error("netifd was restarted and was not told again")
	}
}

func TestErrorsAreWordsLuCIKnows(t *testing.T) {
	for _, c := range []struct {
		set  func(*status.Tunnel)
		want string
	}{
		{func(t *status.Tunnel) { t.State, t.WaitingFor = status.StateWaiting, status.WaitName }, "PEER_RESOLVE_FAIL"},
		{func(t *status.Tunnel) { t.State, t.WaitingFor = status.StateWaiting, status.WaitRoute }, "NO_WAN_LINK"},
		{func(t *status.Tunnel) { t.State, t.WaitingFor = status.StateWaiting, status.WaitAddress }, "NO_WAN_ADDRESS"},
		{func(t *status.Tunnel) { t.State, t.Code = status.StateDown, status.CodeAuth }, "AUTH_FAILED"},
		{func(t *status.Tunnel) { t.Desired, t.Code = status.DesiredDown, status.CodeAuth }, "TAKEN_DOWN"},
		{func(t *status.Tunnel) { t.State, t.Code = status.StateUp, status.CodeAuth }, ""},
	} {
		tn := hq(status.StateDown)
		c.set(tn)
		if got := errorCode(tn); got != c.want {
			t.Errorf("%s %s %s: %q, want %q", tn.State, tn.WaitingFor, tn.Code, got, c.want)
		}
	}
	l, now, tn := &line{}, time.Unix(1e9, 0), hq(status.StateDown)
	tn.Code = status.CodeAuth
	if v := l.judge(now, tn, false); v.code != "" || v.after != errorHold {
		t.Errorf("what may pass by itself is shown at once: %+v", v)
	}
	now = now.Add(errorHold)
	v := l.judge(now, tn, false)
	if v.code != "AUTH_FAILED" {
		t.Errorf("%+v", v)
	}
	l.tell(now, v, tn)
	if v := l.judge(now.Add(time.Hour), tn, false); v.code != "" {
		t.Error("shown twice")
	}
}

func TestBlobmsgComesBack(t *testing.T) {
	want := Table{{"a", "text"}, {"empty", ""}, {"n", -5}, {"yes", true}, {"no", false},
		{"list", []any{"x", Table{{"inner", "y"}}, 7}}, {"table", Table{{"long name of it", "z"}}}}
	got, err := parseTable(appendTable(nil, want), 0)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v: got %v, want %v", err, got, want)
	}
}

// The bytes are those of libubox for {"a":"bc"}: header 0x83 (extended, string)
// and 11 bytes, name length 1, "a", NUL, "bc", NUL, padding.
func TestBlobmsgHasLibuboxsBytes(t *testing.T) {
	got := appendTable(nil, Table{{"a", "bc"}})
	want := []byte{0x83, 0, 0, 11, 0, 1, 'a', 0, 'b', 'c', 0, 0}
	if !slices.Equal(got, want) {
		t.Errorf("% x, want % x", got, want)
	}
}

func FuzzParseTable(f *testing.F) {
	f.Add(appendTable(nil, Table{{"a", "bc"}, {"l", []any{"x"}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<16 {
			return
		}
		parseTable(b, 0)
	})
}

// ubusd is a stand-in that speaks its protocol: one object, network.interface.
type ubusd struct {
	dump   Table
	got    chan Table
	refuse uint32
}

func (u *ubusd) serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go u.client(c)
	}
}

func (u *ubusd) client(c net.Conn) {
	defer c.Close()
	send := func(typ byte, seq uint16, peer uint32, body []byte) {
		m := []byte{0, typ, byte(seq >> 8), byte(seq)}
		m = binary.BigEndian.AppendUint32(m, peer)
		m = binary.BigEndian.AppendUint32(m, uint32(len(body)+4))
		c.Write(append(m, body...))
	}
	send(msgHello, 0, 0x1234, nil)
	for {
		var h [12]byte
		if _, err := io.ReadFull(c, h[:]); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(h[8:])-4)
		if _, err := io.ReadFull(c, body); err != nil {
			return
		}
		seq, peer := binary.BigEndian.Uint16(h[2:]), binary.BigEndian.Uint32(h[4:])
		var path, method string
		var id uint32
		var args Table
		each(body, func(a uint32, _ bool, p []byte) error {
			switch a {
			case attrObjPath:
				path = string(p[:len(p)-1])
			case attrMethod:
				method = string(p[:len(p)-1])
			case attrObjID:
				id = binary.BigEndian.Uint32(p)
			case attrData:
				args, _ = parseTable(p, 0)
			}
			return nil
		})
		code := uint32(0)
		switch {
		case h[1] == msgLookup && path == "network.interface":
			send(msgData, seq, 0, attrInt(attrString(nil, attrObjPath, path), attrObjID, 77))
		case h[1] == msgLookup && path == "network":
			send(msgData, seq, 0, attrInt(attrString(nil, attrObjPath, path), attrObjID, 76))
		case h[1] == msgLookup:
			code = 4
		case h[1] == msgInvoke && id == 76 && method == "get_proto_handlers":
			send(msgData, seq, peer, attr(attrInt(nil, attrObjID, id), attrData, func(b []byte) []byte {
				return appendTable(b, Table{{"static", Table{}}, {"dhcp", Table{{"no_device", false}}}})
			}))
		case h[1] == msgInvoke && (id != 77 || peer != 77):
			code = 4
		case method == "dump":
			send(msgData, seq, peer, attr(attrInt(nil, attrObjID, id), attrData, func(b []byte) []byte { return appendTable(b, u.dump) }))
		case method == "notify_proto":
			u.got <- args
			code = u.refuse
		case method == "up" || method == "down":
			u.got <- append(Table{{"call", method}}, args...)
		default:
			code = 3
		}
		send(msgStatus, seq, peer, attrInt(attrInt(nil, attrStatus, code), attrObjID, id))
	}
}

func startUbusd(t *testing.T, iface Table) (*ubusd, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ubus.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	u := &ubusd{got: make(chan Table, 16), dump: Table{{"interface", []any{
		Table{{"interface", "lan"}, {"proto", "static"}, {"up", true}}, iface}}}}
	go u.serve(l)
	return u, path
}

func view4(up, pending, autostart bool) Table {
	return Table{{"interface", "hq"}, {"proto", "greseal"}, {"up", up}, {"pending", pending}, {"autostart", autostart}}
}

func follow(t *testing.T, bus, network string) *follower {
	f := &follower{bus: bus, network: network, log: slog.New(slog.DiscardHandler), lines: map[string]*line{}}
	t.Cleanup(f.hangUp)
	return f
}

func TestNetifdSaysWhichProtocolsItHandles(t *testing.T) {
	_, bus := startUbusd(t, nil)
	for proto, want := range map[string]bool{"static": true, "dhcp": true, "greseal": false} {
		if got, err := Handles(bus, proto); got != want || err != nil {
			t.Errorf("%s: %v, %v", proto, got, err)
		}
	}
	if _, err := Handles(filepath.Join(t.TempDir(), "none"), "greseal"); err == nil {
		t.Error("without an ubusd nobody knows")
	}
}

func TestNetifdIsToldOverUbus(t *testing.T) {
	u, bus := startUbusd(t, view4(false, true, true))
	network := filepath.Join(t.TempDir(), "network")
	os.WriteFile(network, []byte("config interface 'hq'\n\toption proto 'greseal'\n\toption zone 'vpn'\n\toption table '9'\n"), 0o600)
	f := follow(t, bus, network)
	if _, err := f.sync(&status.Snapshot{Tunnels: []status.Tunnel{*hq(status.StateUp), {Name: "other", State: status.StateUp}}}); err != nil {
		t.Fatal(err)
	}
	if got, want := text(<-u.got), text(update(hq(status.StateUp), place{"vpn", "9"})); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	u.dump = Table{{"interface", []any{view4(true, false, true)}}}
	if _, err := f.sync(&status.Snapshot{Tunnels: []status.Tunnel{*hq(status.StateUp)}}); err != nil {
		t.Fatal(err)
	}
	if len(u.got) != 0 {
		t.Errorf("told again: %s", text(<-u.got))
	}
	// What the firewall reloads for happens after two seconds only.
	after, err := f.sync(&status.Snapshot{Tunnels: []status.Tunnel{*hq(status.StateSuspect)}})
	if err != nil || after <= 0 || len(u.got) != 0 {
		t.Errorf("after %v, %v, %d messages", after, err, len(u.got))
	}
	f.lines["hq"].since = time.Now().Add(-downHold)
	if _, err := f.sync(&status.Snapshot{Tunnels: []status.Tunnel{*hq(status.StateSuspect)}}); err != nil {
		t.Fatal(err)
	}
	if got, want := text(<-u.got), text(downMessage("hq")); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAnInterfaceThatNetifdDoesNotWantUpIsLeftAlone(t *testing.T) {
	u, bus := startUbusd(t, view4(false, false, true))
	f := follow(t, bus, "/nonexistent")
	if _, err := f.sync(&status.Snapshot{Tunnels: []status.Tunnel{*hq(status.StateUp)}}); err != nil {
		t.Fatal(err)
	}
	if len(u.got) != 0 {
		t.Errorf("told: %s", text(<-u.got))
	}
}

func TestARefusalDuringTeardownIsNoError(t *testing.T) {
	u, bus := startUbusd(t, view4(false, true, true))
	u.refuse = 6
	f := follow(t, bus, "/nonexistent")
	if _, err := f.sync(&status.Snapshot{Tunnels: []status.Tunnel{*hq(status.StateUp)}}); err != nil {
		t.Error(err)
	}
	u.refuse = 2
	f.lines["hq"].told = false
	_, err := f.sync(&status.Snapshot{Tunnels: []status.Tunnel{*hq(status.StateUp)}})
	if err == nil || !strings.Contains(err.Error(), "ubus call network.interface notify_proto: invalid argument") {
		t.Errorf("%v", err)
	}
}

// daemon is a status server whose requests the test answers.
func daemon(t *testing.T, answer func(status.Request) status.Reply) string {
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
	return path
}

func TestSetupBringsTheTunnelUpAndSaysWhyItCannot(t *testing.T) {
	if text, err := Setup(filepath.Join(t.TempDir(), "none"), "hq"); err != DaemonDown || text == "" {
		t.Errorf("without a daemon: %q, %v", text, err)
	}
	var asked []string
	refused := status.Fail("fix the file", "the configuration has mistakes")
	refused.Lines = []string{"/etc/config/network:9: no"}
	reload, up := status.Done(), status.Done()
	socket := daemon(t, func(r status.Request) status.Reply {
		asked = append(asked, strings.TrimSpace(r.Op+" "+r.Tunnel))
		if r.Op == status.OpReload {
			return reload
		}
		return up
	})
	if text, err := Setup(socket, "hq"); err != nil {
		t.Errorf("%q, %v", text, err)
	}
	if want := []string{"reload", "up hq"}; !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
	reload = refused
	if text, err := Setup(socket, "hq"); err != nil || text != refused.Lines[0] {
		t.Errorf("a tunnel that runs as it was before a mistake: %q, %v", text, err)
	}
	up = status.NoTunnel("hq", nil)
	if text, err := Setup(socket, "hq"); err != Invalid || text != refused.Lines[0] {
		t.Errorf("a refused configuration: %q, %v", text, err)
	}
	reload, up = status.Done(), status.NoTunnel("hq", nil)
	if text, err := Setup(socket, "hq"); err != Unknown || !strings.Contains(text, `no tunnel "hq"`) {
		t.Errorf("a tunnel that is not there: %q, %v", text, err)
	}
}

func TestHotplugKicksOnlyTunnelsThatAreWantedAndNotUp(t *testing.T) {
	var asked []string
	socket := daemon(t, func(r status.Request) status.Reply {
		if r.Op != status.OpStatus {
			asked = append(asked, r.Op+" "+r.Tunnel)
			return status.Done()
		}
		return status.Reply{OK: true, Snapshot: &status.Snapshot{Tunnels: []status.Tunnel{
			{Name: "up", State: status.StateUp, Desired: status.DesiredUp},
			{Name: "waits", State: status.StateWaiting, Desired: status.DesiredUp},
			{Name: "failed", State: status.StateDown, Desired: status.DesiredUp},
			{Name: "off", State: status.StateDisabled, Desired: status.DesiredDown},
		}}}
	})
	if err := Changed(socket); err != nil {
		t.Fatal(err)
	}
	if want := []string{"up waits", "up failed"}; !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
	if err := Changed(filepath.Join(t.TempDir(), "none")); err != nil {
		t.Errorf("without a daemon: %v", err)
	}
}

func TestAnInterfaceTakenDownBeforeTheDaemonStartedStaysDown(t *testing.T) {
	u, bus := startUbusd(t, view4(false, false, false))
	asked := make(chan string, 4)
	f := follow(t, bus, "/nonexistent")
	f.socket = daemon(t, func(r status.Request) status.Reply { asked <- r.Op + " " + r.Tunnel; return status.Done() })
	if _, err := f.sync(&status.Snapshot{Tunnels: []status.Tunnel{*hq(status.StateConnecting)}}); err != nil {
		t.Fatal(err)
	}
	if got := <-asked; got != "down hq" || len(u.got) != 0 {
		t.Errorf("asked %q", got)
	}
}

func TestAnInterfaceBroughtUpByHandBeforeTheDaemonStartedComesUp(t *testing.T) {
	_, bus := startUbusd(t, view4(false, true, false))
	asked := make(chan status.Request, 4)
	f := follow(t, bus, "/nonexistent")
	f.socket = daemon(t, func(r status.Request) status.Reply { asked <- r; return status.Done() })
	off := hq(status.StateDisabled)
	off.Desired = status.DesiredDown
	if _, err := f.sync(&status.Snapshot{Tunnels: []status.Tunnel{*off}}); err != nil {
		t.Fatal(err)
	}
	if got := <-asked; got != (status.Request{Op: status.OpUp, Tunnel: "hq", Netifd: true}) {
		t.Errorf("asked %+v", got)
	}
}

func TestNetifdIsAskedForUpAndDown(t *testing.T) {
	u, bus := startUbusd(t, view4(false, false, true))
	for _, op := range []string{status.OpUp, status.OpDown} {
		if err := Set(bus, "hq", op); err != nil {
			t.Fatal(err)
		}
		if got := <-u.got; got.Text("call") != op || got.Text("interface") != "hq" {
			t.Errorf("%s: %s", op, text(got))
		}
	}
	if err := Set(bus, "hq", "sideways"); err == nil {
		t.Error("what netifd refuses is no error")
	}
}

func TestFollowWatchesTheDaemonUntilItsEnd(t *testing.T) {
	u, bus := startUbusd(t, view4(true, false, true))
	f := follow(t, bus, "/nonexistent")
	f.socket = daemon(t, func(status.Request) status.Reply {
		return status.Reply{OK: true, Snapshot: &status.Snapshot{Tunnels: []status.Tunnel{*hq(status.StateUp)}}}
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f.run(ctx) }()
	if got := <-u.got; got.Text("ifname") != "hq" {
		t.Errorf("%s", text(got))
	}
	cancel()
	<-done
	if got, want := text(<-u.got), text(downMessage("hq")); got != want {
		t.Errorf("at the end got %s, want %s", got, want)
	}
	if len(u.got) != 0 {
		t.Errorf("and then: %s", text(<-u.got))
	}
}

package status

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// serve runs a server with loop answering its queries, and returns its path.
func serve(t *testing.T, loop func(*Query)) (*Server, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "run", "status.sock")
	s, err := Listen(path, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served, looped := make(chan error, 1), make(chan struct{})
	go func() { served <- s.Serve(ctx) }()
	go func() {
		defer close(looped)
		for {
			select {
			case q := <-s.Queries():
				loop(q)
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		<-looped
		if _, err := os.Lstat(path); err == nil {
			t.Error("the socket is still there after the end")
		}
	})
	return s, path
}

func dial(t *testing.T, path string) *Client {
	t.Helper()
	c, err := Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func twoTunnels(q *Query) {
	ts := []Tunnel{
		{Name: "hq", State: StateUp, IKE: &IKESA{Suite: "aes256gcm16-prfsha384-x25519"}},
		{Name: "lab", State: StateDown, Reason: "the peer does not answer"},
	}
	switch q.Tunnel {
	case "hq":
		ts = ts[:1]
	case "lab":
		ts = ts[1:]
	case "":
	default:
		q.Answer(NoTunnel(q.Tunnel, []string{"hq", "lab"}))
		return
	}
	q.Answer(Reply{OK: true, Snapshot: &Snapshot{Version: Version, Tunnels: ts}})
}

func TestStatusReachesTheLoopAndComesBackWhole(t *testing.T) {
	_, path := serve(t, twoTunnels)
	c := dial(t, path)
	r, err := c.Call(Request{Op: OpStatus})
	if err != nil {
		t.Fatal(err)
	}
	ts := r.Snapshot.Tunnels
	if len(ts) != 2 || ts[0].IKE.Suite != "aes256gcm16-prfsha384-x25519" || ts[1].IKE != nil || ts[1].Reason != "the peer does not answer" {
		t.Errorf("got %+v", ts)
	}
	// The connection serves more than one request.
	r, err = c.Call(Request{Op: OpStatus, Tunnel: "lab"})
	if err != nil || len(r.Snapshot.Tunnels) != 1 || r.Snapshot.Tunnels[0].Name != "lab" {
		t.Errorf("one tunnel: %+v, %v", r, err)
	}
	_, err = c.Call(Request{Op: OpStatus, Tunnel: "nope"})
	if err == nil || !strings.Contains(err.Error(), "hq, lab") {
		t.Errorf("unknown tunnel: error %v, want one that names those there are", err)
	}
}

func TestChangesCarryTheirArguments(t *testing.T) {
	_, path := serve(t, func(q *Query) {
		q.Answer(Done(fmt.Sprintf("%s %s %v %d", q.Op, q.Tunnel, q.Open, q.UID)))
	})
	r, err := dial(t, path).Call(Request{Op: OpDown, Tunnel: "hq", Open: true})
	want := fmt.Sprintf("down hq true %d", os.Getuid())
	if err != nil || len(r.Lines) != 1 || r.Lines[0] != want {
		t.Errorf("got %+v, %v, want %q", r, err, want)
	}
}

func TestGroupMembersMayLookButNotTouch(t *testing.T) {
	s := &Server{owner: 0, queries: make(chan *Query, 1), guests: make(chan struct{}, 1)}
	r := s.Answer(context.Background(), 1000, Request{Op: OpDown, Tunnel: "hq"})
	if r.OK || !strings.Contains(r.Error, "only root") {
		t.Errorf("a change by user 1000 got %+v", r)
	}
	if len(s.queries) != 0 {
		t.Error("the refused change reached the loop")
	}
	go func() { (<-s.queries).Answer(Done()) }()
	if r := s.Answer(context.Background(), 1000, Request{Op: OpStatus}); !r.OK {
		t.Errorf("a look by user 1000 got %+v", r)
	}
}

func TestEventsComeFromThePastAndThenAsTheyHappen(t *testing.T) {
	s, path := serve(t, twoTunnels)
	for i := range 5 {
		s.Publish(Event{Tunnel: "hq", Kind: "old", Text: fmt.Sprint(i)})
	}
	s.Publish(Event{Tunnel: "lab", Kind: "old", Text: "other"})
	c := dial(t, path)
	// Events take their own way to the log; wait until all are there.
	for {
		r, err := c.Call(Request{Op: OpEvents, Last: 10})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Events) == 6 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if err := c.Send(Request{Op: OpEvents, Last: 2, Tunnel: "hq", Follow: true}); err != nil {
		t.Fatal(err)
	}
	r, err := c.Next()
	if err != nil || len(r.Events) != 2 || r.Events[0].Text != "3" || r.Events[1].Text != "4" {
		t.Fatalf("past: %+v, %v", r, err)
	}
	s.Publish(Event{Tunnel: "lab", Kind: "new", Text: "not asked for"})
	s.Publish(Event{Tunnel: "hq", Kind: "new", Text: "now"})
	r, err = c.Next()
	if err != nil || len(r.Events) != 1 || r.Events[0].Text != "now" {
		t.Fatalf("present: %+v, %v", r, err)
	}
}

func TestSlowFollowerIsToldWhatItMissedAndHoldsNobodyUp(t *testing.T) {
	sub := &subscription{events: make(chan Event, 2)}
	for i := range 10 {
		sub.offer(Event{Text: fmt.Sprint(i)})
	}
	<-sub.events
	<-sub.events
	sub.offer(Event{Text: "next"})
	e := <-sub.events
	if e.Kind != "lost" || !strings.HasPrefix(e.Text, "8 events") {
		t.Errorf("got %+v, want the count of lost events", e)
	}
	if e := <-sub.events; e.Text != "next" {
		t.Errorf("got %+v after it", e)
	}
}

func TestWatchSendsASnapshotAfterAnEvent(t *testing.T) {
	s, path := serve(t, twoTunnels)
	c := dial(t, path)
	if err := c.Send(Request{Op: OpWatch, Interval: 3600}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Next(); err != nil {
		t.Fatal(err)
	}
	// The subscription stands before the first snapshot was written.
	s.Publish(Event{Tunnel: "hq", Kind: "down"})
	if r, err := c.Next(); err != nil || r.Snapshot == nil {
		t.Fatalf("after the event: %+v, %v", r, err)
	}
}

func TestTooManyClientsAreTurnedAway(t *testing.T) {
	_, path := serve(t, twoTunnels)
	for range maxOwn {
		if _, err := dial(t, path).Call(Request{Op: OpStatus}); err != nil {
			t.Fatal(err)
		}
	}
	c := dial(t, path)
	_, err := c.Next()
	if err == nil || !strings.Contains(err.Error(), "16 clients") {
		t.Errorf("error %v, want to be turned away", err)
	}
}

func TestGarbageGetsAnErrorAndTheServerGoesOn(t *testing.T) {
	_, path := serve(t, twoTunnels)
	for _, junk := range []string{"GET / HTTP/1.1\r\n\r\n", "\xdf\xff\xff\xff\xff", "\x81\xa2op\xc1", strings.Repeat("\xdb", 3*MaxRequest)} {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		c.Write([]byte(junk))
		cl := &Client{conn: c}
		if _, err := cl.Next(); err == nil {
			t.Errorf("%.10q was accepted", junk)
		}
		c.Close()
	}
	if _, err := dial(t, path).Call(Request{Op: OpStatus}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestSocketIsBornPrivateAndStaleOnesAreReplaced(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	path := filepath.Join(t.TempDir(), "a", "b", "s.sock")
	s, err := Listen(path, "")
	if err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(path)
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", fi.Mode(), err)
	}
	if _, err := Listen(path, ""); err == nil || !strings.Contains(err.Error(), "another greseal answers") {
		t.Errorf("second daemon: error %v", err)
	}
	// As after SIGKILL: the name stays, nobody listens.
	s.listener.SetUnlinkOnClose(false)
	s.Close()
	if _, err := Dial(path); err == nil || !strings.Contains(err.Error(), "start it with: greseal run") {
		t.Errorf("dial a dead socket: error %v", err)
	}
	syscall.Umask(0o077)
	s, err = Listen(path, strconv.Itoa(os.Getegid()))
	if err != nil {
		t.Fatalf("over a stale socket: %v", err)
	}
	defer s.Close()
	if fi, _ := os.Stat(path); fi.Mode().Perm() != 0o660 {
		t.Errorf("mode with a group %v, want 0660", fi.Mode())
	}
	file := filepath.Join(t.TempDir(), "notes.txt")
	os.WriteFile(file, []byte("keep me"), 0o600)
	if _, err := Listen(file, ""); err == nil {
		t.Error("a regular file was taken for a socket")
	}
	if b, _ := os.ReadFile(file); string(b) != "keep me" {
		t.Error("a regular file was overwritten")
	}
	if _, err := Listen(filepath.Join(t.TempDir(), "x"), "no-such-group-here"); err == nil {
		t.Error("an unknown group was accepted")
	}
}

func TestJSONHasEveryFieldOfTheSchema(t *testing.T) {
	snap := full()
	r := Reply{OK: true, Snapshot: snap}
	raw, err := r.MarshalMsg(nil)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := JSON(&b, raw, "snapshot"); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil {
		t.Fatalf("%v in:\n%s", err, b.String())
	}
	tn := got["tunnels"].([]any)[0].(map[string]any)
	if tn["reason"] != snap.Tunnels[0].Reason || tn["ike"].(map[string]any)["suite"] != snap.Tunnels[0].IKE.Suite {
		t.Errorf("facts differ:\n%s", b.String())
	}
}

// full returns a snapshot in which every field of a tunnel that is up has a value.
func full() *Snapshot {
	const now = 1764000000
	return &Snapshot{
		Version: Version, Time: now,
		Daemon: Daemon{
			Version: "0.1.0", Platform: "linux/mipsle", PID: 4711, Started: now - 90061, UptimeS: 90061,
			Datapath: "userspace", DatapathWhy: "this kernel has no GRE (kmod-gre is not installed)",
			Notes: []string{"UDP segmentation offload is off: the kernel is older than 4.18"}, Listen: []string{"0.0.0.0:500", "0.0.0.0:4500"},
			Socket: DefaultSocket, ConfigFile: "/etc/greseal/greseal.toml", ConfigLoaded: now - 3600,
		},
		Tunnels: []Tunnel{{
			Name: "hq", Enabled: true, Desired: DesiredUp, State: StateUp, Since: now - 90000, InStateS: 90000, UpCount: 2,
			Peer: Peer{Configured: []string{"vpn.example.net"}, Address: "203.0.113.5:4500", LocalAddr: "192.168.1.7:4500",
				LocalID: "ipv4 192.168.1.7", RemoteID: "fqdn vpn.example.net", Proved: true, Auth: "psk", LastHeard: now - 2, SilentS: 2, Liveness: "alive"},
			IKE: &IKESA{Role: "initiator", SPIi: "0011223344556677", SPIr: "8899aabbccddeeff", Suite: "aes256gcm16-prfsha384-x25519",
				SuiteIANA: "ENCR_AES_GCM_16-256 PRF_HMAC_SHA2_384 Curve25519", Established: now - 5000, AgeS: 5000, Rekey: now + 80000, RekeyInS: 80000,
				Rekeys: 1, NATLocal: true, Retransmits: 3, Children: 1},
			Child: &ChildSA{SPIIn: "c0ffee01", SPIOut: "deadbeef", Suite: "aes128gcm16", SuiteIANA: "ENCR_AES_GCM_16-128", ESN: true,
				Established: now - 600, AgeS: 600, Rekey: now + 2700, RekeyInS: 2700, Rekeys: 25, ReplayWin: 2048,
				BytesIn: 1000, BytesOut: 2000, PacketsIn: 10, PacketsOut: 20,
				SelectorIn: "192.168.1.7/32 proto 47", SelectorOut: "203.0.113.5/32 proto 47"},
			Outside: Outside{Family: 4, Encap: "udp", EncapAsked: "auto", EncapWhy: "a NAT stands before this side", Mode: "tunnel", ModeAsked: "tunnel",
				GRELocal: "192.168.1.7", GRERemote: "203.0.113.5", GREKey: "42", OverheadBytes: 90},
			Interface: Interface{Name: "hq", Index: 7, Kind: "tun", Running: true},
			MTU:       MTU{Bytes: 1410, How: "computed", Why: "1500 of eth0 - 90 for IPv4, UDP, ESP aes128gcm16, IPv4, GRE with key", OuterMTU: 1500, OuterLink: "eth0", Sum: []Step{{"path MTU", 1500}, {"outer IPv4 header", -20}}, MSS4: 1370, MSS6: 1350},
			In:        Traffic{Packets: 1234567, Bytes: 1234567890}, Out: Traffic{Packets: 4321, Bytes: 45678},
			Drops:     Drops{Replay: 1, Integrity: 2, Selector: 3, Malformed: 4, NoSA: 5, TooBig: 6, Queue: 7},
			Addresses: []Placed{{Prefix: "10.255.0.2/30", InPlace: true}},
			Routes:    []Placed{{Prefix: "10.0.0.0/16", InPlace: true}, {Prefix: "10.9.0.0/16", Why: "a route of the same prefix and metric is there"}},
			Guards:    []Guard{{What: "gre", Target: "203.0.113.5", InPlace: true, How: "no code path"}, {What: "route", Target: "10.0.0.0/16", InPlace: true, How: "unreachable"}},
			Events:    []Event{{Time: now - 600, Millis: 42, Tunnel: "hq", Level: LevelInfo, Kind: "rekey", Text: "Child SA rekeyed, SPIs c0ffee01 and deadbeef"}},
		}},
	}
}

package names

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestAReplacedFileIsFollowedToWhereItsFolderIsSeen(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "a b"), 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "a b", "auto")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(dir, `a\040b`)
	const tmp, other = "45 1 0:33 / /elsewhere rw - tmpfs tmpfs rw\n", "46 1 0:34 /resolv.d %s rw - tmpfs tmpfs rw\n"
	for name, c := range map[string]struct {
		mounts, now string
		replaced    bool
	}{
		"no mount":                {tmp, "", false},
		"a mount that is current": {tmp + "47 1 0:33 /resolv.d/auto /x/resolv.conf ro - tmpfs tmpfs rw\n", "", false},
		"replaced, folder not seen": {tmp + fmt.Sprintf(other, folder) +
			"47 1 0:33 /resolv.d/auto//deleted /x/resolv.conf ro - tmpfs tmpfs rw\n", "", true},
		"replaced, folder seen": {fmt.Sprintf("48 1 0:33 /resolv.d %s rw shared:1 - tmpfs tmpfs rw\n", folder) +
			"47 1 0:33 /resolv.d/auto//deleted /x/resolv.conf ro - tmpfs tmpfs rw\n", file, true},
		"mounted anew on top": {fmt.Sprintf("48 1 0:33 /resolv.d %s rw - tmpfs tmpfs rw\n", folder) +
			"47 1 0:33 /resolv.d/auto//deleted /x/resolv.conf ro - tmpfs tmpfs rw\n" +
			"49 1 0:33 /resolv.d/auto /x/resolv.conf ro - tmpfs tmpfs rw\n", "", false},
		"a folder with a like name": {fmt.Sprintf("48 1 0:33 /resolv %s rw - tmpfs tmpfs rw\n", folder) +
			"47 1 0:33 /resolv.d/auto//deleted /x/resolv.conf ro - tmpfs tmpfs rw\n", "", true},
		"nonsense": {"\n1 2\n", "", false},
	} {
		if now, replaced := follow([]byte(c.mounts), "/x/resolv.conf"); now != c.now || replaced != c.replaced {
			t.Errorf("%s: %q, %v; want %q, %v", name, now, replaced, c.now, c.replaced)
		}
	}
}

func TestHostsFileIsReadAsOthersReadIt(t *testing.T) {
	text := []byte("# a comment\n127.0.0.1 localhost\n192.0.2.1\tvpn.example.net  Vpn # ours\n2001:db8::1 vpn\nno.address vpn\n192.0.2.9\n198.51.100.1 other")
	for host, want := range map[string]string{
		"vpn": "[192.0.2.1 2001:db8::1]", "VPN.example.net.": "[192.0.2.1]", "other": "[198.51.100.1]", "ours": "[]", "192.0.2.9": "[]",
	} {
		if got := fmt.Sprint(inHosts(text, host)); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
}

func TestSearchDomainsComeFromTheCurrentFile(t *testing.T) {
	c := config{search: []string{"lan", "example.net."}}
	for host, want := range map[string][]string{
		"vpn":             {"vpn.lan.", "vpn.example.net.", "vpn."},
		"vpn.example.org": {"vpn.example.org.", "vpn.example.org.lan.", "vpn.example.org.example.net."},
		"vpn.":            {"vpn."},
	} {
		if got := c.questions(host); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", host, got, want)
		}
	}
}

// TestNameServersAndHostsThatComeLaterAreSeen runs once more in namespaces of its
// own, where files lie over /etc/resolv.conf and /etc/hosts as in a jail.
func TestNameServersAndHostsThatComeLaterAreSeen(t *testing.T) {
	if dir := os.Getenv("GRESEAL_TEST_JAIL"); dir != "" {
		jailed(t, dir)
		return
	}
	again(t)
}

// again runs a test once more in mount and network namespaces of its own.
func again(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "GRESEAL_TEST_JAIL="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestAServerThatIsSilentLeavesTimeForTheOthers runs once more in namespaces of its own,
// where another file is /etc/resolv.conf from the start.
func TestAServerThatIsSilentLeavesTimeForTheOthers(t *testing.T) {
	if os.Getenv("GRESEAL_TEST_JAIL") != "" {
		manyServers(t, os.Getenv("GRESEAL_TEST_JAIL"))
		return
	}
	again(t)
}

func manyServers(t *testing.T, dir string) {
	path := filepath.Join(dir, "resolv.conf")
	lines := "nameserver 127.0.0.55\nnameserver 127.0.0.56\nnameserver 127.0.0.57\nnameserver 127.0.0.53\n"
	for _, err := range []error{
		exec.Command("ip", "link", "set", "lo", "up").Run(),
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		os.WriteFile(path, []byte(lines), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	real, err := filepath.EvalSymlinks(resolvConf)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(path, real, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	for _, silent := range []string{"127.0.0.55", "127.0.0.56", "127.0.0.57"} {
		conn, err := net.ListenPacket("udp", silent+":53")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	serve(t, "127.0.0.53", map[string]string{"vpn.example.net.": "192.0.2.7"})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if found, err := Lookup(ctx, "vpn.example.net"); err != nil || fmt.Sprint(found) != "[192.0.2.7]" {
		t.Errorf("by the last of four servers: %v, %v", found, err)
	}
}

func jailed(t *testing.T, dir string) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	must(exec.Command("ip", "link", "set", "lo", "up").Run())
	put := func(name, text string) { // as netifd and editors do
		t.Helper()
		path := filepath.Join(dir, name)
		must(os.WriteFile(path+".new", []byte(text), 0o644))
		must(os.Rename(path+".new", path))
	}
	over := func(name, point string) {
		t.Helper()
		real, err := filepath.EvalSymlinks(point)
		must(err)
		must(unix.Mount(filepath.Join(dir, name), real, "", unix.MS_BIND, ""))
	}
	put("resolv.conf", "# no line is up yet\n")
	put("hosts", "127.0.0.1 localhost\n")
	over("resolv.conf", resolvConf)
	over("hosts", hosts)
	serve(t, "127.0.0.53", map[string]string{"vpn.example.net.": "192.0.2.7", "branch.lan.": "192.0.2.8"})

	find := func(host string) string {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		found, err := Lookup(ctx, host)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprint(found)
	}
	if got := find("vpn.example.net"); !strings.Contains(got, "refused") {
		t.Errorf("without a name server: %s", got)
	}
	put("resolv.conf", "search lan\nnameserver 127.0.0.53\n")
	put("hosts", "192.0.2.9 office\n")
	for host, want := range map[string]string{"vpn.example.net": "[192.0.2.7]", "branch": "[192.0.2.8]", "office": "[192.0.2.9]"} {
		if got := find(host); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
	if got := find("nobody.example.net"); !strings.Contains(got, "no such host") || !strings.Contains(got, "127.0.0.53") {
		t.Errorf("a name that there is not: %s", got)
	}
	// The first is dead, the second answers.
	put("resolv.conf", "nameserver 127.0.0.54\nnameserver 127.0.0.53\n")
	if got := find("vpn.example.net"); got != "[192.0.2.7]" {
		t.Errorf("by the second server: %s", got)
	}
}

// serve answers A questions for the names, others with NXDOMAIN.
func serve(t *testing.T, address string, names map[string]string) {
	conn, err := net.ListenPacket("udp", address+":53")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if n < 12 {
				continue
			}
			name, at := "", 12
			for at < n && buf[at] != 0 {
				name += string(buf[at+1:at+1+int(buf[at])]) + "."
				at += 1 + int(buf[at])
			}
			question := buf[12 : at+5]
			answer := append([]byte{buf[0], buf[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, question...)
			switch a, known := names[name]; {
			case !known:
				answer[3] |= 3 // NXDOMAIN
			case binary.BigEndian.Uint16(buf[at+1:]) == 1: // A
				answer[7] = 1
				answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4)
				answer = append(answer, netip.MustParseAddr(a).AsSlice()...)
			}
			_, _ = conn.WriteTo(answer, from)
		}
	}()
}

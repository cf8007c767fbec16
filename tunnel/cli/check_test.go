package cli

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"greseal/tunnel/config"
)

func TestCheckWarnsOfANameThatNobodyCanBeAskedFor(t *testing.T) {
	real := nameServers
	defer func() { nameServers = real }()
	file := filepath.Join(t.TempDir(), "greseal.toml")
	for _, c := range []struct {
		remote  string
		servers []netip.Addr
		warned  bool
	}{
		{"hub.example.net", nil, true},
		{"hub.example.net", []netip.Addr{netip.MustParseAddr("192.0.2.53")}, false},
		{"localhost", nil, false}, // is in the hosts file
		{"192.0.2.1", nil, false},
	} {
		nameServers = func() []netip.Addr { return c.servers }
		text := "[[tunnel]]\nname = \"hq\"\nremote = \"" + c.remote + "\"\npsk = \"8mVqk2Lw8sTzB4nXcR7yHd1JfGpA6uEo\"\nroutes = [\"0.0.0.0/0\"]\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		code, out, _ := call(t, "check", "-c", file)
		warned := strings.Contains(out, "greseal.toml:1:1: warning: tunnel \"hq\": remote: there may be no name server to ask for hub.example.net; write an address in remote, or name a server on another machine")
		if code != ExitOK || warned != c.warned {
			t.Errorf("%s with %v: exit code %d: %s", c.remote, c.servers, code, out)
		}
	}
}

// For an editor a problem is one line; a reader gets it folded.
func TestProblemsFitTheTerminal(t *testing.T) {
	_, err := config.Parse("/etc/greseal/greseal.toml", []byte("[[tunnel]]\nname = \"hq\"\nremote = \"vpn.example.net\"\npsk = \"8mVqk2Lw8sTzB4nXcR7yHd1JfGpA6uEo\"\n"+
		"[[tunnel]]\nname = \"hq2\"\nremote = \"vpn.example.net\"\npsk = \"8mVqk2Lw8sTzB4nXcR7yHd1JfGpA6uEo\"\n"), 0o600)
	ps, _ := err.(config.Problems)
	if len(ps) == 0 {
		t.Fatal(err)
	}
	var lines, folded bytes.Buffer
	(&Env{}).printProblems(&lines, ps)
	(&Env{Terminal: true}).printProblems(&folded, ps)
	if strings.Count(lines.String(), "\n") != len(ps) {
		t.Errorf("not one a line: %s", &lines)
	}
	for line := range strings.Lines(folded.String()) {
		if len(line) > 81 {
			t.Errorf("%d columns: %s", len(line)-1, line)
		}
	}
	if got := strings.Join(strings.Fields(folded.String()), " "); got != strings.TrimSpace(lines.String()) {
		t.Errorf("folded is %s\nand not %s", got, &lines)
	}
}

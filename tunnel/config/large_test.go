package config

import (
	"fmt"
	"strings"
	"testing"
)

// large writes a config of n tunnels, each with the lines given for its number.
func large(n int, lines func(i int) string) string {
	var b strings.Builder
	b.WriteString("[defaults]\npsk = \"9mVqk2Lw8sTzB4nXcR7yHd1JfGpA6uEo\"\n")
	for i := range n {
		fmt.Fprintf(&b, "[[tunnel]]\nname = \"t%d\"\n%s\n", i, lines(i))
	}
	return b.String()
}

// TestAHubOfManyBranchesIsCheckedInTime would take minutes if each tunnel were
// compared with each other.
func TestAHubOfManyBranchesIsCheckedInTime(t *testing.T) {
	for what, lines := range map[string]func(int) string{
		"any":   func(i int) string { return fmt.Sprintf("remote = \"any\"\nremote_id = \"b%d.example.net\"", i) },
		"names": func(i int) string { return fmt.Sprintf("remote = \"any\"\nremote_id = \"C=CH, CN=b%d\"", i) },
		"keys": func(i int) string {
			return fmt.Sprintf("remote = \"192.0.2.1\"\nremote_id = \"b%d\"\ngre.key = %d", i, i)
		},
		"own remotes": func(i int) string { return fmt.Sprintf("remote = \"10.1.%d.%d\"", i>>8, i&255) },
	} {
		c, err := Parse("greseal.toml", []byte(large(maxTunnels, lines)), 0o600)
		if err != nil || len(c.Tunnels) != maxTunnels {
			t.Fatalf("%s: %.300v", what, err)
		}
		if d := Diff(c, c); !d.Empty() {
			t.Errorf("%s: differs from itself: %v", what, d)
		}
	}
}

func TestOneTunnelTooMany(t *testing.T) {
	_, err := Parse("greseal.toml", []byte(large(maxTunnels+1, func(int) string { return "remote = \"any\"" })), 0o600)
	if want := fmt.Sprintf("there are %d tunnels; write at most %d", maxTunnels+1, maxTunnels); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}

// TestManyTunnelsThatCannotBeToldApart says of each which other one it is like,
// and not of each pair.
func TestManyTunnelsThatCannotBeToldApart(t *testing.T) {
	const n = 400
	_, err := Parse("greseal.toml", []byte(large(n, func(int) string { return "remote = \"192.0.2.1\"" })), 0o600)
	ps, _ := err.(Problems)
	if len(ps.Mistakes()) != n-1 {
		t.Fatalf("%d mistakes, want one for each tunnel but the first: %.500v", len(ps.Mistakes()), err)
	}
	for _, p := range ps.Mistakes() {
		if strings.Count(p.What, `tunnel "t0"`) != 2 || !strings.Contains(p.Remedy, "gre.key = ") || !strings.Contains(p.Remedy, "local_id = ") {
			t.Fatalf("not both of the first, with what ends both: %s", p)
		}
	}
}

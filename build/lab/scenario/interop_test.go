package scenario

import (
	"slices"
	"strings"
	"testing"
)

// columns are those whose values meet each other, with every value.
var columns = []struct {
	of     func(interopRow) string
	values []string
}{
	{func(r interopRow) string {
		kind, _, _ := strings.Cut(r.auth, "-")
		if r.auth == "rsa-pss" {
			return r.auth
		}
		return kind
	}, []string{"psk", "rsa", "rsa-pss", "ecdsa", "ed25519", "raw"}},
	{func(r interopRow) string { return r.role }, []string{"initiator", "responder"}},
	{func(r interopRow) string { return r.datapath }, []string{"userspace", "kernel"}},
	{func(r interopRow) string { return r.mode }, []string{"tunnel", "transport"}},
	{func(r interopRow) string { return r.nat }, []string{"none", "initiator", "responder"}},
	{func(r interopRow) string { return r.path }, []string{"1500", "576"}},
	{func(r interopRow) string { return r.rekey }, []string{"greseal", "peer"}},
}

func TestInteropMeetsAllPairs(t *testing.T) {
	rows := interopRows()
	for i, a := range columns {
		for _, r := range rows {
			if !slices.Contains(a.values, a.of(r)) {
				t.Errorf("row %s: no value %q in column %d", r.number, a.of(r), i+1)
			}
		}
		for _, b := range columns[i+1:] {
			for _, x := range a.values {
				for _, y := range b.values {
					if (x == "psk" || x == "raw") && y == "576" {
						continue // fits in one piece
					}
					if !slices.ContainsFunc(rows, func(r interopRow) bool { return a.of(r) == x && b.of(r) == y }) {
						t.Errorf("no row has %s together with %s", x, y)
					}
				}
			}
		}
	}
}

// TestInteropStaysReadable bounds what make interop plays.
func TestInteropStaysReadable(t *testing.T) {
	rows := 0
	names := map[string]bool{}
	for _, s := range All() {
		if !s.Interop {
			continue
		}
		rows += len(s.Paths)
		for _, p := range s.Paths {
			name := s.Name + s.Peer + p
			if names[name] {
				t.Errorf("two rows are %q", s.Name)
			}
			names[name] = true
		}
	}
	if rows > 48 {
		t.Errorf("%d rows, at most 48 are wanted", rows)
	}
}

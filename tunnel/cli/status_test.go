package cli

import (
	"strings"
	"testing"

	"greseal/tunnel/status"
)

// A binary that was replaced under a running daemon does nothing yet: status says
// so.
func TestStatusSaysThatTheDaemonIsOfAnotherVersion(t *testing.T) {
	for version, want := range map[string]bool{Version: false, "v0.9.1": true} {
		socket, _ := daemonStub(t, func(q *status.Query) {
			r := snapshot()
			r.Snapshot.Daemon.Version = version
			q.Answer(r)
		})
		_, out, errs := call(t, "status", "--socket", socket)
		if got := strings.Contains(strings.Join(strings.Fields(out), " "), "the daemon still runs v0.9.1: restart"); got != want || errs != "" {
			t.Errorf("daemon %s: %v\n%s%s", version, got, out, errs)
		}
	}
}

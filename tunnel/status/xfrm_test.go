package status

import (
	"strings"
	"testing"
)

func TestStatusSaysWhatTheKernelStopped(t *testing.T) {
	s := full()
	s.Daemon.XFRM = []Count{{"XfrmInNoStates", 7}, {"XfrmInStateMismatch", 12}, {"XfrmInNoPols", 0}, {"XfrmOutPolBlock", 3}}
	var b strings.Builder
	if err := Human(&b, s, false, Style{Width: 100}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"came in and was not a tunnel's GRE inside ESP: XfrmInStateMismatch 12\n",
		"kept from leaving in the clear: XfrmOutPolBlock 3\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("it lacks %q:\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "XfrmInNoStates") || strings.Contains(b.String(), "XfrmInNoPols") {
		t.Errorf("it names counters that say nothing of this, or did not count:\n%s", b.String())
	}
}

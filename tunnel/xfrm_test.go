package tunnel

import (
	"slices"
	"testing"

	"greseal/tunnel/status"
)

func TestXfrmErrorsAreReadByName(t *testing.T) {
	got := parseXfrmStat("XfrmInError             \t0\nXfrmInNoStates          \t12\nXfrmOutStateSeqError\t18446744073709551615\nodd line here\nXfrmBad x\n\n")
	want := []status.Count{{Name: "XfrmInError"}, {Name: "XfrmInNoStates", Value: 12}, {Name: "XfrmOutStateSeqError", Value: 1<<64 - 1}}
	if !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

package status

import (
	"fmt"
	"slices"
	"strings"
)

// What XFRM's counters say of packets that a tunnel's policies and selectors
// stopped. They are the kernel's, of all tunnels together.
var stopped = []struct {
	what  string
	names []string
}{
	{"came in and was not a tunnel's GRE inside ESP", []string{
		"XfrmInStateMismatch", "XfrmInTmplMismatch", "XfrmInNoPols", "XfrmInPolBlock", "XfrmInStateModeError"}},
	{"kept from leaving in the clear", []string{"XfrmOutPolBlock"}},
}

// stoppedByKernel writes a line for each kind that there was.
func (p *page) stoppedByKernel(counts []Count) {
	for _, s := range stopped {
		var parts []string
		for _, name := range s.names {
			at := slices.IndexFunc(counts, func(c Count) bool { return c.Name == name })
			if at >= 0 && counts[at].Value > 0 {
				parts = append(parts, fmt.Sprintf("%s %d", name, counts[at].Value))
			}
		}
		if len(parts) > 0 {
			p.fill("  dropped   ", colDim, s.what+": "+strings.Join(parts, ", "))
		}
	}
}

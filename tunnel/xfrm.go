package tunnel

import (
	"os"
	"strconv"
	"strings"

	"greseal/platform"
	"greseal/tunnel/status"
)

// xfrmErrors reads the kernel's counters of packets that XFRM dropped in this network
// namespace; nil without the kernel datapath, or without CONFIG_XFRM_STATISTICS.
func (l *loop) xfrmErrors() []status.Count {
	if l.dp.Kind() != platform.KindKernel {
		return nil
	}
	text, err := os.ReadFile("/proc/self/net/xfrm_stat")
	if err != nil {
		return nil
	}
	return parseXfrmStat(string(text))
}

// parseXfrmStat takes lines of a name and a number.
func parseXfrmStat(text string) []status.Count {
	var counts []status.Count
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) != 2 {
			continue
		}
		if n, err := strconv.ParseUint(f[1], 10, 64); err == nil {
			counts = append(counts, status.Count{Name: f[0], Value: n})
		}
	}
	return counts
}

package doctor

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// counters are the kernel's error counters of this network namespace.
type counters map[string]uint64

// readCounters reads /proc/net/xfrm_stat and the reverse path filter's counter.
// What the kernel does not have is absent.
func readCounters() counters {
	c := make(counters)
	if text, err := os.ReadFile("/proc/thread-self/net/xfrm_stat"); err == nil {
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) == 2 {
				c[f[0]], _ = strconv.ParseUint(f[1], 10, 64)
			}
		}
	}
	if text, err := os.ReadFile("/proc/thread-self/net/netstat"); err == nil {
		c.netstat(string(text))
	}
	return c
}

const pathFiltered = "IPReversePathFilter"

// netstat finds the counter in the pairs of lines "TcpExt: names" and "TcpExt:
// numbers".
func (c counters) netstat(text string) {
	lines := strings.Split(text, "\n")
	for i := 0; i+1 < len(lines); i++ {
		names, numbers := strings.Fields(lines[i]), strings.Fields(lines[i+1])
		if len(names) == 0 || len(numbers) != len(names) || names[0] != numbers[0] {
			continue
		}
		if at := slices.Index(names, pathFiltered); at > 0 {
			c[pathFiltered], _ = strconv.ParseUint(numbers[at], 10, 64)
			return
		}
	}
}

// since are the counters that rose since before, and by how much.
func (c counters) since(before counters) counters {
	rose := make(counters)
	for name, n := range c {
		if n > before[name] {
			rose[name] = n - before[name]
		}
	}
	return rose
}

// meanings of XFRM's counters, for the sentences of the step xfrm-errors.
var xfrmMeanings = []struct{ counter, sentence, remedy string }{
	{"XfrmInPolBlock", "a policy blocked packets that came in", "see: ip xfrm policy"},
	{"XfrmOutPolBlock", "a policy blocked packets on their way out: GRE in the clear, or ICMP errors that would have quoted what came out of ESP", "look whether gre.key and gre.type are the same on both sides; see: ip xfrm policy"},
	{"XfrmInTmplMismatch", "packets came in the clear, or protected differently than the policy requires", "the peer must send inside ESP, with the mode agreed on; see: ip xfrm policy"},
	{"XfrmInNoPols", "packets came out of ESP and no policy lets them in", "see: ip xfrm policy"},
	{"XfrmOutNoStates", "packets found a policy and no SA for it", "another program deleted the SA; restart the tunnel"},
	{"XfrmInNoStates", "ESP came with an SPI that this machine does not know", "the peer uses an SA that is gone here; restart the tunnel on the peer"},
	{"XfrmInStateSeqError", "the anti-replay window dropped packets", "if this continues, packets are reordered a lot on the way: raise replay_window"},
	{"XfrmInStateProtoError", "ESP came with a wrong integrity check value", "a device on the way or a crypto accelerator damages packets; try another esp algorithm"},
	{"XfrmOutStateModeError", "packets with DF were too large for the path", "set mtu lower"},
	{"XfrmInStateMismatch", "what came out of ESP was not the tunnel's GRE (another protocol, other addresses), or ESP came inside or outside UDP contrary to what was agreed", "check what the peer sends into the tunnel's SA; restart the tunnel on both sides"},
	{"XfrmInStateModeError", "ESP came in with another mode than agreed on", "set the same mode on both sides"},
	{"XfrmInStateExpired", "ESP came in on an expired SA", "restart the tunnel on the peer"},
	{"XfrmOutStateExpired", "an SA expired before it was replaced", "restart the tunnel"},
	{"XfrmInError", "packets came in that XFRM could not handle", ""},
	{"XfrmOutError", "packets could not be sent by XFRM", ""},
	{"XfrmInHdrError", "ESP came in with a broken header", ""},
	{"XfrmOutStateProtoError", "packets could not be encrypted", "see the kernel's log"},
	{"XfrmOutBundleGenError", "no path for protected packets could be built", "check the route to the peer"},
	{"XfrmAcquireError", "an SA that no one negotiates is missing", "see: ip xfrm policy"},
}

// blocked is how many of the counters are about policies that block.
func (rose counters) blocked() (n int) {
	for _, name := range []string{"XfrmInPolBlock", "XfrmOutPolBlock"} {
		if rose[name] > 0 {
			n++
		}
	}
	return n
}

// explain says what the counters mean that rose, and what to do about the first.
func (rose counters) explain() (sentences []string, remedy string) {
	for _, m := range xfrmMeanings {
		n := rose[m.counter]
		if n == 0 {
			continue
		}
		sentences = append(sentences, fmt.Sprintf("%s increased by %d: %s", m.counter, n, m.sentence))
		if remedy == "" {
			remedy = m.remedy
		}
	}
	return sentences, remedy
}

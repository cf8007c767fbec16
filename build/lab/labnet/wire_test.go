package labnet

import (
	"encoding/hex"
	"strings"
	"testing"
)

func TestJudgeKnowsWhatIsSaidOfTheInside(t *testing.T) {
	ip := func(proto, src, dst, rest string) string {
		size := 20 + len(strings.ReplaceAll(rest, " ", ""))/2
		return "4500" + hex.EncodeToString([]byte{byte(size >> 8), byte(size)}) + "00010000 40" + proto + "0000" + src + dst + rest
	}
	ip6 := func(next, src, dst, rest string) string {
		size := len(strings.ReplaceAll(rest, " ", "")) / 2
		return "60000000" + hex.EncodeToString([]byte{byte(size >> 8), byte(size)}) + next + "40" + src + dst + rest
	}
	const (
		a, b   = "c0000201", "c6336401"
		inside = "0aff0001"
		six    = "20010db8000000000000000000000001"
		in6    = "20010db800bb00000000000000000001"
	)
	for _, c := range []struct {
		what, ether, packet string
		want                Kind
	}{
		{"port unreachable about GRE", "0800", ip("01", a, b, "03030000 00000000"+ip("2f", b, a, "00000800")), Quote},
		{"time exceeded about GRE", "0800", ip("01", a, b, "0b010000 00000000"+ip("2f", b, a, "00000800")), Quote},
		{"parameter problem about IP in IP", "0800", ip("01", a, b, "0c000000 00000000"+ip("04", b, a, "00000800")), Quote},
		{"unreachable about an inner address", "0800", ip("01", a, b, "03010000 00000000"+ip("11", b, inside, "00000000")), Quote},
		{"fragmentation needed about ESP", "0800", ip("01", a, b, "03040000 00000000"+ip("32", b, a, "00000000")), Other},
		{"an echo request that looks like it", "0800", ip("01", a, b, "08000000 00000000"+ip("2f", b, a, "00000800")), Other},
		{"unreachable about GRE over IPv6", "86dd", ip6("3a", six, six, "01040000 00000000"+ip6("2f", six, six, "00000800")), Quote},
		{"unreachable about GRE behind options", "86dd", ip6("3a", six, six, "01040000 00000000"+ip6("3c", six, six, "2f00040104010100 00000800")), Quote},
		{"packet too big about an inner address", "86dd", ip6("3a", six, six, "02000000 00000500"+ip6("11", six, in6, "00000800")), Quote},
		{"packet too big about ESP", "86dd", ip6("3a", six, six, "02000000 00000500"+ip6("32", six, six, "00000800")), Other},
		{"cut short", "0800", ip("01", a, b, "03030000 00000000 4500"), Other},
	} {
		frame, err := hex.DecodeString("020000000001020000000002" + c.ether + strings.ReplaceAll(c.packet, " ", ""))
		if err != nil {
			t.Fatal(c.what, err)
		}
		if p, ok := classify(frame); !ok || p.Kind != c.want {
			t.Errorf("%s: taken for %q, want %q", c.what, p.Kind, c.want)
		}
	}
}

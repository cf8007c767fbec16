package id

import (
	"net/netip"
	"strings"
	"testing"
)

func TestIdentityFromTextAndBack(t *testing.T) {
	for s, want := range map[string]struct {
		typ  uint8
		data string
		text string
	}{
		"192.0.2.1":              {IPv4, "\xc0\x00\x02\x01", ""},
		"::ffff:192.0.2.1":       {IPv4, "\xc0\x00\x02\x01", "192.0.2.1"},
		"2001:db8::1":            {IPv6, "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01", ""},
		"gw.example.net":         {FQDN, "gw.example.net", ""},
		"moon":                   {FQDN, "moon", ""},
		"@moon":                  {FQDN, "moon", "moon"},
		"@192.0.2.1":             {FQDN, "192.0.2.1", "fqdn:192.0.2.1"},
		"fqdn:a=b":               {FQDN, "a=b", "fqdn:a=b"},
		"ops@example.net":        {RFC822, "ops@example.net", ""},
		"@@ops":                  {RFC822, "ops", "email:ops"},
		"a=b@example.net":        {DN, "", "-"},
		"email:a=b@example.net":  {RFC822, "a=b@example.net", ""},
		"keyid:branch 7":         {KeyID, "branch 7", "@#6272616e63682037"},
		"keyid:branch-7":         {KeyID, "branch-7", ""},
		"@#0a1b":                 {KeyID, "\x0a\x1b", ""},
		"CN=moon":                {DN, "\x30\x0f\x31\x0d\x30\x0b\x06\x03\x55\x04\x03\x13\x04moon", ""},
		"dn:/CN=moon":            {DN, "\x30\x0f\x31\x0d\x30\x0b\x06\x03\x55\x04\x03\x13\x04moon", "CN=moon"},
		"O=x, E=ops@example.net": {DN, "-", ""},
	} {
		i, err := Parse(s)
		if want.text == "-" {
			if err == nil {
				t.Errorf("%s: %s", s, i)
			}
			continue
		}
		if want.text == "" {
			want.text = s
		}
		if err != nil || i.Type != want.typ || want.data != "-" && i.Data != want.data || i.String() != want.text || !i.IsSet() {
			t.Errorf("%s: type %d %x, %q (%v)", s, i.Type, i.Data, i, err)
		}
		if back, err := Parse(i.String()); err != nil || back != i {
			t.Errorf("%s: %q is then %v (%v)", s, i, back, err)
		}
	}
	for s, want := range map[string]string{
		"": "empty", "fqdn:": "no text", "a b": "space", "fe80::1%eth0": "zone", "@#0": "hex", "@#": "hex",
		strings.Repeat("a", maxLen+1): "longer", "XX=1": "unknown attribute",
	} {
		if i, err := Parse(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %s, %v", s, i, err)
		}
	}
	for i, want := range map[ID]string{
		{}: "any", {IPv4, "abc"}: "type 1:616263", {FQDN, "a\x1bb"}: "type 2:611b62", {FQDN, "a\u009bb"}: "type 2:61c29b62", {KeyID, "\u202e"}: "@#e280ae", {DN, "x"}: "type 9:78", {200, "\x00"}: "type 200:00", {DN, "\x30\x00"}: "type 9:3000",
	} {
		if got := i.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if Addr(netip.Addr{}).IsSet() {
		t.Error("an identity of no address")
	}
}

func TestEquality(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"GW.Example.net", "gw.example.NET", true},
		{"gw.example.net", "gw.example.net.", false},
		{"Ops@Example.net", "Ops@example.NET", true},
		{"Ops@example.net", "ops@example.net", false},
		{"keyid:A", "keyid:a", false},
		{"C=CH, CN=Moon", "c=ch,cn=moon", true},
		{"192.0.2.1", "@192.0.2.1", false},
		{"\u212aelvin", "kelvin", false}, // the Kelvin sign is no K
	} {
		a, b := identity(t, c.a), identity(t, c.b)
		if a.Equal(b) != c.want || b.Equal(a) != c.want {
			t.Errorf("%s, %s: %v", c.a, c.b, !c.want)
		}
	}
}

func identity(t testing.TB, s string) ID {
	t.Helper()
	i, err := Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func pattern(t testing.TB, s string) Pattern {
	t.Helper()
	p, err := ParsePattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern string
		good    []string
		bad     []string
	}{
		{"*", []string{"gw.example.net", "192.0.2.1", "CN=x", "keyid:a", "a@b"}, nil},
		{"gw.example.net", []string{"GW.example.net"}, []string{"a.gw.example.net", "gw@example.net", "keyid:gw.example.net"}},
		{"*.example.net", []string{"gw.example.net", "a.b.EXAMPLE.net"}, []string{"example.net", "@.example.net", "badexample.net", "gw.example.net.evil.org", "a@b.example.net"}},
		{"*@example.net", []string{"ops@example.net", "a@b@EXAMPLE.NET"}, []string{"ops@x.example.net", "@@@example.net", "gw.example.net"}},
		{"192.0.2.0/24", []string{"192.0.2.1", "192.0.2.255"}, []string{"192.0.3.1", "2001:db8::1", "@192.0.2.1"}},
		{"2001:db8::/32", []string{"2001:db8:1::1"}, []string{"2001:db9::1", "192.0.2.1"}},
		{"192.0.2.1/32", []string{"192.0.2.1"}, []string{"192.0.2.2"}},
		{"C=CH, O=example, CN=*", []string{"C=CH, O=example, CN=moon"}, []string{"C=CH, O=other, CN=moon", "moon"}},
		{"keyid:a*", []string{"keyid:a*"}, []string{"keyid:ab"}},
		{"fqdn:*.@", []string{"fqdn:a.@"}, []string{"email:a.@", "fqdn:a.b"}}, // not read as a mail address when written again
		{"@any", []string{"@any"}, []string{"moon"}},
		{"@192.0.2.0/24", []string{"@192.0.2.0/24"}, []string{"192.0.2.1"}},
		{"fqdn:*.a=b", []string{"fqdn:x.a=b"}, []string{"CN=x.a"}},
	} {
		p := pattern(t, c.pattern)
		for _, s := range c.good {
			if !p.Matches(identity(t, s)) {
				t.Errorf("%s does not fit %s", s, c.pattern)
			}
		}
		for _, s := range c.bad {
			if p.Matches(identity(t, s)) {
				t.Errorf("%s fits %s", s, c.pattern)
			}
		}
		if p.Matches(ID{}) {
			t.Errorf("an unset identity fits %s", c.pattern)
		}
		if again := pattern(t, p.String()); again != p {
			t.Errorf("%s: written as %s", c.pattern, p)
		}
	}
	for s, want := range map[string]string{
		"a*.example.net": "*.example.net", "*": "", "*.*.net": "*.example.net", "*example.net": "*.example.net", "*.": "*.example.net",
		"*@": "*@example.net", "a*@example.net": "*@example.net", "*@*.net": "*@example.net", "192.0.2.1/24": "192.0.2.0/24", "": "empty",
	} {
		p, err := ParsePattern(s)
		if want == "" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %s, %v", s, p, err)
		}
	}
	if Exact(ID{}) != Any || !Any.IsWild() || Exact(identity(t, "a")).IsWild() || Exact(identity(t, "a")).Exact() != identity(t, "a") {
		t.Error("exact patterns")
	}
}

func TestMostSpecificPatternIsKnown(t *testing.T) {
	for _, ascending := range [][]string{
		{"*", "*.net", "*.example.net", "*.gw.example.net", "a.gw.example.net"},
		{"*", "*@example.net", "ops@example.net"},
		{"*", "0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3"},
		{"*", "C=*, O=*, CN=*", "C=CH, O=*, CN=*", "C=CH, O=*, CN=moon", "C=CH, O=example, CN=moon"},
	} {
		for i := 1; i < len(ascending); i++ {
			low, high := pattern(t, ascending[i-1]), pattern(t, ascending[i])
			if low.Specificity() >= high.Specificity() || Tie(low, high) {
				t.Errorf("%s is not below %s", low, high)
			}
		}
	}
	for _, c := range []struct {
		a, b string
		tie  bool
	}{
		{"*", "%any", true},
		{"*.example.net", "*.EXAMPLE.net", true},
		{"*.example.net", "*.example.com", false},
		{"gw.example.net", "GW.example.net", true},
		{"C=CH, CN=*", "C=*, CN=moon", true},
		{"C=CH, CN=*", "C=DE, CN=*", false},
		{"C=CH, CN=*", "C=CH, CN=moon", false},
		{"10.0.0.0/8", "10.0.0.0/8", true},
		{"10.0.0.0/8", "11.0.0.0/8", false},
		{"*@example.net", "*.example.net", false},
		{"Ops@Example.net", "Ops@example.NET", true},
		{"C=CH, CN=Moon", "c=ch,cn=moon", true},
		{"192.0.2.1/32", "192.0.2.1", true},
		{"keyid:a", "keyid:A", false},
	} {
		if c.tie && pattern(t, c.a).Class() != pattern(t, c.b).Class() {
			t.Errorf("%s and %s tie and are of different classes", c.a, c.b)
		}
		if Tie(pattern(t, c.a), pattern(t, c.b)) != c.tie || Tie(pattern(t, c.b), pattern(t, c.a)) != c.tie {
			t.Errorf("%s and %s: %v", c.a, c.b, !c.tie)
		}
	}
}

func FuzzPattern(f *testing.F) {
	for _, s := range []string{"*", "*.example.net", "*@example.net", "10.0.0.0/8", "CN=*", "@#00", "keyid:x", "dn:/CN=a", "fqdn:*.x"} {
		f.Add(s, byte(2), "gw.example.net")
	}
	f.Fuzz(func(t *testing.T, s string, typ byte, data string) {
		i := ID{typ, data}
		if !i.IsSet() {
			return
		}
		for _, r := range i.String() {
			if r < ' ' || r == 0x7f {
				t.Fatalf("%q", i)
			}
		}
		p, err := ParsePattern(s)
		if err != nil || len(p.String()) > 1024 {
			return // escapes can make it too long to be read
		}
		again, err := ParsePattern(p.String())
		if err != nil || !Tie(p, again) || again.Matches(i) != p.Matches(i) {
			t.Fatalf("%q is written %q and then %q (%v)", s, p, again, err)
		}
		if e := p.Exact(); e.IsSet() && !p.Matches(e) {
			t.Fatalf("%q does not fit itself", s)
		}
	})
}

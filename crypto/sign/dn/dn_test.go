package dn

import (
	"bytes"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"os/exec"
	"strings"
	"testing"

	der "golang.org/x/crypto/cryptobyte/asn1"
)

func parse(t testing.TB, s string) []byte {
	t.Helper()
	b, err := Parse(s)
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return b
}

func TestTextAndBack(t *testing.T) {
	for s, want := range map[string]string{
		"C=CH, O=example, CN=moon":              "",
		"/C=CH/O=example/CN=moon":               "C=CH, O=example, CN=moon",
		"c=CH,o=example,cn=moon":                "C=CH, O=example, CN=moon",
		"  C = CH ,  CN =  moon  rise ":         "C=CH, CN=moon  rise",
		`O=Foo\, Inc., CN=moon`:                 "",
		`O="Foo, Inc.", CN=moon`:                `O=Foo\, Inc., CN=moon`,
		`CN="a+b" , O=x`:                        `CN=a\+b, O=x`,
		`CN=a\\b`:                               "",
		`CN=a\"b`:                               "",
		`CN=\20x\20`:                            `CN=\ x\ `,
		`CN=\#1`:                                "",
		`CN="#1"`:                               `CN=\#1`,
		"CN=http://x/y=z":                       `CN=http:\/\/x\/y=z`,
		"CN=M\u00fcller":                        "",
		`CN=M\c3\bcller`:                        "CN=M\u00fcller",
		"CN=moon+UID=7":                         "",
		"DC=net, DC=example, E=ops@example.net": "",
		"emailAddress=ops@example.net":          "E=ops@example.net",
		"2.5.4.3=moon":                          "CN=moon",
		"1.2.3.4=x":                             "",
		"CN=#0c046d6f6f6e":                      "CN=moon",
		"CN=#0500":                              "",
		"SN=Doe, GN=Jo, serialNumber=1, OU=a, OU=b": "SN=Doe, G=Jo, serialNumber=1, OU=a, OU=b",
		"CN=*": "",
	} {
		if want == "" {
			want = s
		}
		b := parse(t, s)
		if got := Format(b); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
		if !Equal(b, parse(t, Format(b))) {
			t.Errorf("%q: another name after %q", s, Format(b))
		}
	}
}

func TestMistakesInText(t *testing.T) {
	for s, want := range map[string]string{
		"":                                 "no attribute",
		"moon":                             "no attribute",
		"=moon":                            "no attribute",
		"CN=moon,":                         "no attribute",
		"CN=":                              "no value",
		"CN=a, O=":                         "O has no value",
		"XX=a":                             `unknown attribute "XX"`,
		"1.=a":                             "unknown attribute",
		`CN="a`:                            "closing quote",
		`CN="a"b`:                          "after the closing quote",
		`CN=a"b`:                           "quote",
		`CN=a\`:                            "backslash",
		`CN=a\xy`:                          "backslash",
		"CN=#0c05616263":                   "DER",
		"CN=#zz":                           "DER",
		`CN=\ff`:                           "UTF-8",
		"CN=\xff":                          "UTF-8",
		strings.Repeat("CN=a,", 500):       "1024",
		strings.Repeat("C=a,", 64) + "C=a": "more than 64",
	} {
		if b, err := Parse(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %x, %v; want %q", s, b, err, want)
		}
	}
}

// The DER is what the standard library makes of the same attributes.
func TestDERAsTheStandardLibraryHasIt(t *testing.T) {
	attr := func(oid asn1.ObjectIdentifier, v string) pkix.AttributeTypeAndValue {
		return pkix.AttributeTypeAndValue{Type: oid, Value: v}
	}
	rdns := pkix.RDNSequence{
		{attr(asn1.ObjectIdentifier{2, 5, 4, 6}, "CH")},
		{attr(asn1.ObjectIdentifier{2, 5, 4, 10}, "M\u00fcller & Co")},
		{attr(asn1.ObjectIdentifier{2, 5, 4, 3}, "moon"), attr(asn1.ObjectIdentifier{2, 5, 4, 5}, "7")},
	}
	want, err := asn1.Marshal(rdns)
	if err != nil {
		t.Fatal(err)
	}
	if got := parse(t, "C=CH, O=M\u00fcller & Co, serialNumber=7+CN=moon"); !bytes.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
}

func TestEqualWhateverTheStringType(t *testing.T) {
	cn := func(tag der.Tag, value string) []byte {
		return write([]attribute{{oid: "\x55\x04\x03", tag: tag, value: []byte(value)}})
	}
	moon := cn(der.PrintableString, "Moon  Rise")
	for name, c := range map[string]struct {
		b    []byte
		want bool
	}{
		"UTF8String":                    {cn(der.UTF8String, "moon rise"), true},
		"IA5String, more spaces":        {cn(der.IA5String, "  MOON   RISE "), true},
		"TeletexString":                 {cn(der.T61String, "moon rise"), true},
		"BMPString":                     {cn(bmpString, "\x00m\x00o\x00o\x00n\x00 \x00r\x00i\x00s\x00e"), true},
		"UniversalString":               {cn(universalString, "\x00\x00\x00m\x00\x00\x00o\x00\x00\x00o\x00\x00\x00n\x00\x00\x00 \x00\x00\x00r\x00\x00\x00i\x00\x00\x00s\x00\x00\x00e"), true},
		"without the space":             {cn(der.PrintableString, "moonrise"), false},
		"an octet string":               {cn(der.OCTET_STRING, "moon rise"), false},
		"with a zero octet":             {cn(der.PrintableString, "moon rise\x00"), false},
		"odd BMPString":                 {cn(bmpString, "\x00m\x00"), false},
		"no UTF-8":                      {cn(der.UTF8String, "moon rise\xff"), false},
		"another attribute":             {parse(t, "O=moon rise"), false},
		"one more":                      {parse(t, "CN=moon rise, CN=moon rise"), false},
		"nothing":                       {write(nil), false},
		"no name":                       {[]byte("moon"), false},
		"trailing":                      {append(bytes.Clone(moon), 0), false},
		"a letter that only looks like": {cn(der.UTF8String, "moon ri\u017fe"), false},
	} {
		if (Key(moon) == Key(c.b)) != c.want || Equal(moon, c.b) != c.want || Equal(c.b, moon) != c.want {
			t.Errorf("%s: %v", name, !c.want)
		}
	}
	if !Equal(cn(der.T61String, "M\xfcller"), cn(der.UTF8String, "M\u00fcller")) {
		t.Error("Latin 1 and UTF-8 differ")
	}
	if Equal([]byte("x"), []byte("x")) {
		t.Error("two times no name are equal")
	}
	if !Equal(parse(t, "CN=a+O=b, C=CH"), parse(t, "O=b+CN=a, C=CH")) || Equal(parse(t, "CN=a+O=b"), parse(t, "CN=a, O=b")) {
		t.Error("one RDN of two attributes")
	}
}

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"C=CH, O=example, CN=*", "C=CH, O=example, CN=moon", true},
		{"C=CH, O=example, CN=*", "c=ch, o=Example, cn=Sun", true},
		{"C=CH, O=example, CN=*", "C=CH, O=other, CN=moon", false},
		{"C=CH, O=example, CN=*", "C=CH, O=example, OU=x, CN=moon", false},
		{"C=CH, O=example, CN=*", "C=CH, CN=moon, O=example", false},
		{"C=CH, O=example, CN=*", "C=CH, O=example", false},
		{"C=*, O=*, CN=*", "C=CH, O=example, CN=moon", true},
		{"CN=*", "CN=#0401ff", true},
		{"CN=m*", "CN=moon", false},
		{"CN=*+UID=7", "CN=a+UID=7", true},
		{"CN=*+UID=7", "CN=a, UID=7", false},
		{"CN=moon", "CN=*", false},
	} {
		if Match(parse(t, c.pattern), parse(t, c.name)) != c.want {
			t.Errorf("%s, %s: %v", c.pattern, c.name, !c.want)
		}
	}
	if wild, literal := Count(parse(t, "C=CH, O=*, CN=*")); wild != 2 || literal != 1 {
		t.Errorf("%d and %d", wild, literal)
	}
	if !Overlap(parse(t, "O=*, CN=moon"), parse(t, "O=example, CN=*")) || Overlap(parse(t, "O=*, CN=moon"), parse(t, "O=*, CN=sun")) {
		t.Error("overlap")
	}
	if !Within(parse(t, "C=CH, O=example"), parse(t, "C=ch, O=Example, CN=moon")) || Within(parse(t, "C=CH, CN=moon"), parse(t, "C=CH, O=example, CN=moon")) ||
		Within(parse(t, "C=CH"), []byte("x")) || !Within(write(nil), parse(t, "C=CH")) || Within(parse(t, "CN=a"), parse(t, "CN=a+UID=7")) {
		t.Error("within")
	}
	if m := Mail(parse(t, "CN=x, E=a@example.net, E=b@example.net")); strings.Join(m, " ") != "a@example.net b@example.net" {
		t.Errorf("%v", m)
	}
}

func TestControlCharactersDoNotReachTheTerminal(t *testing.T) {
	for _, s := range []string{"\x1b[2J", "a\nb", "a\u202eb", "\u0085", "\x7f", "\ufeff", "\u009b2J", "\u2066", "\u200f"} {
		b := write([]attribute{{oid: "\x55\x04\x03", tag: der.UTF8String, value: []byte("x" + s)}})
		got := Format(b)
		if strings.Contains(got, s) || !Equal(b, parse(t, got)) {
			t.Errorf("%q: %q", s, got)
		}
	}
	if got := Format([]byte("\x1bno name")); got != "#"+hex.EncodeToString([]byte("\x1bno name")) {
		t.Errorf("%q", got)
	}
}

func TestNamesOfStrongSwansPKI(t *testing.T) {
	pki, err := exec.LookPath("pki")
	if err != nil {
		t.Skip("pki is not here")
	}
	run := func(in []byte, args ...string) []byte {
		t.Helper()
		cmd := exec.Command(pki, args...)
		cmd.Stdin = bytes.NewReader(in)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("pki %s: %v", strings.Join(args, " "), err)
		}
		return out
	}
	key := run(nil, "--gen", "--type", "ed25519")
	for _, s := range []string{
		"C=CH, O=example, CN=moon", "C=CH, ST=Zug, L=Zug, O=M\u00fcller AG, OU=VPN, CN=moon.example.net, E=ops@example.net",
		"DC=net, DC=example, UID=7", "C=CH, serialNumber=12, SN=Doe, G=Jo, T=Dr, I=J, D=x, N=y", "O=a b, postalCode=1, STREET=s, dnQualifier=q",
	} {
		cert := run(key, "--self", "--type", "ed25519", "--dn", s)
		theirs := run(cert, "--dn", "--format", "bin")
		if ours := parse(t, s); !Equal(ours, theirs) {
			t.Errorf("%s: %x, pki says %x", s, ours, theirs)
		}
		if Format(theirs) != s {
			t.Errorf("%s: theirs reads %s", s, Format(theirs))
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"C=CH, O=example, CN=moon", "/CN=a/O=b", `O="a, b"+CN=c\2c, 1.2.3=#0401ff`, "CN=*", "CN= \\ "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, err := Parse(s)
		if err != nil {
			return
		}
		if !Valid(b) || !Equal(b, b) {
			t.Fatalf("%q: no name", s)
		}
		if len(Format(b)) > 1024 {
			return // escapes made it too long to be read
		}
		again, err := Parse(Format(b))
		if err != nil || !Equal(again, b) || !Match(b, again) {
			t.Fatalf("%q: %q: %x, %x, %v", s, Format(b), b, again, err)
		}
	})
}

func FuzzName(f *testing.F) {
	for _, s := range []string{"C=CH, O=example, CN=moon", "CN=a+UID=7", "CN=#0500", "CN=M\u00fcller"} {
		f.Add(parse(f, s), parse(f, "CN=*"))
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		s := Format(a)
		for _, r := range s {
			if r < ' ' || r == 0x7f {
				t.Fatalf("%q", s)
			}
		}
		if Valid(a) {
			if !Equal(a, a) || !Within(a, a) || !Overlap(a, a) {
				t.Fatalf("%x is not equal to itself", a)
			}
			if again, err := Parse(s); err == nil && !Equal(again, a) {
				t.Fatalf("%x reads %q and is then %x", a, s, again)
			} else if err != nil && len(s) <= 1024 && !Empty(a) {
				t.Fatalf("%x reads %q: %v", a, s, err)
			}
		}
		if Valid(a) && Valid(b) && Equal(a, b) != (Key(a) == Key(b)) || Valid(a) != (Key(a) != "") {
			t.Fatalf("keys %q and %q of %x and %x", Key(a), Key(b), a, b)
		}
		if Equal(a, b) != Equal(b, a) || Equal(a, b) && !Match(a, b) || Overlap(a, b) != Overlap(b, a) {
			t.Fatalf("%x and %x", a, b)
		}
		_ = Mail(a)
	})
}

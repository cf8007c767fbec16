package pack

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/tinylib/msgp/msgp"
)

type inner struct {
	N    int8   `msg:"n"`
	Text string `msg:"text,omitempty"`
}

type outer struct {
	inner
	Plain  uint16
	Wide   uint64         `msg:"wide"`
	Flag   bool           `msg:"flag"`
	List   []inner        `msg:"list"`
	None   *inner         `msg:"none"`
	One    *inner         `msg:"one"`
	Any    any            `msg:"any"`
	Map    map[string]any `msg:"map"`
	hidden int
}

func TestStructsKeepTheirFieldsNamesAndOrder(t *testing.T) {
	o := outer{inner: inner{N: -3}, Plain: 7, Wide: math.MaxUint64, Flag: true, List: []inner{{1, "a"}, {}}, One: &inner{2, ""},
		Any: []any{int64(-1), nil, "x"}, Map: map[string]any{"b": true, "a": int64(5)}, hidden: 1}
	raw := Append(nil, o)
	text, err := AppendJSON(nil, raw)
	const want = `{"n":-3,"Plain":7,"wide":18446744073709551615,"flag":true,"list":[{"n":1,"text":"a"},{"n":0}],"none":null,"one":{"n":2},` +
		`"any":[-1,null,"x"],"map":{"a":5,"b":true}}`
	if err != nil || string(text) != want {
		t.Errorf("%v, got  %s\nwant %s", err, text, want)
	}
	var back outer
	if err := Read(raw, &back); err != nil {
		t.Fatal(err)
	}
	if o.hidden = 0; !reflect.DeepEqual(back, o) {
		t.Errorf("got %+v, want %+v", back, o)
	}
	if again, err := FromJSON(text); err != nil {
		t.Error(err)
	} else if back = (outer{}); Read(again, &back) != nil || !reflect.DeepEqual(back, o) {
		t.Errorf("by way of JSON: %+v, want %+v", back, o)
	}
}

func TestTheBytesAreThoseOfTheLibrary(t *testing.T) {
	same := func(what any, got, want []byte) {
		t.Helper()
		if !bytes.Equal(got, want) {
			t.Errorf("%.20v: got %.10x, want %.10x", what, got, want)
		}
	}
	for shift := range 64 {
		for _, d := range []int64{-1, 0, 1} {
			x := int64(1)<<shift + d
			for _, x := range []int64{x, -x} {
				same(x, Append(nil, x), msgp.AppendInt64(nil, x))
				same(uint64(x), Append(nil, uint64(x)), msgp.AppendUint64(nil, uint64(x)))
				var i int64
				if err := Read(msgp.AppendInt64(nil, x), &i); err != nil || i != x {
					t.Errorf("%d was read as %d: %v", x, i, err)
				}
				var u uint64
				if err := Read(msgp.AppendUint64(nil, uint64(x)), &u); err != nil || u != uint64(x) {
					t.Errorf("%d was read as %d: %v", uint64(x), u, err)
				}
			}
		}
	}
	for _, n := range []int{0, 1, 15, 16, 31, 32, 255, 256, 65535, 65536} {
		s := strings.Repeat("x", n)
		same(n, Append(nil, s), msgp.AppendString(nil, s))
		flags := make([]bool, n)
		raw := Append(nil, flags)
		same(n, raw[:len(raw)-n], msgp.AppendArrayHeader(nil, uint32(n)))
		var back []bool
		if err := Read(raw, &back); err != nil || len(back) != n {
			t.Errorf("%d elements: %v", len(back), err)
		}
		m := make(map[string]any)
		for i := range n {
			m[strconv.Itoa(i)] = nil
		}
		head := msgp.AppendMapHeader(nil, uint32(n))
		same(n, Append(nil, m)[:len(head)], head)
	}
	var f any
	if err := Read(msgp.AppendFloat32(nil, 1.5), &f); err != nil || f != 1.5 {
		t.Errorf("1.5 was read as %v: %v", f, err)
	}
	same(-2.25, Append(nil, -2.25), msgp.AppendFloat64(nil, -2.25))
}

func TestUnknownFieldsAreSkippedAndMissingOnesLeftAlone(t *testing.T) {
	v := inner{Text: "stays"}
	if err := ReadJSON([]byte(`{"new":{"deep":[1,{"x":null}]},"n":4}`), &v); err != nil || v != (inner{4, "stays"}) {
		t.Errorf("%v, %+v", err, v)
	}
	if err := ReadJSON([]byte(`{"text":null}`), &v); err != nil || v.Text != "" {
		t.Errorf("%v, %+v", err, v)
	}
}

func TestWrongTypesAreErrorsThatNameTheKey(t *testing.T) {
	for text, want := range map[string]string{
		`{"n":128}`:                 "n",
		`{"n":"1"}`:                 "n",
		`{"n":1.5}`:                 "n",
		`{"Plain":-1}`:              "Plain",
		`{"Plain":65536}`:           "Plain",
		`{"flag":0}`:                "flag",
		`{"list":{}}`:               "list",
		`{"one":{"text":[]}}`:       "one.text",
		`{"list":[{"n":1e9}]}`:      "list.n",
		`{"map":[]}`:                "map",
		`{"wide":-1}`:               "wide",
		`{"wide":3e0}`:              "wide",
		`{"one":[]}`:                "one",
		`{"list":[[]],"flag":true}`: "list",
	} {
		var o outer
		err := ReadJSON([]byte(text), &o)
		if te, ok := err.(*TypeError); !ok || te.Key != want {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{`[]`, `1`, `"x"`} {
		var o outer
		if err := ReadJSON([]byte(text), &o); err == nil {
			t.Errorf("%s was taken for a map", text)
		}
	}
}

func TestWhatIsBrokenIsRefused(t *testing.T) {
	whole := Append(nil, outer{List: []inner{{1, "a"}}, Any: "x"})
	for n := range whole {
		var o outer
		if Read(whole[:n], &o) == nil {
			t.Errorf("the first %d of %d bytes were taken", n, len(whole))
		}
		if _, err := AppendJSON(nil, whole[:n]); err == nil {
			t.Errorf("the first %d of %d bytes made JSON", n, len(whole))
		}
	}
	deep := append(bytes.Repeat([]byte{0x91}, maxDepth), 0xc0)
	for what, raw := range map[string][]byte{
		"bytes behind":   append(bytes.Clone(whole), 0xc0),
		"too deep":       deep,
		"a long list":    msgp.AppendArrayHeader(nil, math.MaxUint32),
		"a long map":     msgp.AppendMapHeader(nil, math.MaxUint32),
		"a long string":  {0xdb, 0xff, 0xff, 0xff, 0xff, 'x'},
		"bytes":          msgp.AppendBytes(nil, []byte("x")),
		"an extension":   {0xd4, 1, 2},
		"no MessagePack": {0xc1},
		"a key of bytes": append(msgp.AppendMapHeader(nil, 1), 0xc4, 1, 'x', 0xc0),
	} {
		var v any
		if err := Read(raw, &v); err == nil {
			t.Errorf("%s: read as %v", what, v)
		}
		if text, err := AppendJSON(nil, raw); err == nil {
			t.Errorf("%s: made %s", what, text)
		}
	}
	for _, f := range []float64{math.NaN(), math.Inf(1)} {
		if text, err := AppendJSON(nil, msgp.AppendFloat64(nil, f)); err == nil {
			t.Errorf("%v made %s", f, text)
		}
	}
}

// texts are JSON, and what is nearly JSON.
var texts = []string{
	`null`, `true`, `false`, `0`, `-0`, `12`, `-9223372036854775808`, `18446744073709551615`, `18446744073709551616`, `1.5`, `-2E+3`, `1e-7`, `1e400`,
	`""`, `"a\"\\\/\b\f\n\r\t"`, `"\u00e9\ud83d\ude00"`, `"\ud83d"`, `"\ud83dx"`, `"\ud83d\u0041"`, "\"\xff\xc3\"", "\"é\u2028<&>\"", `"\x"`, `"\u12g4"`, `"\u+123"`, "\"\n\"", `"`,
	`[]`, `[1,2]`, `[1,]`, `[,1]`, `[1 2]`, `[`, `]`, `[[[]]]`, ` [ 1 , "x" ] `, `{}`, `{"a":1,"b":{"c":[]}}`, `{"a":1,"a":2}`, `{"a"}`, `{"a":}`, `{a:1}`, `{"a":1,}`, `{1:2}`,
	``, ` `, `nul`, `nullx`, `01`, `+1`, `.5`, `1.`, `1e`, `-`, `--1`, `0x1`, `1 2`, `tru`, `NaN`, "\ufeff1",
}

func TestJSONIsWhatEncodingJSONTakesForIt(t *testing.T) {
	for _, text := range texts {
		likeTheStandardLibrary(t, text)
	}
}

func FuzzJSON(f *testing.F) {
	for _, text := range texts {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Count(text, "[")+strings.Count(text, "{") < maxDepth {
			likeTheStandardLibrary(t, text)
		}
	})
}

func likeTheStandardLibrary(t *testing.T, text string) {
	t.Helper()
	var want, got any
	wantErr := json.Unmarshal([]byte(text), &want)
	raw, err := FromJSON([]byte(text))
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("%q: %v, by encoding/json %v", text, err, wantErr)
	}
	if err != nil {
		return
	}
	out, err := AppendJSON(nil, raw)
	if err != nil || json.Unmarshal(out, &got) != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q became %q: %v, want %v (%v)", text, out, got, want, err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(Append(nil, outer{List: []inner{{1, "a"}}, Any: map[string]any{"x": 1.0}}))
	f.Add([]byte{0xdb, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var v any
		if Read(raw, &v) == nil {
			var again any
			if err := Read(Append(nil, v), &again); err != nil || !same(v, again) {
				t.Errorf("%v became %v: %v", v, again, err)
			}
		}
		var o outer
		Read(raw, &o)
		if text, err := AppendJSON(nil, raw); err == nil && !json.Valid(text) {
			t.Errorf("%q is no JSON", text)
		}
	})
}

// same is DeepEqual but for NaN.
func same(a, b any) bool {
	return reflect.DeepEqual(Append(nil, a), Append(nil, b))
}

package status

import (
	"bytes"
	"os"
	"reflect"
	"testing"

	"greseal/tunnel/status/pack"
)

// fill gives every field below v a value of its own, two elements to each list.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n)
		fill(v.Index(1), n)
	case reflect.String:
		v.SetString(string(rune('a'+*n%26)) + "ö\n")
	case reflect.Bool:
		v.SetBool(*n%2 == 0)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n) * -1000)
	default:
		v.SetUint(uint64(*n) * 1000)
	}
}

// The names, order and kinds of all fields are what other programs rely on: the
// file may only ever grow.
func TestTheSchemaOnlyGrows(t *testing.T) {
	var r, back Reply
	n := 0
	fill(reflect.ValueOf(&r).Elem(), &n)
	raw := pack.Append(nil, &r)
	var got bytes.Buffer
	if err := JSON(&got, raw, ""); err != nil {
		t.Fatal(err)
	}
	const file = "testdata/reply.json"
	if update {
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%v; differs from %s (UPDATE_GOLDEN=1 rewrites it):\n%s", err, file, got.Bytes())
	}
	if err := pack.Read(raw, &back); err != nil || !reflect.DeepEqual(r, back) {
		t.Errorf("%v: read back as %+v, want %+v", err, back, r)
	}
}

// Package pack turns plain structs into MessagePack and back by reflection, and
// MessagePack into JSON and back. It is what the status socket, --json, rpcd's
// arguments and nft's rules are read and written with: one small codec, where a
// library with generated code for the schema, and encoding/json beside it, would
// weigh 600 kB on the smallest routers.
//
// A struct is a map with its exported fields in their order, those of embedded
// structs among them, under the names of their msg tags; "name,omitempty" leaves
// a zero field out. Kinds are bool,
// string, every int, uint and float (read into interfaces only), slices, arrays, maps with string keys (sorted),
// pointers and interfaces (nil for none). Reading is total: it never panics on
// what it is given, bounds depth and length, and skips fields it does not know.
package pack

import (
	"reflect"
	"sort"
	"strings"
)

// maxDepth bounds how deep values are nested in what is read.
const maxDepth = 64

// Append appends the MessagePack form of v. It panics on a kind it cannot write,
// which is a mistake of the program.
func Append(b []byte, v any) []byte { return appendValue(b, reflect.ValueOf(v)) }

func appendValue(b []byte, v reflect.Value) []byte {
	switch v.Kind() {
	case reflect.Invalid:
		return appendNull(b)
	case reflect.Pointer, reflect.Interface:
		return appendValue(b, v.Elem())
	case reflect.Struct:
		return appendStruct(b, v)
	case reflect.Slice, reflect.Array:
		b = appendHead(b, 0x90, v.Len())
		for i := range v.Len() {
			b = appendValue(b, v.Index(i))
		}
		return b
	case reflect.Map:
		keys := v.MapKeys()
		sort.Slice(keys, func(i, j int) bool { return keys[i].String() < keys[j].String() })
		b = appendHead(b, 0x80, len(keys))
		for _, k := range keys {
			b = appendValue(appendText(b, k.String()), v.MapIndex(k))
		}
		return b
	case reflect.String:
		return appendText(b, v.String())
	case reflect.Bool:
		return appendBool(b, v.Bool())
	}
	switch {
	case v.CanInt():
		return appendInt(b, v.Int())
	case v.CanUint():
		return appendUint(b, v.Uint())
	case v.CanFloat():
		return appendFloat(b, v.Float())
	}
	panic("pack: no MessagePack for " + v.Type().String())
}

func appendStruct(b []byte, v reflect.Value) []byte {
	all := members(nil, v, false)
	b = appendHead(b, 0x80, len(all))
	for _, m := range all {
		b = appendValue(appendText(b, m.name), m.value)
	}
	return b
}

// member is a field of a struct with its name on the wire.
type member struct {
	name  string
	value reflect.Value
}

// members appends the fields of the struct v, those of embedded structs among
// them; empty says whether also those that are left out when they are zero.
func members(all []member, v reflect.Value, empty bool) []member {
	t := v.Type()
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			all = members(all, v.Field(i), empty)
			continue
		}
		name, option, _ := strings.Cut(f.Tag.Get("msg"), ",")
		if !f.IsExported() || option == "omitempty" && !empty && v.Field(i).IsZero() {
			continue
		}
		if name == "" {
			name = f.Name
		}
		all = append(all, member{name, v.Field(i)})
	}
	return all
}

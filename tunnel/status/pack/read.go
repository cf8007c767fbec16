package pack

import (
	"errors"
	"math"
	"reflect"
)

// maxElements bounds the elements of one list or map.
const maxElements = 65536

// TypeError says which key holds a value of another type than is wanted.
type TypeError struct {
	Key string // from the outermost, "a.b"
	Err error
}

func (e *TypeError) Error() string { return e.Key + ": " + e.Err.Error() }
func (e *TypeError) Unwrap() error { return e.Err }

var (
	errDepth  = errors.New("values are nested too deep")
	errLong   = errors.New("a list or map is too long")
	errRange  = errors.New("a number is out of range")
	errKind   = errors.New("a value of this type is not expected")
	errLength = errors.New("bytes follow the value")
)

// Read reads the one MessagePack value b into what v points to. Nil is the zero
// value of everything; an interface becomes nil, bool, string, int64, uint64
// beyond that, float64, []any or map[string]any.
func Read(b []byte, v any) error {
	rest, err := readValue(b, reflect.ValueOf(v).Elem(), maxDepth)
	if err == nil && len(rest) > 0 {
		return errLength
	}
	return err
}

func readValue(b []byte, v reflect.Value, depth int) ([]byte, error) {
	k, x, rest, err := next(b)
	switch {
	case err != nil:
		return b, err
	case depth == 0:
		return b, errDepth
	case k == null:
		v.SetZero()
		return rest, nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		return readValue(b, v.Elem(), depth-1)
	case reflect.Interface:
		return readAny(b, v, depth)
	case reflect.Struct:
		all := members(nil, v, true)
		return readMap(b, func(key string, b []byte) ([]byte, error) {
			for _, m := range all {
				if m.name == key {
					return readValue(b, m.value, depth-1)
				}
			}
			return skip(b, depth-1)
		})
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		return readMap(b, func(key string, b []byte) ([]byte, error) {
			x := reflect.New(v.Type().Elem()).Elem()
			b, err := readValue(b, x, depth-1)
			v.SetMapIndex(reflect.ValueOf(key), x)
			return b, err
		})
	case reflect.Slice:
		if k != list {
			return b, errKind
		}
		if x > maxElements {
			return b, errLong
		}
		v.SetZero()
		zero := reflect.Zero(v.Type().Elem())
		for i := 0; err == nil && i < int(x); i++ {
			v.Set(reflect.Append(v, zero))
			rest, err = readValue(rest, v.Index(i), depth-1)
		}
		return rest, err
	case reflect.String:
		if k == text {
			v.SetString(string(rest[:x]))
			return rest[x:], nil
		}
	case reflect.Bool:
		if k == boolean {
			v.SetBool(x == 1)
			return rest, nil
		}
	}
	switch {
	case v.CanInt() && (k == signed || k == unsigned):
		if k == unsigned && x > math.MaxInt64 || v.OverflowInt(int64(x)) {
			return b, errRange
		}
		v.SetInt(int64(x))
		return rest, nil
	case v.CanUint() && (k == signed || k == unsigned):
		if k == signed || v.OverflowUint(x) {
			return b, errRange
		}
		v.SetUint(x)
		return rest, nil
	}
	return b, errKind
}

// Each calls f with every key and value of the map at the head of b, in their
// order, and returns what follows the map. It has at most max keys.
func Each(b []byte, max int, f func(key string, value []byte) error) (rest []byte, err error) {
	if k, x, _, err := next(b); err == nil && k == mapping && x > uint64(max) {
		return b, errLong
	}
	return readMap(b, func(key string, b []byte) ([]byte, error) {
		rest, err := Skip(b)
		if err == nil {
			err = f(key, b[:len(b)-len(rest)])
		}
		return rest, err
	})
}

func readMap(b []byte, member func(key string, b []byte) ([]byte, error)) ([]byte, error) {
	k, n, b, err := next(b)
	switch {
	case err != nil:
		return b, err
	case k != mapping:
		return b, errKind
	case n > maxElements:
		return b, errLong
	}
	for ; n > 0; n-- {
		k, x, rest, err := next(b)
		if err != nil {
			return b, err
		}
		if k != text {
			return b, errKind
		}
		key := string(rest[:x])
		if b, err = member(key, rest[x:]); err != nil {
			if inner, ok := err.(*TypeError); ok {
				err = &TypeError{key + "." + inner.Key, inner.Err}
			} else if err != ErrShort {
				err = &TypeError{key, err}
			}
			return b, err
		}
	}
	return b, nil
}

// readAny reads any value into the interface v.
func readAny(b []byte, v reflect.Value, depth int) (rest []byte, err error) {
	k, x, rest, err := next(b)
	if err != nil {
		return b, err
	}
	var is any
	switch k {
	case boolean:
		is = x == 1
	case signed:
		is = int64(x)
	case unsigned:
		if is = int64(x); x > math.MaxInt64 {
			is = x
		}
	case float:
		is = math.Float64frombits(x)
	case text:
		is, rest = string(rest[:x]), rest[x:]
	case list:
		l := []any{}
		rest, err = readValue(b, reflect.ValueOf(&l).Elem(), depth-1)
		is = l
	case mapping:
		var m map[string]any
		rest, err = readValue(b, reflect.ValueOf(&m).Elem(), depth-1)
		is = m
	}
	if err == nil {
		v.Set(reflect.ValueOf(is))
	}
	return rest, err
}

package pack

import (
	"math"
	"strconv"
	"unicode/utf8"
)

// AppendJSON appends the one MessagePack value raw as compact JSON.
func AppendJSON(out, raw []byte) ([]byte, error) {
	out, rest, err := appendJSON(out, raw, maxDepth)
	if err == nil && len(rest) > 0 {
		err = errLength
	}
	return out, err
}

func appendJSON(out, b []byte, depth int) (_, rest []byte, err error) {
	k, x, rest, err := next(b)
	switch {
	case err != nil:
		return out, b, err
	case depth == 0:
		return out, b, errDepth
	}
	switch k {
	case null:
		out = append(out, "null"...)
	case boolean:
		out = strconv.AppendBool(out, x == 1)
	case signed:
		out = strconv.AppendInt(out, int64(x), 10)
	case unsigned:
		out = strconv.AppendUint(out, x, 10)
	case float:
		f := math.Float64frombits(x)
		if f-f != 0 {
			return out, b, errRange // infinite or no number: JSON has none
		}
		out = strconv.AppendFloat(out, f, 'g', -1, 64)
	case text:
		out, rest = quote(out, string(rest[:x])), rest[x:]
	case list:
		out = append(out, '[')
		for i := uint64(0); err == nil && i < x; i++ {
			if i > 0 {
				out = append(out, ',')
			}
			out, rest, err = appendJSON(out, rest, depth-1)
		}
		out = append(out, ']')
	case mapping:
		out = append(out, '{')
		empty := len(out)
		rest, err = readMap(b, func(key string, b []byte) (rest []byte, err error) {
			if len(out) > empty {
				out = append(out, ',')
			}
			out = append(quote(out, key), ':')
			out, rest, err = appendJSON(out, b, depth-1)
			return rest, err
		})
		out = append(out, '}')
	}
	return out, rest, err
}

// quote appends s as a JSON string. What could end a piece of HTML is escaped
// too, for a web page that takes it over carelessly.
func quote(out []byte, s string) []byte {
	const hex = "0123456789abcdef"
	out = append(out, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			out = append(out, '\\', byte(r))
		case r == '\n':
			out = append(out, `\n`...)
		case r == '\r':
			out = append(out, `\r`...)
		case r == '\t':
			out = append(out, `\t`...)
		case r < ' ' || r == '<' || r == '>' || r == '&' || r == '\u2028' || r == '\u2029':
			out = append(out, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
		default:
			out = utf8.AppendRune(out, r)
		}
	}
	return append(out, '"')
}

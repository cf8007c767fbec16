package config

import "strconv"

// quote writes a word of the file into a message: escaped, and cut so that a
// message stays readable.
func quote(s string) string {
	const most = 60
	n := 0
	for i := range s {
		if n == most {
			return strconv.Quote(s[:i]) + "…"
		}
		n++
	}
	return strconv.Quote(s)
}

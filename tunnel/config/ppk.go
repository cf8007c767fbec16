package config

import "strings"

// maxPPKID bounds the name of a post-quantum pre-shared key.
const maxPPKID = 128

// ppk checks that the post-quantum pre-shared key is whole, and reads it.
func (r *reading) ppk() {
	written := func(key string) bool { _, ok := r.written[key]; return ok }
	key := "ppk"
	if written("ppk_file") {
		key = "ppk_file"
	}
	switch {
	case written("ppk") && written("ppk_file"):
		r.mistake("ppk_file", -1, fault{"is a second post-quantum pre-shared key besides ppk", "leave out one of the two"})
	case written(key) && !written("ppk_id"):
		r.mistake(key, -1, fault{"has no name", `write the one the peer has, too: ppk_id = "hq"`})
	case written("ppk_id") && !written(key):
		r.mistake("ppk_id", -1, fault{"names a post-quantum pre-shared key that is not here", "write ppk_file or ppk; greseal genpsk makes a key"})
	case r.has("ppk_required") && r.PPKRequired && !written(key):
		r.mistake("ppk_required", -1, fault{"is true and there is no post-quantum pre-shared key", "write ppk_id and ppk_file; greseal genpsk makes a key"})
	}
	if r.has("ppk_file") {
		s, f := readSecret(r.PPKFile)
		if f.bad() {
			r.mistake("ppk_file", -1, f)
		} else {
			r.PPK = s
			r.judge("ppk_file", s.Bytes())
		}
	} else if r.has("ppk") {
		r.judge("ppk", r.PPK.Bytes())
	}
}

// checkPPKID allows what RFC 8784 section 5.1 recommends and what others use:
// text without spaces.
func checkPPKID(s string) fault {
	switch {
	case len(s) > maxPPKID:
		return fault{"is longer than 128 bytes", "write a shorter name on both sides"}
	case strings.IndexFunc(s, func(c rune) bool { return c <= ' ' || c > '~' }) >= 0:
		return fault{quote(s) + " has a character that peers may not understand", "use letters, digits and punctuation of ASCII, without spaces"}
	}
	return fault{}
}

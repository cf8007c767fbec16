package config

import (
	"fmt"
	"math"
	"strings"
	"unicode"
)

// goodBits is the guessing work below which a pre-shared key is called weak: an
// attacker who once plays the responder can try keys offline.
const goodBits = 80

// guessingBits estimates the work of guessing a secret, in bits, as someone
// would who knows how people choose them: words, repetitions and runs count as
// what they are. It errs on the low side for anything that looks made up, and
// gives random keys nearly their full worth.
func guessingBits(s string) int {
	if part := period(s); part != "" {
		return guessingBits(part) + int(math.Log2(float64(len(s)/len(part))))
	}
	bits, pool := 0.0, perCharacter(s)
	for i := 0; i < len(s); {
		if n := word(s[i:]); n > 0 {
			// A word of a list of 8192, or its letters if that is less.
			bits += min(13+capitals(s[i:i+n]), float64(n)*pool)
			i += n
			continue
		}
		if i > 0 && (s[i] == s[i-1] || s[i] == s[i-1]+1 || s[i] == s[i-1]-1) {
			bits++ // goes on as before
		} else {
			bits += pool
		}
		i++
	}
	return int(bits)
}

// invisible names the first character of a secret that no editor or terminal
// shows: copied from a web page or put there by an editor, it is rarely meant.
// White space at an end is another matter, and so are accents and other letters.
func invisible(s string) string {
	names := map[rune]string{
		0xfeff: "a byte order mark", 0x200b: "a zero-width space", 0x200c: "a zero-width non-joiner", 0x200d: "a zero-width joiner",
		0x2060: "a word joiner", 0x00ad: "a soft hyphen",
	}
	for i, r := range s {
		name, known := names[r]
		switch {
		case known:
		case r == '\r' && i == len(s)-1 || r == '\n' || r == '\t': // seen, or said otherwise
			continue
		case unicode.Is(unicode.C, r) || unicode.Is(unicode.Variation_Selector, r) || unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r):
			name = "a character that is not shown"
			if unicode.IsControl(r) {
				name = "a control character"
			}
		default:
			continue
		}
		return fmt.Sprintf("%s (U+%04X)", name, r)
	}
	return ""
}

// perCharacter is the worth of one random character, by the kinds that occur,
// and no more than the distinct ones allow.
func perCharacter(s string) float64 {
	var lower, upper, digit, other, hexOnly = false, false, false, false, true
	distinct, signs := map[byte]bool{}, 0
	for i := range len(s) {
		c, again := s[i], distinct[s[i]]
		distinct[c] = true
		switch {
		case c >= 'a' && c <= 'z':
			lower = true
			hexOnly = hexOnly && c <= 'f'
		case c >= 'A' && c <= 'Z':
			upper = true
			hexOnly = hexOnly && c <= 'F'
		case c >= '0' && c <= '9':
			digit = true
		default:
			other, hexOnly = true, false
			if !again {
				signs++
			}
		}
	}
	pool := 0.0
	switch {
	case hexOnly && digit && lower != upper:
		pool = 16
	default:
		for _, kind := range []struct {
			there bool
			size  float64
		}{{lower, 26}, {upper, 26}, {digit, 10}, {other, min(16, 3*float64(signs))}} {
			if kind.there {
				pool += kind.size
			}
		}
	}
	// Of n random characters about pool×(1−e^(−n/pool)) are distinct: far fewer
	// than that means that few were used on purpose.
	if n := float64(len(distinct)); n*2 < pool*(1-math.Exp(-float64(len(s))/pool)) {
		pool = n
	}
	return math.Log2(max(pool, 1))
}

// word is the length of the word that s begins with, 0 when it is none: four
// letters or more in one case, but for the first, that can be spoken, digits
// and signs in the place of letters allowed inside.
func word(s string) int {
	n, vowels, silent, longest := 0, 0, 0, 0
	for n < len(s) && n < 20 {
		c := s[n]
		if i := strings.IndexByte("01345@$", c); i >= 0 && n > 0 && n+1 < len(s) && letter(s[n+1]) {
			c = "oleasas"[i]
		}
		if !letter(c) || changesCase(s, n) {
			break
		}
		if strings.IndexByte("aeiouyAEIOUY", c) >= 0 {
			vowels++
			silent = 0
		} else if silent++; silent > longest {
			longest = silent
		}
		n++
	}
	if n < 4 || vowels*5 < n || longest > 4 {
		return 0
	}
	return n
}

// changesCase tells whether another word begins at s[n]: an upper case letter after
// lower case ones, or the reverse but for a capital at the beginning.
func changesCase(s string, n int) bool {
	if !letter(s[n]) || n == 0 || n == 1 && !lower(s[0]) || n > 1 && !letter(s[1]) {
		return false
	}
	return lower(s[min(n-1, 1)]) != lower(s[n])
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func lower(c byte) bool  { return c >= 'a' && c <= 'z' }

// capitals is the worth of the choice to begin with one.
func capitals(s string) float64 {
	if !lower(s[0]) {
		return 1
	}
	return 0
}

// period is the part that s is a repetition of, "" when it is none.
func period(s string) string {
	for n := 1; n <= len(s)/2; n++ {
		if len(s)%n == 0 && strings.Repeat(s[:n], len(s)/n) == s {
			return s[:n]
		}
	}
	return ""
}

package cookie

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

func TestCookiesExpire(t *testing.T) {
	var j Jar
	r := rand.NewChaCha8([32]byte{1})
	from, ni := netip.MustParseAddr("192.0.2.1"), []byte("nonce")
	c := j.Make(0, r, 1, ni, from)
	for at, want := range map[time.Duration]bool{0: true, Life: true, 2*Life - 1: true, 2 * Life: false} {
		if got := j.Valid(at, c, 1, ni, from); got != want {
			t.Errorf("at %v: %v", at, got)
		}
	}
	next := j.Make(Life, r, 1, ni, from)
	if string(next) == string(c) {
		t.Error("the secret does not change")
	}
	if !j.Valid(Life+1, c, 1, ni, from) || !j.Valid(Life+1, next, 1, ni, from) {
		t.Error("the secret before is no longer good")
	}
	j.Make(2*Life, r, 1, ni, from)
	if j.Valid(2*Life, c, 1, ni, from) {
		t.Error("a cookie lives for ever")
	}
	for name, ok := range map[string]bool{
		"SPI": j.Valid(2*Life, next, 2, ni, from), "nonce": j.Valid(2*Life, next, 1, []byte("n"), from),
		"address": j.Valid(2*Life, next, 1, ni, netip.MustParseAddr("192.0.2.9")), "length": j.Valid(2*Life, next[:5], 1, ni, from),
	} {
		if ok {
			t.Errorf("a cookie is good for another %s", name)
		}
	}
}

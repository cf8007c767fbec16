// Package vectors finds and reads published test vectors for the tests of the
// packages beside it. The vectors are no part of the tree: the environment
// variable GRESEAL_VECTORS names the folder that holds them, and a test that
// needs them is skipped, saying so, when it is not set.
package vectors

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Hex is a string of octets written in hexadecimal.
type Hex []byte

// UnmarshalText reads hexadecimal digits, white space between them ignored.
func (h *Hex) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	*h = b
	return err
}

// Bytes reads hexadecimal in the source of a test.
func Bytes(t testing.TB, s string) []byte {
	t.Helper()
	var h Hex
	if err := h.UnmarshalText([]byte(s)); err != nil {
		t.Fatalf("bad hexadecimal in the test: %v", err)
	}
	return h
}

// Read returns the file below GRESEAL_VECTORS, unpacked when it ends in .gz.
func Read(t testing.TB, path ...string) []byte {
	t.Helper()
	dir := os.Getenv("GRESEAL_VECTORS")
	if dir == "" {
		t.Skip("GRESEAL_VECTORS is not set: the published vectors are not checked")
	}
	name := filepath.Join(append([]string{dir}, path...)...)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(name, ".gz") {
		r, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if data, err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
	return data
}

// JSON decodes such a file.
func JSON(t testing.TB, into any, path ...string) {
	t.Helper()
	if err := json.Unmarshal(Read(t, path...), into); err != nil {
		t.Fatalf("%s: %v", filepath.Join(path...), err)
	}
}

// Wycheproof is a file of that project's. A group has what its tests share.
type Wycheproof[Group any] struct {
	Groups []Group `json:"testGroups"`
}

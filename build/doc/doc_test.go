// Package doc holds the documentation that is too long for the README, and the
// tests that its links lead somewhere.
package doc

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A stranger reads the README to the end only if it is short.
func TestREADMEIsShort(t *testing.T) {
	info, err := os.Stat("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 10_000 {
		t.Errorf("README.md has %d bytes, more than 10,000; move something into build/doc", info.Size())
	}
}

var link = regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)

func TestLinksLeadToFiles(t *testing.T) {
	files, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	roots, err := filepath.Glob("../../*.md")
	if err != nil {
		t.Fatal(err)
	}
	links := 0
	for _, file := range append(files, roots...) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			links++
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), m[1])); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
	if links < 10 {
		t.Errorf("%d links found", links)
	}
}

// Each page is reachable from the README.
func TestREADMENamesEveryPage(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !strings.Contains(string(text), "build/doc/"+file) {
			t.Errorf("the README does not mention %s", file)
		}
	}
}

// Comments cite the contracts of ARCHITECTURE.md by number.
func TestContractsThatAreCitedExist(t *testing.T) {
	text, err := os.ReadFile("../../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	exists := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^(?:    - \*\*)?(\d+[a-d]?)\. `).FindAllStringSubmatch(string(text), -1) {
		exists[m[1]] = true
	}
	cited := 0
	cite := regexp.MustCompile(`\bcontract (\d+[a-d]?)\b`)
	err = filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range cite.FindAllStringSubmatch(string(source), -1) {
			cited++
			if !exists[m[1]] {
				t.Errorf("%s cites contract %s, which ARCHITECTURE.md does not have", path, m[1])
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if cited == 0 {
		t.Error("no contract is cited")
	}
}

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

// covered is a package and the share of its statements that its own tests reach.
type covered struct{ pkg, share string }

// nobody runs the tests where this program itself is root.
const nobody = 65534

var shareCovered = regexp.MustCompile(`coverage: ([0-9.]+%) of statements`)

// coverage runs the tests of tunnel and of the packages below that only it
// imports, as somebody without rights.
func coverage(root string) ([]covered, error) {
	out, err := list(root, "-deps", "-f", "{{.ImportPath}}", "./tunnel")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "greseal-figures")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o777); err != nil {
		return nil, err
	}
	var rows []covered
	for _, pkg := range strings.Fields(out) {
		if pkg != "greseal/tunnel" && !strings.HasPrefix(pkg, "greseal/tunnel/") {
			continue
		}
		pkg = strings.TrimPrefix(pkg, "greseal/")
		share, err := coverageOf(root, pkg, dir)
		if err != nil {
			return nil, err
		}
		rows = append(rows, covered{pkg, share})
	}
	return rows, nil
}

func coverageOf(root, pkg, dir string) (string, error) {
	binary := filepath.Join(dir, strings.ReplaceAll(pkg, "/", "-"))
	build := exec.Command("go", "test", "-c", "-cover", "-o", binary, "./"+pkg)
	build.Dir, build.Stderr = root, os.Stderr
	if err := build.Run(); err != nil {
		return "", fmt.Errorf("build the tests of %s: %w", pkg, err)
	}
	if _, err := os.Stat(binary); err != nil {
		return "no tests", nil
	}
	test := exec.Command(binary, "-test.short", "-test.coverprofile", binary+".cover")
	test.Dir = filepath.Join(root, pkg)
	if os.Getuid() == 0 {
		test.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	test.Env = append(os.Environ(), "HOME="+dir, "TMPDIR="+dir)
	text, err := test.CombinedOutput()
	found := shareCovered.FindSubmatch(text)
	if found == nil {
		return "", fmt.Errorf("the tests of %s: %v: %s", pkg, err, text)
	}
	share := string(found[1])
	if err != nil {
		share += ", with failures"
	}
	return share, nil
}

// keyName is a key of the config that is like most: a number that ends up in one
// field of an engine, without a rule of its own.
const keyName, keyField = "child_packets", "ChildPackets"

// generated is what a program writes into a file that people write otherwise.
var generated = regexp.MustCompile(`(?s)<!-- keys:.*?<!-- end of keys -->|[^\n]*BEGIN GENERATED.*?END GENERATED`)

// placesOfKey are the files that name the key and were not generated: where
// somebody writes who adds one. Tests and their data count, the changelog and the
// lab's scenarios do not.
func placesOfKey(root string) ([]string, error) {
	all, err := tracked(root, ".", ":!CHANGELOG.md", ":!build/figures", ":!build/lab", ":!build/man/*.[0-9]")
	if err != nil {
		return nil, err
	}
	var places []string
	for _, path := range all {
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			return nil, err
		}
		head := string(text[:min(len(text), 400)])
		if strings.Contains(head, "Code generated") || strings.Contains(strings.ToLower(head), "generated from") {
			continue
		}
		rest := generated.ReplaceAllString(string(text), "")
		if strings.Contains(rest, keyName) || strings.Contains(rest, keyField) {
			places = append(places, path)
		}
	}
	return places, nil
}

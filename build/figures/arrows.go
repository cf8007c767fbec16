package main

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// arrows are those between the files of one package: from A to B when A uses a
// function, method, type, variable or constant that is declared at the top level
// of B, however often. Fields belong to the file of their type. The files are put
// in the order in which the fewest arrows point from a later file to an earlier
// one: those are the ones that run upwards, which a reader who goes from top to
// bottom can't be spared.
type arrows struct{ all, up int }

func arrowsOf(root, pkg string) (arrows, error) {
	fset := token.NewFileSet()
	names, trees, err := sources(fset, root, pkg)
	if err != nil {
		return arrows{}, err
	}
	lookup, err := exported(root, pkg)
	if err != nil {
		return arrows{}, err
	}
	info := types.Info{Uses: map[*ast.Ident]types.Object{}}
	checker := types.Config{Importer: importer.ForCompiler(fset, "gc", lookup)}
	checked, err := checker.Check("greseal/"+pkg, fset, trees, &info)
	if err != nil {
		return arrows{}, err
	}
	number := map[string]int{}
	for i, name := range names {
		number[name] = i
	}
	to := make([][]bool, len(names)) // to[a][b]: a uses b
	for a := range to {
		to[a] = make([]bool, len(names))
	}
	var n arrows
	for id, object := range info.Uses {
		if object.Pkg() != checked || !topLevel(object, checked) {
			continue
		}
		a, known := number[fset.Position(id.Pos()).Filename]
		b, declared := number[fset.Position(object.Pos()).Filename]
		if known && declared && a != b && !to[a][b] {
			to[a][b] = true
			n.all++
		}
	}
	n.up = fewestUp(to)
	return n, nil
}

// topLevel tells the package's declarations and methods from fields and locals.
func topLevel(o types.Object, pkg *types.Package) bool {
	_, function := o.(*types.Func)
	return function || o.Parent() == pkg.Scope()
}

// sources parses a package for this machine, without its tests.
func sources(fset *token.FileSet, root, pkg string) ([]string, []*ast.File, error) {
	out, err := list(root, "-f", `{{join .GoFiles "\n"}}`, "./"+pkg)
	if err != nil {
		return nil, nil, err
	}
	var names []string
	var trees []*ast.File
	for _, name := range strings.Fields(out) {
		path := filepath.Join(root, pkg, name)
		tree, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, nil, err
		}
		names, trees = append(names, path), append(trees, tree)
	}
	return names, trees, nil
}

// exported opens what the compiler exported of the packages that one imports.
func exported(root, pkg string) (func(string) (io.ReadCloser, error), error) {
	out, err := list(root, "-deps", "-export", "-f", "{{.ImportPath}} {{.Export}}", "./"+pkg)
	if err != nil {
		return nil, err
	}
	export := map[string]string{}
	for line := range strings.Lines(out) {
		path, data, _ := strings.Cut(strings.TrimSpace(line), " ")
		export[path] = data
	}
	return func(path string) (io.ReadCloser, error) { return os.Open(export[path]) }, nil
}

func list(root string, args ...string) (string, error) {
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Dir, cmd.Stderr = root, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go list: %w", err)
	}
	return string(out), nil
}

// fewestUp looks for the order of files with the fewest arrows from a later file
// to an earlier one and returns how many are left. To find the very fewest takes
// too long; this moves single files to where they are best for as long as that
// helps, which is exact for what has no circles, and close else.
func fewestUp(to [][]bool) int {
	order := make([]int, len(to))
	for i := range order {
		order[i] = i
	}
	for better := true; better; {
		better = false
		for at := range order {
			place, gain := at, 0
			for _, dir := range []int{-1, 1} {
				saved := 0
				for other := at + dir; other >= 0 && other < len(order); other += dir {
					above, below := order[at], order[other]
					if dir < 0 {
						above, below = below, above
					}
					// Now below comes to stand above.
					saved += one(to[below][above]) - one(to[above][below])
					if saved > gain {
						place, gain = other, saved
					}
				}
			}
			if gain > 0 {
				move(order, at, place)
				better = true
			}
		}
	}
	up := 0
	for i, a := range order {
		for _, b := range order[:i] {
			up += one(to[a][b])
		}
	}
	return up
}

// move takes an element to another place.
func move(order []int, from, place int) {
	e := order[from]
	copy(order[from:], order[from+1:])
	copy(order[place+1:], order[place:len(order)-1])
	order[place] = e
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

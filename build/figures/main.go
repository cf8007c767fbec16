// Figures measures the shape of the code: how much there is in each room, how
// branched and how long functions are, how large structs, which way files look,
// what tests reach without root, and what a new key costs. It prints a table in
// Markdown.
//
//	go run ./build/figures [-root FOLDER] [-cover=false]
//
// The folder is a checkout of any revision, so that one program measures before
// and after. Generated files are left out everywhere; tests count as tests only,
// and but for its lines so does build/.
package main

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// rooms are the top folders of the checkout; main.go stands in ".".
var rooms = []string{".", "uci", "tunnel", "platform", "ikev2", "crypto", "build"}

// file is one Go source.
type file struct {
	path string // below the root
	room string
	test bool
	code int // lines that hold more than a comment
	tree *ast.File
}

func main() {
	root := flag.String("root", ".", "checkout to measure")
	cover := flag.Bool("cover", true, "run the tests of tunnel for their coverage")
	flag.Parse()
	if err := print(*root, *cover); err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		os.Exit(1)
	}
}

func print(root string, cover bool) error {
	fset := token.NewFileSet()
	files, err := read(fset, root)
	if err != nil {
		return err
	}
	row := func(name, format string, args ...any) {
		fmt.Printf("| %s | %s |\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Print("| figure | value |\n|---|---|\n")
	var code, tests, product int
	for _, room := range rooms {
		c, t := lines(files, room)
		code, tests = code+c, tests+t
		if room != "build" {
			product += c
		}
		row("lines of "+strings.Replace(room, ".", "main.go", 1), "%d, tests %d", c, t)
	}
	row("lines of all", "%d, tests %d", code, tests)
	row("lines of the product (all but build)", "%d", product)

	files = slices.DeleteFunc(files, func(f file) bool { return f.test || f.room == "build" })
	functions := functionsOf(fset, files)
	sum, length, over, complex := 0, 0, 0, 0
	for _, f := range functions {
		sum, length = sum+f.complexity, length+f.lines
		if f.lines > 60 {
			over++
		}
		if f.complexity > 10 {
			complex++
		}
	}
	slices.SortStableFunc(functions, func(a, b function) int { return b.complexity - a.complexity })
	row("functions over 60 lines", "%d of %d", over, len(functions))
	row("functions with a cyclomatic complexity over 10", "%d", complex)
	row("largest complexities", "%s", first(3, functions, func(f function) string { return fmt.Sprintf("%d %s", f.complexity, f.name) }))
	row("branches in 100 lines of functions", "%.1f", 100*float64(sum)/float64(length))
	row("largest structs", "%s", first(5, structsOf(files), func(s structure) string { return fmt.Sprintf("%s %d", s.name, s.fields) }))
	for _, pkg := range []string{"ikev2", "tunnel"} {
		a, err := arrowsOf(root, pkg)
		if err != nil {
			return err
		}
		row("arrows between the files of "+pkg, "%d, upwards %d (%.0f %%)", a.all, a.up, 100*float64(a.up)/float64(max(a.all, 1)))
	}
	if cover {
		rows, err := coverage(root)
		if err != nil {
			return err
		}
		for _, r := range rows {
			row("statements covered without root: "+r.pkg, "%s", r.share)
		}
	}
	places, err := placesOfKey(root)
	if err != nil {
		return err
	}
	row("places written by hand for a key ("+keyName+")", "%d: %s", len(places), strings.Join(places, " "))
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		return err
	}
	row("README.md", "%d bytes", len(readme))
	return nil
}

// read parses every Go file that git tracks, generated ones left out.
func read(fset *token.FileSet, root string) ([]file, error) {
	list, err := tracked(root, "*.go")
	if err != nil {
		return nil, err
	}
	var files []file
	for _, path := range list {
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			return nil, err
		}
		tree, err := parser.ParseFile(fset, path, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		if ast.IsGenerated(tree) {
			continue
		}
		room, _, below := strings.Cut(path, "/")
		if !below {
			room = "."
		}
		files = append(files, file{path, room, strings.HasSuffix(path, "_test.go"), codeLines(text), tree})
	}
	return files, nil
}

// tracked are the files of a checkout that fit a pattern.
func tracked(root string, patterns ...string) ([]string, error) {
	out, err := exec.Command("git", append([]string{"-C", root, "ls-files", "-z", "--"}, patterns...)...).Output()
	if err != nil {
		return nil, fmt.Errorf("git ls-files in %s: %w", root, err)
	}
	return slices.DeleteFunc(strings.Split(strings.TrimRight(string(out), "\x00"), "\x00"), func(path string) bool {
		_, err := os.Stat(filepath.Join(root, path))
		return err != nil // deleted, and not committed yet
	}), nil
}

// codeLines counts the lines with a token on them: neither blank nor comment.
func codeLines(text []byte) int {
	fset := token.NewFileSet()
	f := fset.AddFile("", -1, len(text))
	var s scanner.Scanner
	s.Init(f, text, nil, 0)
	n, last := 0, 0
	for {
		pos, tok, lit := s.Scan()
		if tok == token.EOF {
			return n
		}
		if tok == token.SEMICOLON && lit == "\n" {
			continue
		}
		begin := f.Line(pos)
		end := begin + strings.Count(lit, "\n")
		n += end - max(begin-1, last)
		last = end
	}
}

func lines(files []file, room string) (code, tests int) {
	for _, f := range files {
		switch {
		case f.room != room:
		case f.test:
			tests += f.code
		default:
			code += f.code
		}
	}
	return code, tests
}

// function is a declared function or method; function literals count as part of
// the one they stand in.
type function struct {
	name       string
	lines      int // from func to the closing brace
	complexity int // McCabe's: one, and one for each if, for, case, && and ||
}

func functionsOf(fset *token.FileSet, files []file) []function {
	var all []function
	for _, f := range files {
		for _, d := range f.tree.Decls {
			d, ok := d.(*ast.FuncDecl)
			if !ok || d.Body == nil {
				continue
			}
			lines := fset.Position(d.End()).Line - fset.Position(d.Pos()).Line + 1
			all = append(all, function{f.path + " " + d.Name.Name, lines, complexity(d.Body)})
		}
	}
	return all
}

func complexity(n ast.Node) int {
	count := 1
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.IfStmt, *ast.ForStmt, *ast.RangeStmt:
			count++
		case *ast.CaseClause:
			if n.List != nil {
				count++
			}
		case *ast.CommClause:
			if n.Comm != nil {
				count++
			}
		case *ast.BinaryExpr:
			if n.Op == token.LAND || n.Op == token.LOR {
				count++
			}
		}
		return true
	})
	return count
}

// structure is a named struct; an embedded field counts as one.
type structure struct {
	name   string
	fields int
}

func structsOf(files []file) []structure {
	var all []structure
	for _, f := range files {
		ast.Inspect(f.tree, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if s, ok := spec.Type.(*ast.StructType); ok {
				fields := 0
				for _, l := range s.Fields.List {
					fields += max(len(l.Names), 1)
				}
				all = append(all, structure{f.tree.Name.Name + "." + spec.Name.Name, fields})
			}
			return true
		})
	}
	slices.SortStableFunc(all, func(a, b structure) int { return b.fields - a.fields })
	return all
}

// first are the first n of a list in words.
func first[T any](n int, list []T, word func(T) string) string {
	var words []string
	for _, e := range list[:min(n, len(list))] {
		words = append(words, word(e))
	}
	return strings.Join(words, ", ")
}

package doctor

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"greseal/tunnel/cause"
	"greseal/tunnel/status"
)

func TestTheFirstFaultIsTheCause(t *testing.T) {
	known := cause.Cause{Code: status.CodeAuth, Side: status.SideUnknown, Text: "refused", Remedy: "compare"}
	step := func(id string, evidence ...string) status.Finding {
		return status.Finding{ID: id, Title: "the " + id, Evidence: evidence, Remedy: "mend"}
	}
	for name, c := range map[string]struct {
		state string
		first status.Finding
		want  cause.Cause
	}{
		"no fault":                   {status.StateDown, status.Finding{}, cause.Cause{}},
		"taken down":                 {status.StateDisabled, step("wanted", "taken down"), cause.Cause{}},
		"of this machine":            {status.StateDown, step("firewall", "drops", "rule 3"), cause.Cause{Code: status.CodeUnavailable, Side: status.SideHere, Text: "the firewall: drops", Evidence: []string{"rule 3"}, Remedy: "mend"}},
		"of the path":                {status.StateDown, step("udp-4500", "lost"), cause.Cause{Code: status.CodeNoAnswer, Side: status.SidePath, Text: "the udp-4500: lost", Evidence: []string{}, Remedy: "mend"}},
		"what the daemon says":       {status.StateDown, status.Finding{ID: "identity", Evidence: []string{"refused"}, Remedy: "compare"}, cause.Cause{}},
		"with a better remedy":       {status.StateDown, step("identity", "refused", "seen"), cause.Cause{Code: status.CodeAuth, Side: status.SideUnknown, Text: "refused", Evidence: []string{"seen"}, Remedy: "mend"}},
		"no more than the daemon's":  {status.StateDown, step("handshake", "waiting"), cause.Cause{}},
		"up, and nothing passes":     {status.StateUp, step("esp", "lost"), cause.Cause{Code: status.CodeNoAnswer, Side: status.SideUnknown, Text: "the esp: lost", Evidence: []string{}, Remedy: "mend"}},
		"up, and most of it passes":  {status.StateUp, step("mtu", "lost"), cause.Cause{Code: status.CodeNoPath, Side: status.SidePath, Text: "the mtu: lost", Evidence: []string{}, Remedy: "mend"}},
		"suspect, and does not pass": {status.StateSuspect, step("liveness", "silent"), cause.Cause{Code: status.CodeNoAnswer, Side: status.SideUnknown, Text: "the liveness: silent", Evidence: []string{}, Remedy: "mend"}},
	} {
		m := Moment{Cause: known, Tunnel: status.Tunnel{State: c.state}}
		if got := Cause(m, []status.Finding{step("clock", "fine"), c.first}, c.first.ID); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	for id := range where {
		if !inChain(id) {
			t.Errorf("there is no step %s", id)
		}
	}
}

func inChain(id string) bool {
	for _, c := range chain {
		if c.id == id {
			return true
		}
	}
	return false
}

// A fault that a step returns as it is made names a remedy.
func TestEveryFaultHasARemedy(t *testing.T) {
	files, _ := filepath.Glob("*.go")
	faults := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			r, ok := n.(*ast.ReturnStmt)
			if !ok {
				return true
			}
			ast.Inspect(r, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				if of, ok := call.Fun.(*ast.Ident); ok && of.Name == "fault" {
					faults++
					if text, ok := call.Args[0].(*ast.BasicLit); ok && text.Value == `""` {
						t.Errorf("%s: a fault without a remedy", file)
					}
				}
				return true
			})
			return true
		})
	}
	if faults < 40 {
		t.Errorf("only %d faults were found", faults)
	}
}

package openwrt

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"greseal/tunnel/peerconf"
	"greseal/tunnel/status"
	"greseal/uci/rpcd"
)

const (
	formJS   = "luci/luci-proto-greseal/htdocs/luci-static/resources/protocol/greseal.js"
	statusJS = "luci/luci-app-greseal/htdocs/luci-static/resources/view/greseal/status.js"
	partsJS  = "luci/luci-app-greseal/htdocs/luci-static/resources/greseal/*.js" // of the status page
)

// statusPage is the text of all scripts of the status page.
func statusPage(t *testing.T) string {
	t.Helper()
	parts, err := filepath.Glob(partsJS)
	if err != nil || len(parts) == 0 {
		t.Fatal(parts, err)
	}
	text := source(t, statusJS)
	for _, p := range parts {
		text += source(t, p)
	}
	return text
}

func source(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// declared are the calls that a script makes of the plugin, with their arguments.
var (
	declaredLong  = regexp.MustCompile(`object(?:: 'luci.greseal')?,\s+method: '(\w+)',(?:\s+params: \[([^\]]*)\],)?`)
	declaredShort = regexp.MustCompile(`= call\('(\w+)'(?:, \[([^\]]*)\])?\)`)
)

// TestThePagesCallWhatThePluginHasAndTheirOwnACLGrants also looks at arguments:
// rpcd would hand on any.
func TestThePagesCallWhatThePluginHasAndTheirOwnACLGrants(t *testing.T) {
	var out strings.Builder
	new(rpcd.Plugin).Main([]string{"list"}, nil, &out)
	var methods map[string]map[string]any
	if err := json.Unmarshal([]byte(out.String()), &methods); err != nil {
		t.Fatal(err)
	}
	for pkg, text := range map[string]string{"luci-proto-greseal": source(t, formJS), "luci-app-greseal": statusPage(t)} {
		acl := source(t, filepath.Join("luci", pkg, "root/usr/share/rpcd/acl.d", pkg+".json"))
		calls := append(declaredLong.FindAllStringSubmatch(text, -1), declaredShort.FindAllStringSubmatch(text, -1)...)
		if len(calls) < 3 {
			t.Errorf("%s: %d calls", pkg, len(calls))
		}
		for _, c := range calls {
			args, ok := methods[c[1]]
			if !ok {
				t.Errorf("%s calls %s, which the plugin does not have", pkg, c[1])
			}
			if !strings.Contains(acl, `"`+c[1]+`"`) {
				t.Errorf("%s calls %s, which its ACL does not grant", pkg, c[1])
			}
			for a := range strings.FieldsFuncSeq(c[2], func(r rune) bool { return strings.ContainsRune(" ',", r) }) {
				if _, ok := args[a]; !ok {
					t.Errorf("%s gives %s the argument %s, which it does not take", pkg, c[1], a)
				}
			}
		}
	}
}

func TestThePagesKnowEveryWordOfTheStatus(t *testing.T) {
	text := statusPage(t)
	for _, word := range []string{
		status.StateDisabled, status.StateWaiting, status.StateConnecting, status.StateUp, status.StateSuspect, status.StateDown,
		status.StateListening, status.WaitAddress, status.WaitRoute, status.WaitName, status.WaitInterface,
		status.VerdictOK, status.VerdictFault, status.VerdictWarning, status.VerdictSkipped,
	} {
		if !strings.Contains(text, "\t"+word+": ") {
			t.Errorf("the status page does not know %q", word)
		}
	}
	for f := range reflect.TypeFor[status.Drops]().Fields() {
		if !strings.Contains(text, "[ '"+f.Tag.Get("msg")+"', ") {
			t.Errorf("the status page does not show drops.%s", f.Tag.Get("msg"))
		}
	}
	form := source(t, formJS)
	for _, code := range []string{
		status.CodeNoAnswer, status.CodeAuth, status.CodeNoProposal, status.CodeSelectors, status.CodeRefused, status.CodeUnavailable,
		status.CodeConfig, status.CodeNoPath, "NOT_CONFIGURED", "SETUP_FAILED",
	} {
		if !strings.Contains(form, "registerErrorCode('"+code+"', ") {
			t.Errorf("LuCI has no words for the error %s", code)
		}
	}
	for _, v := range peerconf.Vendors() {
		if !strings.Contains(form, "[ '"+v+"', ") || !strings.Contains(text, v+": '") {
			t.Errorf("a page does not offer the product %s", v)
		}
	}
}

// TestTheMenuEntryDependsOnNothingThatMayBeMissing: the page is where one learns
// why there is no tunnel.
func TestTheMenuEntryDependsOnNothingThatMayBeMissing(t *testing.T) {
	var menu map[string]struct {
		Title   string
		Action  struct{ Type, Path string }
		Depends map[string][]string
	}
	if err := json.Unmarshal([]byte(source(t, "luci/luci-app-greseal/root/usr/share/luci/menu.d/luci-app-greseal.json")), &menu); err != nil {
		t.Fatal(err)
	}
	entry := menu["admin/status/greseal"]
	if entry.Action.Type != "view" || !strings.HasSuffix(statusJS, "/view/"+entry.Action.Path+".js") ||
		!reflect.DeepEqual(entry.Depends, map[string][]string{"acl": {"luci-app-greseal"}}) {
		t.Errorf("%+v", entry)
	}
}

func TestTheScriptsAreJavaScript(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed")
	}
	scripts, _ := filepath.Glob("uitest/*.js")
	more, _ := filepath.Glob("uitest/luci/luci-static/resources/*.js")
	parts, _ := filepath.Glob(partsJS)
	for _, name := range slices.Concat([]string{formJS, statusJS}, parts, scripts, more) {
		if out, err := exec.Command(node, "--check", name).CombinedOutput(); err != nil {
			t.Errorf("%s: %s", name, out)
		}
	}
}

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

	"greseal/tunnel/config"
	"greseal/tunnel/peerconf"
	"greseal/tunnel/status"
	"greseal/uci"
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

// notOfInterfaces are the keys of the schema that an interface of netifd cannot
// have.
var notOfInterfaces = []string{"name", "enabled", "link_down"}

// formOption is a row of the form's table of options.
var formOption = regexp.MustCompile(`(?m)^\t\[ '(general|security|gre|advanced)', '(\w+)', '(\w+)', _\('[^\n]*?'\), (?:null|_\('[^\n]*'\))(?:, (.+))? \],?$`)

// TestTheFormHasExactlyTheOptionsOfTheSchema is why an option cannot exist in the
// one and be missing in the other, or be of another type.
func TestTheFormHasExactlyTheOptionsOfTheSchema(t *testing.T) {
	type row struct{ widget, more string }
	form := map[string]row{}
	text := source(t, formJS)
	for _, m := range formOption.FindAllStringSubmatch(text, -1) {
		if _, ok := form[m[3]]; ok {
			t.Errorf("%s stands there twice", m[3])
		}
		form[m[3]] = row{m[2], m[4]}
	}
	table := text[strings.Index(text, "const options = ["):]
	if n := strings.Count(table[:strings.Index(table, "\n];")], "\n\t["); n != len(form) {
		t.Errorf("%d rows, of which %d are understood here", n, len(form))
	}
	for _, k := range config.TunnelKeys() {
		if slices.Contains(notOfInterfaces, k.Name) {
			continue
		}
		option := uci.Option(k.Name)
		got, ok := form[option]
		if !ok {
			t.Errorf("the form has no field for %s", option)
			continue
		}
		delete(form, option)
		widget := "text"
		switch {
		case k.Kind == config.SecretKey:
			widget = "secret"
		case k.Kind == config.Switch:
			widget = "flag"
		case k.Kind == config.Texts, k.Kind == config.Paths, k.Kind == config.Prefixes:
			widget = "list"
		case k.Kind == config.Text && len(k.Choices) > 0:
			widget = "choice"
		}
		if got.widget != widget {
			t.Errorf("%s: the widget is %s, want %s", option, got.widget, widget)
		}
		switch def := strings.Trim(k.Default, `"`); {
		case widget == "choice":
			if want := "[ '" + strings.Join(k.Choices, "', '") + "' ]"; got.more != want || k.Choices[0] != def {
				t.Errorf("%s: the choices are %s, want %s", option, got.more, want)
			}
		case def != "" && got.more != "'"+def+"'":
			t.Errorf("%s: leaving it out means %s, want '%s'", option, got.more, def)
		}
	}
	for option := range form {
		t.Errorf("the form has %s, which the schema does not", option)
	}
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
		status.StateListening, status.StateClosing, status.WaitAddress, status.WaitRoute, status.WaitName, status.WaitInterface,
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
		status.CodeConfig, "NOT_CONFIGURED", "SETUP_FAILED",
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

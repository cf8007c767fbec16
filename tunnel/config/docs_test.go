package config

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The table of keys in the documentation is the schema's. GRESEAL_UPDATE=1
// rewrites it.
func TestDocumentationHasTheSchemasKeys(t *testing.T) {
	const file, end = "../../build/doc/config.md", "<!-- end of keys -->"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), "<!-- keys:")
	head, rest, ok2 := strings.Cut(rest, "-->\n")
	_, after, ok3 := strings.Cut(rest, end)
	if !ok || !ok2 || !ok3 {
		t.Fatal(file + " has no place for the keys")
	}
	want := before + "<!-- keys:" + head + "-->\n" + keysAsMarkdown() + end + after
	if want == string(text) {
		return
	}
	if os.Getenv("GRESEAL_UPDATE") != "" {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Error(file + " does not match the schema; run GRESEAL_UPDATE=1 go test ./tunnel/config")
}

// Every TOML example of the README and of build/doc is a config that greseal takes.
func TestDocumentationExamplesAreRight(t *testing.T) {
	files, err := filepath.Glob("../../build/doc/*.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := 0
	dir := t.TempDir()
	pki(t, dir)
	named := strings.NewReplacer(`"ca.pem"`, `"`+dir+`/gw-ca.crt"`, `.pem"`, `.crt"`)
	own := regexp.MustCompile(`"[a-z0-9]+(\.crt|\.key)"`)
	for _, file := range append(files, "../../README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range strings.Split(string(text), "```toml\n")[1:] {
			examples++
			example, _, _ := strings.Cut(part, "```")
			example = own.ReplaceAllString(named.Replace(example), `"`+dir+`/gw$1"`)
			if _, ps := parse(t, example); len(ps) > 0 {
				t.Errorf("%s: %s\n%s", file, example, all(ps))
			}
		}
	}
	if examples < 3 {
		t.Fatalf("%d examples", examples)
	}
}

func keysAsMarkdown() string {
	var b strings.Builder
	table := func(title string, keys []Key, classes bool) {
		class := ""
		if classes {
			class = " change |"
		}
		fmt.Fprintf(&b, "\n%s\n\n| key | type | default |%s meaning |\n|---|---|---|%s---|\n", title, class, strings.Repeat("---|", strings.Count(class, "|")))
		for _, k := range keys {
			def, class := k.Unset, ""
			if k.Default != "" {
				def = "`" + k.Default + "`"
			}
			if classes {
				class = " " + k.Class.String() + " |"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |%s %s |\n", k.Name, k.Kind, def, class, k.Manual())
		}
	}
	table("### `[daemon]`", DaemonKeys(), false)
	table("### `[[tunnel]]` and `[defaults]`\n\nKeys with a dot may also be written in `[tunnel.gre]`. The class of a change is explained above.", TunnelKeys(), true)
	b.WriteString("\n")
	return b.String()
}

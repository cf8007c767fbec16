package config

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The README's table of keys is the schema's. GRESEAL_UPDATE=1 writes it anew.
func TestREADMEHasTheSchemasKeys(t *testing.T) {
	const file, end = "../../README.md", "<!-- end of keys -->"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), "<!-- keys:")
	head, rest, ok2 := strings.Cut(rest, "-->\n")
	_, after, ok3 := strings.Cut(rest, end)
	if !ok || !ok2 || !ok3 {
		t.Fatal("the README has no place for the keys")
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
	t.Error("the README's keys are not those of the schema; run GRESEAL_UPDATE=1 go test ./tunnel/config")
}

// Every TOML example of the README is a config that greseal takes.
func TestREADMEExamplesAreRight(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(text), "```toml\n")
	if len(parts) < 3 {
		t.Fatalf("%d examples", len(parts)-1)
	}
	for _, part := range parts[1:] {
		example, _, _ := strings.Cut(part, "```")
		if _, ps := parse(t, example); len(ps) > 0 {
			t.Errorf("%s\n%s", example, all(ps))
		}
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
			def, class, doc := k.Default, "", k.Doc
			if def != "" {
				def = "`" + def + "`"
			}
			if classes {
				class = " " + k.Class.String() + " |"
			}
			if ok, _ := Supported(k.Name); !ok {
				doc = "*Not yet.* " + doc
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |%s %s |\n", k.Name, k.Kind, def, class, doc)
		}
	}
	table("`[daemon]`", DaemonKeys(), false)
	table("`[[tunnel]]` and `[defaults]`; keys with a dot may also stand in `[tunnel.gre]`", TunnelKeys(), true)
	b.WriteString("\n")
	return b.String()
}

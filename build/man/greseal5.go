package main

import (
	"fmt"
	"strings"

	"greseal/tunnel/config"
)

// page5 is greseal.toml(5).
func page5() ([]byte, error) {
	r := new(roff)
	r.macro(`TH GRESEAL.TOML 5 "" greseal "File Formats"`)
	r.macro("SH NAME")
	r.text("greseal.toml - tunnels of greseal(8)")
	r.macro("SH DESCRIPTION")
	r.text("The file is TOML. Each [[tunnel]] is one tunnel and one network interface. [defaults] holds keys of tunnels that apply to every one, unless it has its own. [daemon] is about the process. greseal check reports every mistake with its line, and what to write instead.")
	r.macro("PP")
	r.text("A file that holds a secret must be readable by its owner only. Durations are strings such as \"90s\", \"10m\" or \"24h\". Paths are relative to the folder of the file that names them. A key that is off is left out.")
	r.macro("SH EXAMPLE")
	r.code(`[[tunnel]]
name    = "hq"
remote  = "vpn.example.net"
psk     = "…"                   # greseal genpsk
address = ["10.255.0.2/30"]
routes  = ["10.0.0.0/16"]
`)
	r.macro("SH [daemon]")
	for _, k := range config.DaemonKeys() {
		r.key(k)
	}
	r.macro("SH [[tunnel]] AND [defaults]")
	r.text("For each key: its type, its default, and what a change of it costs when it is applied. Hitless loses nothing; rekey makes new SAs before the old ones go; beside makes a new IKE SA with the new settings and keeps the old one until the other side takes them; re-establish takes the tunnel down and up again.")
	for _, k := range config.TunnelKeys() {
		r.key(k)
	}
	if err := r.section("config.md", "Identities", "Proposals", "Several tunnels"); err != nil {
		return nil, err
	}
	r.macro("SH FILES")
	r.item(config.DefaultFile, "Where every command looks without -c.")
	r.macro("SH SEE ALSO")
	r.text("greseal(8)")
	return r.Bytes(), nil
}

// key is one key of the schema.
func (r *roff) key(k config.Key) {
	r.macro("TP")
	r.macro("B %s", escape(k.Name))
	facts := []string{k.Kind.String()}
	if len(k.Choices) > 0 {
		var quoted []string
		for _, c := range k.Choices {
			quoted = append(quoted, `"`+c+`"`)
		}
		facts = append(facts, "one of "+strings.Join(quoted, ", "))
	}
	if k.Default != "" {
		facts = append(facts, "default "+k.Default)
	} else if k.Unset != "" {
		facts = append(facts, "default "+k.Unset)
	}
	if k.Default == "" && k.Example != "" {
		facts = append(facts, "such as "+k.Example)
	}
	if k.Class != 0 {
		facts = append(facts, k.Class.String())
	}
	fmt.Fprintf(r, "(%s)\n", escape(strings.Join(facts, "; ")))
	r.macro("br")
	r.text(k.Manual())
}

package main

import (
	"fmt"
	"strings"

	"greseal/tunnel/config"
	"greseal/uci"
)

// keys are those that an interface of netifd has.
func keys(yield func(*config.Key) bool) {
	all := config.TunnelKeys()
	for i := range all {
		if all[i].Tab != "" && !yield(&all[i]) {
			return
		}
	}
}

// declarations are the options of the protocol handler, whose changes have netifd
// set the interface up again. Secrets are left out, since netifd hands on what is
// declared as an argument, which every user can read; so is metric, one of the
// defaults.
func declarations() string {
	var strs, arrays []string
	for k := range keys {
		switch {
		case k.Kind == config.SecretKey, k.Name == "metric":
		case k.Kind.List():
			arrays = append(arrays, uci.Option(k.Name))
		default:
			strs = append(strs, uci.Option(k.Name))
		}
	}
	return loop("string", append(strs, "zone")) + loop("array", arrays)
}

// loop declares options of one type, in lines that are not too long.
func loop(kind string, options []string) string {
	var b strings.Builder
	b.WriteString("\tfor option in")
	n := b.Len()
	for _, o := range options {
		if n+len(o) > 100 {
			b.WriteString(" \\\n\t\t" + o)
			n = len(o)
			continue
		}
		b.WriteString(" " + o)
		n += 1 + len(o)
	}
	return b.String() + "; do\n\t\tproto_config_add_" + kind + " \"$option\"\n\tdone\n"
}

// table is the form's, a tab after the other.
func table() string {
	var b strings.Builder
	b.WriteString("const options = [\n")
	for i, tab := range []config.Tab{config.TabGeneral, config.TabSecurity, config.TabGRE, config.TabAdvanced} {
		if i > 0 {
			b.WriteByte('\n')
		}
		for k := range keys {
			if k.Tab == tab {
				fmt.Fprintf(&b, "\t[ '%s', '%s', '%s', _(%s), _(%s)%s ],\n",
					tab, widget(k), uci.Option(k.Name), literal(k.Title), literal(k.Doc), unset(k))
			}
		}
	}
	b.WriteString("];\n")
	return b.String()
}

func widget(k *config.Key) string {
	switch {
	case k.Kind == config.SecretKey:
		return "secret"
	case k.Kind == config.Switch:
		return "flag"
	case k.Kind.List():
		return "list"
	case k.Kind == config.Text && len(k.Choices) > 0:
		return "choice"
	}
	return "text"
}

// unset is what a field shows that was left empty, with the comma before it: of a
// choice all there are, the default first.
func unset(k *config.Key) string {
	switch w := widget(k); {
	case w == "secret":
		return ""
	case w == "choice":
		return ", [ '" + strings.Join(k.Choices, "', '") + "' ]"
	case k.Unset != "":
		return ", _(" + literal(k.Unset) + ")"
	case k.Default != "":
		return ", " + literal(plain(k.Default))
	}
	return ", " + literal(plain(k.Example))
}

// plain is a value of TOML as a form has it, of a list the first item.
func plain(toml string) string { return strings.Trim(toml, `[]"`) }

func literal(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

package doctor

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// iptables keeps rules where `nft -j` does not show them whole: matches of its own
// ("xt": multiport, comment, …) in tables of nftables, and tables of the kernel's old
// packet filter. iptables-save prints both. Its rules are put into nft's words, so that
// judge follows them as well; what is not understood leaves the outcome open.

// loadIPTables replaces the tables of nftables that hold such matches, and adds those of
// the old packet filter.
func (r *ruleset) loadIPTables(ctx context.Context) {
	for _, family := range []string{"ip", "ip6"} {
		save := map[string]string{"ip": "iptables", "ip6": "ip6tables"}[family]
		if r.hasXT(family) {
			if program := firstProgram(save+"-nft", save); program != "" {
				r.replace(family, program, run(ctx, program+"-save"))
			}
		}
		if names, err := os.ReadFile("/proc/net/" + family + "_tables_names"); err == nil && len(bytes.TrimSpace(names)) > 0 {
			if program := firstProgram(save+"-legacy", save); program != "" {
				r.add(family, program, run(ctx, program+"-save"))
			}
		}
	}
	r.sortChains()
}

func firstProgram(names ...string) string {
	for _, n := range names {
		if _, err := exec.LookPath(n + "-save"); err == nil {
			return n
		}
	}
	return ""
}

func run(ctx context.Context, program string) string {
	out, err := exec.CommandContext(ctx, program).Output()
	if err != nil {
		return ""
	}
	return string(out)
}

// hasXT reports whether a rule of the family has a match that nft does not print.
func (r *ruleset) hasXT(family string) bool {
	for _, rule := range r.rules {
		for _, e := range rule.Expr {
			m, _ := e.(map[string]any)
			if _, xt := m["xt"]; xt && rule.Family == family {
				return true
			}
		}
	}
	return false
}

// replace takes the tables that saved holds from there instead of from nft.
func (r *ruleset) replace(family, program, saved string) {
	tables := make(map[string]bool)
	for _, line := range strings.Split(saved, "\n") {
		if table, ok := strings.CutPrefix(line, "*"); ok {
			tables[table] = true
		}
	}
	keptChains, keptRules := r.chains[:0:0], r.rules[:0:0]
	for _, c := range r.chains {
		if c.Family != family || !tables[c.Table] {
			keptChains = append(keptChains, c)
		}
	}
	for _, rule := range r.rules {
		if rule.Family != family || !tables[rule.Table] {
			keptRules = append(keptRules, rule)
		}
	}
	r.chains, r.rules = keptChains, keptRules
	r.add(family, program, saved)
}

// priorities of the tables of iptables, as nftables counts them.
var priorities = map[string]int{"raw": -300, "mangle": -150, "filter": 0, "security": 50}

// add reads what iptables-save printed.
func (r *ruleset) add(family, program, saved string) {
	table := ""
	for _, line := range strings.Split(saved, "\n") {
		switch {
		case strings.HasPrefix(line, "*"):
			table = line[1:]
		case strings.HasPrefix(line, ":"):
			f := strings.Fields(line[1:])
			if len(f) == 0 {
				continue
			}
			c := nftChain{Family: family, Table: table, Name: f[0], iptables: program}
			prio, filters := priorities[table]
			if len(f) > 1 && f[1] != "-" && filters {
				c.Type, c.Hook, c.Policy, c.Prio = "filter", strings.ToLower(f[0]), strings.ToLower(f[1]), prio
			}
			r.chains = append(r.chains, c)
		case strings.HasPrefix(line, "-A "):
			words := splitQuoted(line)
			if len(words) > 2 {
				r.rules = append(r.rules, nftRule{family, table, words[1], expressions(words[2:], family)})
			}
		}
	}
}

// splitQuoted splits a line into words; a word with blanks is in double quotes.
func splitQuoted(line string) (words []string) {
	var w strings.Builder
	quoted, some := false, false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '"':
			quoted, some = !quoted, true
		case c == '\\' && quoted && i+1 < len(line):
			i++
			w.WriteByte(line[i])
		case c == ' ' && !quoted:
			if some || w.Len() > 0 {
				words = append(words, w.String())
			}
			w.Reset()
			some = false
		default:
			w.WriteByte(c)
		}
	}
	if some || w.Len() > 0 {
		words = append(words, w.String())
	}
	return words
}

// object is a JSON object as nft prints it.
type object = map[string]any

func match(left object, op string, right any) object {
	return object{"match": object{"left": left, "op": op, "right": right}}
}

func metaKey(key string) object { return object{"meta": object{"key": key}} }
func payloadKey(protocol, key string) object {
	return object{"payload": object{"protocol": protocol, "field": key}}
}

// ignored are options that decide nothing, with the number of their arguments.
var ignored = map[string]int{"-m": 1, "--comment": 1, "--dir": 1, "--reject-with": 1, "--log-prefix": 1, "--log-level": 1,
	"--nflog-group": 1, "--nflog-prefix": 1, "--set-xmark": 1, "--set-mss": 1, "--clamp-mss-to-pmtu": 0, "--notrack": 0, "-c": 2}

// goingOn are targets after which a packet meets the next rule.
var goingOn = map[string]bool{"LOG": true, "NFLOG": true, "ULOG": true, "MARK": true, "CONNMARK": true, "TCPMSS": true, "TRACE": true, "CT": true, "DSCP": true, "TOS": true, "CHECKSUM": true, "NOTRACK": true, "SET": true}

// expressions puts the matches and the target of a rule into nft's words.
func expressions(words []string, family string) (list []any) {
	v6 := family == "ip6"
	op, proto := "==", "th"
	var target any
	for len(words) > 0 {
		word, args := words[0], words[1:]
		if word == "!" {
			op, words = "!=", args
			continue
		}
		if n, ok := ignored[word]; ok && op == "==" {
			words = args[min(n, len(args)):]
			continue
		}
		arg := ""
		if len(args) > 0 {
			arg = args[0]
		}
		used := 1
		var e object
		switch word {
		case "-i", "-o":
			e = match(metaKey(map[string]string{"-i": "iifname", "-o": "oifname"}[word]), op, strings.Replace(arg, "+", "*", 1))
		case "-s", "-d":
			e = match(payloadKey(family, map[string]string{"-s": "saddr", "-d": "daddr"}[word]), op, network(arg))
		case "-p":
			proto = arg
			e = match(metaKey("l4proto"), op, number(arg))
		case "--dport", "--dports", "--sport", "--sports":
			e = match(payloadKey(proto, strings.TrimSuffix(strings.TrimPrefix(word, "--"), "s")), op, ports(arg))
		case "--ctstate", "--state":
			states := []any{}
			for _, s := range strings.Split(strings.ToLower(arg), ",") {
				states = append(states, s)
			}
			e = match(object{"ct": object{"key": "state"}}, op, states)
		case "--icmp-type", "--icmpv6-type":
			e = match(payloadKey(map[bool]string{false: "icmp", true: "icmpv6"}[v6], "type"), op, icmpTypes[arg])
		case "--pol":
			e = match(metaKey("secpath"), op, arg == "ipsec")
		case "-j", "-g":
			target = verdict(arg)
		default:
			e, used = object{"xt": nil}, 0 // not understood; its arguments begin with no dash
			for used < len(args) && !strings.HasPrefix(args[used], "-") && args[used] != "!" {
				used++
			}
		}
		if e != nil {
			list = append(list, e)
		}
		words, op = args[min(used, len(args)):], "=="
	}
	if target != nil {
		list = append(list, target)
	}
	return list
}

func verdict(target string) any {
	switch target {
	case "ACCEPT", "DROP", "REJECT", "RETURN":
		return object{strings.ToLower(target): nil}
	}
	if goingOn[target] {
		return nil
	}
	return object{"jump": object{"target": target}}
}

var icmpTypes = map[string]any{"8": "echo-request", "echo-request": "echo-request", "0": "echo-reply", "echo-reply": "echo-reply",
	"128": "echo-request", "129": "echo-reply"}

// number is s as a number if it is one, as those in nft's JSON.
func number(s string) any {
	if n, err := strconv.Atoi(s); err == nil {
		return float64(n)
	}
	return s
}

// network is an address or a prefix.
func network(s string) any {
	addr, bits, ok := strings.Cut(s, "/")
	n, err := strconv.Atoi(bits)
	if !ok || err != nil {
		return addr
	}
	return object{"prefix": object{"addr": addr, "len": float64(n)}}
}

// ports is a list of ports and ranges.
func ports(s string) any {
	list := []any{}
	for _, one := range strings.Split(s, ",") {
		from, to, isRange := strings.Cut(one, ":")
		lo, err1 := strconv.Atoi(from)
		if !isRange {
			to = from
		}
		hi, err2 := strconv.Atoi(to)
		if err1 != nil || err2 != nil {
			return nil
		}
		list = append(list, object{"range": []any{float64(lo), float64(hi)}})
	}
	return list
}

// inIPTables puts the nft matches of a trial into the words of iptables.
var inIPTables = strings.NewReplacer(
	"udp dport { 500, 4500 }", "-p udp -m multiport --dports 500,4500",
	"meta l4proto ", "-p ", "meta secpath exists", "-m policy --dir in --pol ipsec",
	"iifname ", "-i ", "oifname ", "-o ")

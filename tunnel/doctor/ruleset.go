package doctor

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"sort"
	"strings"
	"time"
)

// A ruleset is what `nft -j list ruleset` says, and judge follows one packet
// through it. Only what decides about IKE, ESP and GRE is understood: protocols,
// ports, addresses, interfaces, connection state, marks, sets. What is not
// understood makes the outcome "perhaps", never a claim.

type ruleset struct {
	tables []nftTable
	chains []nftChain
	rules  []nftRule
	sets   map[string][]any // family table name → elements
}

type nftTable struct{ Family, Name string }

type nftChain struct {
	Family, Table, Name, Type, Hook, Policy string
	Prio                                    int
	Devices                                 []any // of the hooks ingress and egress

	iptables string // the program whose rules these are, or empty
}

// accept is the command that lets packets pass which the nft match describes.
func (c nftChain) accept(match string) string {
	if c.iptables != "" {
		return fmt.Sprintf("%s -I %s %s -j ACCEPT", c.iptables, c.Name, inIPTables.Replace(match))
	}
	return fmt.Sprintf("nft insert rule %s %s %s %s accept", c.Family, c.Table, c.Name, match)
}

type nftRule struct {
	Family, Table, Chain string
	Expr                 []any
}

// at is the JSON value in v under the keys, nil for none.
func at(v any, keys ...string) any {
	for _, k := range keys {
		m, _ := v.(map[string]any)
		v = m[k]
	}
	return v
}

// textAt is the string there.
func textAt(v any, keys ...string) string {
	s, _ := at(v, keys...).(string)
	return s
}

func listAt(v any, keys ...string) []any {
	l, _ := at(v, keys...).([]any)
	return l
}

// loadRules asks nft. The error is for people; errNoNFT where there is no nft.
func loadRules(ctx context.Context) (*ruleset, error) {
	path, err := exec.LookPath("nft")
	if err != nil {
		return nil, errNoNFT
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "-j", "list", "ruleset")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		first, _, _ := strings.Cut(strings.TrimSpace(stderr.String()), "\n")
		return nil, fmt.Errorf("nft -j list ruleset: %w: %s", err, first)
	}
	r, err := parseRules(stdout.Bytes())
	if err == nil {
		r.loadIPTables(ctx)
	}
	return r, err
}

var errNoNFT = errors.New("nft is not installed, so the firewall cannot be read")

func parseRules(text []byte) (*ruleset, error) {
	var all struct{ NFTables []map[string]any }
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("nft's list of rules cannot be read: %w", err)
	}
	r := &ruleset{sets: make(map[string][]any)}
	for _, object := range all.NFTables {
		for what, o := range object {
			family, table, name := textAt(o, "family"), textAt(o, "table"), textAt(o, "name")
			if family == "" {
				continue
			}
			switch what {
			case "table":
				r.tables = append(r.tables, nftTable{family, name})
			case "chain":
				prio, _ := at(o, "prio").(float64)
				r.chains = append(r.chains, nftChain{family, table, name, textAt(o, "type"), textAt(o, "hook"), textAt(o, "policy"), int(prio), devices(o), ""})
			case "rule":
				r.rules = append(r.rules, nftRule{family, table, textAt(o, "chain"), listAt(o, "expr")})
			case "set", "map":
				r.sets[family+" "+table+" "+name] = listAt(o, "elem")
			}
		}
	}
	r.sortChains()
	return r, nil
}

// devices are the names of a chain's devices, which nft gives as one or a list.
func devices(chain any) []any {
	if one := textAt(chain, "dev"); one != "" {
		return []any{one}
	}
	return listAt(chain, "dev")
}

// sortChains: those of one hook are passed in the order of their priorities.
func (r *ruleset) sortChains() {
	sort.SliceStable(r.chains, func(i, j int) bool { return r.chains[i].Prio < r.chains[j].Prio })
}

// packet is what is followed through the rules.
type packet struct {
	what         string // for people
	v6           bool
	proto        string // udp, esp, gre
	protoNumber  uint8
	src, dst     netip.Addr // may be unset: not known
	sport, dport uint16     // of udp
	in, out      string     // interface names, empty: not known
	state        string     // established or new
	icmp         string     // type, empty: not known
	ipsec        bool       // came out of ESP, or goes into it
	mark         uint32
}

// truth of a match.
type truth uint8

const (
	no truth = iota
	perhaps
	yes
)

// fate of a packet in a chain.
type fate uint8

const (
	goesOn  fate = iota // end of the chain, or return
	passes              // accept
	dropped             // drop or reject, for certain
	unclear             // a rule that could not be judged may drop it
)

// culprit is where a packet is lost.
type culprit struct {
	chain nftChain // the base chain
	rule  string   // what drops it, for people
}

// sees reports whether p passes a base chain. Only the first packet of a connection
// passes one of NAT.
func (c nftChain) sees(p packet) bool {
	if c.Type != "filter" && (c.Type != "nat" || p.state != "new") {
		return false
	}
	switch c.Family {
	case "inet", "netdev":
		return len(c.Devices) == 0 || slices.Contains(c.Devices, any(cmp.Or(p.in, p.out)))
	case "ip":
		return !p.v6
	}
	return c.Family == "ip6" && p.v6
}

// judge follows p through all base chains of a hook.
func (r *ruleset) judge(hook string, p packet) (fate, []culprit) {
	worst := passes
	var at []culprit
	for _, c := range r.chains {
		if c.Hook != hook || !c.sees(p) {
			continue
		}
		f, why := r.walk(c, p, 0)
		if f == goesOn {
			f = passes
			if c.Policy == "drop" {
				f, why = dropped, "policy drop"
			}
		}
		switch {
		case f == dropped:
			worst = dropped
			at = append(at, culprit{c, why})
		case f == unclear && worst != dropped:
			worst = unclear
		}
	}
	return worst, at
}

const maxJumps = 16 // of nft itself

func (r *ruleset) walk(c nftChain, p packet, depth int) (fate, string) {
	if depth > maxJumps {
		return unclear, ""
	}
	doubt := false
	for _, rule := range r.rules {
		if rule.Family != c.Family || rule.Table != c.Table || rule.Chain != c.Name {
			continue
		}
		f, why, match := r.apply(rule, p, depth)
		switch {
		case match == no, f == goesOn && match == yes:
		case match == yes && f == unclear:
			doubt = true
		case match == yes:
			if doubt && f == dropped {
				return unclear, "" // an earlier rule may have let it pass
			}
			if doubt && f == passes {
				return unclear, ""
			}
			return f, why
		case f != goesOn:
			doubt = true
		}
		if match == yes && returns(rule) {
			break
		}
	}
	if doubt {
		return unclear, ""
	}
	return goesOn, ""
}

func returns(rule nftRule) bool {
	for _, e := range rule.Expr {
		m, _ := e.(map[string]any)
		if _, ok := m["return"]; ok {
			return true
		}
	}
	return false
}

// apply is one rule: its verdict and whether the packet matches it.
func (r *ruleset) apply(rule nftRule, p packet, depth int) (f fate, why string, match truth) {
	match = yes
	for _, e := range rule.Expr {
		parts, _ := e.(map[string]any)
		for what, body := range parts {
			switch what {
			case "match":
				match = min(match, r.matches(rule, body, p))
			case "limit", "quota", "connlimit", "ct count", "fib", "socket", "numgen", "xt", "dynset", "set":
				if what != "set" { // adding to a set matches nothing
					match = min(match, perhaps)
				}
			case "accept":
				return passes, "", match
			case "drop", "reject":
				return dropped, what + " in chain " + rule.Chain, match
			case "dnat", "redirect", "tproxy":
				return dropped, what + " to elsewhere in chain " + rule.Chain, match
			case "jump", "goto":
				to := textAt(body, "target")
				if !r.hasChain(rule.Family, rule.Table, to) {
					return unclear, "", match // such as NFQUEUE of iptables
				}
				f, why := r.walk(nftChain{Family: rule.Family, Table: rule.Table, Name: to}, p, depth+1)
				return f, why, match
			case "vmap":
				f, why := r.verdictMap(rule, body, p, depth)
				if f != goesOn {
					return f, why, match
				}
			}
			if match == no {
				return goesOn, "", no
			}
		}
	}
	return goesOn, "", match
}

// verdictMap is "KEY vmap { VALUE : VERDICT, … }".
func (r *ruleset) verdictMap(rule nftRule, body any, p packet, depth int) (fate, string) {
	have, known := field(at(body, "key"), p)
	set := listAt(body, "data", "set")
	if set == nil {
		name, ok := at(body, "data").(string)
		if !ok {
			return unclear, ""
		}
		set = r.sets[rule.Family+" "+rule.Table+" "+strings.TrimPrefix(name, "@")]
	}
	for _, e := range set {
		pair, _ := e.([]any)
		if len(pair) != 2 {
			return unclear, ""
		}
		m := perhaps
		if known {
			m = r.equal(rule, have, pair[0], p)
		}
		if m == no {
			continue
		}
		f, why, _ := r.apply(nftRule{rule.Family, rule.Table, rule.Chain, pair[1:]}, p, depth)
		if m == perhaps && f != goesOn {
			return unclear, ""
		}
		return f, why
	}
	return goesOn, ""
}

// matches is one match expression.
func (r *ruleset) matches(rule nftRule, body any, p packet) truth {
	have, known := field(at(body, "left"), p)
	if have == nil && known {
		return no // the packet has no such field
	}
	if !known {
		return perhaps
	}
	t := r.equal(rule, have, at(body, "right"), p)
	switch textAt(body, "op") {
	case "==", "in":
		return t
	case "!=":
		return yes - t
	}
	return perhaps
}

// field is the value that the left side of a match has for p: a string, a
// number, an address or a bool. known false: not understood, or not known of p;
// nil and known: the packet has none.
func field(left any, p packet) (value any, known bool) {
	text := func(s string) (any, bool) {
		if s == "" {
			return nil, false
		}
		return s, true
	}
	switch textAt(left, "meta", "key") {
	case "l4proto":
		return protocol{p.proto, p.protoNumber}, true
	case "iifname", "iif":
		return text(p.in)
	case "oifname", "oif":
		return text(p.out)
	case "nfproto":
		if p.v6 {
			return "ipv6", true
		}
		return "ipv4", true
	case "protocol":
		if p.v6 {
			return "ip6", true
		}
		return "ip", true
	case "mark":
		return float64(p.mark), true
	case "secpath", "ipsec":
		return p.ipsec, true
	}
	if textAt(left, "ct", "key") == "state" {
		return p.state, true
	}
	return payload(textAt(left, "payload", "protocol"), textAt(left, "payload", "field"), p)
}

// protocol is one by its name or number.
type protocol struct {
	name   string
	number uint8
}

func payload(proto, field string, p packet) (any, bool) {
	address := func(a netip.Addr) (any, bool) {
		if !a.IsValid() {
			return nil, false
		}
		return a, true
	}
	switch proto + " " + field {
	case "ip protocol", "ip6 nexthdr":
		if (proto == "ip6") != p.v6 {
			return nil, true
		}
		return protocol{p.proto, p.protoNumber}, true
	case "ip saddr", "ip6 saddr":
		if (proto == "ip6") != p.v6 {
			return nil, true
		}
		return address(p.src)
	case "ip daddr", "ip6 daddr":
		if (proto == "ip6") != p.v6 {
			return nil, true
		}
		return address(p.dst)
	case "udp dport", "th dport":
		if p.proto == "udp" {
			return float64(p.dport), true
		}
		return nil, p.proto != "tcp"
	case "udp sport", "th sport":
		if p.proto == "udp" {
			return float64(p.sport), true
		}
		return nil, p.proto != "tcp"
	case "icmp type", "icmpv6 type":
		if p.icmp != "" && (proto == "icmpv6") == p.v6 {
			return p.icmp, true
		}
	}
	switch proto {
	case "tcp", "icmp", "sctp", "dccp", "udplite", "ah", "igmp", "comp", "udp":
		return nil, proto != p.proto // of other packets
	case "icmpv6":
		return nil, p.proto != "ipv6-icmp"
	}
	return nil, false
}

// equal compares a value with the right side of a match.
func (r *ruleset) equal(rule nftRule, have any, right any, p packet) truth {
	switch right := right.(type) {
	case []any:
		return r.anyOf(rule, have, right, p)
	case string:
		if name, ok := strings.CutPrefix(right, "@"); ok {
			elements, known := r.sets[rule.Family+" "+rule.Table+" "+name]
			if !known {
				return perhaps
			}
			return r.anyOf(rule, have, elements, p)
		}
		return sameText(have, right)
	case float64:
		switch h := have.(type) {
		case float64:
			return when(h == right)
		case protocol:
			return when(float64(h.number) == right)
		}
		return perhaps
	case bool:
		if h, ok := have.(bool); ok {
			return when(h == right)
		}
		return perhaps
	}
	if set := listAt(right, "set"); set != nil {
		return r.anyOf(rule, have, set, p)
	}
	if elem := at(right, "elem"); elem != nil {
		return r.equal(rule, have, at(elem, "val"), p)
	}
	if prefix := at(right, "prefix"); prefix != nil {
		return inPrefix(have, prefix)
	}
	return inRange(have, at(right, "range"))
}

func (r *ruleset) anyOf(rule nftRule, have any, list []any, p packet) truth {
	t := no
	for _, e := range list {
		t = max(t, r.equal(rule, have, e, p))
	}
	return t
}

func sameText(have any, s string) truth {
	switch h := have.(type) {
	case string:
		if prefix, wild := strings.CutSuffix(s, "*"); wild {
			return when(strings.HasPrefix(h, prefix))
		}
		return when(h == s)
	case protocol:
		return when(h.name == s)
	case netip.Addr:
		a, err := netip.ParseAddr(s)
		if err != nil {
			return perhaps
		}
		return when(a == h)
	case bool:
		return when(h == (s == "exists"))
	}
	return perhaps
}

func inPrefix(have, prefix any) truth {
	a, err := netip.ParseAddr(textAt(prefix, "addr"))
	bits, whole := at(prefix, "len").(float64)
	h, ok := have.(netip.Addr)
	if err != nil || !whole || !ok {
		return perhaps
	}
	return when(netip.PrefixFrom(a, int(bits)).Contains(h))
}

func inRange(have, ends any) truth {
	list, _ := ends.([]any)
	if len(list) != 2 {
		return perhaps
	}
	switch h := have.(type) {
	case float64:
		lo, ok1 := list[0].(float64)
		hi, ok2 := list[1].(float64)
		if ok1 && ok2 {
			return when(lo <= h && h <= hi)
		}
	case netip.Addr:
		from, err1 := netip.ParseAddr(textAt(list[0]))
		to, err2 := netip.ParseAddr(textAt(list[1]))
		if err1 == nil && err2 == nil {
			return when(from.Compare(h) <= 0 && h.Compare(to) <= 0)
		}
	}
	return perhaps
}

func when(b bool) truth {
	if b {
		return yes
	}
	return no
}

func (r *ruleset) hasChain(family, table, name string) bool {
	for _, c := range r.chains {
		if c.Family == family && c.Table == table && c.Name == name {
			return true
		}
	}
	return false
}

// names reports whether a rule of the table matches an interface by its name.
func (r *ruleset) names(family, table, ifname string) bool {
	for _, rule := range r.rules {
		if rule.Family != family || rule.Table != table {
			continue
		}
		for _, e := range rule.Expr {
			key := textAt(e, "match", "left", "meta", "key")
			if (key == "iifname" || key == "oifname") && r.equal(rule, ifname, at(e, "match", "right"), packet{}) == yes {
				return true
			}
		}
	}
	return false
}

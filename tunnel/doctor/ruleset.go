package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
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
	sets   map[string][]json.RawMessage // family table name → elements
}

type nftTable struct{ Family, Name string }

type nftChain struct {
	Family, Table, Name, Type, Hook, Policy string
	Prio                                    int
}

type nftRule struct {
	Family, Table, Chain string
	Expr                 []map[string]json.RawMessage
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
	return parseRules(stdout.Bytes())
}

var errNoNFT = errors.New("nft is not installed, so the firewall cannot be read")

func parseRules(text []byte) (*ruleset, error) {
	var all struct{ NFTables []map[string]json.RawMessage }
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("nft's list of rules cannot be read: %w", err)
	}
	r := &ruleset{sets: make(map[string][]json.RawMessage)}
	for _, object := range all.NFTables {
		for what, body := range object {
			switch what {
			case "table":
				var t nftTable
				if json.Unmarshal(body, &t) == nil {
					r.tables = append(r.tables, t)
				}
			case "chain":
				var c nftChain
				if json.Unmarshal(body, &c) == nil {
					r.chains = append(r.chains, c)
				}
			case "rule":
				var n nftRule
				if json.Unmarshal(body, &n) == nil {
					r.rules = append(r.rules, n)
				}
			case "set", "map":
				var s struct {
					Family, Table, Name string
					Elem                []json.RawMessage
				}
				if json.Unmarshal(body, &s) == nil {
					r.sets[s.Family+" "+s.Table+" "+s.Name] = s.Elem
				}
			}
		}
	}
	// Chains of one hook are passed in the order of their priorities.
	sort.SliceStable(r.chains, func(i, j int) bool { return r.chains[i].Prio < r.chains[j].Prio })
	return r, nil
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

// judge follows p through all base chains of a hook.
func (r *ruleset) judge(hook string, p packet) (fate, []culprit) {
	worst := passes
	var at []culprit
	for _, c := range r.chains {
		if c.Hook != hook || c.Type != "filter" || !sees(c.Family, p) {
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

func sees(family string, p packet) bool {
	return family == "inet" || family == "ip" && !p.v6 || family == "ip6" && p.v6
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
		if _, ok := e["return"]; ok {
			return true
		}
	}
	return false
}

// apply is one rule: its verdict and whether the packet matches it.
func (r *ruleset) apply(rule nftRule, p packet, depth int) (f fate, why string, match truth) {
	match = yes
	for _, e := range rule.Expr {
		for what, body := range e {
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
			case "jump", "goto":
				var to struct{ Target string }
				if json.Unmarshal(body, &to) != nil {
					return unclear, "", match
				}
				f, why := r.walk(nftChain{Family: rule.Family, Table: rule.Table, Name: to.Target}, p, depth+1)
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
func (r *ruleset) verdictMap(rule nftRule, body json.RawMessage, p packet, depth int) (fate, string) {
	var v struct {
		Key  json.RawMessage
		Data json.RawMessage
	}
	if json.Unmarshal(body, &v) != nil {
		return unclear, ""
	}
	have, known := field(v.Key, p)
	var pairs struct{ Set []json.RawMessage }
	if json.Unmarshal(v.Data, &pairs) != nil {
		var name string
		if json.Unmarshal(v.Data, &name) != nil {
			return unclear, ""
		}
		pairs.Set = r.sets[rule.Family+" "+rule.Table+" "+strings.TrimPrefix(name, "@")]
	}
	for _, raw := range pairs.Set {
		var pair [2]json.RawMessage
		if json.Unmarshal(raw, &pair) != nil {
			return unclear, ""
		}
		m := perhaps
		if known {
			m = r.equal(rule, have, pair[0], p)
		}
		if m == no {
			continue
		}
		var verdict map[string]json.RawMessage
		if json.Unmarshal(pair[1], &verdict) != nil {
			return unclear, ""
		}
		f, why, _ := r.apply(nftRule{rule.Family, rule.Table, rule.Chain, []map[string]json.RawMessage{verdict}}, p, depth)
		if m == perhaps && f != goesOn {
			return unclear, ""
		}
		return f, why
	}
	return goesOn, ""
}

// matches is one match expression.
func (r *ruleset) matches(rule nftRule, body json.RawMessage, p packet) truth {
	var m struct {
		Op          string
		Left, Right json.RawMessage
	}
	if json.Unmarshal(body, &m) != nil {
		return perhaps
	}
	have, known := field(m.Left, p)
	if have == nil && known {
		return no // the packet has no such field
	}
	if !known {
		return perhaps
	}
	t := r.equal(rule, have, m.Right, p)
	switch m.Op {
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
func field(left json.RawMessage, p packet) (value any, known bool) {
	var l struct {
		Meta    *struct{ Key string }
		Ct      *struct{ Key string }
		IPsec   *struct{ Key string }
		Payload *struct{ Protocol, Field string }
	}
	if json.Unmarshal(left, &l) != nil {
		return nil, false
	}
	text := func(s string) (any, bool) {
		if s == "" {
			return nil, false
		}
		return s, true
	}
	switch {
	case l.Meta != nil:
		switch l.Meta.Key {
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
			return int64(p.mark), true
		case "secpath", "ipsec":
			return p.ipsec, true
		}
	case l.Ct != nil && l.Ct.Key == "state":
		return p.state, true
	case l.Payload != nil:
		return payload(l.Payload.Protocol, l.Payload.Field, p)
	}
	return nil, false
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
			return int64(p.dport), true
		}
		return nil, true
	case "udp sport", "th sport":
		if p.proto == "udp" {
			return int64(p.sport), true
		}
		return nil, true
	}
	switch proto {
	case "tcp", "icmp", "icmpv6", "sctp", "dccp", "udplite", "ah", "igmp", "comp":
		return nil, true // of other packets
	case "udp":
		if p.proto != "udp" {
			return nil, true
		}
	}
	return nil, false
}

// equal compares a value with the right side of a match.
func (r *ruleset) equal(rule nftRule, have any, right json.RawMessage, p packet) truth {
	var list []json.RawMessage
	if json.Unmarshal(right, &list) == nil {
		return r.anyOf(rule, have, list, p)
	}
	var s string
	if json.Unmarshal(right, &s) == nil {
		if name, ok := strings.CutPrefix(s, "@"); ok {
			elements, known := r.sets[rule.Family+" "+rule.Table+" "+name]
			if !known {
				return perhaps
			}
			return r.anyOf(rule, have, elements, p)
		}
		return sameText(have, s)
	}
	var n int64
	if json.Unmarshal(right, &n) == nil {
		switch h := have.(type) {
		case int64:
			return when(h == n)
		case protocol:
			return when(int64(h.number) == n)
		}
		return perhaps
	}
	var b bool
	if json.Unmarshal(right, &b) == nil {
		if h, ok := have.(bool); ok {
			return when(h == b)
		}
		return perhaps
	}
	var o struct {
		Set    []json.RawMessage
		Range  []json.RawMessage
		Prefix *struct {
			Addr string
			Len  int
		}
		Elem *struct{ Val json.RawMessage }
	}
	if json.Unmarshal(right, &o) != nil {
		return perhaps
	}
	switch {
	case o.Set != nil:
		return r.anyOf(rule, have, o.Set, p)
	case o.Elem != nil:
		return r.equal(rule, have, o.Elem.Val, p)
	case o.Prefix != nil:
		a, err := netip.ParseAddr(o.Prefix.Addr)
		h, ok := have.(netip.Addr)
		if err != nil || !ok {
			return perhaps
		}
		return when(netip.PrefixFrom(a, o.Prefix.Len).Contains(h))
	case len(o.Range) == 2:
		return inRange(have, o.Range)
	}
	return perhaps
}

func (r *ruleset) anyOf(rule nftRule, have any, list []json.RawMessage, p packet) truth {
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

func inRange(have any, ends []json.RawMessage) truth {
	var lo, hi int64
	if json.Unmarshal(ends[0], &lo) == nil && json.Unmarshal(ends[1], &hi) == nil {
		h, ok := have.(int64)
		if !ok {
			return perhaps
		}
		return when(lo <= h && h <= hi)
	}
	var a, b string
	if json.Unmarshal(ends[0], &a) != nil || json.Unmarshal(ends[1], &b) != nil {
		return perhaps
	}
	from, err1 := netip.ParseAddr(a)
	to, err2 := netip.ParseAddr(b)
	h, ok := have.(netip.Addr)
	if err1 != nil || err2 != nil || !ok {
		return perhaps
	}
	return when(from.Compare(h) <= 0 && h.Compare(to) <= 0)
}

func when(b bool) truth {
	if b {
		return yes
	}
	return no
}

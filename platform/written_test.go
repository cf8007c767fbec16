package platform

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// written is all that greseal writes into the kernel beside its own sockets, and how it is
// read back (contract 16c). What has no name for its attribute, such as the prefix of a route,
// is part of the message that these belong to.
var written = map[string]string{
	// Interfaces. Compare and auditLink or audit of the datapath.
	"unix.IFLA_IFNAME":              "Compare",
	"unix.IFLA_IFALIAS":             "Compare",
	"unix.IFLA_MASTER":              "Compare; where the configuration names no bridge it is whoever's",
	"unix.IFLA_MTU":                 "kernel and userspace",
	"unix.IFLA_GROUP":               "until it has its ifalias; afterwards it is whoever's, as for iifgroup in a firewall",
	"unix.IFLA_LINKMODE":            "kernel",
	"unix.IFLA_OPERSTATE":           "kernel, as IFF_RUNNING",
	"unix.IFLA_CARRIER":             "userspace, as IFF_LOWER_UP",
	"unix.IFLA_GSO_MAX_SIZE":        "userspace",
	"unix.IFLA_AF_SPEC":             "IFLA_INET6_ADDR_GEN_MODE",
	"unix.AF_INET6":                 "IFLA_INET6_ADDR_GEN_MODE",
	"unix.IFLA_INET6_ADDR_GEN_MODE": "Network, with the addresses; what netifd sees to is its own",
	"unix.IFLA_LINKINFO":            "kernel, as the GRE attributes; of another kind it is another interface",
	"nl.IFLA_INFO_KIND":             "as IFLA_LINKINFO",
	"nl.IFLA_INFO_DATA":             "as IFLA_LINKINFO",
	"a.typ":                         "all of the GRE attributes",
	"nl.IFLA_GRE_LOCAL":             "kernel", "nl.IFLA_GRE_REMOTE": "kernel", "nl.IFLA_GRE_IKEY": "kernel", "nl.IFLA_GRE_OKEY": "kernel",
	"nl.IFLA_GRE_IFLAGS": "kernel", "nl.IFLA_GRE_OFLAGS": "kernel", "nl.IFLA_GRE_TTL": "kernel", "nl.IFLA_GRE_TOS": "kernel",
	"nl.IFLA_GRE_PMTUDISC": "kernel", "nl.IFLA_GRE_ENCAP_LIMIT": "kernel", "nl.IFLA_GRE_FLAGS": "kernel", "nl.IFLA_GRE_FLOWINFO": "kernel",
	"greIgnoreDF": "kernel", "greFWMark": "kernel",
	"unix.TUNSETIFF":       "userspace, as the interface itself: nobody else changes it",
	"unix.TUNSETPERSIST":   "as TUNSETIFF",
	"unix.TUNSETCARRIER":   "userspace, as IFF_LOWER_UP",
	"unix.TUNSETVNETHDRSZ": "of the descriptor",
	"unix.TUNSETOFFLOAD":   "of the descriptor; ethtool can switch it off, which costs speed alone",

	// Addresses: SetAddresses, and the connected routes with them.
	"unix.IFA_LOCAL":     "Network",
	"unix.IFA_ADDRESS":   "Network",
	"unix.IFA_BROADCAST": "Network, with the address",
	"ifaProto":           "Network; also an address that somebody else laid again counts",
	"ifaFlagBit":         "Network, as DADFAILED",

	// Routes, compared by their keys, and rules.
	"unix.RTA_DST": "Network", "unix.RTA_TABLE": "Network", "unix.RTA_PRIORITY": "Network", "unix.RTA_OIF": "Network",
	"unix.RTA_GATEWAY": "Network", "unix.RTA_VIA": "Network",
	"unix.RTA_PREFSRC": "copied from the route of the underlay; leads the same way without",
	"unix.RTA_METRICS": "as RTA_PREFSRC",
	"unix.FRA_DST":     "Network", "unix.FRA_SRC": "Network", "unix.FRA_TABLE": "Network", "unix.FRA_PROTOCOL": "Network",
	"unix.FRA_PRIORITY": "a rule cannot be changed, only removed and made",
	"unix.FRA_IIFNAME":  "as FRA_PRIORITY", "unix.FRA_UID_RANGE": "as FRA_PRIORITY", "unix.FRA_DPORT_RANGE": "Network",

	// Policies with their templates, and SAs.
	"nl.XFRMA_TMPL":           "kernel, whole policies",
	"nl.XFRMA_ALG_AEAD":       "as a new SA, which has another time: keys are not kept to compare them",
	"nl.XFRMA_ALG_CRYPT":      "as XFRMA_ALG_AEAD",
	"nl.XFRMA_ALG_AUTH_TRUNC": "as XFRMA_ALG_AEAD",
	"nl.XFRMA_REPLAY_ESN_VAL": "as XFRMA_ALG_AEAD: it moves on with each packet",
	"nl.XFRMA_LTIME_VAL":      "as XFRMA_REPLAY_ESN_VAL",
	"nl.XFRMA_SA_DIR":         "as XFRMA_ALG_AEAD",
	"nl.XFRMA_MTIMER_THRESH":  "as XFRMA_ALG_AEAD",
	"nl.XFRMA_ENCAP":          "kernel",
	"nl.XFRMA_SET_MARK":       "kernel",
	"nl.XFRMA_SET_MARK_MASK":  "kernel",
	"typ":                     "what AlterState read of an SA",

	// nf_tables.
	"r.routed": "kernel, whole tables", "r.bridged": "kernel, whole tables",
	"none.routed": "nothing stands then", "none.bridged": "nothing stands then",

	// There is no other sysctl: what greseal sets of an interface it sets by netlink.
	`"/proc/sys/net/ipv4/route/flush"`: "an order, not a state", `"/proc/sys/net/ipv6/route/flush"`: "an order, not a state",

	// In questions only.
	"unix.RTA_SRC": "-", "linkExtMask": "-", "unix.RTA_MARK": "-", "unix.NFTA_RULE_TABLE": "-", "unix.IFLA_TARGET_NETNSID": "-", "unix.SIOCGIFINDEX": "-",
}

// writers are the functions that take what they write as an argument, by its place.
var writers = map[string]int{
	"NewRtAttr": 0, "AddRtAttr": 0, "rawAttr": 0, "secretAttr": 0, "WriteFile": 0, "runNFT": 0,
	"IoctlSetInt": 1, "IoctlIfreq": 1, "IoctlSetPointerInt": 1,
}

func TestAllThatIsWrittenIsReadBack(t *testing.T) {
	found := make(map[string]bool)
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || path == "kernel/probe.go" { // in a namespace that is thrown away
			return err
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			name := text(call.Fun)
			at, writes := writers[name[strings.LastIndex(name, ".")+1:]]
			if name == "add" && path == "kernel/link.go" {
				writes = true
			}
			if writes {
				what := text(call.Args[at])
				found[what] = true
				if written[what] == "" {
					t.Errorf("%s: %s is written: say above how it is read back", files.Position(call.Pos()), what)
				}
			}
			return true
		})
		return nil
	})
	must(t, err)
	for what := range written {
		if !found[what] {
			t.Errorf("%s is written nowhere", what)
		}
	}
}

// text is an identifier, a selector or a literal as it is written.
func text(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.BasicLit:
		return e.Value
	case *ast.SelectorExpr:
		return text(e.X) + "." + e.Sel.Name
	}
	return ""
}

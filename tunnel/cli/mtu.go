package cli

import (
	"flag"
	"fmt"
	"strings"

	"greseal/crypto/suite"
	"greseal/tunnel/mtu"
	"greseal/tunnel/status"
)

// MTU explains how large a packet may be, line by line.
var MTU = Command{
	Name: "mtu", Args: "[NAME]", Group: groupTools,
	Short: "show how an MTU is computed: for tunnel NAME, or for given values",
	Setup: func(fs *flag.FlagSet) func(*Env, []string) error {
		var p place
		p.flags(fs)
		var in mtu.Params
		fs.IntVar(&in.Outer, "path", 1500, "MTU of the outer path, `BYTES`")
		esp := fs.String("esp", "aes128gcm16", "ESP `PROPOSAL` as in the config")
		fs.BoolVar(&in.OuterV6, "outer6", false, "IPv6 outside")
		fs.BoolVar(&in.InnerV6, "gre6", false, "IPv6 GRE endpoints (tunnel mode)")
		fs.BoolVar(&in.Transport, "transport", false, "transport mode")
		fs.BoolVar(&in.Encap, "encap", false, "UDP encapsulation, as behind a NAT")
		fs.BoolVar(&in.GREKey, "key", false, "GRE key")
		fs.BoolVar(&in.GRESeq, "sequence", false, "GRE sequence number")
		fs.BoolVar(&in.GRECsum, "checksum", false, "GRE checksum")
		fs.BoolVar(&in.Ethernet, "ethernet", false, "Ethernet inside GRE")
		asJSON := fs.Bool("json", false, "as JSON")
		return func(env *Env, args []string) error {
			name := first(args)
			var sum sizes
			var err error
			if name != "" {
				given := ""
				fs.Visit(func(f *flag.Flag) {
					if f.Name != "c" && f.Name != "socket" && f.Name != "json" {
						given = dashes(f.Name)
					}
				})
				if given != "" {
					return usagef("%s cannot be combined with a tunnel's name", given)
				}
				sum, err = p.sizesOf(name)
			} else {
				sum, err = computeSizes(in, *esp)
			}
			if err != nil {
				return err
			}
			if *asJSON {
				return writeJSON(env, sum)
			}
			return sum.print(env)
		}
	},
}

// sizes is the result of mtu --json; all in bytes.
type sizes struct {
	MTU  int    `json:"mtu"`
	How  string `json:"how"`
	MSS4 int    `json:"mss4"`
	MSS6 int    `json:"mss6"`
	// Why running connections are not held to these sizes; empty: they are.
	Unclamped string `json:"unclamped,omitempty"`
	Sum       []step `json:"sum"`
}

type step struct {
	Name  string `json:"name"`
	Bytes int    `json:"bytes"` // negative for what is taken away
}

func computeSizes(in mtu.Params, esp string) (sizes, error) {
	proposal, err := suite.ParseESP(esp)
	if err != nil {
		return sizes{}, usagef("--esp: %v", err)
	}
	in.Encr = proposal.Of(suite.TypeEncr)[0]
	if integ := proposal.Of(suite.TypeInteg); len(integ) > 0 {
		in.Integ = integ[0]
	}
	r, err := mtu.Fit(in)
	if err != nil {
		return sizes{}, err
	}
	s := sizes{MTU: r.MTU, How: "computed", MSS4: r.MSS4, MSS6: r.MSS6}
	for _, l := range r.Lines {
		s.Sum = append(s.Sum, step{l.Name, l.Bytes})
	}
	return s, nil
}

// sizesOf asks the daemon.
func (p *place) sizesOf(name string) (sizes, error) {
	r, err := p.call(status.Request{Op: status.OpStatus, Tunnel: name})
	if err != nil {
		return sizes{}, err
	}
	t := &r.Snapshot.Tunnels[0]
	m := &t.MTU
	if m.Bytes == 0 {
		return sizes{}, fmt.Errorf("%s is %s and has no interface yet, so no MTU; see: greseal status %s", name, t.State, name)
	}
	s := sizes{MTU: m.Bytes, How: m.How, MSS4: m.MSS4, MSS6: m.MSS6, Unclamped: m.Unclamped}
	if m.Why != "" && (len(m.Sum) == 0 || m.How != "computed") {
		why, _, _ := strings.Cut(m.Why, " less ") // what is taken away is the sum
		s.How += ": " + why
	}
	for _, l := range m.Sum {
		s.Sum = append(s.Sum, step{l.Name, l.Bytes})
	}
	return s, nil
}

func (s sizes) print(env *Env) error {
	for _, l := range s.Sum {
		fmt.Fprintf(env.Stdout, "%6d  %s\n", l.Bytes, l.Name)
	}
	if len(s.Sum) > 0 {
		fmt.Fprintln(env.Stdout, "------")
	}
	_, err := fmt.Fprintf(env.Stdout, "%6d  MTU of the interface (%s)\n", s.MTU, s.How)
	if err == nil && s.MSS4 > 0 {
		_, err = fmt.Fprintf(env.Stdout, "%6d  TCP MSS inside IPv4\n%6d  TCP MSS inside IPv6\n", s.MSS4, s.MSS6)
	}
	if err == nil && s.Unclamped != "" {
		_, err = fmt.Fprintf(env.Stdout, "        TCP MSS not clamped: %s\n", s.Unclamped)
	}
	return err
}

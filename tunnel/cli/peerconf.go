package cli

import (
	"errors"
	"flag"
	"io"
	"net/netip"
	"strings"

	"greseal/tunnel/config"
	"greseal/tunnel/peerconf"
	"greseal/tunnel/status"
)

// PeerConfig writes the configuration of a tunnel's other side.
var PeerConfig = Command{
	Name: "peer-config", Args: "NAME", Group: groupTools,
	Short: "write the other side's configuration, for the product given",
	Setup: func(fs *flag.FlagSet) func(*Env, []string) error {
		var p place
		p.flags(fs)
		vendor := fs.String("for", "", "the other side's `PRODUCT`: "+strings.Join(peerconf.Vendors(), ", "))
		own := fs.String("own", "", "outer `ADDRESS` of this side (default: what the config and the daemon know)")
		peer := fs.String("peer", "", "outer `ADDRESS` of the other side (default: remote)")
		networks := fs.String("networks", "", "`LIST` of the networks behind this side, for the other side's routes")
		secrets := fs.Bool("show-secrets", false, "write the pre-shared key, not a placeholder")
		return func(env *Env, args []string) error {
			name := first(args)
			switch {
			case name == "":
				return usagef("which tunnel? Give its name")
			case *vendor == "":
				return usagef("which product is the other side? --for takes %s", strings.Join(peerconf.Vendors(), ", "))
			}
			cfg, err := Load(p.config, nil)
			if err != nil {
				return err
			}
			defer cfg.Wipe()
			other := OtherSide{Tunnel: name, Vendor: *vendor, Own: *own, Peer: *peer, Networks: *networks, Secrets: *secrets}
			return other.write(env.Stdout, cfg, p, true)
		}
	},
}

// OtherSide says whose configuration is written for which tunnel; the rest is
// as the flags of peer-config say.
type OtherSide struct {
	Tunnel, Vendor, Own, Peer, Networks string

	Secrets bool
}

// Write writes it for a tunnel of cfg, with what the daemon that answers at
// socket knows, for who sees a page and no command line.
func (s OtherSide) Write(w io.Writer, cfg *config.Config, socket string) error {
	return s.write(w, cfg, place{socket: socket}, false)
}

func (s OtherSide) write(w io.Writer, cfg *config.Config, p place, commandLine bool) (err error) {
	o := peerconf.Options{Tunnel: cfg.Tunnel(s.Tunnel), Own: s.Own, Peer: s.Peer, ShowSecrets: s.Secrets, CommandLine: commandLine}
	if o.Tunnel == nil {
		return tunnelNotFound(s.Tunnel, cfg)
	}
	if o.Networks, err = prefixes(s.Networks); err != nil {
		return err
	}
	p.learn(&o)
	return peerconf.Render(w, s.Vendor, o)
}

func tunnelNotFound(name string, cfg *config.Config) error {
	var names []string
	for i := range cfg.Tunnels {
		names = append(names, cfg.Tunnels[i].Name)
	}
	r := status.NoTunnel(name, names)
	return errors.New(r.Error + "; " + r.Remedy)
}

func prefixes(list string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, usagef("%q is no network such as 10.0.0.0/16", s)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// learn takes from a running daemon what the config does not say: of a tunnel that
// was never up, what it has found out before its first handshake. Without one
// there are placeholders.
func (p *place) learn(o *peerconf.Options) {
	snap, err := p.snapshot()
	if err != nil {
		return
	}
	for _, t := range snap.Tunnels {
		if t.Name == o.Tunnel.Name {
			learnFrom(o, &t)
		}
	}
}

func learnFrom(o *peerconf.Options, t *status.Tunnel) {
	own, peer := address(t.Peer.LocalAddr), address(t.Peer.Address)
	natOwn, natPeer := false, false
	if t.IKE != nil {
		natOwn, natPeer = t.IKE.NATLocal, t.IKE.NATRemote
	} else {
		// Until a handshake has shown it, a private address reaches a public one
		// by a NAT.
		natOwn = own.IsPrivate() && peer.IsValid() && !peer.IsPrivate()
	}
	switch {
	case !own.IsValid():
	case natOwn:
		o.GREOwn = own.String() // what this side says of itself
	case o.Own == "":
		o.Own = own.String()
	}
	if peer.IsValid() && o.Peer == "" && !natPeer {
		o.Peer = peer.String()
	}
	o.MTU = t.MTU.Bytes
}

// address reads an address with or without a port.
func address(s string) netip.Addr {
	if a, err := netip.ParseAddrPort(s); err == nil {
		return a.Addr()
	}
	a, _ := netip.ParseAddr(s)
	return a
}

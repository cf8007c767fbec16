package main

import (
	"greseal/tunnel/config"
	"greseal/tunnel/status"
)

// page8 is greseal(8).
func page8(commands []command) ([]byte, error) {
	r := new(roff)
	r.macro(`TH GRESEAL 8 "" greseal "System Administration"`)
	r.macro("SH NAME")
	r.text("greseal - GRE and IPsec in one")
	r.macro("SH SYNOPSIS")
	r.macro("B greseal")
	r.macro("I COMMAND")
	r.text("[flags] [arguments]")
	r.macro("SH DESCRIPTION")
	r.text("greseal keeps tunnels of GRE over IPsec: one [[tunnel]] in its config file is one network interface that is keyed by IKEv2, encrypted by ESP, sized, kept alive and explained. It needs the kernel's own modules, or without those a TUN device only.")
	r.macro("PP")
	r.text("Between the two ends of a tunnel GRE never travels outside of ESP: not before the first SA, not after the last, not while the daemon is stopped or killed. Traffic for a tunnel's routes takes no other way while the tunnel is down, unless the config allows it.")
	r.macro("PP")
	r.text("Flags may stand before or after the arguments. Every command but run talks to a running daemon or to none.")
	group := ""
	r.macro("SH COMMANDS")
	for _, c := range commands {
		if c.group != group {
			group = c.group
			r.macro(`SS "%s"`, escape(group))
		}
		r.macro("TP")
		r.macro("B %s", escape(c.usage))
		r.text(sentence(c.short))
		if len(c.flags) == 0 {
			continue
		}
		r.macro("RS")
		for _, f := range c.flags {
			r.item(f.name, sentence(f.text))
		}
		r.macro("RE")
	}
	for _, page := range []string{"certificates.md", "tunnel.md", "doctor.md", "editing.md", "peers.md", "openwrt.md", "security.md"} {
		if err := r.document(page); err != nil {
			return nil, err
		}
	}
	if err := r.section("commands.md", "Metrics", "Under systemd"); err != nil {
		return nil, err
	}
	r.macro("SH SIGNALS")
	r.item("SIGTERM, SIGINT", "greseal run deletes its SAs and interfaces and ends. What keeps GRE and the routes' traffic out of the clear stays.")
	r.item("SIGHUP", "greseal run takes over the config file, as greseal apply does.")
	r.macro("SH EXIT STATUS")
	r.item("0", "Fine.")
	r.item("1", "Failed.")
	r.item("2", "Wrong usage, or a config that is refused.")
	r.macro("SH FILES")
	r.item(config.DefaultFile, "The config, see greseal.toml(5).")
	r.item("/etc/greseal/history", "The last good configs, for root alone.")
	r.item(status.DefaultSocket, "Status socket of the daemon.")
	r.macro("SH ENVIRONMENT")
	r.item("VISUAL, EDITOR", "Editor of greseal edit; vi without them.")
	r.item("SSH_CONNECTION", "Whose session greseal edit must not lose.")
	r.item("NO_COLOR", "When set, output on a terminal has no colours.")
	r.macro("SH SEE ALSO")
	r.text("greseal.toml(5), ip-link(8), ip-xfrm(8), RFC 7296, RFC 4303, RFC 2784")
	return r.Bytes(), nil
}

// sentence makes a sentence of a short text.
func sentence(s string) string {
	if s == "" {
		return s
	}
	first := s[:1]
	if first >= "a" && first <= "z" {
		first = string(first[0] - 'a' + 'A')
	}
	s = first + s[1:]
	if last := s[len(s)-1]; last != '.' && last != ')' && last != ':' {
		s += "."
	}
	return s
}

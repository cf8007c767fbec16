package labnet

import "greseal/tunnel/status"

// Attach is a daemon that something else has started, as proc or below it, with
// its status socket at a path of its own.
func (n *NS) Attach(proc *Proc, config, socket string) *Greseal {
	g := &Greseal{Config: config, Socket: socket, ns: n, proc: proc}
	n.lab.owns(g)
	return g
}

// Answers reports whether the daemon can be asked for its status.
func (g *Greseal) Answers() bool {
	_, err := g.Ask(status.Request{Op: status.OpStatus})
	return err == nil
}

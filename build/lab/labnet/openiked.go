package labnet

import (
	"path/filepath"
	"time"
)

// OpenIKED is a running iked. It needs ESP in the kernel and a chroot that has it
// (build/lab/sid).
type OpenIKED struct {
	ns   *NS
	root string
	dir  string
	proc *Proc
}

// OpenIKED starts iked in the namespace with conf as its iked.conf.
func (n *NS) OpenIKED(root, conf string) *OpenIKED {
	p := &OpenIKED{ns: n, root: root, dir: filepath.Join(n.lab.Dir, "iked-"+n.Name)}
	n.lab.File(filepath.Base(p.dir)+"/iked.conf", conf)
	p.proc = n.Start("iked-"+n.Name, chrooted(root, p.dir, "/usr/sbin/iked", "-d", "-v", "-f", "/mnt/iked.conf", "-s", "/mnt/iked.sock")...)
	n.lab.Wait(30*time.Second, "iked's control socket", func() bool {
		n.lab.Check(p.proc.Running(), "iked ended at once: %s", lastLines(p.proc.Output(), 5))
		return p.ctl("show", "sa").Code == 0
	})
	return p
}

func (p *OpenIKED) ctl(args ...string) Result {
	return p.ns.Run(chrooted(p.root, p.dir, append([]string{"/usr/sbin/ikectl", "-s", "/mnt/iked.sock"}, args...)...)...)
}

// SAs is what iked says it has.
func (p *OpenIKED) SAs() string { return p.ctl("show", "sa").Stdout }

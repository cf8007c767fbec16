package labnet

import (
	"path/filepath"
	"time"
)

// OpenIKED starts iked in the namespace with conf as its iked.conf. It needs ESP in
// the kernel and a chroot that has it (build/lab/sid).
func (n *NS) OpenIKED(root, conf string) {
	dir := filepath.Join(n.lab.Dir, "iked-"+n.Name)
	n.lab.File(filepath.Base(dir)+"/iked.conf", conf)
	n.BlockErrors()
	iked := n.Start("iked-"+n.Name, chrooted(root, dir, "/usr/sbin/iked", "-d", "-v", "-f", "/mnt/iked.conf", "-s", "/mnt/iked.sock")...)
	n.lab.Wait(30*time.Second, "iked's control socket", func() bool {
		n.lab.Check(iked.Running(), "iked ended at once: %s", lastLines(iked.Output(), 5))
		return n.Run(chrooted(root, dir, "/usr/sbin/ikectl", "-s", "/mnt/iked.sock", "show", "sa")...).Code == 0
	})
}

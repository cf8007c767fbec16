package labnet

import (
	"os"
	"path/filepath"
	"time"
)

// Libreswan is a running pluto with one connection, "gre". It needs ESP in the
// kernel and a chroot that has it (build/lab/sid).
type Libreswan struct {
	ns   *NS
	root string
	dir  string
	proc *Proc
}

// chrooted is how a program in a chroot is started; arguments may follow. The
// folder dir is bound to /mnt for that process alone.
func chrooted(root, dir string, argv ...string) []string {
	return append([]string{"unshare", "-m", "sh", "-c", `root=$1; dir=$2; shift 2
mount --bind "$dir" "$root/mnt" && mount --rbind /dev "$root/dev" && mount -t proc p "$root/proc" && mount -t tmpfs t "$root/run" && exec chroot "$root" "$@"`,
		"sh", root, dir}, argv...)
}

// Libreswan starts pluto in the namespace. conn is the lines of the connection
// in ipsec.conf, secrets the content of ipsec.secrets.
func (n *NS) Libreswan(root, conn, secrets string) *Libreswan {
	p := &Libreswan{ns: n, root: root, dir: filepath.Join(n.lab.Dir, "pluto-"+n.Name)}
	name := filepath.Base(p.dir) + "/"
	n.lab.File(name+"ipsec.conf", "config setup\n\tlogtime=no\n\tuniqueids=no\nconn gre\n"+conn+"\n\tauto=add\n")
	n.lab.File(name+"ipsec.secrets", secrets)
	for _, folder := range []string{"run", "nss"} {
		n.lab.Must(os.MkdirAll(filepath.Join(p.dir, folder), 0o700), "make a folder for pluto")
	}
	p.must("ipsec", "initnss", "--nssdir", "/mnt/nss")
	p.proc = n.Start("pluto-"+n.Name, chrooted(root, p.dir, plutoFolder+"pluto", "--nofork", "--config", "/mnt/ipsec.conf",
		"--secretsfile", "/mnt/ipsec.secrets", "--nssdir", "/mnt/nss", "--rundir", "/mnt/run", "--logfile", "/mnt/pluto.log")...)
	n.lab.Wait(30*time.Second, "pluto's control socket", func() bool {
		n.lab.Check(p.proc.Running(), "pluto ended at once: %s", lastLines(p.proc.Output(), 5))
		return p.whack("--status").Code == 0
	})
	n.BlockErrors() // pluto removes all policies when it starts
	p.must(plutoFolder+"addconn", "--config", "/mnt/ipsec.conf", "--ctlsocket", "/mnt/run/pluto.ctl", "gre")
	p.must(plutoFolder+"whack", "--ctlsocket", "/mnt/run/pluto.ctl", "--rereadsecrets")
	return p
}

const plutoFolder = "/usr/libexec/ipsec/"

func (p *Libreswan) run(argv ...string) Result { return p.ns.Run(chrooted(p.root, p.dir, argv...)...) }

func (p *Libreswan) must(argv ...string) {
	r := p.run(argv...)
	p.ns.lab.Check(r.Code == 0, "%v: %s", argv, lastLines(r.Out(), 5))
}

func (p *Libreswan) whack(args ...string) Result {
	return p.run(append([]string{plutoFolder + "whack", "--ctlsocket", "/mnt/run/pluto.ctl"}, args...)...)
}

// Initiate brings the connection up. Its end is not waited for.
func (p *Libreswan) Initiate() { p.whack("--initiate", "--asynchronous", "--name", "gre") }

// RekeyChild and RekeyIKE have pluto replace an SA.
func (p *Libreswan) RekeyChild() { p.whack("--rekey-child", "--asynchronous", "--name", "gre") }
func (p *Libreswan) RekeyIKE()   { p.whack("--rekey-ike", "--asynchronous", "--name", "gre") }

package main

import (
	"os"
	"path/filepath"
	"time"
)

// interopPhases is make interop: the rows of scenario's interop files. Those on
// this machine mostly wait for lifetimes, those in the virtual machine compute.
var interopPhases = [][][]step{
	{{{"setup", (*part).setup}, {"newer peers", (*part).newerPeers}, {"build", (*part).build}}},
	{{{"lab", (*part).interopHere}}, {{"vm", (*part).interopInVM}}},
}

// newerPeers makes the chroots of Debian sid.
func (s *part) newerPeers() {
	for _, name := range []string{"strongswan", "libreswan", "openiked"} {
		if !isRoot() {
			s.add(Row{Scenario: "Debian sid with " + name, Result: "skip", Note: "needs root"})
			continue
		}
		s.check("Debian sid with "+name, 10*time.Minute, nil, "build/lab/sid", name)
	}
}

// interopHere plays in namespaces of this machine.
func (s *part) interopHere() {
	s.onHost("host", "peers on this machine", 20*time.Minute, "host-rows", "-interop", "-j", "12")
}

// interopInVM plays against the kernel's ESP.
func (s *part) interopInVM() {
	const title = "peers on a real kernel"
	if missing, ok := have("qemu-system-x86_64", "busybox", "cpio", "depmod"); !ok {
		s.add(Row{Scenario: title, Peer: "all", Datapath: "kernel", Result: "skip", Note: missing + " is not installed; run build/lab/setup"})
		return
	}
	out := filepath.Join(s.logs, "vm-rows")
	os.MkdirAll(out, 0o755)
	os.Symlink(filepath.Join(out, "rows"), filepath.Join(s.logs, "vm.rows"))
	s.played("vm", title, "6.1", 35*time.Minute, "build/lab/vm", "run", "--timeout", "2000", "--out", out, "--",
		"out/lab/labtest", "run", "-interop", "-greseal", "greseal", "-where", "vm", "-j", "3", "-dir", "/tmp/lab", "-save", filepath.Join(out, "failed"), "-out", filepath.Join(out, "rows"))
}

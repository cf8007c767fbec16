package suite

import (
	"runtime"

	"golang.org/x/sys/cpu"
)

// HasAES reports whether the CPU has instructions for AES and for GCM's
// multiplication: what a kernel's crypto can use.
func HasAES() bool {
	return cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ ||
		cpu.ARM64.HasAES && cpu.ARM64.HasPMULL ||
		cpu.ARM.HasAES && cpu.ARM.HasPMULL ||
		cpu.S390X.HasAES && cpu.S390X.HasGHASH
}

// HasAESInGo reports whether this program's own AES-GCM uses such instructions:
// Go has assembly for 64-bit architectures only, so a 386 or 32-bit ARM binary
// computes AES in software whatever the CPU has.
func HasAESInGo() bool {
	switch runtime.GOARCH {
	case "amd64", "arm64", "s390x":
		return HasAES()
	}
	return false
}

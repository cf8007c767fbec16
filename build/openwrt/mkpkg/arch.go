package main

import "strings"

// arch is an architecture name of OpenWrt (DISTRIB_ARCH) and the Go settings of
// its binary, as OpenWrt's golang-values.mk chooses them. Where a target has an
// FPU and Go's soft-float code runs on it as well, the soft-float binary serves.
type arch struct {
	name string
	env  string // GOARCH and its variant, as environment variables
}

var architectures = []arch{
	{"aarch64_cortex-a53", "GOARCH=arm64"},
	{"aarch64_cortex-a72", "GOARCH=arm64"},
	{"aarch64_cortex-a76", "GOARCH=arm64"},
	{"aarch64_generic", "GOARCH=arm64"},
	{"arm_arm1176jzf-s_vfp", "GOARCH=arm GOARM=6"},
	{"arm_cortex-a15_neon-vfpv4", "GOARCH=arm GOARM=7"},
	{"arm_cortex-a7", "GOARCH=arm GOARM=5"},
	{"arm_cortex-a7_neon-vfpv4", "GOARCH=arm GOARM=7"},
	{"arm_cortex-a7_vfpv4", "GOARCH=arm GOARM=7"},
	{"arm_cortex-a8_vfpv3", "GOARCH=arm GOARM=7"},
	{"arm_cortex-a9", "GOARCH=arm GOARM=5"},
	{"arm_cortex-a9_neon", "GOARCH=arm GOARM=7"},
	{"arm_cortex-a9_vfpv3-d16", "GOARCH=arm GOARM=7"},
	{"arm_fa526", "GOARCH=arm GOARM=5"},
	{"arm_xscale", "GOARCH=arm GOARM=5"},
	{"i386_pentium-mmx", "GOARCH=386 GO386=softfloat"},
	{"i386_pentium4", "GOARCH=386 GO386=sse2"},
	{"loongarch64_generic", "GOARCH=loong64"},
	{"mips64_octeonplus", "GOARCH=mips64 GOMIPS64=softfloat"},
	{"mips_24kc", "GOARCH=mips GOMIPS=softfloat"},
	{"mipsel_24kc", "GOARCH=mipsle GOMIPS=softfloat"},
	{"mipsel_24kc_24kf", "GOARCH=mipsle GOMIPS=softfloat"},
	{"mipsel_74kc", "GOARCH=mipsle GOMIPS=softfloat"},
	{"mipsel_mips32", "GOARCH=mipsle GOMIPS=softfloat"},
	{"riscv64_generic", "GOARCH=riscv64"},
	{"riscv64_riscv64", "GOARCH=riscv64"},
	{"x86_64", "GOARCH=amd64"},
}

// binary is the name of the file that serves the architecture.
func (a arch) binary() string {
	var parts []string
	for _, v := range strings.Fields(a.env) {
		parts = append(parts, v[strings.IndexByte(v, '=')+1:])
	}
	return strings.Join(parts, "-")
}

package main

// arch is an architecture name of OpenWrt (DISTRIB_ARCH) and the binary for it,
// by the Makefile's name of its Go settings, which are those OpenWrt's
// golang-values.mk chooses. Where a target has an FPU and Go's soft-float code
// runs on it as well, the soft-float binary serves.
type arch struct {
	name, target string
}

var architectures = []arch{
	{"aarch64_cortex-a53", "arm64"},
	{"aarch64_cortex-a72", "arm64"},
	{"aarch64_cortex-a76", "arm64"},
	{"aarch64_generic", "arm64"},
	{"arm_arm1176jzf-s_vfp", "arm-6"},
	{"arm_cortex-a15_neon-vfpv4", "arm-7"},
	{"arm_cortex-a7", "arm-5"},
	{"arm_cortex-a7_neon-vfpv4", "arm-7"},
	{"arm_cortex-a7_vfpv4", "arm-7"},
	{"arm_cortex-a8_vfpv3", "arm-7"},
	{"arm_cortex-a9", "arm-5"},
	{"arm_cortex-a9_neon", "arm-7"},
	{"arm_cortex-a9_vfpv3-d16", "arm-7"},
	{"arm_fa526", "arm-5"},
	{"arm_xscale", "arm-5"},
	{"i386_pentium-mmx", "386-softfloat"},
	{"i386_pentium4", "386"},
	{"loongarch64_generic", "loong64"},
	{"mips64_octeonplus", "mips64-softfloat"},
	{"mips_24kc", "mips-softfloat"},
	{"mipsel_24kc", "mipsle-softfloat"},
	{"mipsel_24kc_24kf", "mipsle-softfloat"},
	{"mipsel_74kc", "mipsle-softfloat"},
	{"mipsel_mips32", "mipsle-softfloat"},
	{"riscv64_generic", "riscv64"},
	{"riscv64_riscv64", "riscv64"},
	{"x86_64", "amd64"},
}

package kernel

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"greseal/crypto/suite"
	"greseal/platform/xfrm"
)

// What an errno means here, and what to install. The texts name the module and,
// where one exists, OpenWrt's package.

const (
	needXFRM = "the kernel has no XFRM (module xfrm_user; OpenWrt: kmod-ipsec)"
	needESP4 = "the kernel has no ESP for IPv4 (module esp4; OpenWrt: kmod-ipsec4)"
	needESP6 = "the kernel has no ESP for IPv6 (module esp6; OpenWrt: kmod-ipsec6)"
	needGRE4 = "the kernel has no GRE for IPv4 (module ip_gre; OpenWrt: kmod-gre)"
	needGRE6 = "the kernel has no GRE for IPv6 (module ip6_gre; OpenWrt: kmod-gre6)"
)

// explain adds the cause to an error of an XFRM request.
func explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPROTONOSUPPORT):
		return fmt.Errorf("%s: %w", needXFRM, err)
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("this is a %s program on a 64-bit kernel whose XFRM does not take requests of 32-bit programs: use the 64-bit greseal, or the userspace datapath: %w", runtime.GOARCH, err)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("CAP_NET_ADMIN is needed: %w", err)
	}
	return err
}

func explainLink(err error, kind string) error {
	switch {
	case errors.Is(err, unix.EOPNOTSUPP) && strings.HasPrefix(kind, "ip6"):
		return fmt.Errorf("%s: %w", needGRE6, err)
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%s: %w", needGRE4, err)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("CAP_NET_ADMIN is needed: %w", err)
	}
	return err
}

// explainState adds the cause to an error of XFRM_MSG_NEWSA.
func explainState(err error, encr, integ suite.Transform, esn bool) error {
	switch {
	case errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("the kernel has no %s (%s): %w", xfrm.AlgorithmName(encr, integ), modules(encr, integ), err)
	case errors.Is(err, unix.EPROTONOSUPPORT):
		return fmt.Errorf("the kernel has no ESP (modules esp4 and esp6; OpenWrt: kmod-ipsec4, kmod-ipsec6): %w", err)
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("the kernel knows %s but cannot build it: %s: %w", xfrm.AlgorithmName(encr, integ), unbuilt(encr, esn), err)
	}
	return explain(err)
}

// modules names what an algorithm is made of.
func modules(encr, integ suite.Transform) string {
	switch encr.ID {
	case suite.ENCR_AES_GCM_16:
		return "modules gcm, ctr, ghash; OpenWrt: kmod-crypto-gcm"
	case suite.ENCR_CHACHA20_POLY1305:
		return "module chacha20poly1305; OpenWrt: kmod-crypto-chacha20poly1305"
	}
	hash, pkg := "sha256", "kmod-crypto-sha256"
	switch integ.ID {
	case suite.AUTH_HMAC_SHA2_384_192, suite.AUTH_HMAC_SHA2_512_256:
		hash, pkg = "sha512", "kmod-crypto-sha512"
	case suite.AUTH_HMAC_SHA1_96:
		hash, pkg = "sha1", "kmod-crypto-sha1"
	}
	return fmt.Sprintf("modules cbc, hmac, %s; OpenWrt: kmod-crypto-cbc, kmod-crypto-hmac, %s", hash, pkg)
}

// unbuilt names the part whose absence makes a known algorithm fail: the kernel
// answers ENOENT for each of them.
func unbuilt(encr suite.Transform, esn bool) string {
	crypto, _ := os.ReadFile("/proc/crypto")
	modules, _ := os.ReadFile("/proc/modules")
	return missingPart(string(crypto), string(modules), encr, esn)
}

// part is a template of the kernel's crypto. /proc/crypto shows it only within
// algorithms made of it, /proc/modules only when it is a module.
type part struct{ module, pkg string }

func missingPart(procCrypto, procModules string, encr suite.Transform, esn bool) string {
	parts := []part{{"seqiv", "kmod-crypto-seqiv"}}
	if !encr.IsAEAD() {
		parts = []part{{"authenc", "kmod-crypto-authenc"}, {"echainiv", "kmod-crypto-echainiv"}}
		if esn {
			parts[0].module = "authencesn"
		}
	}
	var without []string
	for _, p := range parts {
		if !strings.Contains(procCrypto, p.module+"(") && !strings.Contains("\n"+procModules, "\n"+p.module+" ") {
			without = append(without, fmt.Sprintf("the module %s (OpenWrt: %s)", p.module, p.pkg))
		}
	}
	if !strings.Contains(procCrypto, ": stdrng\n") {
		// The first of the others that gets that far loads it.
		without = append(without, "a random number generator (module drbg; OpenWrt: kmod-crypto-rng)")
	}
	if len(without) == 0 {
		return "a part of it is missing"
	}
	return "it lacks " + strings.Join(without, ", or ")
}

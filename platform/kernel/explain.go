package kernel

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"greseal/crypto/suite"
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
func explainState(err error, encr, integ suite.Transform) error {
	switch {
	case errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("the kernel has no %s (%s): %w", name(encr, integ), modules(encr, integ), err)
	case errors.Is(err, unix.EPROTONOSUPPORT):
		return fmt.Errorf("the kernel has no ESP (modules esp4 and esp6; OpenWrt: kmod-ipsec4, kmod-ipsec6): %w", err)
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("the kernel knows %s but cannot build it: %s: %w", name(encr, integ), unbuilt(encr), err)
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

// unbuilt looks in /proc/crypto for the part whose absence makes a known
// algorithm fail.
func unbuilt(encr suite.Transform) string {
	text, err := os.ReadFile("/proc/crypto")
	if err != nil {
		return "a part of it is missing (OpenWrt: kmod-crypto-seqiv, kmod-crypto-echainiv, kmod-crypto-authenc, kmod-crypto-rng)"
	}
	return missingPart(string(text), encr)
}

func missingPart(procCrypto string, encr suite.Transform) string {
	has := func(field, value string) bool {
		for line := range strings.Lines(procCrypto) {
			k, v, _ := strings.Cut(line, ":")
			if strings.TrimSpace(k) == field && strings.Contains(strings.TrimSpace(v), value) {
				return true
			}
		}
		return false
	}
	if !has("name", "stdrng") {
		return "it has no random number generator (module drbg; OpenWrt: kmod-crypto-rng)"
	}
	if encr.IsAEAD() {
		return "a part is missing, most likely the module seqiv (OpenWrt: kmod-crypto-seqiv)"
	}
	return "a part is missing, most likely the modules authenc and authencesn, or echainiv (OpenWrt: kmod-crypto-authenc, kmod-crypto-echainiv)"
}

package cert

import (
	"encoding/json"
	"go/build"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// NIST's Public Key Interoperability Test Suite, as the Go distribution carries
// it: certificates without revocation lists. What hangs on lists (section 4.4,
// parts of 4.5, 4.14, 4.15) is not in it.
func TestPathsAsInPKITS(t *testing.T) {
	dir := filepath.Join(build.Default.GOROOT, "src", "crypto", "x509", "testdata", "nist-pkits")
	raw, err := os.ReadFile(filepath.Join(dir, "vectors.json"))
	if err != nil {
		t.Skip("the Go distribution here has no sources with NIST's test suite")
	}
	var cases []struct {
		Name                                                                        string
		CertPath                                                                    []string
		ShouldValidate                                                              bool
		InitialPolicySet                                                            []string
		InitialPolicyMappingInhibit, InitialExplicitPolicy, InitialAnyPolicyInhibit bool
	}
	if err := json.Unmarshal(raw, &cases); err != nil {
		t.Fatal(err)
	}
	ran, accepted := 0, 0
	for _, c := range cases {
		number := strings.Fields(c.Name)[0]
		section := strings.Join(strings.SplitN(number, ".", 3)[:2], ".")
		if len(c.InitialPolicySet) != 1 || c.InitialPolicySet[0] != "anyPolicy" ||
			c.InitialPolicyMappingInhibit || c.InitialExplicitPolicy || c.InitialAnyPolicyInhibit {
			continue // asks for policies of its own, which nobody can configure here
		}
		bad := pkitsVerdict(t, dir, c.CertPath)
		ran++
		byList := badByListOnly[number] || section == "4.4" || section == "4.14" || section == "4.15"
		reason, stricter := refusedGoodPaths[number]
		switch {
		case bad == nil && !c.ShouldValidate && !byList:
			t.Errorf("%s: accepted", c.Name)
		case bad != nil && c.ShouldValidate && !stricter:
			t.Errorf("%s: %v", c.Name, bad)
		case bad == nil && stricter:
			t.Errorf("%s: accepted, although %s", c.Name, reason.because)
		case bad == nil:
			accepted++
		case stricter && !strings.Contains(bad.Error(), reason.says):
			t.Errorf("%s: refused for another reason: %v", c.Name, bad)
		}
	}
	if ran < 210 || accepted < 120 {
		t.Errorf("only %d paths, %d accepted", ran, accepted)
	}
}

// refusedGoodPaths are good paths that are refused all the same: what the refusal
// says, and why it is so.
var refusedGoodPaths = map[string]struct{ says, because string }{
	"4.1.4":   {"DSA", "DSA is not supported"},
	"4.1.5":   {"DSA", "DSA is not supported"},
	"4.6.15":  {"path length", "crypto/x509 counts self-issued authorities for path lengths"},
	"4.6.17":  {"path length", "crypto/x509 counts self-issued authorities for path lengths"},
	"4.14.4":  {"CRL distribution point", "crypto/x509 reads no distribution points relative to their issuer"},
	"4.14.5":  {"CRL distribution point", "crypto/x509 reads no distribution points relative to their issuer"},
	"4.14.29": {"CRL distribution point", "crypto/x509 reads no distribution points relative to their issuer"},
	"4.13.25": {"mailserver", "crypto/x509 excludes with a mail host all hosts below it"},
	"4.13.36": {"URI", "crypto/x509 excludes with a URI's host all hosts below it"},
}

// badByListOnly are paths that are only bad by a revocation list.
var badByListOnly = map[string]bool{"4.5.2": true, "4.5.5": true, "4.5.7": true, "4.7.4": true, "4.7.5": true}

func pkitsVerdict(t *testing.T, dir string, path []string) error {
	t.Helper()
	var certs []*Certificate
	for _, name := range path {
		der, err := os.ReadFile(filepath.Join(dir, "certs", name))
		if err != nil {
			t.Fatal(err)
		}
		c, err := Parse(der)
		if err != nil {
			return err
		}
		certs = append(certs, c)
	}
	last := len(certs) - 1
	_, err := (&Anchors{certs: certs[:1]}).Verify(certs[last], certs[1:last], Options{Time: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)})
	return err
}

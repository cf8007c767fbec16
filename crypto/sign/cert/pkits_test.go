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
		Name                  string
		CertPath              []string
		ShouldValidate        bool
		InitialPolicySet      []string
		InitialExplicitPolicy bool
	}
	if err := json.Unmarshal(raw, &cases); err != nil {
		t.Fatal(err)
	}
	// Good paths that are refused all the same.
	stricter := map[string]string{
		"4.1.4": "DSA", "4.1.5": "DSA", "4.13.34": "URI", "4.13.36": "URI",
	}
	// Paths that are only bad by a revocation list.
	byList := map[string]bool{"4.5.2": true, "4.5.5": true, "4.5.7": true, "4.7.4": true, "4.7.5": true}
	ran, accepted := 0, 0
	for _, c := range cases {
		number := strings.Fields(c.Name)[0]
		section := strings.Join(strings.SplitN(number, ".", 3)[:2], ".")
		switch section {
		case "4.4", "4.14", "4.15":
			continue
		case "4.8", "4.9", "4.10", "4.11", "4.12":
			// Only what must fail under any policy, without asking for one;
			// good paths may fail here for their critical policy extensions.
			if c.ShouldValidate || c.InitialExplicitPolicy || len(c.InitialPolicySet) != 1 || c.InitialPolicySet[0] != "anyPolicy" {
				continue
			}
		}
		var certs []*Certificate
		bad := error(nil)
		for _, name := range c.CertPath {
			der, err := os.ReadFile(filepath.Join(dir, "certs", name))
			if err != nil {
				t.Fatal(err)
			}
			cert, err := Parse(der)
			if err != nil {
				bad = err
				break
			}
			certs = append(certs, cert)
		}
		if bad == nil {
			_, bad = (&Anchors{certs: certs[:1]}).Verify(certs[len(certs)-1], certs[1:len(certs)-1], Options{Time: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)})
		}
		ran++
		switch {
		case bad == nil && !c.ShouldValidate && !byList[number]:
			t.Errorf("%s: accepted", c.Name)
		case bad != nil && c.ShouldValidate && stricter[number] == "":
			t.Errorf("%s: %v", c.Name, bad)
		case bad == nil:
			accepted++
		case stricter[number] != "" && !strings.Contains(bad.Error(), stricter[number]):
			t.Errorf("%s: refused for another reason: %v", c.Name, bad)

		}
	}
	if ran < 100 || accepted < 40 {
		t.Errorf("only %d paths, %d accepted", ran, accepted)
	}
}

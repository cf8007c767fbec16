package doctor

import (
	"fmt"
	"strings"

	"greseal/crypto/suite"
)

// checkDatapath: which datapath runs and why, and whether it can carry out any
// of the ESP proposals.
func checkDatapath(x *exam) Step {
	d := &x.now.Daemon
	says := d.Datapath + ": " + d.DatapathWhy
	if len(x.ESP) == 0 {
		why := "the list is empty"
		if x.ESPWhy != nil {
			why = x.ESPWhy.Error()
		}
		return fault(`install what is missing, choose other algorithms in esp, or set datapath = "userspace"`,
			"none of the ESP proposals can be used: "+why, says)
	}
	if x.userspace() && strings.HasPrefix(d.DatapathWhy, "the kernel cannot") {
		return warn("install what is missing to get the kernel's speed; the userspace datapath needs nothing", says)
	}
	return fine(append([]string{says}, d.Notes...)...)
}

// proposals writes a list of proposals as the configuration does.
func proposals(ps []suite.Proposal) string {
	var out []string
	for i, p := range ps {
		if i == 4 {
			out = append(out, fmt.Sprintf("and %d more", len(ps)-i))
			break
		}
		out = append(out, p.String())
	}
	return strings.Join(out, ", ")
}

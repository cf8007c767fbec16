package main

import (
	"fmt"
	"regexp"
	"time"
)

// apkVersion is apk's grammar of a version; opkg takes all of it too.
var apkVersion = regexp.MustCompile(`^[0-9]+(\.[0-9]+)*[a-z]?(_(alpha|beta|pre|rc|cvs|svn|git|hg|p)[0-9]*)*(~[0-9a-f]+)?(-r[0-9]+)?$`)

var (
	tagged   = regexp.MustCompile(`^v?([0-9]+(?:\.[0-9]+)*)(?:-(alpha|beta|pre|rc)\.?([0-9]*))?(?:-([0-9]+)-g([0-9a-f]+))?(-dirty)?$`)
	untagged = regexp.MustCompile(`^([0-9a-f]{7,40})(-dirty)?$`)
)

// packageVersion makes a package's version of what git describe says: v1.2.3
// gives 1.2.3-r1, commits after it 1.2.3_git20261123~abc1234-r1, a checkout
// without tags 0_git20261123~abc1234-r1.
func packageVersion(describe string, commit time.Time) (string, error) {
	version := ""
	day := commit.Format("20060102")
	if m := tagged.FindStringSubmatch(describe); m != nil {
		version = m[1]
		if m[2] != "" {
			version += "_" + m[2] + m[3]
		}
		if m[5] != "" {
			version += "_git" + day + "~" + m[5]
		}
	} else if m := untagged.FindStringSubmatch(describe); m != nil {
		version = "0_git" + day + "~" + m[1]
	}
	version += "-r1"
	if !apkVersion.MatchString(version) {
		return "", fmt.Errorf("%q gives no version of a package; tag the commit as v1.2.3", describe)
	}
	return version, nil
}

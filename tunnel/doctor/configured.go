package doctor

import (
	"fmt"
	"os"
)

// checkConfig: a file with a mistake is not taken over, and one that was edited
// has to be applied. The tunnel may well be up all the same.
func checkConfig(x *exam) Step {
	d := &x.now.Daemon
	verdict := warn
	if !x.now.up() {
		verdict = fault
	}
	if len(d.ConfigProblems) > 0 {
		return verdict("mend the file, then apply it; until then the daemon runs with the one before", d.ConfigProblems...).
			with("greseal apply")
	}
	info, err := os.Stat(d.ConfigFile)
	if err != nil {
		return warn("put the file back before the daemon is started the next time", fmt.Sprintf("%s cannot be read: %v", d.ConfigFile, err))
	}
	if changed := info.ModTime().Unix(); changed > d.ConfigLoaded {
		return verdict("apply it", fmt.Sprintf("%s was changed %d s after it was loaded", d.ConfigFile, changed-d.ConfigLoaded)).
			with("greseal apply")
	}
	return fine(d.ConfigFile + " is what runs")
}

package cli

import (
	"flag"
	"fmt"
	"runtime"
)

// PrintVersion says which greseal this is.
var PrintVersion = Command{
	Name: "version", Group: groupTools,
	Short: "print the version",
	Setup: func(fs *flag.FlagSet) func(*Env, []string) error {
		asJSON := fs.Bool("json", false, "as JSON")
		return func(env *Env, _ []string) error {
			if *asJSON {
				return writeJSON(env, struct {
					Version  string `json:"version"`
					Go       string `json:"go"`
					Platform string `json:"platform"`
				}{Version, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH})
			}
			_, err := fmt.Fprintf(env.Stdout, "greseal %s (%s, %s/%s)\n", Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		}
	},
}

package cli

import (
	"crypto/rand"
	"encoding/base64"
	"flag"
	"fmt"
)

// GenPSK makes a pre-shared key.
var GenPSK = Command{
	Name: "genpsk", Group: groupTools,
	Short: "make a pre-shared key of 256 random bits",
	Setup: func(*flag.FlagSet) func(*Env, []string) error {
		return func(env *Env, args []string) error {
			if len(args) > 0 {
				return usagef("takes no arguments")
			}
			var key [32]byte
			rand.Read(key[:]) // never fails
			_, err := fmt.Fprintln(env.Stdout, base64.StdEncoding.EncodeToString(key[:]))
			return err
		}
	},
}

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
	Instead: "name the file with -o",
	Short:   "make a pre-shared key of 256 random bits",
	Setup: func(f *flag.FlagSet) func(*Env, []string) error {
		out := f.String("o", "", "`FILE` to write it to, readable by its owner only; never overwrites a key")
		return func(env *Env, _ []string) error {
			var random [32]byte
			rand.Read(random[:]) // never fails
			key := append(base64.StdEncoding.AppendEncode(nil, random[:]), '\n')
			defer clear(key)
			if *out == "" {
				_, err := env.Stdout.Write(key)
				return err
			}
			if err := writeNew(*out, key, 0o600); err != nil {
				return err
			}
			_, err := fmt.Fprintf(env.Stdout, "%s: a new pre-shared key, for psk_file here; the other side needs the same\n", *out)
			return err
		}
	},
}

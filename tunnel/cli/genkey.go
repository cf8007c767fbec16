package cli

import (
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"greseal/crypto/sign"
)

var keyKinds = map[string]sign.Kind{"ed25519": sign.Ed25519, "p256": sign.P256, "p384": sign.P384, "p521": sign.P521}

// GenKey makes a pair of keys for authentication by raw public keys.
var GenKey = Command{
	Name: "genkey", Args: "FILE", Group: groupTools,
	Short: "make a key pair: raw_key FILE, and FILE.pub for the peer",
	Setup: func(f *flag.FlagSet) func(*Env, []string) error {
		kind := f.String("type", "ed25519", "`KIND` of key: ed25519, p256, p384 or p521")
		return func(env *Env, args []string) error {
			if len(args) != 1 {
				return usagef("takes the name of the file for the private key")
			}
			k, ok := keyKinds[strings.ToLower(*kind)]
			if !ok {
				return usagef("there is no kind %q; take ed25519, p256, p384 or p521", *kind)
			}
			key, err := sign.Generate(k, rand.Reader)
			if err != nil {
				return err
			}
			private := key.PEM()
			defer clear(private)
			public := args[0] + ".pub"
			if err := writeNew(args[0], private, 0o600); err != nil {
				return err
			}
			if err := writeNew(public, key.Public().PEM(), 0o644); err != nil {
				return errors.Join(err, os.Remove(args[0]))
			}
			_, err = fmt.Fprintf(env.Stdout, "%s: private key (%s), for raw_key here; it stays here\n%s: public key, for peer_raw_key at the other side\nfingerprint %s\n",
				args[0], key.Public(), public, key.Public().Fingerprint())
			return err
		}
	},
}

// writeNew writes a file that must not be there yet: a key that is overwritten
// is lost.
func writeNew(path string, data []byte, perm fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists already; name another file, or remove it", path)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

package cli

import (
	"bytes"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

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
				return usagef("there is no key type %q; choose ed25519, p256, p384 or p521", *kind)
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

// writeNew writes a file that must not be there yet, or be empty: a key that is
// overwritten is lost.
func writeNew(path string, data []byte, perm fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if errors.Is(err, fs.ErrExist) {
		f, err = openEmpty(path, perm)
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

// openEmpty opens a file that is there, if nothing is in it but white space.
func openEmpty(path string, perm fs.FileMode) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	var some [16]byte
	n, _ := f.ReadAt(some[:], 0)
	if err == nil && (!st.Mode().IsRegular() || st.Size() > int64(n) || len(bytes.TrimSpace(some[:n])) > 0) {
		err = fmt.Errorf("%s exists already; name another file, or remove it if no one needs what is in it", path)
	}
	if err == nil {
		err = errors.Join(f.Truncate(0), f.Chmod(perm)) // before there is anything to read
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

package rpcd

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"greseal/crypto/sign"
	"greseal/tunnel/cli"
)

// uploads says what is wrong with the content of a file that an option names; those
// that are not here take none.
var uploads = map[string]func([]byte) error{
	"cert": blocks("CERTIFICATE"), "ca": blocks("CERTIFICATE"), "crl": blocks("X509 CRL"),
	"key": privateKey, "raw_key": privateKey,
	"peer_raw_key": func(b []byte) error { _, err := sign.ParsePublicKeyFile(b); return err },
}

func privateKey(b []byte) error { _, err := sign.ParsePrivateKey(b); return err }

// blocks wants PEM blocks of one type and nothing else.
func blocks(typ string) func([]byte) error {
	return func(b []byte) error {
		for n := 0; ; n++ {
			p, rest := pem.Decode(b)
			switch {
			case p == nil && n > 0 && len(bytes.TrimSpace(b)) == 0:
				return nil
			case p == nil || p.Type != typ:
				return fmt.Errorf("it is not a file in PEM form with a %s in it", strings.ToLower(typ))
			}
			b = rest
		}
	}
}

// place is a path for a file of a tunnel beside the config: one that nothing is at,
// as a key that is written over is lost, or the same content.
func (p *Plugin) place(c *call, what string, data []byte) (string, error) {
	if err := c.must(); err != nil {
		return "", err
	}
	if len(c.Tunnel) > 15 || strings.Trim(c.Tunnel, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" {
		return "", errors.New("the argument tunnel is no name of an interface")
	}
	for n := 1; n < 100; n++ {
		name := c.Tunnel + "-" + what
		if n > 1 {
			name += fmt.Sprintf("-%d", n)
		}
		path := filepath.Join(filepath.Dir(p.Config), name+".pem")
		if there, err := os.ReadFile(path); errors.Is(err, os.ErrNotExist) || err == nil && data != nil && bytes.Equal(there, data) {
			return path, nil
		}
	}
	return "", errors.New("there are too many files of this tunnel already")
}

// store writes a file that a form uploads, readable by root only, and answers with
// its path.
func (p *Plugin) store(c *call) error {
	check, ok := uploads[c.Option]
	if !ok {
		return errors.New("the argument option names no file")
	}
	data := []byte(c.Data)
	if err := check(data); err != nil {
		return err
	}
	path, err := p.place(c, strings.ReplaceAll(c.Option, "_", "-"), data)
	if err == nil {
		err = cli.Replace(path, data)
	}
	if err != nil {
		return err
	}
	return c.give(map[string]string{"path": path})
}

// genkey makes a raw key, and answers with its path and the public half, which the
// other side needs.
func (p *Plugin) genkey(c *call) error {
	path, err := p.place(c, "raw-key", nil)
	if err != nil {
		return err
	}
	if _, err := command(cli.GenKey, path); err != nil {
		return err
	}
	public, err := os.ReadFile(path + ".pub")
	if err != nil {
		return err
	}
	return c.give(map[string]string{"path": path, "public": string(public)})
}

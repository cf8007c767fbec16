package status

import (
	"errors"
	"io"
	"os"
)

// Small files beside the socket tell the next daemon of this one. They are gone with the
// machine's power, and hold no secret.

// maxBeside bounds what is read of one, in bytes.
const maxBeside = 1 << 20

// ReadBeside is the content of the file beside a socket that ends in suffix.
func ReadBeside(socket, suffix string) ([]byte, error) {
	f, err := openOwn(socket+suffix, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxBeside))
}

// WriteBeside replaces it.
func WriteBeside(socket, suffix string, data []byte) error {
	f, err := openOwn(socket+suffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

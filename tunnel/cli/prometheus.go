package cli

import (
	"bytes"
	"errors"
	"os"

	"greseal/tunnel/status"
)

// metrics prints the snapshot as Prometheus' text, or puts it into a file that
// node_exporter collects. A daemon that does not answer is a metric too.
func (p *place) metrics(env *Env, file string) error {
	snap, err := p.snapshot()
	if err != nil && file == "" {
		return err
	}
	var b bytes.Buffer
	if werr := status.Prometheus(&b, snap); werr != nil {
		return werr
	}
	if file == "" {
		_, err := env.Stdout.Write(b.Bytes())
		return err
	}
	return errors.Join(err, publish(file, b.Bytes()))
}

// publish replaces a file at once, readable by all; while it is being written its
// name does not end in .prom, by which node_exporter chooses.
func publish(path string, data []byte) error {
	return swap(path, data, func(f *os.File) error { return f.Chmod(0o644) })
}

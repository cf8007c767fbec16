package demo

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"greseal/tunnel/status"
)

// daemon is a full "greseal run" in one of the namespaces.
type daemon struct {
	name   string
	ns     *namespace
	config string // path
	socket string
	log    string
	cmd    *exec.Cmd
	ended  chan struct{} // closed when it has ended
}

// newDaemon writes the configuration of one side: what a router's owner would
// write, and the datapath.
func newDaemon(name, dir string, ns *namespace, datapath, psk string, remote netip.Addr, address, route netip.Prefix) (*daemon, error) {
	d := &daemon{name: name, ns: ns,
		config: filepath.Join(dir, name+".toml"), socket: filepath.Join(dir, name+".sock"), log: filepath.Join(dir, name+".log")}
	text := fmt.Sprintf("[daemon]\ndatapath = %q\n\n[[tunnel]]\nname    = %q\nremote  = %q\npsk     = %q\naddress = [%q]\nroutes  = [%q]\n",
		datapath, tunnelName, remote, psk, address, route.Masked())
	return d, os.WriteFile(d.config, []byte(text), 0o600)
}

// start runs the daemon. It dies with the demo, however that ends.
func (d *daemon) start() error {
	log, err := os.OpenFile(d.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	d.cmd = &exec.Cmd{
		Path:   "/proc/self/exe",
		Args:   []string{"greseal", "run", "-c", d.config, "--socket", d.socket},
		Stdout: log, Stderr: log,
		// Its own process group: Ctrl-C is for the demo, which then stops it.
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	}
	ended, err := d.ns.start(d.cmd)
	if err != nil {
		return fmt.Errorf("start the daemon on the %s: %w", d.name, err)
	}
	done := make(chan struct{})
	d.ended = done
	go func() {
		<-ended
		close(done)
	}()
	return nil
}

// signal sends sig and waits for the end; after grace it kills.
func (d *daemon) signal(sig syscall.Signal, grace time.Duration) (killed bool) {
	if d == nil || d.cmd == nil || d.cmd.Process == nil {
		return false
	}
	_ = d.cmd.Process.Signal(sig)
	select {
	case <-d.ended:
		return sig == syscall.SIGKILL
	case <-time.After(grace):
	}
	_ = d.cmd.Process.Kill()
	<-d.ended
	return true
}

// connect waits for the daemon's status socket.
func (d *daemon) connect(ctx context.Context) (*status.Client, error) {
	for {
		c, err := status.Dial(d.socket)
		if err == nil {
			return c, nil
		}
		if !d.alive() {
			return nil, fmt.Errorf("the daemon on the %s has ended", d.name)
		}
		if !sleep(ctx, 2*time.Millisecond) {
			return nil, fmt.Errorf("the daemon on the %s: %w", d.name, err)
		}
	}
}

// tail is the end of the daemon's log.
func (d *daemon) tail() string {
	b, err := os.ReadFile(d.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-8):], "\n")
}

// ask makes one request.
func (d *daemon) ask(ctx context.Context, r status.Request) (*status.Reply, error) {
	c, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	return c.Call(r)
}

// tunnel is the state of the one tunnel.
func (d *daemon) tunnel(ctx context.Context) (*status.Tunnel, error) {
	r, err := d.ask(ctx, status.Request{Op: status.OpStatus, Tunnel: tunnelName})
	if err != nil {
		return nil, err
	}
	return &r.Snapshot.Tunnels[0], nil
}

// waitUp waits until the tunnel is up; when ctx ends first, the error holds the
// daemon's own reason. A daemon that does not answer yet may still be finding out
// what the kernel can do.
func (d *daemon) waitUp(ctx context.Context) error {
	for {
		t, err := d.tunnel(ctx)
		if err == nil && t.State == status.StateUp {
			return nil
		}
		if sleep(ctx, 5*time.Millisecond) && d.alive() {
			continue
		}
		if err == nil {
			err = errors.New(status.Line(t))
		}
		return fmt.Errorf("%w; its log ends with:\n%s", err, d.tail())
	}
}

func (d *daemon) alive() bool {
	select {
	case <-d.ended:
		return false
	default:
		return true
	}
}

// follow hands the daemon's events to show until the daemon or ctx ends.
func (d *daemon) follow(ctx context.Context, show func(daemon string, e status.Event)) {
	c, err := d.connect(ctx)
	if err != nil {
		return
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	if c.Send(status.Request{Op: status.OpEvents, Last: 100, Follow: true}) != nil {
		return
	}
	for {
		r, err := c.Next()
		if err != nil {
			return
		}
		for _, e := range r.Events {
			show(d.name, e)
		}
	}
}

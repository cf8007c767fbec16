package rpcd

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"greseal/tunnel/cli"
	"greseal/tunnel/config"
	"greseal/tunnel/peerconf"
	"greseal/tunnel/status"
	"greseal/uci"
	"greseal/uci/netifd"
)

// ask sends one request and returns the reply with its raw form.
func (p *Plugin) ask(r status.Request) ([]byte, *status.Reply, error) {
	c, err := status.Dial(p.Socket)
	if err != nil {
		return nil, nil, err
	}
	defer c.Close()
	return c.CallRaw(r)
}

// must is for methods that act on one tunnel.
func (c *call) must() error {
	if c.Tunnel == "" {
		return errors.New("the argument tunnel is missing")
	}
	return nil
}

// object of a reply: the JSON of the key of a raw reply.
func object(raw []byte, key string) ([]byte, error) {
	var b bytes.Buffer
	err := status.JSONLine(&b, raw, key)
	return bytes.TrimSpace(b.Bytes()), err
}

// part answers with one key of a raw reply, under a name; "": with all of it.
func (c *call) part(name string, raw []byte, key string) error {
	b, err := object(raw, key)
	if err == nil {
		c.object(fmt.Appendf(nil, `{%q:%s}`, name, b))
	}
	return err
}

// pass answers with what the daemon says under a key.
func (p *Plugin) pass(c *call, r status.Request, key string) error {
	raw, _, err := p.ask(r)
	if err != nil {
		return err
	}
	return c.part(key, raw, key)
}

// status answers with the snapshot, "running" true beside it.
func (p *Plugin) status(c *call) error {
	raw, _, err := p.ask(status.Request{Op: status.OpStatus, Tunnel: c.Tunnel})
	if err != nil {
		return err
	}
	b, err := object(raw, "snapshot")
	if err != nil {
		return err
	}
	c.object(append([]byte(`{"running":true,`), b[1:]...))
	return nil
}

func (p *Plugin) events(c *call) error {
	return p.pass(c, status.Request{Op: status.OpEvents, Tunnel: c.Tunnel, Last: min(max(c.Last, 1), 500)}, "events")
}

// handshakes answers with the latest handshakes of a tunnel, or of all.
func (p *Plugin) handshakes(c *call) error {
	return p.pass(c, status.Request{Op: status.OpHandshakes, Tunnel: c.Tunnel}, "handshakes")
}

// mtu answers with the sum behind a tunnel's MTU.
func (p *Plugin) mtu(c *call) error {
	if err := c.must(); err != nil {
		return err
	}
	_, reply, err := p.ask(status.Request{Op: status.OpStatus, Tunnel: c.Tunnel})
	if err != nil {
		return err
	}
	raw, err := reply.Snapshot.Tunnels[0].MTU.MarshalMsg(nil)
	if err != nil {
		return err
	}
	return c.part("mtu", raw, "")
}

// request is a method that asks the daemon to do something.
func request(op string) func(*Plugin, *call) error {
	return func(p *Plugin, c *call) error {
		r := status.Request{Op: op}
		if op != status.OpReload {
			if err := c.must(); err != nil {
				return err
			}
			r.Tunnel = c.Tunnel
			r.Open = op == status.OpDown && c.Open
		}
		if done, err := p.byNetifd(r); err != nil {
			return err
		} else if done {
			return c.lines(nil)
		}
		_, reply, err := p.ask(r)
		if err != nil {
			return err
		}
		return c.lines(reply.Lines)
	}
}

// byNetifd leaves to netifd what is to come up or go down as one of its interfaces;
// false: it is none.
func (p *Plugin) byNetifd(r status.Request) (bool, error) {
	if r.Op != status.OpUp && r.Op != status.OpDown {
		return false, nil
	}
	_, reply, err := p.ask(status.Request{Op: status.OpStatus, Tunnel: r.Tunnel})
	if err != nil || reply.Snapshot == nil || !reply.Snapshot.Tunnels[0].Netifd {
		return false, err
	}
	return true, netifd.Set(p.Bus, r.Tunnel, r.Op)
}

func (c *call) lines(lines []string) error {
	return c.give(map[string][]string{"lines": append([]string{}, lines...)})
}

// doctorStart begins an examination, whose ID doctor_poll wants. It may take
// longer than a browser waits for one answer.
func (p *Plugin) doctorStart(c *call) error {
	return p.job(c, status.Request{Op: status.OpDoctorStart, Tunnel: c.Tunnel, Target: c.Target})
}

func (p *Plugin) doctorPoll(c *call) error {
	if c.Job < 1 {
		return errors.New("the argument job is missing")
	}
	return p.job(c, status.Request{Op: status.OpDoctorPoll, Job: c.Job})
}

func (p *Plugin) job(c *call, r status.Request) error {
	return p.pass(c, r, "job")
}

// genpsk answers with a new pre-shared key for a form to put in.
func (p *Plugin) genpsk(c *call) error {
	out, err := command(cli.GenPSK)
	if err != nil {
		return err
	}
	return c.give(map[string]string{"psk": strings.TrimSpace(out)})
}

// peerConfig answers with the other side's configuration, with a placeholder for
// the key; without a vendor with the vendors there are.
func (p *Plugin) peerConfig(c *call) error {
	if c.Vendor == "" {
		return c.give(map[string][]string{"vendors": peerconf.Vendors()})
	}
	if err := c.must(); err != nil {
		return err
	}
	c.Secrets = false // a login that may only look may call this
	cfg, err := cli.Load(p.Config, nil)
	if err != nil {
		return err
	}
	defer cfg.Wipe()
	return p.otherSide(c, cfg)
}

// otherSide answers with the configuration of a tunnel's other side.
func (p *Plugin) otherSide(c *call, cfg *config.Config) error {
	var out bytes.Buffer
	other := cli.OtherSide{Tunnel: c.Tunnel, Vendor: c.Vendor, Own: c.Own, Peer: c.Peer, Networks: c.Networks, Secrets: c.Secrets}
	if err := other.Write(&out, cfg, p.Socket); err != nil {
		return err
	}
	return c.give(map[string]string{"text": out.String()})
}

// form is the interface that the arguments describe.
func (c *call) form() *uci.Form {
	f := &uci.Form{Name: c.Tunnel, Options: map[string][]string{}, Alone: c.Alone}
	for name, v := range c.Options {
		f.Options[name] = v
	}
	return f
}

// check answers with the problems of an interface as a form holds it: the
// daemon's own checks, before anything is written.
func (p *Plugin) check(c *call) error {
	if err := c.must(); err != nil {
		return err
	}
	cfg, faults := c.form().Check(p.Config)
	if cfg != nil {
		cfg.Wipe()
	}
	return c.give(map[string][]uci.Fault{"problems": faults})
}

// peerPreview is peer_config for an interface as a form holds it, with its key when
// that is asked for: who may write may read the form's key, too.
func (p *Plugin) peerPreview(c *call) error {
	if err := c.must(); err != nil {
		return err
	}
	f := c.form()
	f.Alone = true
	cfg, faults := f.Check(p.Config)
	if cfg == nil {
		r := &status.RequestError{Text: "the settings have mistakes", Remedy: "fix them first"}
		for _, f := range faults {
			if !f.Warning {
				r.Lines = append(r.Lines, strings.Join(slices.DeleteFunc([]string{f.Option, f.What, f.Remedy}, func(s string) bool { return s == "" }), ": "))
			}
		}
		return r
	}
	defer cfg.Wipe()
	return p.otherSide(c, cfg)
}

func (p *Plugin) confirm(c *call) error {
	args := p.where()
	if c.Force {
		args = append(args, "--force")
	}
	out, err := command(cli.Confirm, args...)
	if err != nil {
		return err
	}
	return c.lines(strings.Split(strings.TrimSpace(out), "\n"))
}

func (p *Plugin) rollback(c *call) error {
	_, reply, err := p.ask(status.Request{Op: status.OpRollback})
	if err != nil {
		return err
	}
	return c.lines(reply.Lines)
}

// networkRestart has netifd started again, which reads its protocol handlers then.
// It takes longer than a call, and takes the caller's connection away.
func (p *Plugin) networkRestart(c *call) error {
	cmd := exec.Command(p.Network, "restart")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	return c.lines(nil)
}

func (p *Plugin) where() []string { return []string{"-c", p.Config, "--socket", p.Socket} }

// command runs one of greseal's commands and returns what it printed.
func command(cmd cli.Command, args ...string) (string, error) {
	var out, errs bytes.Buffer
	if code := cli.Exec(&cli.Env{Stdout: &out, Stderr: &errs}, cmd, args...); code != cli.ExitOK {
		text := strings.TrimPrefix(strings.TrimSpace(errs.String()), "greseal "+cmd.Name+": ")
		return "", errors.New(text)
	}
	return out.String(), nil
}

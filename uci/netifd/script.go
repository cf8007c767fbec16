package netifd

import (
	"errors"
	"fmt"

	"greseal/tunnel/status"
)

// A Code is an error that the protocol handler passes on to netifd.
type Code string

func (c Code) Error() string { return string(c) }

// Errors of Setup.
const (
	DaemonDown Code = "DAEMON_DOWN"    // none runs; it will find the interface when it starts
	Invalid    Code = "CONFIG_INVALID" // the daemon refuses the configuration
	Unknown    Code = "NOT_CONFIGURED" // the daemon does not have it: not committed?
)

// Setup brings the tunnel of an interface up. The daemon reads the settings
// itself, so that no secret passes through the handler. The text says more than
// the Code of an error, and may be a warning without one.
func Setup(socket, name string) (string, error) {
	c, err := status.Dial(socket)
	if err != nil {
		return err.Error(), DaemonDown
	}
	defer c.Close()
	_, reloadErr := c.Call(status.Request{Op: status.OpReload})
	if _, err := c.Call(status.Request{Op: status.OpUp, Tunnel: name, Netifd: true}); err != nil {
		if text := mistakes(reloadErr); text != "" {
			return text, Invalid
		}
		return err.Error(), Unknown
	}
	// With mistakes it runs as it was, not as it is written now.
	return mistakes(reloadErr), nil
}

// mistakes are the lines of a configuration that was refused.
func mistakes(err error) string {
	var refused *status.RequestError
	if !errors.As(err, &refused) || len(refused.Lines) == 0 {
		return ""
	}
	return refused.Lines[0]
}

// orNone is an error but for that of a daemon that does not run.
func orNone(err error) error {
	if errors.Is(err, status.ErrNoDaemon) {
		return nil
	}
	return err
}

// Teardown takes the tunnel of an interface down. Its guards stay.
func Teardown(socket, name string) error {
	c, err := status.Dial(socket)
	if err != nil {
		return orNone(err)
	}
	defer c.Close()
	_, err = c.Call(status.Request{Op: status.OpDown, Tunnel: name, Netifd: true})
	return err
}

// Changed has the tunnels that are wanted and not up try again now, because an
// interface of the router came up. Those that are up are left alone.
func Changed(socket string) error {
	c, err := status.Dial(socket)
	if err != nil {
		return orNone(err)
	}
	defer c.Close()
	r, err := c.Call(status.Request{Op: status.OpStatus})
	if err != nil {
		return err
	}
	var errs []error
	for i := range r.Snapshot.Tunnels {
		t := &r.Snapshot.Tunnels[i]
		if t.Desired != status.DesiredUp || t.Code == status.CodeConfig || t.State != status.StateWaiting && t.State != status.StateDown {
			continue
		}
		if _, err := c.Call(status.Request{Op: status.OpUp, Tunnel: t.Name}); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", t.Name, err))
		}
	}
	return errors.Join(errs...)
}

// Set has netifd bring an interface of its own up, or take it down, as ifup and
// ifdown do; op is up or down, and bus where ubusd listens.
func Set(bus, name, op string) error {
	c, err := DialBus(bus)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Call("network.interface", op, Table{{"interface", name}})
	return err
}

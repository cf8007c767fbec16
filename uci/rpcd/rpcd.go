// Package rpcd is greseal as a plugin of OpenWrt's rpcd: the binary, called by
// the name luci.greseal, offers the ubus object of that name to LuCI. rpcd runs
// it as "luci.greseal list" and "luci.greseal call METHOD" with one JSON object
// on standard input; it answers with exactly one JSON object.
//
// Every answer has "ok"; a false one has "error" in a sentence and may have
// "remedy" and "lines". The facts are those of tunnel/status, as it names them.
// rpcd checks no argument, so each is checked here; they are never echoed, since
// those of a call by HTTP hold the session. No answer holds a secret but those of
// genpsk, which is a new key that nothing uses yet, and of peer_preview, which
// writes the key of the form it was given when it is asked to.
package rpcd

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"greseal/tunnel/cli"
	"greseal/tunnel/status"
)

// Name is that of the plugin and its ubus object.
const Name = "luci.greseal"

const maxArguments = 64 << 10 // bytes

// Plugin answers rpcd's calls.
type Plugin struct {
	Socket string // of the daemon
	Config string // the TOML file
	Bus    string // where ubusd listens

	Network string // the init script of netifd
}

// arguments are what a caller may give; which of them count is the method's
// business.
type arguments struct {
	Tunnel  string `json:"tunnel"`
	From    int    `json:"from"`
	History bool   `json:"history"`
	Last    int    `json:"last"`
	Job     int    `json:"job"`
	Target  string `json:"target"`
	Open    bool   `json:"open"`
	Force   bool   `json:"force"`

	Vendor   string `json:"vendor"`
	Own      string `json:"own"`
	Peer     string `json:"peer"`
	Networks string `json:"networks"`
	Secrets  bool   `json:"secrets"`

	Option string `json:"option"`
	Data   string `json:"data"`

	Alone   bool              `json:"alone"`
	Options map[string]values `json:"options"`
}

// values of an option of a form: a string, or a list of them.
type values []string

func (v *values) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		*v = make(values, 1)
		return json.Unmarshal(b, &(*v)[0])
	}
	return json.Unmarshal(b, (*[]string)(v))
}

type method struct {
	name string
	args map[string]any // by name, with an example that tells rpcd the type
	run  func(*Plugin, *call) error
}

// call is one call under way.
type call struct {
	arguments
	out bytes.Buffer // the answer
}

// methods in the order of the access list: those that only look first.
var methods = []method{
	{"list", map[string]any{"from": 0, "history": false}, (*Plugin).list},
	{"status", map[string]any{"tunnel": ""}, (*Plugin).status},
	{"events", map[string]any{"tunnel": "", "last": 50}, (*Plugin).events},
	{"handshakes", map[string]any{"tunnel": ""}, (*Plugin).handshakes},
	{"mtu", map[string]any{"tunnel": ""}, (*Plugin).mtu},
	{"doctor_poll", map[string]any{"job": 1}, (*Plugin).doctorPoll},
	{"peer_config", map[string]any{"tunnel": "", "vendor": "", "own": "", "peer": "", "networks": ""}, (*Plugin).peerConfig},

	{"up", map[string]any{"tunnel": ""}, request(status.OpUp)},
	{"down", map[string]any{"tunnel": "", "open": false}, request(status.OpDown)},
	{"restart", map[string]any{"tunnel": ""}, request(status.OpRestart)},
	{"reload", map[string]any{}, request(status.OpReload)},
	{"doctor_start", map[string]any{"tunnel": "", "target": ""}, (*Plugin).doctorStart},
	{"genpsk", map[string]any{}, (*Plugin).genpsk},
	{"genkey", map[string]any{"tunnel": ""}, (*Plugin).genkey},
	{"store", map[string]any{"tunnel": "", "option": "", "data": ""}, (*Plugin).store},
	{"check", map[string]any{"tunnel": "", "options": map[string]any{}, "alone": false}, (*Plugin).check},
	{"peer_preview", map[string]any{"tunnel": "", "options": map[string]any{}, "vendor": "", "own": "", "peer": "", "networks": "", "secrets": false}, (*Plugin).peerPreview},
	{"confirm", map[string]any{"force": false}, (*Plugin).confirm},
	{"rollback", map[string]any{}, (*Plugin).rollback},
	{"network_restart", map[string]any{}, (*Plugin).networkRestart},
}

// Main is what rpcd runs. Its exit code does not count for rpcd.
func (p *Plugin) Main(args []string, in io.Reader, out io.Writer) int {
	switch {
	case len(args) == 1 && args[0] == "list":
		list := map[string]map[string]any{}
		for _, m := range methods {
			list[m.name] = m.args
		}
		b, _ := json.Marshal(list) // plain maps
		out.Write(append(b, '\n'))
		return cli.ExitOK
	case len(args) == 2 && args[0] == "call":
		out.Write(p.answer(args[1], in))
		return cli.ExitOK
	}
	out.Write(p.failure(errors.New("use: list, or call METHOD with JSON on standard input")))
	return cli.ExitUsage
}

// answer carries out one call.
func (p *Plugin) answer(name string, in io.Reader) []byte {
	for _, m := range methods {
		if m.name != name {
			continue
		}
		c := call{arguments: arguments{Last: 50}}
		err := c.read(in)
		if err == nil {
			err = m.run(p, &c)
		}
		if err == nil && blobBound(c.out.Bytes()) > maxMessage {
			err = errors.New("the answer is larger than ubus carries; ask for one tunnel, or for the list")
		}
		if err != nil {
			return p.failure(err)
		}
		return c.out.Bytes()
	}
	return p.failure(errors.New("there is no such method"))
}

// read takes the arguments. Others than ours are not looked at: rpcd and LuCI
// add their own.
func (c *call) read(in io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(in, maxArguments+1))
	if err != nil {
		return errors.New("the arguments could not be read")
	}
	if len(b) > maxArguments {
		return errors.New("the arguments are too long")
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return nil
	}
	if err := json.Unmarshal(b, &c.arguments); err != nil {
		// The error's text may hold what was given.
		var typ *json.UnmarshalTypeError
		if errors.As(err, &typ) && typ.Field != "" {
			return errors.New("the argument " + typ.Field + " is of the wrong type")
		}
		return errors.New("the arguments are not a JSON object")
	}
	return nil
}

// failure is the answer to a call that did not succeed. Where no daemon answers, it has
// the last words of the one that did.
func (p *Plugin) failure(err error) []byte {
	a := struct {
		OK      bool     `json:"ok"`
		Running bool     `json:"running"` // a daemon answers
		Error   string   `json:"error"`
		Remedy  string   `json:"remedy"`
		Lines   []string `json:"lines"`
		Nothing bool     `json:"nothing,omitempty"` // there is no tunnel
	}{Running: !errors.Is(err, status.ErrNoDaemon), Error: err.Error(), Lines: []string{}}
	var refused *status.RequestError
	if errors.As(err, &refused) {
		a.Error, a.Remedy = refused.Text, refused.Remedy
		a.Lines = append(a.Lines, refused.Lines[:min(len(refused.Lines), maxProblems)]...)
	}
	if a.Nothing = errors.Is(err, errNothing); a.Nothing {
		a.Running = false
	} else if !a.Running {
		a.Error, a.Remedy = "greseal is not running", "configure a tunnel, or run: /etc/init.d/greseal start"
		if last := status.LastWords(p.Socket); last != "" {
			a.Lines, a.Remedy = append(a.Lines, last), "mend what it says, then run: /etc/init.d/greseal start"
		}
	}
	b, _ := json.Marshal(a)
	return append(b, '\n')
}

// give answers with a value, "ok" before it.
func (c *call) give(v any) error {
	b, err := json.Marshal(v)
	if err == nil {
		c.object(b)
	}
	return err
}

// object answers with a JSON object.
func (c *call) object(b []byte) {
	b = bytes.TrimSpace(b)
	c.out.WriteString(`{"ok":true`)
	if len(b) > 2 {
		c.out.WriteByte(',')
	}
	c.out.Write(b[1:])
	c.out.WriteByte('\n')
}

package status

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/tinylib/msgp/msgp"
	"golang.org/x/sys/unix"
)

// maxReply bounds what a client reads: far more than 1000 tunnels need.
const maxReply = 64 << 20

// Client is a connection to a daemon. It is not safe for concurrent use.
type Client struct {
	conn net.Conn
	buf  []byte // received and not yet consumed
}

// ErrNoDaemon is wrapped by Dial's error when none runs.
var ErrNoDaemon = errors.New("no daemon answers")

// Dial connects to the daemon that answers at path.
func Dial(path string) (*Client, error) {
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	switch {
	case err == nil:
		if err := known(c, path); err != nil {
			c.Close()
			return nil, err
		}
		return &Client{conn: c}, nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		last := LastWords(path)
		if last != "" {
			last = "; " + last
		}
		return nil, fmt.Errorf("%w at %s%s; start it with: greseal run", ErrNoDaemon, path, last)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s may not be read by this user; run this command as root, or set status_group in the config", path)
	}
	return nil, fmt.Errorf("status socket: %w", err)
}

// known refuses a process of another user that has put itself in a daemon's place,
// and would name files for this command to write.
func known(c *net.UnixConn, path string) error {
	cred, err := peer(c)
	if err != nil {
		return fmt.Errorf("status socket: %w", err)
	}
	uid := int(cred.Uid)
	if uid == 0 || uid == os.Geteuid() {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Dir(path), &st); err == nil && st.Uid == 0 && st.Mode&0o022 == 0 {
		return nil // root gave it the place
	}
	return fmt.Errorf("a process of user %d answers at %s, where others can make a socket too; it is not trusted: choose a folder for --socket that only root can write to", uid, path)
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// Call sends a request and returns its reply. A reply that is not OK is returned
// together with a *RequestError.
func (c *Client) Call(r Request) (*Reply, error) {
	_, reply, err := c.CallRaw(r)
	return reply, err
}

// CallRaw is Call with the reply's MessagePack form, valid until the next call.
func (c *Client) CallRaw(r Request) ([]byte, *Reply, error) {
	if err := c.Send(r); err != nil {
		return nil, nil, err
	}
	wait := statusTimeout
	if r.Changes() {
		wait = changeTimeout
	}
	c.conn.SetReadDeadline(time.Now().Add(wait + 5*time.Second))
	defer c.conn.SetReadDeadline(time.Time{})
	return c.NextRaw()
}

// Send sends a request whose replies are read with Next.
func (c *Client) Send(r Request) error {
	c.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := c.conn.Write(r.Append(nil))
	if err == nil {
		return nil
	}
	// A daemon that turns clients away says so before it closes the connection.
	c.conn.SetReadDeadline(time.Now().Add(time.Second))
	var refused *RequestError
	if _, rerr := c.Next(); errors.As(rerr, &refused) {
		return refused
	}
	return fmt.Errorf("ask the daemon: %w", err)
}

// Next reads the next reply. It waits as long as the daemon keeps the connection.
func (c *Client) Next() (*Reply, error) {
	_, r, err := c.NextRaw()
	return r, err
}

// NextRaw is Next with the reply's MessagePack form, valid until the next call.
func (c *Client) NextRaw() ([]byte, *Reply, error) {
	raw, err := c.message()
	if err != nil {
		return nil, nil, err
	}
	var r Reply
	if _, err := r.UnmarshalMsg(raw); err != nil {
		return nil, nil, fmt.Errorf("the daemon's reply cannot be understood: %w; use greseal of the same version", err)
	}
	if !r.OK {
		return raw, &r, &RequestError{Text: r.Error, Remedy: r.Remedy, Lines: r.Lines}
	}
	return raw, &r, nil
}

// message reads up to the end of one MessagePack value.
func (c *Client) message() ([]byte, error) {
	for {
		rest, err := msgp.Skip(c.buf)
		if err == nil {
			raw := c.buf[:len(c.buf)-len(rest)]
			c.buf = rest
			return raw, nil
		}
		if !errors.Is(err, msgp.ErrShortBytes) {
			return nil, fmt.Errorf("the daemon's reply cannot be understood: %w", err)
		}
		if len(c.buf) >= maxReply {
			return nil, fmt.Errorf("the daemon's reply is larger than %d bytes", maxReply)
		}
		more := make([]byte, max(16<<10, len(c.buf)))
		n, err := c.conn.Read(more)
		if n == 0 {
			if err == nil {
				continue
			}
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() {
				return nil, errors.New("the daemon did not answer in time; see its log")
			}
			return nil, fmt.Errorf("the daemon closed the connection: %w", err)
		}
		c.buf = append(c.buf[:len(c.buf):len(c.buf)], more[:n]...)
	}
}

// RequestError is a request that the daemon refused or could not carry out.
type RequestError struct {
	Text, Remedy string
	Lines        []string
}

func (e *RequestError) Error() string {
	if e.Remedy == "" {
		return e.Text
	}
	return e.Text + "; " + e.Remedy
}

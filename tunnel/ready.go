package tunnel

import (
	"net"
	"os"
)

// tellReady notifies a service manager that waits for it (sd_notify(3)): from here on
// nothing leaves in the clear, and units ordered after this one, such as the network,
// can start.
func tellReady() error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte("READY=1\n"))
	return err
}

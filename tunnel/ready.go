package tunnel

import (
	"net"
	"os"
)

// tellReady tells a service manager that waits for it (sd_notify(3)) that nothing
// leaves in the clear from here on: what is ordered after the daemon, such as bringing
// the network up, can begin.
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

package status

// Candidate is where a config waits to be run on trial by the daemon that
// answers at socket: a file beside the socket, mode 0600, in memory and not on
// flash. Who writes it holds a lock on it (flock) until the daemon has taken it,
// and nobody removes it: it is cut to nothing when it is done with.
func Candidate(socket string) string { return socket + ".candidate" }

// MaxCandidate bounds the candidate in bytes, for the daemon and its client alike;
// the limit of a config is less.
const MaxCandidate = 8 << 20

package doctor

import "fmt"

// checkOnePeer: the tunnel has one peer, and no other authenticates as it.
func checkOnePeer(x *exam) Step {
	c := x.now.Tunnel.Contention
	if c == nil {
		return fine()
	}
	return fault(c.Remedy,
		fmt.Sprintf("two peers want this tunnel: %s at %s has it and answers, so %s at %s is turned away", c.Holder, c.HolderAddress, c.Newcomer, c.NewcomerAddress),
		fmt.Sprintf("the last time %d s ago, %d in all", x.now.since(c.Last), c.Times))
}

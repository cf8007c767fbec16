// Package endpoint judges whose GRE endpoint an address is. Whatever changes the
// endpoints of a tunnel comes as a new Child SA, and each must fit beside all that
// stands or is configured (contract 16): otherwise the peer of one tunnel could have
// what is meant for another's. It knows no tunnel: it is told what they have.
//
// Tunnels between the same two endpoints are told apart by their GRE keys, and may
// belong to different peers. That is for addresses that several can have by rights:
// behind their NATs, or behind the same one. An address at which another peer is
// reached, or that the configuration gives to another tunnel, is nobody's to choose.
package endpoint

import (
	"fmt"
	"net/netip"
	"time"
)

// Right is by what right a tunnel has an endpoint.
type Right uint8

// Rights, each better than the one before.
const (
	Chosen  Right = iota // its peer asked for it
	Reached              // it is where the peer itself is reached, by IKE
	Named                // the configuration says so
)

// Claim is what another tunnel has of a remote endpoint: it, from a local one. That
// is unset where any of ours may be meant.
type Claim struct {
	Local  netip.Addr
	By     Right
	Stands bool // an interface has it; otherwise it is only configured, and Named
}

// Ask is a Child SA that is to be installed.
type Ask struct {
	Local, Remote netip.Addr // its GRE endpoints
	By            Right      // that its tunnel has to the remote one
}

// Other is another tunnel that has a claim to the remote endpoint of an Ask, or was
// promised it.
type Other struct {
	Name     string
	Claims   []Claim // those that stand first
	Promised bool
	Apart    bool // packets of both go each their own way, by keys of their own
	Idle     bool // it has no Child SA
}

// Machine is what this machine has beside tunnels.
type Machine struct {
	Own     map[netip.Addr]bool   // addresses
	Foreign map[netip.Addr]string // GRE interfaces that are not ours, by their far ends
}

type verdict uint8

const (
	fits     verdict = iota
	givesWay         // the other loses it: wait for the next attempt
	ownKeys          // refused, but for keys
	refused
)

// rules say what follows where two have the same endpoints: by the right of who asks
// and by that of the other.
var rules = [3][3]struct {
	apart verdict
	busy  verdict // not told apart, and the other's Child SA stands
	idle  verdict // and the other has none, or is only configured
}{
	Chosen: {
		Chosen:  {fits, ownKeys, ownKeys},
		Reached: {refused, refused, refused},
		Named:   {refused, refused, refused},
	},
	Reached: {
		Chosen:  {fits, givesWay, givesWay},
		Reached: {fits, ownKeys, givesWay}, // two peers behind one NAT, or one that has left
		Named:   {fits, ownKeys, ownKeys},
	},
	Named: {
		Chosen:  {fits, givesWay, givesWay},
		Reached: {fits, givesWay, givesWay},
		Named:   {fits, ownKeys, fits}, // whose peer it is shows when the other's comes
	},
}

func (c Claim) judge(by Right, o Other) verdict {
	rule := rules[by][c.By]
	switch {
	case o.Apart:
		return rule.apart
	case o.Idle || !c.Stands:
		return rule.idle
	}
	return rule.busy
}

// Refused is why a Child SA cannot be installed.
type Refused struct{ what, remedy string }

func (r Refused) Error() string { return r.what }

// Remedy is what to change.
func (r Refused) Remedy() string { return r.remedy }

const (
	another = "give the peer an address of its own as gre_local"
	keys    = "give each of the two tunnels its own gre.key, on both sides"
)

func (a Ask) no(remedy, format string, args ...any) error {
	return Refused{fmt.Sprintf("the peer asks for the GRE endpoint %s, which %s", a.Remote, fmt.Sprintf(format, args...)), remedy}
}

// OnMachine refuses an endpoint that no peer can have on this machine.
func (a Ask) OnMachine(m Machine) error {
	switch name := m.Foreign[a.Remote]; {
	case !ofOneMachine(a.Remote):
		return a.no(another, "is not a unicast address")
	case m.Own[a.Remote]:
		return a.no(another, "is an address of this machine")
	case name != "" && a.By != Named:
		return a.no(another+", or remove that interface", "is the remote end of GRE interface %q, which is not greseal's", name)
	}
	return nil
}

// ofOneMachine tells whether an address can be a GRE endpoint at all.
func ofOneMachine(a netip.Addr) bool {
	broadcast := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	return !a.IsMulticast() && !a.IsLoopback() && !a.IsUnspecified() && !a.Is4In6() && a != broadcast
}

// Against refuses an endpoint that other tunnels have. Where those have it by less
// right they have to give way, and it is refused until they did.
func (a Ask) Against(others []Other) (giveWay []string, err error) {
	for _, o := range others {
		if o.Promised && a.By == Chosen && !o.Apart {
			return nil, a.no(another, "is that of tunnel %q", o.Name)
		}
		for _, c := range o.Claims {
			if c.Local.IsValid() && c.Local != a.Local {
				continue
			}
			switch c.judge(a.By, o) {
			case givesWay:
				giveWay = append(giveWay, o.Name)
				err = a.no("wait for the next attempt: that tunnel gives way", "tunnel %q has used until now with a weaker claim", o.Name)
			case ownKeys:
				return nil, a.no(keys, "tunnel %q already has", o.Name)
			case refused:
				return nil, a.no(another, "is that of tunnel %q", o.Name)
			}
		}
	}
	return giveWay, err
}

// Promise keeps an endpoint that another tunnel gives way from for the one that has
// the better right to it: its peer comes again when it sees fit, and whoever had
// chosen the endpoint would often be there first.
type Promise struct {
	Endpoint netip.Addr
	At       time.Duration
}

// PromiseTime is how long one holds, beyond the pauses of any peer.
const PromiseTime = 5 * time.Minute

// Holds tells whether it keeps a.
func (p Promise) Holds(a netip.Addr, now time.Duration) bool {
	return p.Endpoint == a && now-p.At < PromiseTime
}

package doctor

import (
	"slices"

	"greseal/tunnel/cause"
	"greseal/tunnel/status"
)

// where says what kind of fault a step finds and on which side, for those
// whose fault isn't this machine's. That of two sides that differ may lie on either.
var where = map[string]struct{ code, side string }{
	"config":        {status.CodeConfig, status.SideHere},
	"name":          {status.CodeNoPath, status.SideHere},
	"route":         {status.CodeNoPath, status.SideHere},
	"local":         {status.CodeNoPath, status.SideHere},
	"udp-500":       {status.CodeNoAnswer, status.SideUnknown},
	"ikev1":         {status.CodeRefused, status.SidePeer},
	"udp-4500":      {status.CodeNoAnswer, status.SidePath},
	"fragments":     {status.CodeNoAnswer, status.SidePath},
	"proposals":     {status.CodeNoProposal, status.SideUnknown},
	"certificates":  {status.CodeAuth, status.SideUnknown},
	"identity":      {status.CodeAuth, status.SideUnknown},
	"esp-proposals": {status.CodeNoProposal, status.SideUnknown},
	"selectors":     {status.CodeSelectors, status.SideUnknown},
	"liveness":      {status.CodeNoAnswer, status.SideUnknown},
	"gre-key":       {status.CodeSelectors, status.SideUnknown},
	"esp":           {status.CodeNoAnswer, status.SideUnknown},
	"mtu":           {status.CodeNoPath, status.SidePath},
}

// Cause is the first fault of an examination as the daemon is to tell it, also of a
// tunnel that is up, where not all that should passes. It is none where there is no
// fault, or the daemon has said it itself.
func Cause(m Moment, steps []status.Finding, first string) (c cause.Cause) {
	i := slices.IndexFunc(steps, func(f status.Finding) bool { return f.ID == first })
	if i < 0 || first == "wanted" || first == "handshake" || len(steps[i].Evidence) == 0 {
		return c
	}
	f, known := steps[i], &m.Cause
	if f.Evidence[0] == known.Text {
		if f.Remedy != known.Remedy {
			c = *known
			c.Remedy, c.Commands, c.Evidence = f.Remedy, f.Commands, f.Evidence[1:]
		}
		return c
	}
	c = cause.Here(status.CodeUnavailable, f.Title+": "+f.Evidence[0], f.Remedy, f.Commands...)
	if w, ok := where[first]; ok {
		c.Code, c.Side = w.code, w.side
	}
	c.Evidence = f.Evidence[1:]
	return c
}

package ikev2

import (
	"slices"

	"greseal/ikev2/wire"
)

// dropNotify is a lie by leaving out.
func dropNotify(kind wire.NotifyType) func([]wire.Payload) []wire.Payload {
	return func(ps []wire.Payload) []wire.Payload {
		return slices.DeleteFunc(slices.Clone(ps), func(p wire.Payload) bool {
			n, ok := p.(*wire.Notify)
			return ok && n.Kind == kind
		})
	}
}

package platform

import (
	"errors"
	"sync"

	"golang.org/x/sys/unix"

	"greseal/platform/inet"
	"greseal/platform/rtnl"
)

// laid is what this process has installed of one kind. What has our mark and is not in
// it was left by an earlier daemon.
type laid[T comparable] map[T]bool

// drop removes what has our mark and is not wanted; what an earlier daemon left only
// if swept. It returns what is wanted and present. What cannot be removed stays in l
// and is tried again.
func (l laid[T]) drop(have []T, want map[T]bool, swept bool, remove func(T) error) (present map[T]bool, err error) {
	present = make(map[T]bool)
	stuck := make(map[T]bool)
	var errs []error
	for _, k := range have {
		switch {
		case want[k]:
			present[k] = true
		case swept || l[k]:
			if err := remove(k); err != nil {
				errs = append(errs, err)
				stuck[k] = true
			}
		}
	}
	for k := range l {
		if !want[k] && !stuck[k] {
			delete(l, k)
		}
	}
	for k := range stuck {
		l[k] = true
	}
	return present, errors.Join(errs...)
}

// lay adds what is not present, in the order of want. What had been added before is
// left to again, which reports whether it is present now.
func (l laid[T]) lay(want []T, present map[T]bool, add func(T) error, again func(T) bool) error {
	var errs []error
	for _, k := range want {
		switch {
		case present[k]:
		case l[k]:
			present[k] = again(k)
		default:
			if err := add(k); err != nil {
				errs = append(errs, err)
				continue
			}
			present[k] = true
		}
		l[k] = true
	}
	return errors.Join(errs...)
}

// observed is what one full pass found on the machine.
type observed struct {
	links   map[string]*rtnl.Link // ours, by name
	routes  []rtnl.Route          // ours, as installed
	foreign func() ([]rtnl.Route, error)
}

func (n *Network) observe(there *Interfaces) (observed, error) {
	v := observed{links: make(map[string]*rtnl.Link)}
	ours := make(map[int]bool)
	for _, l := range there.byIndex {
		if l.Ours() {
			v.links[l.Name] = l
			ours[l.Index] = true
		}
	}
	have, err := rtnl.Routes(n.nl, unix.AF_UNSPEC, rtnl.Protocol)
	for _, r := range have {
		k := r.Key()
		if k.Type == unix.RTN_UNREACHABLE {
			k.Oif = 0 // IPv6 reports the loopback interface
		}
		v.routes = append(v.routes, k)
	}
	v.foreign = sync.OnceValues(func() ([]rtnl.Route, error) { return foreignRoutes(n.nl, unix.AF_UNSPEC, ours) })
	return v, err
}

// wants is what all links want together.
type wants struct {
	under  []rtnl.Route          // host routes that go outside the tunnels
	rules  map[rtnl.Rule]bool    // for some of them
	shared []rtnl.Route          // unreachable twins
	into   map[rtnl.Route]string // by link
	all    map[rtnl.Route]bool   // the keys of all routes
}

func (n *Network) wants(v observed) (w wants, err error) {
	into, shared := n.wanted(v.links)
	if w.under, err = n.pins(v.foreign, into, shared); err != nil {
		return w, err
	}
	ways, rules, err := n.ways(v.foreign)
	if err != nil {
		return w, err
	}
	asking, err := n.questions(v.foreign, rules)
	if err != nil {
		return w, err
	}
	w.under = append(append(w.under, ways...), asking...)
	w.rules, w.into, w.all = rules, into, make(map[rtnl.Route]bool)
	for _, r := range w.under {
		w.all[r.Key()] = true
	}
	for r := range shared {
		w.shared = append(w.shared, r.Key())
		w.all[r.Key()] = true
	}
	for r := range into {
		w.all[r.Key()] = true
	}
	return w, nil
}

// reconcile computes what all links want, removes what is ours and unwanted, then adds
// what is missing: shared routes, and those into the links named.
func (n *Network) reconcile(links ...string) error {
	if n.batching {
		n.batched, n.full = append(n.batched, links...), true
		return nil
	}
	if n.idle() {
		return nil
	}
	there, err := n.Interfaces()
	if err != nil {
		return err
	}
	return n.reconcileIn(there, links)
}

// idle reports that there is nothing to do, so that a hub of many tunnels without
// routes dumps nothing.
func (n *Network) idle() bool { return n.settled && len(n.laid) == 0 && !n.wantsAny() }

// reconcileIn is reconcile where the interfaces are these.
func (n *Network) reconcileIn(there *Interfaces, links []string) error {
	if n.idle() {
		return nil
	}
	v, err := n.observe(there)
	if err != nil {
		return err
	}
	w, err := n.wants(v)
	if err != nil {
		return err
	}
	rules, err1 := n.dropRules(w.rules)
	routes, err2 := n.laid.drop(v.routes, w.all, n.swept, n.removeRoute)
	// The peers' host routes first: nothing may cover them even for a moment.
	err3 := n.layUnder(w.under, routes)
	var asked []rtnl.Rule
	for r := range w.rules {
		asked = append(asked, r)
	}
	err4 := n.ruled.lay(asked, rules, n.addRule, func(r rtnl.Rule) bool {
		return n.again(ObjectRule, n.owner(inet.Host(r.To)), r.String(), func() error { return n.addRule(r) })
	})
	err5 := n.laid.lay(w.shared, routes, n.addRoute, func(r rtnl.Route) bool {
		return n.again(ObjectGuard, n.owner(r.Dst), r.String(), func() error { return n.addRoute(r) })
	})
	err6 := n.layInto(w.into, links, routes)
	err = errors.Join(err1, err2, err3, err4, err5, err6)
	n.settled = n.swept && err == nil
	for _, in := range n.links {
		in.recordWanted()
	}
	return err
}

// layUnder installs host routes, each with the attributes of the route it follows.
func (n *Network) layUnder(under []rtnl.Route, present map[rtnl.Route]bool) error {
	whole := make(map[rtnl.Route]rtnl.Route)
	var keys []rtnl.Route
	for _, r := range under {
		k := r.Key()
		if _, twice := whole[k]; !twice {
			whole[k] = r
			keys = append(keys, k)
		}
	}
	add := func(k rtnl.Route) error { return n.addRoute(whole[k]) }
	// One that is gone usually went with its interface or gateway.
	return n.laid.lay(keys, present, add, func(k rtnl.Route) bool { return add(k) == nil })
}

// layInto installs the routes into the links named.
func (n *Network) layInto(into map[rtnl.Route]string, links []string, present map[rtnl.Route]bool) error {
	named := make(map[string]bool)
	for _, link := range links {
		named[link] = true
	}
	var keys []rtnl.Route
	var owners []*inside
	for r, link := range into {
		if named[link] {
			keys, owners = append(keys, r.Key()), append(owners, n.links[link])
		}
	}
	err := n.laid.lay(keys, present, n.addRoute, func(r rtnl.Route) bool {
		return n.again(ObjectRoute, into[r], r.String(), func() error { return n.addRoute(r) })
	})
	for i, k := range keys {
		if n.laid[k] {
			owners[i].laid[k] = true
		}
	}
	return err
}

func (n *Network) addRoute(r rtnl.Route) error    { return n.changeRoute(unix.RTM_NEWROUTE, r) }
func (n *Network) removeRoute(r rtnl.Route) error { return n.changeRoute(unix.RTM_DELROUTE, r) }
func (n *Network) addRule(r rtnl.Rule) error      { return n.changeRule(unix.RTM_NEWRULE, "add", r) }
func (n *Network) removeRule(r rtnl.Rule) error   { return n.changeRule(unix.RTM_DELRULE, "remove", r) }

// changeRule adds or removes a rule; the error is an *Unlaid.
func (n *Network) changeRule(typ uint16, what string, r rtnl.Rule) error {
	if err := rtnl.ChangeRule(n.nl, typ, r); err != nil {
		return &Unlaid{inet.Host(r.To), what + " routing rule " + r.String(), err, ObjectRule}
	}
	return nil
}

// changeRoute adds (RTM_NEWROUTE) or removes (RTM_DELROUTE) a route; the error is an
// *Unlaid.
func (n *Network) changeRoute(typ uint16, r rtnl.Route) error {
	err := rtnl.ChangeRoute(n.nl, typ, r)
	if err == nil {
		return nil
	}
	u := &Unlaid{r.Dst, "add route " + r.String(), err, ObjectRoute}
	if typ == unix.RTM_DELROUTE {
		u.What = "remove route " + r.String()
	} else if r.Type == unix.RTN_UNREACHABLE && !u.noIPv6() {
		u.Object = ObjectGuard // without IPv6 nothing can leave
	}
	return u
}

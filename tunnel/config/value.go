package config

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// set reads a TOML value of a key into dst, a pointer to the field, and checks
// type and range. What is wrong goes to fail; the field is then left alone.
func (k *Key) set(dst, raw any, fail failFunc) {
	whole := func(f fault) {
		if f.bad() {
			fail(-1, f)
		}
	}
	switch k.Kind {
	case Text, Path, SecretKey, Address, Duration:
		s, ok := raw.(string)
		if !ok {
			whole(k.wrongType(raw))
			return
		}
		f := k.setString(dst, s)
		whole(f)
	case Switch:
		b, ok := raw.(bool)
		if !ok {
			whole(k.wrongType(raw))
			return
		}
		*dst.(*bool) = b
	case Number:
		n, ok := raw.(int64)
		if !ok {
			whole(k.wrongType(raw))
			return
		}
		if f := k.inRange(n); f.bad() {
			whole(f)
			return
		}
		setNumber(dst, n)
	case Size:
		n, f := k.size(raw)
		if f.bad() {
			whole(f)
			return
		}
		*dst.(*uint64) = uint64(n)
	case Texts, Paths:
		if list, ok := k.strings(raw, fail); ok {
			*dst.(*[]string) = list
		}
	case Prefixes:
		k.setPrefixes(dst.(*[]netip.Prefix), raw, fail)
	}
}

func (k *Key) setString(dst any, s string) fault {
	switch {
	case k.Kind == Duration:
		return k.setDuration(dst.(*time.Duration), s)
	case k.Kind == Address:
		a, f := parseAddr(s)
		if !f.bad() {
			*dst.(*netip.Addr) = a
		}
		return f
	case s == "" && k.Kind == SecretKey:
		return fault{"is empty", "write a real one; greseal genpsk makes one"}
	case s == "":
		return fault{"is empty", "write for example " + k.Name + " = " + k.example()}
	case len(k.Choices) > 0 && !slices.Contains(k.Choices, s):
		return fault{"has no value " + quote(s), k.choices(s)}
	}
	if k.check != nil {
		if f := k.check(s); f.bad() {
			return f
		}
	}
	if k.Kind == SecretKey {
		*dst.(*Secret) = NewSecret([]byte(s))
		return fault{}
	}
	if strings.ContainsRune(s, 0) {
		return fault{"contains a NUL character", "remove it"}
	}
	*dst.(*string) = s
	return fault{}
}

// strings reads a list of strings, or one string as a list of one. It says
// whether all of it was right.
func (k *Key) strings(raw any, fail failFunc) ([]string, bool) {
	if s, ok := raw.(string); ok {
		raw = []any{s}
	}
	items, ok := raw.([]any)
	if !ok {
		fail(-1, k.wrongType(raw))
		return nil, false
	}
	if len(items) > maxItems {
		fail(-1, fault{fmt.Sprintf("has %d items", len(items)), fmt.Sprintf("write at most %d", maxItems)})
		return nil, false
	}
	var out []string
	good := true
	for i, item := range items {
		s, isString := item.(string)
		f := fault{}
		switch {
		case !isString:
			f = fault{"has " + typeName(item) + " as item " + strconv.Itoa(i+1), "write strings only, such as " + k.example()}
		case s == "":
			f = fault{"has an empty item " + strconv.Itoa(i+1), "remove it"}
		case slices.Contains(out, s):
			f = fault{"has " + quote(s) + " twice", "remove one"}
		case k.check != nil:
			f = k.check(s)
		case k.Kind == Prefixes:
			_, f = parsePrefix(s, k.Name == "routes")
		}
		if f.bad() {
			fail(i, f)
			good = false
			continue
		}
		out = append(out, s)
	}
	if len(items) == 0 && k.Name != "address" && k.Name != "routes" {
		fail(-1, fault{"is an empty list", "leave the key out or write for example " + k.Name + " = " + k.example()})
		return nil, false
	}
	return out, good
}

func (k *Key) setPrefixes(dst *[]netip.Prefix, raw any, fail failFunc) {
	texts, good := k.strings(raw, fail)
	if !good {
		return
	}
	var out []netip.Prefix
	for i, s := range texts {
		p, _ := parsePrefix(s, k.Name == "routes")
		if slices.Contains(out, p) {
			fail(i, fault{"has " + p.String() + " twice", "remove one"})
			good = false
		}
		out = append(out, p)
	}
	if good {
		*dst = out
	}
}

// parseAddr reads a unicast address.
func parseAddr(s string) (netip.Addr, fault) {
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil && strings.Contains(s, "/"):
		return a, fault{quote(s) + " has a prefix length", "write the address alone"}
	case err != nil:
		return a, fault{quote(s) + " is not an IP address", `write one such as "192.0.2.1" or "2001:db8::1"`}
	}
	return a, unicast(a)
}

func unicast(a netip.Addr) fault {
	switch {
	case a.Zone() != "":
		return fault{a.String() + " has a zone", "use an address that is valid beyond one link"}
	case a.Is4In6():
		return fault{a.String() + " is an IPv4-mapped IPv6 address", "write " + quote(a.Unmap().String())}
	case a.IsUnspecified():
		return fault{a.String() + " is the unspecified address", "write the address of one host"}
	case a.IsMulticast():
		return fault{a.String() + " is a multicast address", "write the address of one host"}
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fault{a.String() + " is the broadcast address", "write the address of one host"}
	case a.IsLoopback():
		return fault{a.String() + " is a loopback address", "write an address that the other side can reach"}
	}
	return fault{}
}

// parsePrefix reads an interface address or a route with its prefix length.
func parsePrefix(s string, route bool) (netip.Prefix, fault) {
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return p, noPrefix(s, route)
	case p.Addr().Is4In6():
		return p, fault{quote(s) + " is an IPv4-mapped IPv6 address", "write it as IPv4"}
	case route:
		return p, badRoute(s, p)
	}
	return p, badAddress(s, p)
}

// noPrefix says why s is no address with prefix length.
func noPrefix(s string, route bool) fault {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		bits := strconv.Itoa(a.BitLen())
		if !route && a.Is4() {
			bits = "30"
		} else if !route {
			bits = "64"
		}
		return fault{quote(s) + " has no prefix length", "write for example " + quote(s+"/"+bits)}
	}
	if addr, mask, ok := strings.Cut(s, "/"); ok {
		if bits, ok := maskBits(mask); ok && isAddr4(addr) {
			return fault{quote(s) + " has a netmask", "write " + quote(addr+"/"+strconv.Itoa(bits))}
		}
		if a, err := netip.ParseAddr(addr); err == nil && a.Zone() != "" {
			return fault{quote(s) + " has a zone", "write " + quote(a.WithZone("").String()+"/"+mask)}
		} else if err == nil {
			return fault{"the prefix length of " + quote(s) + " is not a number from 0 to " + strconv.Itoa(a.BitLen()), "write for example " + quote(addr+"/"+strconv.Itoa(a.BitLen()-8))}
		}
	}
	if s == "default" {
		return fault{quote(s) + " is not an address with prefix length", `write "0.0.0.0/0", "::/0" or both`}
	}
	return fault{quote(s) + " is not an address with prefix length", `write for example "10.255.0.2/30" or "2001:db8::2/64"`}
}

func badRoute(s string, p netip.Prefix) fault {
	a := p.Addr()
	switch {
	case p != p.Masked():
		return fault{quote(s) + " has bits set behind its prefix length", "write " + quote(p.Masked().String()) + ", or " + quote(a.String()+"/"+strconv.Itoa(a.BitLen())) + " for that one host"}
	case a.IsMulticast():
		return fault{quote(s) + " is a multicast range, which no route is needed for", "remove it"}
	case a.IsLoopback():
		return fault{quote(s) + " is a loopback range", "remove it"}
	}
	return fault{}
}

func badAddress(s string, p netip.Prefix) fault {
	a := p.Addr()
	if f := unicast(a); f.bad() {
		return f
	}
	small := a.Is4() && p.Bits() < 31
	switch {
	case small && a == p.Masked().Addr():
		return fault{quote(s) + " is the address of the network itself", "write for example " + quote(a.Next().String()+"/"+strconv.Itoa(p.Bits()))}
	case small && a == lastAddr(p):
		return fault{quote(s) + " is the broadcast address of its network", "write for example " + quote(a.Prev().String()+"/"+strconv.Itoa(p.Bits()))}
	case p.Bits() == 0:
		return fault{quote(s) + " makes the whole internet one link", "write the prefix length of the tunnel's own network"}
	}
	return fault{}
}

func isAddr4(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is4()
}

// maskBits reads a dotted netmask.
func maskBits(s string) (int, bool) {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		return 0, false
	}
	b := a.As4()
	m := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	for bits := 0; bits <= 32; bits++ {
		if m == uint32(math.MaxUint32<<(32-bits)) {
			return bits, true
		}
	}
	return 0, false
}

// lastAddr is the highest address of an IPv4 prefix.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}

// inRange checks Min and Max of a number.
func (k *Key) inRange(n int64) fault {
	if n < k.Min || n > k.Max {
		return fault{fmt.Sprintf("is %d", n), fmt.Sprintf("write a number from %d to %d", k.Min, k.Max)}
	}
	return fault{}
}

func setNumber(dst any, n int64) {
	switch dst := dst.(type) {
	case *int:
		*dst = int(n)
	case *uint8:
		*dst = uint8(n)
	case *uint16:
		*dst = uint16(n)
	case *uint32:
		*dst = uint32(n)
	case *uint64:
		*dst = uint64(n)
	}
}

func (k *Key) setDuration(dst *time.Duration, s string) fault {
	d, err := time.ParseDuration(s)
	if err != nil {
		if n, err := strconv.ParseUint(s, 10, 32); err == nil {
			return fault{quote(s) + " has no unit", fmt.Sprintf("write for example %s = \"%ds\"", k.Name, n)}
		}
		if days, ok := strings.CutSuffix(s, "d"); ok {
			if n, err := strconv.ParseUint(days, 10, 16); err == nil {
				return fault{quote(s) + " counts in days", fmt.Sprintf("write %s = \"%dh\"", k.Name, n*24)}
			}
		}
		return fault{quote(s) + " is not a duration", `write a number with a unit such as "90s", "10m" or "24h"`}
	}
	if int64(d) < k.Min || int64(d) > k.Max {
		return fault{"is " + shortDuration(d), "write a duration from " + shortDuration(time.Duration(k.Min)) + " to " + shortDuration(time.Duration(k.Max))}
	}
	*dst = d
	return fault{}
}

// shortDuration writes a duration without parts that are zero: "24h", "1m30s".
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

var units = []struct {
	name  string
	bytes int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

// size reads a number of bytes, with or without a unit.
func (k *Key) size(raw any) (int64, fault) {
	var n int64
	switch v := raw.(type) {
	case int64:
		n = v
	case string:
		digits, unit := v, int64(1)
		for _, u := range units {
			if d, ok := strings.CutSuffix(v, u.name); ok {
				digits, unit = strings.TrimRight(d, " "), u.bytes
				break
			}
		}
		u, err := strconv.ParseUint(digits, 10, 62)
		if err != nil {
			return 0, fault{quote(v) + " is not a size", `write a number of bytes, or one with a unit such as "500MB", "50GB" or "64GiB"`}
		}
		n = int64(min(u, uint64(k.Max)/uint64(unit)+1)) * unit
	default:
		return 0, k.wrongType(raw)
	}
	if n < k.Min || n > k.Max {
		return 0, fault{fmt.Sprintf("is %d bytes", n), "write a size from 1MiB to 1000TB"}
	}
	return n, fault{}
}

// wrongType says which type is there and which belongs there.
func (k *Key) wrongType(raw any) fault {
	f := fault{"is " + typeName(raw) + ", not " + wanted[k.Kind], "write " + k.Name + " = " + k.example()}
	switch v := raw.(type) {
	case int64:
		if k.Kind == Duration && v > 0 {
			f.remedy = fmt.Sprintf("write %s = \"%ds\"", k.Name, v)
		}
	case string:
		if k.Kind == Switch && (v == "true" || v == "false") {
			f.remedy = "write " + k.Name + " = " + v + " without the quotes"
		}
		if n, err := strconv.ParseInt(v, 10, 64); err == nil && (k.Kind == Number || k.Kind == NumberOr) {
			f.remedy = fmt.Sprintf("write %s = %d without the quotes", k.Name, n)
		}
		if v == "off" || v == "none" {
			f.remedy = "leave the key out"
			if k.Kind == Switch {
				f.remedy = "write " + k.Name + " = false"
			}
		}
	}
	return f
}

var wanted = [...]string{
	Text: "a string", SecretKey: "a string", Path: "a path in quotes", Switch: "true or false", Number: "an integer",
	Duration: "a duration in quotes", Size: "a size", Texts: "a list of strings", Paths: "a list of paths",
	Prefixes: "a list of addresses with prefix length", Address: "an address in quotes", NumberOr: "an integer or a word",
}

// example is something right to write.
func (k *Key) example() string {
	switch {
	case k.Example != "":
		return k.Example
	case k.Default != "":
		return k.Default
	}
	return `"…"`
}

// choices lists the words allowed, the nearest alone when there is one.
func (k *Key) choices(s string) string {
	if near := Nearest(s, k.Choices); near != "" {
		return "did you mean " + quote(near) + "?"
	}
	list := make([]string, len(k.Choices))
	for i, c := range k.Choices {
		list[i] = quote(c)
	}
	return "write " + strings.Join(list[:len(list)-1], ", ") + " or " + list[len(list)-1]
}

func typeName(raw any) string {
	switch raw := raw.(type) {
	case string:
		return "a string"
	case int64:
		return "an integer"
	case float64:
		return "a number with a fraction"
	case bool:
		return "a boolean"
	case time.Time:
		return "a date or time"
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	case []map[string]any:
		return "a list of tables"
	default:
		return fmt.Sprintf("a %T", raw)
	}
}

// The readers below fill more than one field, or one that has a word beside its
// number.

func readRemote(k *Key, t *Tunnel, raw any, fail failFunc) {
	list, good := k.strings(raw, fail)
	if !good {
		return
	}
	if slices.Contains(list, "any") {
		if len(list) > 1 {
			fail(slices.Index(list, "any"), fault{`"any" stands beside other remotes`, `write "any" alone, or only addresses and host names`})
			return
		}
		t.RemoteAny, t.Remotes = true, nil
		return
	}
	t.RemoteAny, t.Remotes = false, list
}

// numberOr reads an integer or one of the words of k; word is "" for a number.
func numberOr(k *Key, raw any, fail failFunc) (n int64, word string, ok bool) {
	switch v := raw.(type) {
	case int64:
		if f := k.inRange(v); f.bad() {
			fail(-1, fault{f.what, f.remedy + " or " + quote(k.Choices[0])})
			return 0, "", false
		}
		return v, "", true
	case string:
		if slices.Contains(k.Choices, v) {
			return 0, v, true
		}
		if n, err := strconv.ParseInt(v, 0, 64); err == nil {
			fail(-1, fault{"is a string", fmt.Sprintf("write %s = %d without the quotes", k.Name, n)})
			return 0, "", false
		}
		fail(-1, fault{"has no value " + quote(v), "write " + quote(k.Choices[0]) + fmt.Sprintf(" or a number from %d to %d", k.Min, k.Max)})
		return 0, "", false
	}
	fail(-1, k.wrongType(raw))
	return 0, "", false
}

func readTable(k *Key, t *Tunnel, raw any, fail failFunc) {
	n, word, ok := numberOr(k, raw, fail)
	switch {
	case !ok:
	case word == "main":
		t.Table = TableMain
	case n == 255:
		fail(-1, fault{"is 255, the table of the kernel's own addresses", `write "main" or another number`})
	default:
		t.Table = uint32(n)
	}
}

func readMTU(k *Key, t *Tunnel, raw any, fail failFunc) {
	if n, _, ok := numberOr(k, raw, fail); ok {
		t.MTU = int(n)
	}
}

func readTOS(k *Key, t *Tunnel, raw any, fail failFunc) {
	if n, word, ok := numberOr(k, raw, fail); ok {
		t.GRE.TOS, t.GRE.TOSInherit = uint8(n), word == "inherit"
	}
}

func readGREType(k *Key, t *Tunnel, raw any, fail failFunc) {
	var s string
	failed := false
	k.set(&s, raw, func(item int, f fault) { failed = true; fail(item, f) })
	if !failed {
		t.GRE.Ethernet = s == "ethernet"
	}
}

func readGREKey(k *Key, t *Tunnel, raw any, fail failFunc) {
	failed := false
	k.set(&t.GRE.Key, raw, func(item int, f fault) { failed = true; fail(item, f) })
	if !failed {
		t.GRE.HasKey = true
	}
}

package netifd

// Handles says whether netifd knows interfaces of a protocol: it reads its handlers
// once, when it is started. Without a netifd to ask there is an error.
func Handles(bus, proto string) (bool, error) {
	b, err := DialBus(bus)
	if err != nil {
		return false, err
	}
	defer b.Close()
	t, err := b.Call("network", "get_proto_handlers", nil)
	return t.Get(proto) != nil, err
}

// Package status is what a running daemon reports about itself, and how it is queried:
// the schema of snapshots, events, requests and replies (version 1, MessagePack),
// the server on a unix stream socket, the client, and the renderers for people,
// JSON and programs. It decides nothing about tunnels: a request reaches the
// daemon's loop as a Query on a channel, and the loop answers it.
//
// A client writes one request map such as {"v":1,"op":"status"} and reads replies;
// "status" and the changing requests get one reply, "watch" and "events" with
// follow get replies until either side closes. The schema only ever grows: a field
// keeps its name, type and unit.
//
// Units: a field named after a moment is Unix seconds of the daemon's wall clock as
// it stands at the snapshot's Time, 0 for never or unknown; a reader who wants an age
// subtracts. A field ending in _s is whole seconds. Byte counters are bytes. No field
// ever holds a secret.
package status

//go:generate go tool msgp -file schema.go -o schema_gen.go -io=false -tests=false

package oversize

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"greseal/build/packet"
)

func TestPiecesInAnyOrderMakeTheWhole(t *testing.T) {
	var r Reassembler
	const dev = 1
	now := time.Now()
	for seed := range uint64(500) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		want := packet.Pattern(1+rnd.IntN(9000), int(seed))
		var pieces []Piece
		for off := 0; off < len(want); {
			n := min(8*(1+rnd.IntN(200)), len(want)-off)
			pieces = append(pieces, Piece{ID: uint32(seed), Off: off, More: off+n < len(want), Data: want[off : off+n]})
			off += n
		}
		rnd.Shuffle(len(pieces), func(i, j int) { pieces[i], pieces[j] = pieces[j], pieces[i] })
		for i := range pieces {
			got, ecn := r.Add(dev, &pieces[i], uint8(i&2), now)
			if last := i == len(pieces)-1; (got != nil) != last {
				t.Fatalf("seed %d: whole after %d of %d pieces: %v", seed, i+1, len(pieces), got != nil)
			} else if last && (!bytes.Equal(got[Room:], want) || ecn == 1) {
				t.Fatalf("seed %d: %d octets, ECN %d", seed, len(got), ecn)
			}
		}
	}
	if len(r.slots) != 1 {
		t.Errorf("%d buffers for one packet at a time", len(r.slots))
	}
}

func TestPiecesThatContradictAreDropped(t *testing.T) {
	data := packet.Pattern(64, 0)
	now := time.Now()
	for name, pieces := range map[string][]Piece{
		"twice the same":        {{Off: 0, More: true, Data: data}, {Off: 0, More: true, Data: data}, {Off: 64, Data: data}},
		"overlap":               {{Off: 0, More: true, Data: data}, {Off: 56, Data: data}},
		"overlap before":        {{Off: 64, Data: data}, {Off: 8, More: true, Data: data}, {Off: 0, More: true, Data: data[:8]}},
		"two ends":              {{Off: 64, Data: data}, {Off: 128, Data: data}, {Off: 0, More: true, Data: data}},
		"end before what came":  {{Off: 128, More: true, Data: data}, {Off: 64, Data: data}, {Off: 0, More: true, Data: data}},
		"more behind the end":   {{Off: 64, Data: data}, {Off: 128, More: true, Data: data}, {Off: 0, More: true, Data: data}},
		"another protocol's id": {{Off: 0, More: true, Data: data}, {V6: true, Off: 64, Data: data}},
	} {
		var r Reassembler
		const dev = 1
		for i := range pieces {
			if got, _ := r.Add(dev, &pieces[i], 0, now); got != nil {
				t.Errorf("%s: made a packet", name)
			}
		}
	}
}

func TestReassemblyIsBoundedAndForgets(t *testing.T) {
	var r Reassembler
	const dev = 1
	now := time.Now()
	data := packet.Pattern(64, 0)
	for id := range uint32(1000) {
		r.Add(dev, &Piece{ID: id, More: true, Data: data}, 0, now.Add(time.Duration(id)))
	}
	if len(r.slots) != maxReassemblies {
		t.Errorf("%d buffers", len(r.slots))
	}
	// The newest have stayed.
	if got, _ := r.Add(dev, &Piece{ID: 999, Off: 64, Data: data}, 0, now); got == nil {
		t.Error("the newest packet was given up")
	}
	if got, _ := r.Add(dev, &Piece{ID: 998, Off: 64, Data: data}, 0, now.Add(reassemblyTime+time.Second)); got != nil {
		t.Error("an old packet was still waited for")
	}
}

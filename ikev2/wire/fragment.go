package wire

import (
	"errors"
	"fmt"
	"math"
)

// SealFragments splits the plaintext of an SK payload over as many messages
// with an SKF payload as it takes for none to be longer than max octets (IKE
// header included; IP, UDP and non-ESP marker are the caller's to subtract), and
// returns them in order (RFC 7383 section 2.5). First is the type of the first
// payload in plain. All have the same header but for their lengths. It fails
// when max leaves no room for content or more than limit messages were needed.
func SealFragments(h Header, first PayloadType, plain []byte, s Sealer, max, limit int) ([][]byte, error) {
	chunk := chunkLen(s, max)
	if chunk == 0 {
		return nil, fmt.Errorf("fragment IKE message: %d octets leave no room for content", max)
	}
	total := (len(plain) + chunk - 1) / chunk
	if total == 0 {
		total = 1
	}
	if total > limit || total > math.MaxUint16 {
		return nil, fmt.Errorf("fragment IKE message: %d octets need %d fragments of %d octets, at most %d are sent", len(plain), total, max, limit)
	}
	out := make([][]byte, total)
	for i := range out {
		f := SKF{Number: uint16(i + 1), Total: uint16(total)}
		if i == 0 {
			f.First = first
		}
		part := plain[i*chunk : min((i+1)*chunk, len(plain))]
		var err error
		out[i], err = appendProtected(nil, h, TypeSKF, f.numbers(nil), f.First, part, s)
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// chunkLen is the most plaintext that fits a fragment of max octets, 0 when
// none does. Overhead varies with padding by less than one block, so the search
// downwards ends soon.
func chunkLen(s Sealer, max int) int {
	room := min(max, math.MaxUint16) - HeaderLen - genericLen - 4
	for n := room; n > 0; n-- {
		if n+s.Overhead(n) <= room {
			return n
		}
	}
	return 0
}

// Errors of Reassembly.Add. After each the fragment is dropped in silence and
// the reassembly stands as before.
var (
	ErrFragmentNumber = errors.New("fragment number is zero or above the total")
	ErrFragmentOld    = errors.New("fragment of a set that was replaced by one with more fragments")
	ErrFragmentTwice  = errors.New("fragment is there already")
	ErrFragmentLimit  = errors.New("fragments exceed the limit of a reassembled message")
	ErrFragmentNoRest = errors.New("message is complete already")
)

// Reassembly puts the fragments of one message together (RFC 7383 section 2.6).
// The zero value is empty but takes nothing until its limits are set. There is
// one for each direction and message ID; timing it out is the owner's part.
type Reassembly struct {
	MaxFragments int // most fragments a message may have
	MaxOctets    int // most octets of content a message may have

	total  int
	have   int
	octets int
	longer int      // longest fragment as a message
	first  *SKF     // fragment 1
	chunks [][]byte // by fragment number less one; nil: not there yet
	done   bool
}

// Wanted says whether the SKF of a message is worth decrypting, nil or one of
// the errors above. It changes nothing: the fragment is not authenticated yet.
func (r *Reassembly) Wanted(p *SKF) error {
	total, i := int(p.Total), int(p.Number)-1
	switch {
	case p.Number == 0 || p.Number > p.Total:
		return ErrFragmentNumber
	case r.done:
		return ErrFragmentNoRest
	case total < r.total:
		return ErrFragmentOld
	case total > r.MaxFragments:
		return ErrFragmentLimit
	case total == r.total && r.chunks[i] != nil:
		return ErrFragmentTwice
	}
	return nil
}

// Add authenticates a fragment and stores its content; a fragment of a set with
// more fragments than the stored one starts again. It reports whether the
// message is now complete. On any error nothing has changed.
func (r *Reassembly) Add(m *Message, o Opener) (complete bool, err error) {
	p := m.SKF()
	if p == nil {
		return false, ErrNotSealed
	}
	if err := r.Wanted(p); err != nil {
		return false, err
	}
	chunk, err := m.DecryptFragment(o)
	if err != nil {
		return false, err
	}
	total := int(p.Total)
	kept := r.octets
	if total > r.total {
		kept = 0
	}
	if len(chunk) > r.MaxOctets-kept {
		return false, ErrFragmentLimit
	}
	if total > r.total {
		*r = Reassembly{MaxFragments: r.MaxFragments, MaxOctets: r.MaxOctets, total: total, chunks: make([][]byte, total)}
	}
	if chunk == nil {
		chunk = []byte{} // an empty fragment is there too
	}
	if p.Number == 1 {
		r.first = p
	}
	r.chunks[p.Number-1] = chunk
	r.have++
	r.octets += len(chunk)
	r.longer = max(r.longer, len(m.Raw))
	r.done = r.have == r.total
	return r.done, nil
}

// Content is what stood in the SK payload of the original message, empty as
// long as Add has not reported true.
func (r *Reassembly) Content() Content {
	if !r.done {
		return Content{}
	}
	c := Content{First: r.first.First, Reserved: r.first.Reserved, Plain: make([]byte, 0, r.octets)}
	for _, b := range r.chunks {
		c.Plain = append(c.Plain, b...)
	}
	return c
}

// LongestFragment is the length in octets of the longest fragment so far as an
// IKE message: as responder, a threshold for the answer (RFC 7383 section
// 2.5.1).
func (r *Reassembly) LongestFragment() int { return r.longer }

// Held is about how many octets of memory the fragments so far take.
func (r *Reassembly) Held() int {
	n := r.octets + r.have*fragmentOverhead + r.total*24
	if r.first != nil {
		n += len(r.first.Sealed)
	}
	return n
}

// fragmentOverhead is what a fragment takes beside its content: it is opened in a copy.
const fragmentOverhead = 96

package ikev2

import "greseal/ikev2/wire"

// content is what an authentic message holds: sorted payloads, or the reason
// why it must be refused as a whole.
type content struct {
	*wire.Contents
	broken   *wire.Error
	critical wire.PayloadType

	header wire.Header
	raw    []byte       // of IKE_SA_INIT
	whole  wire.Content // as AUTH covers it, for IKE_INTERMEDIATE
}

// criticalNotify and criticalFailure say that a payload is not known that is marked
// as critical (RFC 7296 section 2.5).
func criticalNotify(c content) *wire.Notify {
	return wire.NewNotify(wire.UnsupportedCriticalPayload, []byte{byte(c.critical)})
}

func (s *ikeSA) criticalFailure(c content, exchange string) *Failure {
	f := s.failure(FailCritical, exchange, "", "turn off the extension at the peer")
	f.Theirs = "payload of type " + c.critical.String() + ", marked as critical"
	return f
}

// answerClear sends an unprotected answer about a message outside any IKE SA:
// SPIs, message ID and exchange type are copied (RFC 7296 section 1.5). It
// returns how many octets were sent.
func (e *Engine) answerClear(h wire.Header, d *Datagram, ps ...wire.Payload) int {
	h.Version = wire.Version
	h.Flags = wire.FlagResponse | (h.Flags & wire.FlagInitiator) ^ wire.FlagInitiator
	m := wire.Message{Header: h, Payloads: ps}
	data, err := m.Append(nil)
	if err != nil || len(data) > 2*len(d.Data) {
		return 0
	}
	e.tell(data, h, ps, nil)
	e.emit(Send{Datagram: Datagram{Local: d.Local, Remote: d.Remote, Data: data}})
	return len(data)
}

func notify(t wire.NotifyType) *wire.Notify { return wire.NewNotify(t, nil) }

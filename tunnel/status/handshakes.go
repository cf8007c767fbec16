package status

import (
	"fmt"
	"io"
	"time"
)

// Directions of a HandshakeStep.
const (
	StepSent     = "sent"
	StepReceived = "received"
	StepOutcome  = "" // no message: Text is the result of those before
)

// HumanHandshakes writes the latest handshakes as a conversation, with a line
// that names the IKE SA wherever another one goes on.
func HumanHandshakes(w io.Writer, steps []HandshakeStep, style Style) error {
	p := &page{Style: style}
	if len(steps) == 0 {
		p.fill("", "", "no handshake since the daemon was started")
	}
	var last HandshakeStep
	for i, s := range steps {
		if i == 0 || s.IKE != last.IKE && (s.IKE != 0 || s.Direction != StepOutcome) || s.Tunnel != last.Tunnel {
			if i > 0 {
				p.WriteByte('\n')
			}
			p.fill("", colBold, s.heading())
			last = s
		}
		at := time.Unix(s.Time, 0).Format("15:04:05") + fmt.Sprintf(".%03d", s.Millis)
		if s.Direction == StepOutcome {
			p.fill("  "+at+"  = ", colBold, s.Text)
			continue
		}
		arrow := " -> "
		if s.Direction == StepReceived {
			arrow = " <- "
		}
		p.fill("  "+at+" "+arrow, "", s.line())
		for _, text := range s.Payloads {
			p.fill("                    ", colDim, text)
		}
	}
	return p.flush(w)
}

// heading names the two sides: "hq: IKE SA 3 as initiator, 192.0.2.1:500 with
// 192.0.2.2:500, 2026-01-02".
func (s *HandshakeStep) heading() string {
	text := s.Tunnel
	if text == "" {
		text = "no tunnel"
	}
	text += ": "
	switch {
	case s.IKE == 0:
		text += "no IKE SA"
	case s.Role == "":
		text += fmt.Sprintf("IKE SA %d", s.IKE)
	default:
		text += fmt.Sprintf("IKE SA %d as %s", s.IKE, s.Role)
	}
	if s.Remote != "" {
		text += ", " + s.Local + " with " + s.Remote
	}
	return text + ", " + time.Unix(s.Time, 0).Format("2006-01-02")
}

func (s *HandshakeStep) line() string {
	text := s.Exchange + " request"
	if s.Response {
		text = s.Exchange + " response"
	}
	text += fmt.Sprintf(" %d, %d bytes", s.MessageID, s.Octets)
	if s.Fragments > 1 {
		text += fmt.Sprintf(" in %d fragments", s.Fragments)
	}
	return text
}

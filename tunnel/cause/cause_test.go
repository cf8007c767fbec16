package cause

import (
	"testing"
	"time"

	"greseal/ikev2"
	"greseal/tunnel/status"
)

// Every failure of IKE has a code, a side and something to do about it.
func TestEveryFailureHasARemedy(t *testing.T) {
	for k := ikev2.FailTimeout; k <= ikev2.FailUnfinished; k++ {
		for _, byPeer := range []bool{false, true} {
			if c := Of(&ikev2.Failure{Kind: k, ByPeer: byPeer}); c.Code == "" || c.Side == "" || c.Text == "" || c.Remedy == "" {
				t.Errorf("kind %d: %+v", k, c)
			}
		}
	}
	if c := Of(&ikev2.Failure{Kind: ikev2.FailDeleted, Remedy: "ask"}); c.Remedy != "ask" || c.Side != status.SidePeer {
		t.Errorf("%+v", c)
	}
}

func TestCommandsStandBehindTheRemedy(t *testing.T) {
	for want, c := range map[string]Cause{
		"down":                        {Text: "down"},
		"down; bring it up":           {Text: "down", Remedy: "bring it up"},
		"down; bring it up: up hq":    {Text: "down", Remedy: "bring it up", Commands: []string{"up hq"}},
		"down; restart it; restart":   {Text: "down", Remedy: "restart it; restart"},
		"down; restart: a; b":         {Text: "down", Remedy: "restart", Commands: []string{"a", "b"}},
		"down; greseal apply":         {Text: "down", Commands: []string{"greseal apply"}},
		"no answer: nothing; do this": {Text: "no answer: nothing", Remedy: "do this"},
	} {
		if got := c.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// What is told after each of a row of things that become known, a second apart.
func TestWhatIsTold(t *testing.T) {
	silence := func(attempts int) Cause { return Of(&ikev2.Failure{Kind: ikev2.FailTimeout, Attempts: attempts}) }
	auth := Of(&ikev2.Failure{Kind: ikev2.FailAuthentication, Exchange: "IKE_AUTH", Remedy: "compare psk"})
	refused := Of(&ikev2.Failure{Kind: ikev2.FailNoProposal, Exchange: "IKE_SA_INIT", ByPeer: true})
	firewall := Here(status.CodeUnavailable, "the firewall drops UDP 500", "let it pass")
	noRoute := Here(status.CodeNoPath, "no route", "wait")
	set := func(c Cause) func(*Held, time.Time) { return func(h *Held, now time.Time) { h.Set(now, c) } }
	find := func(c Cause) func(*Held, time.Time) { return func(h *Held, now time.Time) { h.Find(now, c) } }

	for name, c := range map[string]struct {
		do               []func(*Held, time.Time)
		text             string
		found, confirmed int // which of do
	}{
		"nothing":                                {nil, "", 0, 0},
		"a failure":                              {[]func(*Held, time.Time){set(auth)}, auth.Text, 1, 1},
		"it again":                               {[]func(*Held, time.Time){set(auth), set(auth), set(auth)}, auth.Text, 1, 3},
		"silence that lasts":                     {[]func(*Held, time.Time){set(silence(4)), set(silence(10))}, silence(10).Text, 1, 2},
		"another":                                {[]func(*Held, time.Time){set(auth), set(refused)}, refused.Text, 2, 2},
		"it is up":                               {[]func(*Held, time.Time){set(auth), set(Cause{})}, "", 0, 0},
		"it is up, and down again":               {[]func(*Held, time.Time){set(auth), set(Cause{}), set(auth)}, auth.Text, 3, 3},
		"a finding":                              {[]func(*Held, time.Time){set(silence(4)), find(firewall)}, firewall.Text, 2, 2},
		"a finding, and silence as before":       {[]func(*Held, time.Time){set(silence(4)), find(firewall), set(silence(10))}, firewall.Text, 2, 2},
		"a finding, and silence for the first":   {[]func(*Held, time.Time){set(Progress("waiting")), find(firewall), set(silence(4))}, firewall.Text, 2, 2},
		"a finding, and the failure it explains": {[]func(*Held, time.Time){set(auth), find(firewall), set(auth)}, firewall.Text, 2, 2},
		"a finding, and another failure":         {[]func(*Held, time.Time){set(silence(4)), find(firewall), set(auth)}, auth.Text, 3, 3},
		"a finding, and no route":                {[]func(*Held, time.Time){set(silence(4)), find(firewall), set(noRoute)}, noRoute.Text, 3, 3},
		"a finding, and it is up":                {[]func(*Held, time.Time){set(silence(4)), find(firewall), set(Cause{})}, "", 0, 0},
		"found again":                            {[]func(*Held, time.Time){set(silence(4)), find(firewall), find(firewall)}, firewall.Text, 2, 3},
		"not found any more":                     {[]func(*Held, time.Time){set(silence(4)), find(firewall), find(Cause{})}, silence(4).Text, 1, 1},
		"a finding while it is up":               {[]func(*Held, time.Time){set(Cause{}), find(firewall)}, firewall.Text, 2, 2},
	} {
		var h Held
		begin := time.Unix(1e9, 0)
		at := func(n int) (t time.Time) {
			if n > 0 {
				t = begin.Add(time.Duration(n) * time.Second)
			}
			return t
		}
		for i, do := range c.do {
			do(&h, at(i+1))
		}
		if got := h.Is(); got.Text != c.text || !got.Found.Equal(at(c.found)) || !got.Confirmed.Equal(at(c.confirmed)) {
			t.Errorf("%s: %q, found %v, confirmed %v", name, got.Text, got.Found.Sub(begin), got.Confirmed.Sub(begin))
		}
	}
}

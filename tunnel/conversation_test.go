package tunnel

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"greseal/build/talk"
	"greseal/tunnel/config"
)

// TestConversations plays the conversations in testdata/tunnel: what the machine's
// owner, its network and the peers do, and what the supervisor tells the datapath and
// the log. Their commands are in conversation_commands_test.go, one function each.
// Nothing here needs root.
func TestConversations(t *testing.T) {
	talk.Each(t, "../testdata/tunnel/*.txt", func(t *testing.T, file string) {
		t.Parallel()
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			c := newConversation(t, dir)
			defer c.end()
			talk.File(t, file, c.play)
		})
	})
}

// conversation is one that is being played.
type conversation struct {
	*world
	dir  string // of the config file and the candidate
	file []section
	out  []string

	cancel context.CancelFunc
	done   chan struct{} // closed when the loop has ended; nil before the start
	said   chan string   // what the loop's goroutine and others have said
}

// section is a table of the config file.
type section struct {
	name  string // of a tunnel, empty for [daemon]
	lines []string
}

func newConversation(t *testing.T, dir string) *conversation {
	c := &conversation{world: newWorld(t), dir: dir, said: make(chan string, 1<<14)}
	c.kind, c.latency = "kernel", 10*time.Millisecond
	c.wan6, c.route6 = netip.Addr{}, false
	c.hear = func(s string) {
		select {
		case c.said <- strings.ReplaceAll(strings.ReplaceAll(s, dir+"/", ""), "\n", "; "):
		default:
			panic("a conversation without end")
		}
	}
	return c
}

// play carries out one line and returns what comes out.
func (c *conversation) play(where, line string) (out []string) {
	c.out = nil
	c.command(where, line)
	c.settle()
	return c.out
}

// settle waits until nothing happens any more at this moment, and takes what was said.
func (c *conversation) settle() {
	synctest.Wait()
	for {
		select {
		case s := <-c.said:
			c.out = append(c.out, s)
		default:
			return
		}
	}
}

// start runs a loop with the config file.
func (c *conversation) start() {
	opt := Options{
		ConfigPath: filepath.Join(c.dir, "greseal.toml"), Socket: filepath.Join(c.dir, "status.sock"),
		Logger: slog.New(heard{c.world}), Load: loadFile,
		Instead: func(path string) (*config.Config, error) {
			cfg, _ := config.LoadUsable(path)
			cfg.Instead = "what has no mistake runs"
			return cfg, nil
		},
	}
	cfg, refused, err := begin(opt)
	if err != nil {
		c.t.Fatal(err)
	}
	c.l = c.newLoop(opt, cfg, constant(0x80), seeded("own"))
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.done = make(chan struct{})
	if err := c.l.adopt(); err != nil {
		c.t.Fatal(err)
	}
	if refused != nil {
		c.l.refusedAtStart(refused)
	}
	go func() { defer close(c.done); c.l.run(c.ctx) }()
}

// constant is a source of one number: whoever spreads his pauses by it has them all
// in the middle.
type constant byte

func (x constant) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(x)
	}
	return len(b), nil
}

// stop ends the loop as Run does.
func (c *conversation) stop() {
	c.cancel()
	<-c.done
	c.done = nil
	c.l.jobs.end()
	c.l.shutdown()
}

// end leaves nothing behind.
func (c *conversation) end() {
	if c.done != nil {
		c.hear = func(string) {}
		c.stop()
	}
	time.Sleep(time.Minute) // for questions to the name server that are still under way
}

// heard has what is logged come out, with its attributes where they say something.
type heard struct{ w *world }

func (heard) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }
func (h heard) WithAttrs([]slog.Attr) slog.Handler         { return h }
func (h heard) WithGroup(string) slog.Handler              { return h }

func (h heard) Handle(_ context.Context, r slog.Record) error {
	who, more := "", ""
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "tunnel" {
			who = a.Value.String() + ": "
		} else {
			more += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		}
		return true
	})
	h.w.say("%s%s: %s%s", who, strings.ToLower(r.Level.String()), r.Message, more)
	return nil
}

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"greseal/build/lab/labnet"
)

// serve starts iperf3's server.
func serve(l *labnet.Lab, n *labnet.NS) {
	n.Start("iperf3-server-"+n.Name, "iperf3", "-s", "--forceflush")
	idle(l, n)
}

// idle waits until iperf3's server has done with the client before and listens.
func idle(l *labnet.Lab, n *labnet.NS) {
	l.Wait(20*time.Second, "iperf3's server", func() bool {
		data, err := os.ReadFile(l.Dir + "/iperf3-server-" + n.Name + ".log")
		l.Must(err, "read iperf3's log")
		return strings.LastIndex(string(data), "Server listening") > strings.LastIndex(string(data), "Accepted connection")
	})
}

// iperf runs one TCP test and returns Mbit/s at the receivers, both ways summed.
func (b *bench) iperf(l *labnet.Lab, p *peer, extra ...string) float64 {
	idle(l, p.b)
	r := p.a.Run(append([]string{"iperf3", "-c", p.to, "-J", "-t", fmt.Sprint(b.time.Seconds())}, extra...)...)
	type sum struct {
		Bits float64 `json:"bits_per_second"`
	}
	var out struct {
		Error string
		End   struct {
			Received sum `json:"sum_received"`
			Reverse  sum `json:"sum_received_bidir_reverse"`
		}
	}
	err := json.Unmarshal([]byte(r.Stdout), &out)
	l.Check(err == nil && out.Error == "" && r.Code == 0, "iperf3 through %s: %v %s %s", p.name, err, out.Error, r.Stderr)
	return (out.End.Received.Bits + out.End.Reverse.Bits) / 1e6
}

// flood sends small packets and returns how many were delivered a second and
// in all, and the daemons' time.
func (b *bench) flood(l *labnet.Lab, p *peer, rate int) (pps, count float64, cpu time.Duration) {
	self, err := os.Executable()
	l.Must(err, "find this program")
	b.runs++
	sink := p.b.Start(fmt.Sprintf("sink-%d", b.runs), self, loadCommand, "-listen")
	l.Wait(10*time.Second, "the sink", func() bool { return strings.Contains(sink.Output(), "ready") })
	before := p.cpu()
	p.a.MustRun(self, loadCommand, "-to", p.to, "-rate", fmt.Sprint(rate), "-time", b.time.String())
	l.Check(sink.WaitExit(30*time.Second) == 0, "the sink failed: %s", sink.Output())
	cpu = p.cpu() - before
	var wrong, seconds float64
	_, err = fmt.Sscanf(strings.TrimPrefix(sink.Output(), "ready\n"), "%f %f %f", &count, &seconds, &wrong)
	l.Check(err == nil && seconds > 0 && wrong == 0, "the sink says %q", sink.Output())
	return count / seconds, count, cpu
}

// rtt pings for the time of a measurement and returns the median and the 99th
// percentile in microseconds.
func (b *bench) rtt(l *labnet.Lab, p *peer) (p50, p99 float64) {
	const interval = 5 * time.Millisecond
	r := p.a.Run("ping", "-n", "-i", fmt.Sprint(interval.Seconds()), "-c", fmt.Sprint(int(b.time/interval)), "-W", "1", p.to)
	var times []float64
	for line := range strings.Lines(r.Stdout) {
		if _, rest, ok := strings.Cut(line, "time="); ok {
			ms, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			l.Must(err, "read ping's output")
			times = append(times, ms*1000)
		}
	}
	l.Check(len(times) >= int(b.time/interval)/2, "%d pings through %s were answered", len(times), p.name)
	slices.Sort(times)
	return times[len(times)/2], times[len(times)*99/100]
}

// rttUnderLoad is rtt beside a TCP stream.
func (b *bench) rttUnderLoad(l *labnet.Lab, p *peer) (p50, p99 float64) {
	b.runs++
	idle(l, p.b)
	stream := p.a.Start(fmt.Sprintf("stream-%d", b.runs), "iperf3", "-c", p.to, "-t", fmt.Sprint(b.time.Seconds()+60))
	time.Sleep(500 * time.Millisecond)
	p50, p99 = b.rtt(l, p)
	stream.Signal(syscall.SIGINT)
	stream.WaitExit(10 * time.Second)
	return p50, p99
}

// collections counts the garbage collections the greseal daemons have logged:
// without any, what they allocated for millions of packets is less than the 4 MB
// at which the first is due.
func (p *peer) collections(l *labnet.Lab) int {
	n := 0
	for _, ns := range []*labnet.NS{p.a, p.b} {
		data, err := os.ReadFile(l.Dir + "/greseal-" + ns.Name + ".log")
		l.Must(err, "read greseal's log")
		for line := range strings.Lines(string(data)) {
			switch {
			case strings.HasPrefix(line, "gc "):
				n++
			case strings.HasPrefix(line, "GC forced"): // every two minutes, with or without need
				n--
			}
		}
	}
	return n
}

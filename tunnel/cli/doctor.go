package cli

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"greseal/tunnel/doctor"
	"greseal/tunnel/status"
)

// Doctor has the daemon examine a tunnel and prints what it finds.
var Doctor = Command{
	Name: "doctor", Args: "[NAME]", Group: groupLook,
	Short: "find out why a tunnel does not work, and how to fix it",
	Setup: func(fs *flag.FlagSet) func(*Env, []string) error {
		var p place
		p.flags(fs)
		asJSON := fs.Bool("json", false, "as JSON")
		all := fs.Bool("all", false, "show each step, not only those that call for something")
		leak := fs.Bool("leak-test", false, "try to send GRE in the clear, and show where it is dropped")
		ping := fs.String("ping", "", "`ADDRESS` inside the tunnel to ping (default: the other host of its network)")
		return func(env *Env, args []string) error {
			name := first(args)
			switch {
			case *leak && name == "":
				return usagef("--leak-test needs a tunnel's name")
			case *ping != "" && (name == "" || *leak):
				return usagef("--ping needs a tunnel's name, and is not for --leak-test")
			}
			c, err := p.dial()
			if errors.Is(err, status.ErrNoDaemon) && !*leak {
				return offline(env, &p, *asJSON, *all)
			}
			if err != nil {
				return err
			}
			defer c.Close()
			op := status.OpDoctorStart
			if *leak {
				op = status.OpLeakStart
			}
			out := diagnosis{env: env, all: *all || *leak}
			raw, r, err := c.CallRaw(status.Request{Op: op, Tunnel: name, Target: *ping})
			for err == nil && r.Job != nil && !r.Job.Done {
				if !*asJSON {
					out.show(r.Job)
				}
				time.Sleep(150 * time.Millisecond)
				raw, r, err = c.CallRaw(status.Request{Op: status.OpDoctorPoll, Job: r.Job.ID})
			}
			if err != nil {
				return err
			}
			if *asJSON {
				err = status.JSON(env.Stdout, raw, "job")
			} else {
				out.show(r.Job)
			}
			if err == nil && r.Job.Faults > 0 {
				return silently{ExitFailed}
			}
			return err
		}
	},
}

// offline examines what needs no daemon.
func offline(env *Env, p *place, asJSON, all bool) error {
	cfg, err := LoadWhole(p.config, nil)
	if err == nil {
		defer cfg.Wipe()
	}
	d := status.Diagnosis{Tunnel: "greseal", Done: true}
	for _, s := range doctor.Offline(p.path(), cfg, err) {
		if s.Verdict == doctor.Fault {
			d.First = cmp.Or(d.First, s.ID)
		}
		d.Findings = append(d.Findings, s.Finding())
	}
	job := status.Job{What: "doctor", Done: true, Faults: 1, Checks: []status.Diagnosis{d}}
	if !asJSON {
		(&diagnosis{env: env, all: all}).show(&job)
		return silently{ExitFailed}
	}
	raw, err := job.MarshalMsg(nil)
	if err == nil {
		err = status.JSON(env.Stdout, raw, "")
	}
	return cmp.Or(err, error(silently{ExitFailed}))
}

// silently ends a command with an exit code after it has said all there is.
type silently struct{ code int }

func (silently) Error() string { return "" }

// diagnosis prints what is new in a job each time it is shown.
type diagnosis struct {
	env   *Env
	all   bool // each step; otherwise those without a word to act on are summed up
	at    int  // tunnel
	shown int  // findings of that tunnel
	named bool
	quiet []string // the steps to sum up
	why   string   // what they have in common
}

func (d *diagnosis) show(j *status.Job) {
	for ; d.at < len(j.Checks); d.at, d.shown, d.named = d.at+1, 0, false {
		c := &j.Checks[d.at]
		if !d.named && (len(c.Findings) > 0 || c.Done) {
			d.named = true
			if d.at > 0 {
				fmt.Fprintln(d.env.Stdout)
			}
			fmt.Fprintln(d.env.Stdout, d.env.Style.Bold(status.Clean(c.Tunnel)))
		}
		for ; d.shown < len(c.Findings); d.shown++ {
			d.step(&c.Findings[d.shown])
		}
		if !c.Done {
			return
		}
		d.flush()
		d.sum(j, c)
	}
}

// step prints a finding, or keeps it for a line about several.
func (d *diagnosis) step(f *status.Finding) {
	why := ""
	switch {
	case d.all:
	case f.Verdict == status.VerdictOK:
		why = "fine"
	case f.Verdict == status.VerdictSkipped && len(f.Evidence) == 1 && strings.HasPrefix(f.Evidence[0], doctor.NotChecked):
		why = f.Evidence[0]
	}
	if why == "" || why != d.why {
		d.flush()
	}
	if why == "" {
		d.env.Stdout.Write(d.finding(f))
		return
	}
	d.why, d.quiet = why, append(d.quiet, f.ID)
}

// flush prints the line about several steps.
func (d *diagnosis) flush() {
	if len(d.quiet) == 0 {
		return
	}
	f := status.Finding{Verdict: status.VerdictOK, Title: status.Plural(len(d.quiet), "step") + " fine"}
	if d.why != "fine" {
		f.Verdict, f.Title = status.VerdictSkipped, status.Plural(len(d.quiet), "step")+" "+d.why
	}
	f.Evidence = []string{strings.Join(d.quiet, ", ")}
	d.env.Stdout.Write(d.finding(&f))
	d.quiet, d.why = nil, ""
}

// sum is the last line about a tunnel.
func (d *diagnosis) sum(j *status.Job, c *status.Diagnosis) {
	style := d.env.Style
	if c.First == "" {
		text, warnings := "no fault found", 0
		if j.What == "leak-test" {
			text = "no leak found"
		}
		for _, f := range c.Findings {
			switch {
			case f.Verdict == status.VerdictWarning:
				warnings++
			case f.Verdict == status.VerdictSkipped && f.ID == doctor.StepESP:
				text += ", but whether packets pass was not tried"
			}
		}
		if warnings > 0 {
			text += "; " + status.Plural(warnings, "warning") + " above"
		}
		fmt.Fprintf(d.env.Stdout, "%s: %s\n", c.Tunnel, style.Good(text))
		return
	}
	for _, f := range c.Findings {
		if f.ID == c.First {
			fmt.Fprintf(d.env.Stdout, "%s: %s\n", c.Tunnel, style.Bad(fmt.Sprintf("the first failing step is %s (%s)", f.ID, status.Clean(f.Title))))
			return
		}
	}
}

// finding draws one step: a line, and below what a person has to read.
func (d *diagnosis) finding(f *status.Finding) []byte {
	style := d.env.Style
	word, paint := f.Verdict, func(s string) string { return s }
	switch f.Verdict {
	case status.VerdictOK:
		paint = style.Good
	case status.VerdictFault:
		word, paint = "FAULT", style.Bad
	case status.VerdictWarning:
		word, paint = "warn", style.Bold
	case status.VerdictSkipped:
		word = "-"
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "  %s %s\n", paint(fmt.Sprintf("%-5s", word)), status.Clean(f.Title))
	const indent = "        "
	para := func(lead, text string) {
		style.Fill(&b, indent+lead, len(indent+lead), text)
	}
	for _, e := range f.Evidence {
		para("", e)
	}
	if f.Remedy != "" {
		para("remedy: ", f.Remedy)
	}
	for _, c := range f.Commands {
		b.WriteString(indent + "  " + status.Clean(c) + "\n") // never wrapped: it is to be copied
	}
	return b.Bytes()
}

package cli

import (
	"bytes"
	"flag"
	"fmt"
	"time"

	"greseal/platform/kernel"
	"greseal/tunnel/status"
)

// Probe says what this kernel can do.
var Probe = Command{
	Name: "probe", Group: groupTools,
	Short: "test what this kernel can do: GRE, ESP and each algorithm",
	Setup: func(fs *flag.FlagSet) func(*Env, []string) error {
		asJSON := fs.Bool("json", false, "as JSON")
		return func(env *Env, _ []string) error {
			r := kernel.Probe(kernel.DefaultAlgorithms())
			if *asJSON {
				return writeJSON(env, r)
			}
			return printProbe(env, r)
		}
	},
}

func printProbe(env *Env, r *kernel.Result) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "kernel %s, probed in %d ms in a network namespace of its own\n", r.Kernel, r.Took.Round(time.Millisecond).Milliseconds())
	row := func(f kernel.Finding) {
		mark, text := env.Style.Good("works  "), f.Name
		if f.Problem != "" {
			mark, text = env.Style.Bad("missing"), f.Name+": "+f.Problem
		}
		env.Style.Fill(&b, "  "+mark+"  ", 11, text)
	}
	if len(r.Features) > 0 {
		b.WriteString("\ninterfaces and policies\n")
	}
	for _, f := range r.Features {
		row(f)
	}
	if len(r.Algorithms) > 0 {
		b.WriteString("\nESP algorithms, by packets with known answers\n")
	}
	for _, a := range r.Algorithms {
		row(a.Finding)
	}
	b.WriteByte('\n')
	if err := r.Usable(); err != nil {
		env.Style.Fill(&b, "", 0, `datapath = "auto" takes userspace here: `+status.Clean(err.Error()))
	} else {
		env.Style.Fill(&b, "", 0, `datapath = "auto" takes the kernel here`)
	}
	_, err := env.Stdout.Write(b.Bytes())
	return err
}

package cli

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"greseal/tunnel/config"
)

// Completion prints what bash needs to complete greseal's commands.
var Completion = Command{
	Name: "completion", Group: groupTools,
	Short: `complete commands in bash: eval "$(greseal completion)"`,
	Setup: func(fs *flag.FlagSet) func(*Env, []string) error {
		names := fs.Bool("names", false, "print the names of the tunnels instead")
		file := fs.String("c", config.DefaultFile, "the config `FILE`, for --names")
		return func(env *Env, _ []string) error {
			if *names {
				return printNames(env.Stdout, *file)
			}
			_, err := io.WriteString(env.Stdout, bashCompletion(env.Commands))
			return err
		}
	},
}

// printNames lists the tunnels of a file, right or wrong.
func printNames(w io.Writer, path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	f, _ := config.Read(path, data)
	for _, t := range f.Tunnels {
		if name := t.Text("name"); name != "" {
			fmt.Fprintln(w, name)
		}
	}
	return nil
}

// bashCompletion is a function for bash, made from the table of commands: words
// after a command are its flags, or the names of tunnels where it takes one.
func bashCompletion(commands []Command) string {
	var all, flags, named []string
	for _, c := range commands {
		all = append(all, c.Name)
		fs := flag.NewFlagSet(c.Name, flag.ContinueOnError)
		c.Setup(fs)
		var own []string
		fs.VisitAll(func(f *flag.Flag) { own = append(own, dashes(f.Name)) })
		if len(own) > 0 {
			flags = append(flags, fmt.Sprintf("    %s) w='%s' ;;", c.Name, strings.Join(own, " ")))
		}
		if strings.Contains(c.Args, "NAME") {
			named = append(named, c.Name)
		}
	}
	return `_greseal() {
  local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}" w=
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W '` + strings.Join(all, " ") + `' -- "$cur"))
    return
  fi
  case "$prev" in
    -c|--socket|--textfile) COMPREPLY=($(compgen -f -- "$cur")); return ;;
  esac
  if [ "${cur#-}" != "$cur" ]; then
    case "${COMP_WORDS[1]}" in
` + strings.Join(flags, "\n") + `
    esac
  else
    case "${COMP_WORDS[1]}" in
    ` + strings.Join(named, "|") + `) w=$(greseal completion --names 2>/dev/null) ;;
    esac
  fi
  COMPREPLY=($(compgen -W "$w" -- "$cur"))
}
complete -F _greseal greseal
`
}

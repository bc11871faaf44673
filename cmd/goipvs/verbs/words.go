package verbs

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/goipvs/goipvs/sysctl"
	"github.com/goipvs/goipvs/sysctl/realserver"
	"github.com/goipvs/goipvs/sysctl/vip"
)

// action is what the word after a verb does: add of goipvs vip add.
type action struct {
	name  string
	flags []string // those of the verb that go with it; json goes with all
	run   func(*cli.Context, []string) error
}

// dispatch is the action of a verb whose first word says what to do.
func (v *verbs) dispatch(actions ...action) cli.ActionFunc {
	return func(c *cli.Context) error {
		var names []string
		for _, a := range actions {
			if a.name == c.Args().First() {
				for _, f := range c.FlagNames() {
					if c.IsSet(f) && f != "json" && !slices.Contains(a.flags, f) {
						return usageError{fmt.Errorf("--%s does not go with goipvs %s %s", f, c.Command.Name, a.name)}
					}
				}
				return a.run(c, c.Args().Tail())
			}
			names = append(names, a.name)
		}
		return usageError{fmt.Errorf("goipvs %s takes one of %s first", c.Command.Name, strings.Join(names, ", "))}
	}
}

// flagsFirst moves options before the other words, where the library wants them:
// an operator types goipvs realserver add 192.0.2.10 --mode tun.
func flagsFirst(args []string, c *cli.Command) []string {
	var flags, others []string
	for i := 2; i < len(args); i++ {
		word := args[i]
		switch {
		case word == "--":
			return slices.Concat(args[:2], flags, args[i:i+1], others, args[i+1:])
		case !strings.HasPrefix(word, "-") || word == "-":
			others = append(others, word)
			continue
		}
		flags = append(flags, word)
		if !takesValue(c, word) {
			continue
		}
		if i++; i == len(args) { // nothing behind it, so that the library says so
			return slices.Concat(args[:2], flags)
		}
		flags = append(flags, args[i])
	}
	return slices.Concat(args[:2], flags, others)
}

// takesValue is true for --dev, which is followed by a value, and not for
// --dev=lo and --json.
func takesValue(c *cli.Command, word string) bool {
	for _, f := range c.Flags {
		if slices.Contains(f.Names(), strings.TrimLeft(word, "-")) {
			g, ok := f.(cli.DocGenerationFlag)
			return ok && g.TakesValue()
		}
	}
	return false
}

// refuse prints an error and what may help, and sets status 1. A package's name
// in front of its message means nothing to an operator.
func (v *verbs) refuse(err error) error {
	for line := range strings.Lines(err.Error()) {
		line = strings.TrimSpace(line)
		for _, p := range []string{"sysctl: ", "realserver: ", "vip: ", "record: "} {
			line = strings.TrimPrefix(line, p)
		}
		v.fail(failed, fmt.Errorf("%s", line))
	}
	for _, hint := range []func(error) string{realserver.Hint, vip.Hint, sysctl.Hint} {
		if s := hint(err); s != "" {
			v.hint(s)
			break
		}
	}
	return nil
}

func (v *verbs) hint(text string) { fmt.Fprintf(v.errw, "goipvs: hint: %s\n", text) }

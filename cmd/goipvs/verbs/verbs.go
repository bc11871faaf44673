// Package verbs is the part of goipvs whose first word is no option: goipvs
// apply, goipvs diff. It is apart from the one-shot commands because these are
// started in loops and should not pay for the start of a command-line library:
// the installed goipvs runs the program goipvs-verbs for it, see
// docs/architecture.md.
package verbs

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvsadm"
)

// Statuses: 0 done, 1 failed, 2 bad command line.
const (
	failed = 1
	usage  = 2
)

// Run carries out a verb, the first of args the program's name, and returns the
// exit status.
func Run(args []string, version string, in io.Reader, out, errw io.Writer) int {
	v := &verbs{in: in, out: out, errw: errw}
	app := &cli.App{
		Name: "goipvs", Usage: "the kernel's load balancer", Version: version, HideVersion: true,
		Writer: out, ErrWriter: errw, Reader: in,
		Commands:       []*cli.Command{v.apply(), v.diff()},
		ExitErrHandler: func(*cli.Context, error) {}, // or the library ends the process
		OnUsageError:   asUsage,
		CommandNotFound: func(_ *cli.Context, word string) {
			v.fail(usage, fmt.Errorf("usage: unknown command %q (try \"goipvs --help\")", word))
		},
	}
	if err := app.Run(args); err != nil {
		var u usageError
		if errors.As(err, &u) {
			v.fail(usage, fmt.Errorf("usage: %w", err))
		} else {
			v.fail(failed, err)
		}
	}
	return v.status
}

// usageError is a command line that was wrong.
type usageError struct{ error }

func asUsage(_ *cli.Context, err error, _ bool) error { return usageError{err} }

type verbs struct {
	in        io.Reader
	out, errw io.Writer
	status    int
}

func (v *verbs) fail(status int, err error) {
	fmt.Fprintf(v.errw, "goipvs: %v\n", err)
	v.status = status
}

var (
	prune    = &cli.BoolFlag{Name: "prune", Usage: "remove the services that FILE does not name"}
	detailed = &cli.BoolFlag{Name: "detailed-exitcode", Usage: "exit 0: nothing to change, 2: changes, 1: error"}
	jsonFlag = &cli.BoolFlag{Name: "json", Usage: "print one JSON document"}
)

func (v *verbs) apply() *cli.Command {
	return &cli.Command{
		Name: "apply", ArgsUsage: "FILE",
		Usage:        "make the kernel's table what a rules file says, by the fewest changes",
		Description:  "FILE holds -A and -a lines, as goipvs -S -n prints them; - is standard input.\nWhat does not change keeps its connections and counters.",
		Flags:        []cli.Flag{prune, detailed, jsonFlag},
		OnUsageError: asUsage,
		Action:       v.reconcile(false),
	}
}

func (v *verbs) diff() *cli.Command {
	return &cli.Command{
		Name: "diff", ArgsUsage: "FILE",
		Usage:        "print the changes that apply would make",
		Flags:        []cli.Flag{prune, detailed, jsonFlag},
		OnUsageError: asUsage,
		Action:       v.reconcile(true),
	}
}

func (v *verbs) reconcile(dry bool) cli.ActionFunc {
	return func(c *cli.Context) error {
		if c.NArg() != 1 {
			return usageError{fmt.Errorf("goipvs %s takes one FILE (- is standard input)", c.Command.Name)}
		}
		o := ipvsadm.ApplyOptions{Prune: c.Bool("prune"), DryRun: dry, DetailedExit: c.Bool("detailed-exitcode"), JSON: c.Bool("json")}
		in := v.in
		if name := c.Args().First(); name != "-" {
			f, err := os.Open(name)
			if err != nil {
				v.fail(usage, err)
				return nil
			}
			defer f.Close()
			in, o.Source = f, name
		}
		r := ipvsadm.Runner{Prog: "goipvs", Stdin: in, Stdout: v.out, Stderr: v.errw, Dial: dial, Names: &ipvsadm.Resolver{}}
		v.status = r.Apply(o)
		return nil
	}
}

func dial() (ipvsadm.Kernel, error) {
	c, err := ipvs.Dial(ipvs.Options{})
	if err != nil {
		return nil, err
	}
	return c, nil
}

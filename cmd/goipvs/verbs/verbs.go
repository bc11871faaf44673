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
	"regexp"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvsadm"
	"github.com/goipvs/goipvs/ipvsadm/dns"
	"github.com/goipvs/goipvs/ipvsadm/socket"
)

// Statuses: 0 done, 1 failed, 2 bad command line.
const (
	failed = 1
	usage  = 2
)

// Run carries out a verb, the first of args the program's name, and returns the
// exit status.
func Run(args []string, version string, in io.Reader, out, errw io.Writer) int {
	v := &verbs{in: in, out: &printed{w: out}, errw: errw}
	commands := v.commands()
	app := &cli.App{
		Name: "goipvs", Version: version, HideVersion: true,
		Writer: v.out, ErrWriter: errw, Reader: in,
		Commands:              commands,
		ExitErrHandler:        func(*cli.Context, error) {}, // or the library ends the process
		OnUsageError:          asUsage,
		CustomAppHelpTemplate: contents(),
		CommandNotFound:       v.unknown,
	}
	for _, c := range commands {
		if len(args) > 1 && args[1] == c.Name {
			args = flagsFirst(args, c)
		}
	}
	if err := app.Run(args); err != nil {
		var u usageError
		if errors.As(err, &u) {
			v.fail(usage, fmt.Errorf("usage: %w", err))
		} else {
			v.fail(failed, err)
		}
	}
	if v.status == 0 && v.out.err != nil { // a listing that is cut off must not pass for a whole one
		v.fail(failed, v.out.err)
	}
	return v.status
}

// printed is the output; it remembers the first error.
type printed struct {
	w   io.Writer
	err error
}

func (p *printed) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	if p.err == nil {
		p.err = err
	}
	return n, err
}

// commands are the verbs, and help, which is the list of them.
func (v *verbs) commands() []*cli.Command {
	all := []*cli.Command{
		v.apply(), v.diff(), v.realserver(), v.vip(), v.tune(),
		v.daemonStatus(), v.explainVerb(), v.drain(), v.maintain(), v.weight(), v.enable(), v.reload(), v.top(),
		v.doctor(), v.imports(), v.help(),
	}
	for _, c := range all {
		c.OnUsageError = asUsage
		c.CustomHelpTemplate = describe(c).Page()
	}
	return all
}

// unknown is called for a word that is no verb, and for what stands behind
// --help, which to the library is the verb to be explained.
func (v *verbs) unknown(c *cli.Context, word string) {
	if text, ok := page(c.Command.Name); ok && c.Command.Name != "" {
		fmt.Fprint(v.out, text)
		return
	}
	v.fail(usage, fmt.Errorf("usage: unknown command %q (try \"goipvs help\")", word))
}

// usageError is a command line that was wrong.
type usageError struct{ error }

// asUsage is what the library finds wrong with options, in our words: it names
// them with one dash, and not the verb.
func asUsage(c *cli.Context, err error, _ bool) error {
	name, text := c.Command.Name, err.Error()
	if option, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		return usageError{fmt.Errorf("goipvs %s has no option %s (try \"goipvs help %s\")", name, spelled(option), name)}
	}
	if option, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		return usageError{fmt.Errorf("goipvs %s: %s takes a value (try \"goipvs help %s\")", name, spelled(option), name)}
	}
	if m := badValue.FindStringSubmatch(text); m != nil {
		return usageError{fmt.Errorf("goipvs %s: %s: bad value %s (try \"goipvs help %s\")", name, spelled(m[2]), m[1], name)}
	}
	return usageError{err}
}

// badValue is how package flag says it.
var badValue = regexp.MustCompile(`^invalid (?:boolean )?value (".*") for (?:flag )?-([^ :]+): `)

// spelled is an option by its name as it is typed.
func spelled(name string) string {
	if len(name) > 1 {
		return "--" + name
	}
	return "-" + name
}

type verbs struct {
	in     io.Reader
	out    *printed
	errw   io.Writer
	status int
}

func (v *verbs) fail(status int, err error) {
	fmt.Fprintf(v.errw, "goipvs: %v\n", err)
	v.status = status
}

var (
	prune    = &cli.BoolFlag{Name: "prune", Usage: "remove also the services that FILE does not name"}
	detailed = &cli.BoolFlag{Name: "detailed-exitcode", Usage: "exit status 0: nothing to change, 2: changes, 1: error"}
	jsonFlag = &cli.BoolFlag{Name: "json", Usage: "print one JSON document"}
)

func (v *verbs) apply() *cli.Command {
	return &cli.Command{
		Name: "apply", ArgsUsage: "FILE",
		Usage: "make the table what a rules file says",
		Description: "FILE holds -A and -a lines, as goipvs -S -n prints them; - is standard input. " +
			"Each change is printed as a rule; what does not change keeps its connections and counters.",
		Flags:  []cli.Flag{prune, detailed, jsonFlag},
		Action: v.reconcile(false),
	}
}

func (v *verbs) diff() *cli.Command {
	return &cli.Command{
		Name: "diff", ArgsUsage: "FILE",
		Usage:       "print the changes that apply would make",
		Description: "FILE and options are those of apply. Nothing is changed.",
		Flags:       []cli.Flag{prune, detailed, jsonFlag},
		Action:      v.reconcile(true),
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
		r := ipvsadm.Runner{Prog: "goipvs", Stdin: in, Stdout: v.out, Stderr: v.errw, Dial: dial, Daemon: socket.Connect, Names: &ipvsadm.Resolver{System: dns.System{}}}
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

package verbs

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/goipvs/goipvs/director/control"
)

func (v *verbs) explainVerb() *cli.Command {
	return &cli.Command{
		Name: "explain", ArgsUsage: "SERVICE|SERVER", Usage: "tell what happened to a service or a real server, and why",
		Description: "With the last words of each check.",
		Flags:       []cli.Flag{serviceFlag, jsonFlag, socketFlag},
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return usageError{errors.New("goipvs explain takes one SERVICE or SERVER")}
			}
			var e control.Explanation
			return v.answer(c, "explain", control.ExplainArgs{Subject: c.Args().First(), Service: c.String("service")}, &e, func() {
				printExplanation(v.out, time.Now(), &e)
			})
		},
	}
}

func printExplanation(w io.Writer, now time.Time, e *control.Explanation) {
	for i := range e.Services {
		s := &e.Services[i]
		printService(w, now, &s.ServiceStatus)
		printTimeline(w, s.Timeline)
	}
	for i := range e.Servers {
		s := &e.Servers[i]
		fmt.Fprintf(w, "%s of %s: %s, %s (%s), weight %d of %d, in the kernel %s\n", s.Address, s.Of, s.Verdict, s.Place,
			strings.ReplaceAll(s.Cause, "_", " "), s.WeightWanted, s.Weight, kernelWeight(&s.ServerStatus))
		for j := range s.Checks {
			printCheck(w, now, &s.Checks[j])
		}
		printTimeline(w, s.Timeline)
	}
}

func printCheck(w io.Writer, now time.Time, c *control.Check) {
	fmt.Fprintf(w, "  check %s: %s, last %s ago in %.1f ms, %d successes and %d failures in a row\n",
		c.Type, c.Verdict, ago(now, c.Last), c.Seconds*1000, c.Successes, c.Failures)
	for _, text := range []string{c.Reason, c.Warning} {
		if text != "" {
			fmt.Fprintln(w, "    "+text)
		}
	}
	for line := range strings.Lines(c.Transcript) {
		fmt.Fprintln(w, "    | "+strings.TrimRight(line, "\r\n"))
	}
}

func printTimeline(w io.Writer, events []control.Event) {
	for i := range events {
		e := &events[i]
		fmt.Fprintf(w, "  %s  %-16s %s", e.Time.Local().Format(time.DateTime), e.Event, e.Text)
		if e.Reason != "" {
			fmt.Fprint(w, ": ", e.Reason)
		}
		for _, k := range slices.Sorted(maps.Keys(e.Facts)) {
			fmt.Fprintf(w, " (%s %s)", k, e.Facts[k])
		}
		fmt.Fprintln(w)
	}
}

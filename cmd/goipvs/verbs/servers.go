package verbs

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/director/control"
)

var (
	serviceFlag = &cli.StringFlag{Name: "service", Usage: "only of this `SERVICE`: its name or its address"}
	reasonFlag  = &cli.StringFlag{Name: "reason", Usage: "`TEXT` that status shows until it is over"}
	forFlag     = &cli.StringFlag{Name: "for", Usage: "end by itself after this `TIME`, such as 2h or 14d"}
	timeoutFlag = &cli.StringFlag{Name: "timeout", Usage: "remove the server after this `TIME` even with connections"}
)

// serverNote is in the help of all verbs that say something of a server.
const serverNote = "SERVER is an address, with or without a port, or the name the file gives it. What is said holds for every service " +
	"that has the server unless --service, or a SERVICE in front of SERVER, names one, and across reloads and restarts until goipvs enable takes it back."

func (v *verbs) drain() *cli.Command {
	return v.server(&cli.Command{Name: "drain", Usage: "give a real server no new connections and remove it when it is idle"}, timeoutFlag, reasonFlag)
}

func (v *verbs) maintain() *cli.Command {
	return v.server(&cli.Command{Name: "maintain", Usage: "take a real server out as if its checks had failed"}, forFlag, reasonFlag)
}

func (v *verbs) weight() *cli.Command {
	return v.server(&cli.Command{Name: "weight", ArgsUsage: "SERVER WEIGHT", Usage: "give a real server another weight"}, forFlag, reasonFlag)
}

func (v *verbs) enable() *cli.Command {
	return v.server(&cli.Command{Name: "enable", Usage: "take back drain, maintain and weight"}, nil)
}

// server completes a verb that says something of a server; limit is the flag
// that ends it, nil for none.
func (v *verbs) server(c *cli.Command, limit *cli.StringFlag, more ...cli.Flag) *cli.Command {
	duration, words := "", 1
	c.Flags = append([]cli.Flag{serviceFlag}, more...)
	if limit != nil {
		c.Flags = append(c.Flags, limit)
		duration = limit.Name
	}
	c.Flags = append(c.Flags, jsonFlag, socketFlag)
	if c.ArgsUsage == "" {
		c.ArgsUsage = "SERVER"
	} else {
		words = 2
	}
	c.Description = serverNote
	c.Action = func(ctx *cli.Context) error {
		args, err := serverArgs(ctx, duration, words)
		if err != nil {
			return usageError{fmt.Errorf("goipvs %s: %w", c.Name, err)}
		}
		var r control.Changed
		return v.answer(ctx, c.Name, args, &r, func() {
			for _, s := range r.Servers {
				if slices.Contains(r.Unchanged, s) {
					fmt.Fprintf(v.out, "nothing to do for %s\n", s)
				} else {
					fmt.Fprintln(v.out, c.Name, s)
				}
			}
			if r.Warning != "" {
				fmt.Fprintf(v.errw, "goipvs: warning: %s\n", r.Warning)
			}
		})
	}
	return c
}

func serverArgs(c *cli.Context, duration string, words int) (a control.ServerArgs, err error) {
	args, service := c.Args().Slice(), c.String("service")
	if len(args) == words+1 && service == "" { // drain web 192.0.2.21
		args, service = args[1:], args[0]
	}
	if len(args) != words {
		return a, errors.New([]string{1: "takes a SERVER, or a SERVICE and a SERVER", 2: "takes a SERVER, or a SERVICE and a SERVER, and a WEIGHT"}[words])
	}
	a = control.ServerArgs{Server: args[0], Service: service, Reason: c.String("reason")}
	if duration != "" && c.IsSet(duration) {
		d, err := config.ParseDuration(c.String(duration))
		if err != nil || d <= 0 {
			return a, fmt.Errorf("--%s %s: a time above 0, with its unit: 90s, 2h, 14d", duration, c.String(duration))
		}
		a.Seconds = d.Seconds()
	}
	if words == 2 {
		w, err := strconv.ParseInt(args[1], 10, 32)
		if err != nil || w < 0 || strings.HasPrefix(args[1], "+") {
			return a, fmt.Errorf("weight %q: a number from 0 to 2147483647", args[1])
		}
		n := int32(w)
		a.Weight = &n
	}
	return a, nil
}

func (v *verbs) reload() *cli.Command {
	return &cli.Command{
		Name: "reload", Usage: "have goipvsd read its file anew and say what came of it",
		Description: "A file with mistakes changes nothing; they are printed with file and line, and the exit status is 1, as of all that goipvsd refuses " +
			"(of \"goipvsd reload\", whose exit statuses are ldirectord's, it is 2).",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "force", Usage: "even when more services go than max_removal allows"},
			jsonFlag, socketFlag},
		Action: func(c *cli.Context) error {
			if c.NArg() != 0 {
				return usageError{errors.New("goipvs reload takes no arguments")}
			}
			var r control.Reloaded
			return v.answer(c, "reload", control.ReloadArgs{Force: c.Bool("force")}, &r, func() {
				fmt.Fprintf(v.out, "reloaded: %d services added, %d removed, %d changed, %d as before\n", r.Added, r.Removed, r.Changed, r.Kept)
				for _, w := range r.Warnings {
					fmt.Fprintf(v.errw, "goipvs: warning: %s\n", w)
				}
			})
		},
	}
}

// ago is a time as people say it: "3m12s ago".
func ago(now time.Time, t *time.Time) string {
	if t == nil {
		return "-"
	}
	return short(now.Sub(*t))
}

// short is a duration of at most two units.
func short(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
}

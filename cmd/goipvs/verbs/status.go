package verbs

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/goipvs/goipvs/director/control"
)

func (v *verbs) daemonStatus() *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "show services and real servers: their health, since when and why, weights, connections",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "problems", Usage: "only services that are not up, or not as they should be, and those with a real server that is down, cannot be checked, or has an operator's word"},
			&cli.BoolFlag{Name: "watch", Usage: "again every second, until interrupted"},
			jsonFlag, socketFlag,
		},
		Action: func(c *cli.Context) error {
			if c.NArg() != 0 {
				return usageError{errors.New("goipvs status takes no arguments")}
			}
			show := func(w io.Writer) error {
				var st control.Status
				if err := ask(c, "status", nil, &st); err != nil {
					return err
				}
				all := countsOf(&st)
				if c.Bool("problems") {
					st.Services = slices.DeleteFunc(st.Services, func(s control.ServiceStatus) bool { return !problem(&s) })
				}
				if c.Bool("json") {
					return writeJSON(w, &st)
				}
				printStatus(w, &st, all)
				return nil
			}
			if c.Bool("watch") {
				v.watch(show)
			} else if err := show(v.out); err != nil {
				v.refused(err)
			}
			return nil
		},
	}
}

// countsOf is how many services and real servers there are, and how they are.
func countsOf(st *control.Status) string {
	states := make(map[string]int)
	servers, down := 0, 0
	for i := range st.Services {
		s := &st.Services[i]
		states[s.State]++
		servers += len(s.Servers)
		for j := range s.Servers {
			if s.Servers[j].Verdict == "down" {
				down++
			}
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d services", len(st.Services))
	for _, state := range []string{"up", "down", "refused", "pending", "leaving"} {
		if n := states[state]; n > 0 {
			fmt.Fprintf(&b, ", %d %s", n, strings.ToUpper(state))
		}
	}
	fmt.Fprintf(&b, "; %d real servers", servers)
	if down > 0 {
		fmt.Fprintf(&b, ", %d down", down)
	}
	return b.String()
}

// problem reports whether somebody should look at a service.
func problem(s *control.ServiceStatus) bool {
	return s.State != "up" || s.Fallback || s.Refused != "" || s.Drift != "" || slices.ContainsFunc(s.Servers, func(r control.ServerStatus) bool {
		return r.Verdict == "down" || r.Override != nil || r.Maintenance != "" ||
			slices.ContainsFunc(r.Checks, func(c control.Check) bool { return c.Warning != "" || c.Verdict == "unknown" && c.Reason != "" })
	})
}

func printStatus(w io.Writer, st *control.Status, counts string) {
	fmt.Fprintf(w, "goipvsd %s, process %d, up %s, %s\n", st.Version, st.PID, short(st.Time.Sub(st.Started)), st.Config)
	if st.Kernel != "ok" {
		fmt.Fprintln(w, "KERNEL:", st.Kernel)
	}
	if st.WithoutIPVS != "" {
		fmt.Fprintf(w, "WITHOUT IPVS: services of NAT run in user space, their connections end with the daemon: %s\n", st.WithoutIPVS)
	}
	if t := st.Conntrack; t != nil && t.Count*10 > t.Max*8 {
		fmt.Fprintf(w, "CONNECTION TRACKING nearly full: %d of %d\n", t.Count, t.Max)
	}
	if u := st.Userspace; u != nil && u.Connections*10 > u.Limit*8 {
		fmt.Fprintf(w, "USER SPACE nearly full: %d connections of %d, by the limit of file descriptors\n", u.Connections, u.Limit)
	}
	if st.Hold != nil {
		fmt.Fprintf(w, "MASS FAILURE for %s: nearly all servers failed at once, the last state is kept\n", ago(st.Time, st.Hold))
	}
	if st.Reload != nil && st.Reload.Error != "" {
		fmt.Fprintf(w, "RELOAD FAILED %s ago, the old configuration is in use:\n  %s\n", ago(st.Time, &st.Reload.Time), strings.ReplaceAll(st.Reload.Error, "\n", "\n  "))
	}
	fmt.Fprintln(w, counts)
	for i := range st.Services {
		fmt.Fprintln(w)
		printService(w, st.Time, &st.Services[i])
	}
}

func printService(w io.Writer, now time.Time, s *control.ServiceStatus) {
	fmt.Fprint(w, serviceLine(now, s), "\n")
	switch {
	case s.State == "refused":
		fmt.Fprintln(w, "  REFUSED, cannot be served here:", s.PlaneReason)
	case s.Plane == "kernel":
		fmt.Fprintln(w, "  full NAT in the kernel:", s.PlaneReason)
	case s.Plane == "userspace":
		fmt.Fprintln(w, "  full NAT in user space:", s.PlaneReason)
	}
	if s.ByCommand {
		fmt.Fprintln(w, "  made by command, its real servers are not checked")
	}
	if len(s.Locals) > 0 {
		fmt.Fprintln(w, "  local addresses:", strings.Join(s.Locals, " "))
	}
	if s.Refused != "" {
		fmt.Fprintln(w, "  REFUSED by the kernel:", s.Refused)
	}
	if s.Drift != "" {
		fmt.Fprintln(w, "  DRIFT:", s.Drift)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  SERVER\tHEALTH\tFOR\tPLACE\tWEIGHT\tKERNEL\tACTIVE\tINACTIVE\tLAST CHECK\tWHY")
	for i := range s.Servers {
		printServer(t, now, &s.Servers[i])
	}
	for i := range s.Others {
		printServer(t, now, &s.Others[i])
	}
	_ = t.Flush()
}

func serviceLine(now time.Time, s *control.ServiceStatus) string {
	line := s.Name
	if s.Name != s.Service {
		line += "  " + s.Service
	}
	line += fmt.Sprintf(" %s  %s", s.Scheduler, strings.ToUpper(s.State))
	if s.Since != nil {
		line += " for " + ago(now, s.Since)
	}
	if s.Fallback {
		line += "  fallback in use"
	}
	if s.Quorum > 1 {
		line += fmt.Sprintf("  quorum %d of %d", s.Capacity, s.Quorum)
	}
	return line
}

func printServer(w io.Writer, now time.Time, s *control.ServerStatus) {
	name := s.Address
	if s.Name != "" {
		name = s.Name + " (" + s.Address + ")"
	}
	verdict := s.Verdict
	if verdict == "" {
		verdict = "-"
	}
	fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%d\t%s\t%d\t%d\t%s\t%s\n", name, verdict, ago(now, s.Since), s.Place,
		s.WeightWanted, kernelWeight(s), s.Active, s.Inactive, lastCheck(now, s), why(now, s))
}

func kernelWeight(s *control.ServerStatus) string {
	if s.WeightKernel == nil {
		return "-"
	}
	return strconv.Itoa(int(*s.WeightKernel))
}

// lastCheck is when the server was last looked at, and how long that took.
func lastCheck(now time.Time, s *control.ServerStatus) string {
	var last *control.Check
	for i := range s.Checks {
		if c := &s.Checks[i]; c.Last != nil && (last == nil || c.Last.After(*last.Last)) {
			last = c
		}
	}
	if last == nil {
		return "-"
	}
	return fmt.Sprintf("%s ago, %.1f ms", ago(now, last.Last), last.Seconds*1000)
}

// why is the shortest text that explains where the server is.
func why(now time.Time, s *control.ServerStatus) string {
	var parts []string
	if s.Verdict == "down" && s.Reason != "" {
		parts = append(parts, s.Reason)
	}
	if o := s.Override; o != nil {
		text := o.Kind
		if o.Weight != nil {
			text += " " + strconv.Itoa(int(*o.Weight))
		}
		if o.By != "" {
			text += " by " + o.By
		}
		if o.Until != nil {
			text += ", " + short(o.Until.Sub(now)) + " left"
		}
		if o.Reason != "" {
			text += ": " + o.Reason
		}
		parts = append(parts, text)
	}
	if s.Maintenance != "" {
		parts = append(parts, "maintenance file "+s.Maintenance)
	}
	for i := range s.Checks {
		if c := &s.Checks[i]; c.Verdict == "unknown" && c.Reason != "" {
			parts = append(parts, "cannot be checked: "+c.Reason)
		} else if c.Warning != "" {
			parts = append(parts, c.Warning)
		}
	}
	if len(parts) == 0 && s.Cause != "healthy" {
		return strings.ReplaceAll(s.Cause, "_", " ")
	}
	return strings.Join(parts, "; ")
}

package verbs

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/goipvs/goipvs/director/control"
)

// row is a real server in top's list.
type row struct {
	service string
	*control.ServerStatus
}

// orders are what top sorts by, the most first.
var orders = map[string]func(a, b row) int{
	"active":      func(a, b row) int { return cmp.Compare(b.Active, a.Active) },
	"connections": func(a, b row) int { return cmp.Compare(b.Stats.CPS, a.Stats.CPS) },
	"bytes":       func(a, b row) int { return cmp.Compare(b.Stats.BPSIn+b.Stats.BPSOut, a.Stats.BPSIn+a.Stats.BPSOut) },
	"weight":      func(a, b row) int { return cmp.Compare(b.WeightWanted, a.WeightWanted) },
}

func (v *verbs) top() *cli.Command {
	return &cli.Command{
		Name: "top", Usage: "show the busiest real servers, again every second",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "sort", Value: "connections", Usage: "by connections (new ones per second), active, bytes or weight: `WORD`"},
			&cli.IntFlag{Name: "lines", Value: 20, Usage: "show so many: `N`"},
			&cli.BoolFlag{Name: "once", Usage: "print once and end"},
			socketFlag,
		},
		Action: func(c *cli.Context) error {
			order, lines := orders[c.String("sort")], c.Int("lines")
			if c.NArg() != 0 || order == nil || lines < 1 {
				return usageError{errors.New("goipvs top takes no arguments, --sort connections, active, bytes or weight, and --lines above 0")}
			}
			show := func(w io.Writer) error {
				var st control.Status
				if err := ask(c, "status", nil, &st); err != nil {
					return err
				}
				printTop(w, &st, order, lines)
				return nil
			}
			if !c.Bool("once") {
				v.watch(show)
			} else if err := show(v.out); err != nil {
				v.refused(err)
			}
			return nil
		},
	}
}

func printTop(w io.Writer, st *control.Status, order func(a, b row) int, lines int) {
	rows, down := rowsOf(st)
	slices.SortStableFunc(rows, order)
	fmt.Fprintf(w, "%d services, %d real servers, %d of them down\n", len(st.Services), len(rows), down)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SERVICE\tSERVER\tHEALTH\tPLACE\tWEIGHT\tACTIVE\tINACTIVE\tCONN/S\tIN/S\tOUT/S")
	for _, r := range rows[:min(lines, len(rows))] {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\t%s\n", r.service, r.Address, r.Verdict, r.Place, r.WeightWanted,
			r.Active, r.Inactive, r.Stats.CPS, size(r.Stats.BPSIn), size(r.Stats.BPSOut))
	}
	_ = t.Flush()
}

func rowsOf(st *control.Status) (rows []row, down int) {
	for i := range st.Services {
		s := &st.Services[i]
		for j := range s.Servers {
			r := row{s.Name, &s.Servers[j]}
			if r.Stats == nil {
				r.Stats = &control.Stats{}
			}
			if r.Verdict == "down" {
				down++
			}
			rows = append(rows, r)
		}
	}
	return rows, down
}

// size is a number of bytes in three digits: "12.3M".
func size(n uint64) string {
	f, units := float64(n), "kMGTP"
	if n < 1000 {
		return fmt.Sprint(n)
	}
	for f /= 1000; f >= 1000 && len(units) > 1; f /= 1000 {
		units = units[1:]
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0") + units[:1]
}

package verbs

import (
	"fmt"
	"net/netip"

	"github.com/urfave/cli/v2"

	"github.com/goipvs/goipvs/sysctl/vip"
)

func (v *verbs) vip() *cli.Command {
	return &cli.Command{
		Name: "vip", ArgsUsage: "add|del VIP... --dev IF",
		Usage: "give this director a VIP, or take it away",
		Description: "add gives the interface towards the router the VIPs, as host addresses, and announces them: gratuitous ARP, unsolicited neighbour advertisements. " +
			"Before, it asks the neighbours, and refuses an address that one of them has. " +
			"del takes away what add gave, and nothing else.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "dev", Usage: "the VIPs are on `IF`"},
			&cli.BoolFlag{Name: "force", Usage: "add it even if a neighbour has it: a fail-over"},
			&cli.BoolFlag{Name: "check", Usage: "say what would be done, change nothing"},
			jsonFlag,
		},
		Action: v.dispatch(
			action{"add", []string{"dev", "force", "check"}, v.vipDo(vip.Holder.Add)},
			action{"del", []string{"dev", "check"}, v.vipDo(vip.Holder.Delete)},
		),
	}
}

func (v *verbs) vipDo(do vipFunc) func(*cli.Context, []string) error {
	return func(c *cli.Context, words []string) error {
		all, err := vips(words, 1)
		if err != nil {
			return err
		}
		if c.String("dev") == "" {
			return usageError{fmt.Errorf("goipvs vip needs --dev IF, the interface towards the router")}
		}
		h := vip.Holder{DryRun: c.Bool("check"), Force: c.Bool("force")}
		changes, err := do(h, c.String("dev"), all...)
		if err != nil {
			return v.refuse(err)
		}
		return v.vipReport(c, changes)
	}
}

func (v *verbs) vipReport(c *cli.Context, changes []vip.Change) error {
	changed := false
	for _, x := range changes {
		changed = changed || !x.None()
	}
	if c.Bool("json") {
		return writeJSON(v.out, struct {
			Changed bool         `json:"changed"`
			Check   bool         `json:"check"` // nothing was done
			VIPs    []vip.Change `json:"vips"`
		}{changed, c.Bool("check"), changes})
	}
	would := ""
	if c.Bool("check") {
		would = "would "
	}
	for _, x := range changes {
		switch {
		case x.Added:
			fmt.Fprintf(v.out, "%sadd %s to %s\n", would, x.Addr, x.Dev)
		case x.Deleted:
			fmt.Fprintf(v.out, "%sdelete %s from %s\n", would, x.Addr, x.Dev)
		}
	}
	if !changed {
		fmt.Fprintln(v.out, "nothing to do")
	}
	return nil
}

type vipFunc func(vip.Holder, string, ...netip.Addr) ([]vip.Change, error)

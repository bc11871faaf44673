package verbs

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/goipvs/goipvs/doctor"
	"github.com/goipvs/goipvs/sysctl/realserver"
)

func (v *verbs) doctor() *cli.Command {
	return &cli.Command{
		Name: "doctor", ArgsUsage: "[--service SERVICE]",
		Usage: "say what is wrong with this director or real server",
		Description: "Every finding says what is seen, why it matters, and the command that mends it; nothing is changed. " +
			"What cannot be seen from here, or not without root, is listed and not guessed. " +
			"Exit status 0: no errors, 1: errors, 2: bad command line. " +
			"On a real server --service, --method and --director tell what nothing on the host tells. " +
			"SERVICE is VIP:PORT, udp:VIP:PORT, sctp:VIP:PORT or fwmark:MARK; METHOD is nat, dr, tun, gre or gue:PORT.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "service", Usage: "look at one `SERVICE`, and send probes to its real servers as IPVS would"},
			&cli.StringFlag{Name: "method", Usage: "`METHOD` by which this real server gets its packets"},
			&cli.StringFlag{Name: "director", Usage: "`ADDRESS` of the director of this real server"},
			&cli.StringSliceFlag{Name: "scheduler", Usage: "`NAME` of a scheduler that is going to be used"},
			&cli.BoolFlag{Name: "strict", Usage: "exit status 1 for warnings too"},
			jsonFlag,
		},
		Action: v.diagnose,
	}
}

func (v *verbs) diagnose(c *cli.Context) error {
	o, err := doctorOptions(c)
	if err != nil {
		return usageError{err}
	}
	ctx := c.Context
	if ctx == nil {
		ctx = context.Background()
	}
	recorded := remember(&o.Hints)
	r, err := doctor.Run(ctx, o)
	if err != nil {
		return err
	}
	if recorded != nil {
		r.Unknown = append(r.Unknown, doctor.Unknown{What: "what goipvs realserver has recorded", Why: recorded.Error()})
	}
	if r.Count(doctor.Error) > 0 || c.Bool("strict") && r.Count(doctor.Warning) > 0 {
		v.status = failed
	}
	if c.Bool("json") {
		return writeJSON(v.out, r)
	}
	return r.Print(v.out)
}

// remember takes from the record of goipvs realserver what nothing else on the
// host tells: which addresses it should hold, and how their packets come.
func remember(h *doctor.Hints) error {
	st, err := realserver.Host{}.Show()
	if err != nil {
		return err
	}
	for _, v := range st.VIPs {
		if v.Leaving {
			continue
		}
		h.VIPs = append(h.VIPs, v.Addr)
		if h.Method == "" {
			h.Method, h.Tunnel, h.TunnelPort = string(v.Mode), v.Tunnel.Kind, v.Tunnel.Port
		}
	}
	return nil
}

func doctorOptions(c *cli.Context) (o doctor.Options, err error) {
	if c.NArg() > 0 {
		return o, fmt.Errorf("goipvs doctor takes no argument %q (a service is given by --service)", c.Args().First())
	}
	if s := c.String("service"); c.IsSet("service") {
		k, err := doctor.ParseService(s)
		if err != nil {
			return o, fmt.Errorf("--service: %w", err)
		}
		o.Service = &k
	}
	if s := c.String("director"); c.IsSet("director") {
		if o.Hints.Director, err = netip.ParseAddr(s); err != nil {
			return o, fmt.Errorf("--director: %q is no address", s)
		}
	}
	o.Hints.Schedulers = c.StringSlice("scheduler")
	if s := c.String("method"); c.IsSet("method") {
		err = method(&o.Hints, s)
	}
	return o, err
}

// method reads nat, dr, tun, gre, gue:PORT.
func method(h *doctor.Hints, word string) error {
	kind, port, hasPort := strings.Cut(word, ":")
	switch {
	case slices.Contains([]string{"nat", "dr", "tun"}, word):
		h.Method = word
	case word == "ipip" || word == "gre":
		h.Method, h.Tunnel = "tun", word
	case kind == "gue" && hasPort:
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return fmt.Errorf("--method: %q is no port", port)
		}
		h.Method, h.Tunnel, h.TunnelPort = "tun", "gue", uint16(n)
	default:
		return fmt.Errorf("--method: %q is not one of nat, dr, tun, gre, gue:PORT", word)
	}
	return nil
}

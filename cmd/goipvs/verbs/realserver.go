package verbs

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/sysctl/realserver"
	"github.com/goipvs/goipvs/sysctl/vip"
)

// listenFor is how long goipvs realserver check listens.
const listenFor = 2 * time.Second

func (v *verbs) realserver() *cli.Command {
	return &cli.Command{
		Name: "realserver", ArgsUsage: "add|del|show|check [VIP]...",
		Usage: "make this host a real server, undo it, prove it",
		Description: "add puts the VIPs on lo (DR) or on the tunnel device (TUN), after telling the kernel to keep silent about them: a real server must not answer ARP for a VIP. " +
			"What was there before is recorded in /run/goipvs; del puts it back, as far as no other VIP needs it and nobody changed it since. " +
			"Both may be repeated, also after one that was killed half way. " +
			"show lists VIPs, what they need, what the kernel goes by, and what somebody changed. " +
			"check listens for two seconds while it has the kernel asked for the VIPs on every interface, and tells who answers. " +
			"Exit status 0: done, 1: failed, or check found a fault, 2: bad command line.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "mode", Usage: "packets come from the director by `MODE`: dr (default) or tun"},
			&cli.StringFlag{Name: "dev", Usage: "the VIPs are on `IF` (lo, for tun the tunnel device)"},
			&cli.StringFlag{Name: "tunnel", Usage: "packets of tun come in a `TUNNEL` of ipip (default), gre or gue:PORT"},
			&cli.IntFlag{Name: "outer", Usage: "IP `VERSION`, 4 or 6, around the packets of tun (that of the VIP)"},
			&cli.BoolFlag{Name: "check", Usage: "say what add or del would do, change nothing"},
			&cli.BoolFlag{Name: "watch", Usage: "after add, stay and put right what others change"},
			jsonFlag,
		},
		Action: v.dispatch(
			action{"add", []string{"mode", "dev", "tunnel", "outer", "check", "watch"}, v.rsAdd},
			action{"del", []string{"check"}, v.rsDelete},
			action{"show", nil, v.rsShow},
			action{"check", nil, v.rsCheck},
		),
	}
}

// vips reads the addresses of a command line.
func vips(words []string, least int) (all []netip.Addr, err error) {
	if len(words) < least {
		return nil, usageError{fmt.Errorf("give at least one VIP")}
	}
	for _, w := range words {
		a, err := vip.Parse(w)
		if err != nil {
			return nil, usageError{err}
		}
		all = append(all, a)
	}
	return all, nil
}

func rsSpec(c *cli.Context) (s realserver.Spec, err error) {
	s.Dev, s.Outer = c.String("dev"), c.Int("outer")
	if c.IsSet("mode") {
		if s.Mode, err = realserver.ParseMode(c.String("mode")); err != nil {
			return s, usageError{err}
		}
	}
	if c.IsSet("tunnel") {
		if s.Tunnel, err = realserver.ParseTunnel(c.String("tunnel")); err != nil {
			return s, usageError{err}
		}
	}
	switch {
	case s.Mode != realserver.TUN && (c.IsSet("tunnel") || c.IsSet("outer")):
		err = usageError{fmt.Errorf("--tunnel and --outer need --mode tun")}
	case c.IsSet("outer") && s.Outer != 4 && s.Outer != 6:
		err = usageError{fmt.Errorf("--outer %d: use 4 or 6", s.Outer)}
	case c.Bool("check") && c.Bool("watch"):
		err = usageError{fmt.Errorf("--check changes nothing, --watch does: use one of them")}
	}
	return s, err
}

func (v *verbs) rsAdd(c *cli.Context, words []string) error {
	spec, err := rsSpec(c)
	if err != nil {
		return err
	}
	all, err := vips(words, 1)
	if err != nil {
		return err
	}
	r, err := realserver.Host{DryRun: c.Bool("check")}.Add(spec, all...)
	if err != nil {
		return v.refuse(err)
	}
	if err := v.rsReport(c, r); err != nil || !c.Bool("watch") {
		return err
	}
	return v.rsWatch(c, all)
}

func (v *verbs) rsDelete(c *cli.Context, words []string) error {
	all, err := vips(words, 1)
	if err != nil {
		return err
	}
	r, err := realserver.Host{DryRun: c.Bool("check")}.Delete(all...)
	if err != nil {
		return v.refuse(err)
	}
	return v.rsReport(c, r)
}

// rsReport prints what was done. With --watch a document is one line.
func (v *verbs) rsReport(c *cli.Context, r realserver.Report) error {
	if c.Bool("json") {
		if r.Actions == nil {
			r.Actions = []realserver.Action{}
		}
		doc := struct {
			Changed bool `json:"changed"`
			Check   bool `json:"check"` // nothing was done
			realserver.Report
		}{r.Changed(), c.Bool("check"), r}
		if c.Bool("watch") {
			return json.NewEncoder(v.out).Encode(doc)
		}
		return writeJSON(v.out, doc)
	}
	would := ""
	if c.Bool("check") {
		would = "would "
	}
	for _, a := range r.Actions {
		fmt.Fprintln(v.out, would+a.String())
	}
	if len(r.Actions) == 0 {
		fmt.Fprintln(v.out, "nothing to do")
	}
	for _, a := range r.Advice {
		v.hint(a)
	}
	return nil
}

// rsWatch stays until it is told to end, or the VIPs were deleted.
func (v *verbs) rsWatch(c *cli.Context, all []netip.Addr) error {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer cancel()
	ready := func() { notify("READY=1") }
	err := realserver.Host{}.Watch(ctx, ready, func(r realserver.Report, err error) {
		if err == nil {
			err = v.rsReport(c, r)
		}
		if err != nil {
			_ = v.refuse(err)
		}
	}, all...)
	notify("STOPPING=1")
	if err != nil {
		return v.refuse(err)
	}
	v.status = 0 // what failed was tried again
	return nil
}

func (v *verbs) rsShow(c *cli.Context, words []string) error {
	if len(words) > 0 {
		return usageError{fmt.Errorf("goipvs realserver show takes no VIP")}
	}
	st, err := realserver.Host{}.Show()
	if err != nil {
		return v.refuse(err)
	}
	if c.Bool("json") {
		return writeJSON(v.out, st)
	}
	if len(st.VIPs) == 0 {
		fmt.Fprintln(v.out, "no VIPs: this host is no real server of DR or TUN by goipvs")
	}
	for _, x := range st.VIPs {
		v.rsVIP(x)
	}
	for _, k := range st.Knobs {
		fmt.Fprintln(v.out, "  "+k.String())
	}
	for _, e := range st.Effective {
		fmt.Fprintln(v.out, "  effective: "+e.String()+mark(e.Good))
	}
	for _, a := range st.Drift {
		fmt.Fprintln(v.out, "drift: to "+a.String())
	}
	for _, a := range st.Others {
		fmt.Fprintln(v.out, a.String()+" is on lo, not by goipvs")
	}
	return nil
}

func (v *verbs) rsVIP(x realserver.VIPStatus) {
	line := x.Addr.String() + " " + string(x.Mode)
	if x.Mode == realserver.TUN {
		line += " " + x.Tunnel.String() + " in IPv" + strconv.Itoa(x.Outer)
	}
	line += " on " + x.Dev
	if !x.Present {
		line += ": missing"
	}
	fmt.Fprintln(v.out, line)
}

func mark(good bool) string {
	if good {
		return ""
	}
	return ": lets this host answer for VIPs, or drops their packets"
}

func (v *verbs) rsCheck(c *cli.Context, words []string) error {
	all, err := vips(words, 0)
	if err != nil {
		return err
	}
	proofs, err := realserver.Host{}.Check(listenFor, all...)
	if err != nil {
		return v.refuse(err)
	}
	if len(proofs) == 0 {
		v.fail(failed, fmt.Errorf("no VIPs to check"))
		v.hint("goipvs realserver add VIP, or name them: goipvs realserver check VIP")
		return nil
	}
	for _, p := range proofs {
		if !p.Good {
			v.status = failed
		}
	}
	if c.Bool("json") {
		return writeJSON(v.out, proofs)
	}
	for _, p := range proofs {
		v.rsProof(p)
	}
	return nil
}

func (v *verbs) rsProof(p realserver.Proof) {
	if p.Good {
		fmt.Fprintf(v.out, "%s: good: silent on %v\n", p.VIP, p.Asked)
	} else {
		fmt.Fprintf(v.out, "%s: wrong\n", p.VIP)
	}
	for _, s := range p.Problems {
		fmt.Fprintln(v.out, "  problem: "+s)
	}
	for _, s := range p.Notes {
		fmt.Fprintln(v.out, "  note: "+s)
	}
}

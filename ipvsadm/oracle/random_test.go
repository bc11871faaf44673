package oracle

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/goipvs/goipvs/ipvs"
)

// seed makes other tables and command lines.
var seed = flag.Uint64("seed", 1, "seed of the random tables and command lines")

// Random tables, each a service with its real servers. Starting a program takes
// long in the lab, so a hundred go through the programs at once.
const (
	batches   = 7 // of each reach
	batchSize = 100
)

// TestKernelTables: one program saves, the other restores, and the table is the
// same as before, as far as ipvsadm's language goes.
func TestKernelTables(t *testing.T) {
	k := dial(t)
	theirs := newStage(t).real(t).reader(t)
	for _, reach := range []reach{near, far, beyond} {
		for batch := range batches {
			t.Run(fmt.Sprintf("%s/%d", reach, batch), func(t *testing.T) {
				g := &generator{rand.New(rand.NewPCG(*seed, uint64(batch)<<8|uint64(reach))), reach}
				b := &tables{t: t, k: k, theirs: theirs, reach: reach, batch: batch}
				b.try(g.table(batchSize))
			})
		}
	}
}

func (r reach) String() string { return [...]string{"near", "far", "beyond"}[r] }

// tables are tables on their way through both programs.
type tables struct {
	t      *testing.T
	k      kernel
	theirs *reader
	reach  reach
	batch  int
}

// seen is what there is to see of the kernel.
type seen struct {
	Table ipvs.Table // by goipvs
	Rules string     // by the real ipvsadm
}

func (b *tables) try(table ipvs.Table) {
	b.t.Helper()
	sortTable(table)
	must(b.t, b.k.Flush())
	must(b.t, b.k.Apply(slices.Values(ipvs.Plan(nil, table))))
	was, limits := b.look(), b.thresholds()
	b.equal("the kernel's table, read back", table, was.Table)
	saved := b.k.run("goipvs", "", "-Sn")
	if b.reach == near {
		b.listings(was.Rules, limits, saved.Stdout)
	}

	if said := b.theirs.ask(b.t, "-C\n"+saved.Stdout); said != "" {
		b.t.Errorf("ipvsadm -R of goipvs -S: %s", said)
	}
	b.same("goipvs -S | ipvsadm -R", was, b.look())
	b.equal("thresholds after goipvs -S | ipvsadm -R", limits, b.thresholds())
	if b.reach == beyond {
		return
	}
	b.k.restore(b.t, "-C\n"+was.Rules)
	b.same("ipvsadm -S | goipvs -R", seen{unlimited(was.Table), was.Rules}, b.look())
}

func (b *tables) same(what string, want, got seen) {
	b.t.Helper()
	b.equal(what, want.Table, got.Table)
	b.equal(what+", read by ipvsadm", b.order(want.Rules), b.order(got.Rules))
}

// order is a text without the order of its lines, where ipvsadm's order depends
// on that of the rules.
func (b *tables) order(text string) string {
	if b.reach > near {
		return sorted(text)
	}
	return text
}

// look reads once: nobody else writes.
func (b *tables) look() seen {
	b.t.Helper()
	services, err := b.k.Services()
	must(b.t, err)
	var t ipvs.Table
	for _, s := range services {
		e := ipvs.Entry{Service: s.Service}
		list, err := b.k.Destinations(s.ServiceKey, nil)
		must(b.t, err)
		for _, d := range list {
			e.Destinations = append(e.Destinations, d.Destination)
		}
		t = append(t, e)
	}
	sortTable(t)
	return seen{t, b.theirs.save(b.t)}
}

// thresholds are what the real ipvsadm lists and does not save. Each listing by
// it takes its time, so it lists them once where it lists in order.
func (b *tables) thresholds() string {
	b.t.Helper()
	if b.reach > near {
		return ""
	}
	return b.theirs.ask(b.t, "-L -n --thresholds\n")
}

// listings compares what both print of one table, byte for byte.
func (b *tables) listings(rules, limits, saved string) {
	b.t.Helper()
	b.equal("-Sn", rules, thresholds.ReplaceAllString(saved, "$1"))
	b.equal("-Ln --thresholds", limits, b.k.run("ipvsadm", "", "-Ln", "--thresholds").Stdout)
	if b.batch > 0 {
		return
	}
	for _, view := range []string{"--sort", "--nosort", "--stats", "--rate", "--persistent-conn", "--tun-info"} {
		b.equal("-Ln "+view, b.theirs.ask(b.t, "-L -n "+view+"\n"), b.k.run("ipvsadm", "", "-Ln", view).Stdout)
	}
}

func (b *tables) equal(what string, want, got any) {
	b.t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.AddrPort{}, ipvs.Netmask{})); diff != "" {
		b.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// sortTable gives a table the one order in which tables compare.
func sortTable(t ipvs.Table) {
	slices.SortFunc(t, func(a, b ipvs.Entry) int { return a.Service.Compare(b.Service.ServiceKey) })
	for _, e := range t {
		slices.SortFunc(e.Destinations, func(a, b ipvs.Destination) int { return a.Addr.Compare(b.Addr) })
	}
}

// unlimited is a table without what ipvsadm does not save.
func unlimited(t ipvs.Table) (out ipvs.Table) {
	for _, e := range t {
		e.Destinations = slices.Clone(e.Destinations)
		for i := range e.Destinations {
			e.Destinations[i].Upper, e.Destinations[i].Lower = 0, 0
		}
		out = append(out, e)
	}
	return out
}

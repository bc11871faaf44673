package ipvstest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/goipvs/goipvs/ipvs"
)

// applyCases: many changes at once are made in order, and a refused one does
// not stop those after it.
func applyCases() []operationCase {
	web := tcp("192.0.2.1:80")
	return []operationCase{
		{name: "nothing", do: func(t *testing.T, c Client) error { return c.Apply(slices.Values([]ipvs.Change(nil))) }},
		{name: "a life", table: "tcp 192.0.2.1:80 rr\n  10.0.0.3:80 nat weight 1\n  10.0.0.2:80 nat weight 0\n", do: func(t *testing.T, c Client) error {
			return c.Apply(slices.Values(these(
				add(web), addTo(web, rs("10.0.0.1:80")), addTo(web, rs("10.0.0.2:80")), edit(tcp("192.0.2.1:80", sched("rr"))),
				editIn(web, rs("10.0.0.2:80", weight(0))), addTo(web, rs("10.0.0.3:80")), removeFrom(web, rs("10.0.0.1:80")))))
		}},
		{name: "failures in the middle", table: "tcp 192.0.2.1:80 wlc\n  10.0.0.3:80 nat weight 1\n  10.0.0.1:80 nat weight 1\n", do: func(t *testing.T, c Client) error {
			list := these(
				addTo(web, rs("10.0.0.1:80")),                   // 0: no service yet
				add(web),                                        //
				addTo(web, rs("10.0.0.1:80")),                   //
				addTo(web, rs("10.0.0.1:80")),                   // 3: exists
				addTo(web, rs("[fe80::1%eth0]:80")),             // 4: refused before the kernel sees it
				addTo(web, rs("10.0.0.2:80", weight(-1))),       // 5: out of range
				add(tcp("192.0.2.2:80", sched("nosuch"))),       // 6: no scheduler
				editIn(web, rs("10.0.0.9:80")),                  // 7: no destination
				addTo(web, rs("10.0.0.3:80")),                   //
				remove(tcp("192.0.2.2:80")),                     // 9: no service
				ipvs.Change{Op: 99, Service: web},               // 10: nonsense
				addTo(web, rs("10.0.0.4:80", by(ipvs.FullNAT))), // 11: not the kernel's
			)
			refused(t, c.Apply(slices.Values(list)), list, map[int]error{0: ipvs.ErrNoService, 3: ipvs.ErrExists, 4: ipvs.ErrInvalid,
				5: ipvs.ErrRange, 6: ipvs.ErrNoScheduler, 7: ipvs.ErrNoDestination, 9: ipvs.ErrNoService, 10: ipvs.ErrInvalid, 11: ipvs.ErrUnsupported})
			return nil
		}},
		{name: "5000 changes", do: func(t *testing.T, c Client) error {
			const services, each = 500, 9
			want := bulk(t, c, services, each)
			holds(t, c, want)
			return c.Flush()
		}},
		{name: "5000 changes, a third refused", do: func(t *testing.T, c Client) error {
			var list []ipvs.Change
			wrong := make(map[int]error)
			var table strings.Builder
			for i := range 1667 {
				s := at(i)
				wrong[len(list)+1] = ipvs.ErrExists
				list = append(list, add(s), add(s), addTo(s, rs("10.0.0.1:80")))
				fmt.Fprintf(&table, "%s rr\n  10.0.0.1:80 nat weight 1\n", s.ServiceKey)
			}
			refused(t, c.Apply(slices.Values(list)), list, wrong)
			holds(t, c, table.String())
			return c.Flush()
		}},
		{name: "5000 changes, all refused", do: func(t *testing.T, c Client) error {
			list := slices.Collect(changes(5000, func(i int) ipvs.Change { return remove(at(i)) }))
			wrong := make(map[int]error)
			for i := range list {
				wrong[i] = ipvs.ErrNoService
			}
			refused(t, c.Apply(slices.Values(list)), list, wrong)
			return nil
		}},
	}
}

// bulk adds many services with their destinations in one go and returns the
// table.
func bulk(t *testing.T, c Client, services, each int) string {
	t.Helper()
	var table strings.Builder
	for i := range services {
		fmt.Fprintf(&table, "%s rr\n", at(i).ServiceKey)
		for p := each; p >= 1; p-- {
			fmt.Fprintf(&table, "  10.0.0.1:%d nat weight 1\n", p)
		}
	}
	err := c.Apply(changes(services*(each+1), func(i int) ipvs.Change {
		s, p := at(i/(each+1)), i%(each+1)
		if p == 0 {
			return add(s)
		}
		return addTo(s, rs("10.0.0.1:80", port(p)))
	}))
	if err != nil {
		t.Fatal(err)
	}
	return table.String()
}

// refused asserts that of list exactly those in want failed, in order.
func refused(t *testing.T, err error, list []ipvs.Change, want map[int]error) {
	t.Helper()
	var batch *ipvs.BatchError
	if !errors.As(err, &batch) {
		t.Fatalf("%v is a %T, not a *ipvs.BatchError", err, err)
	}
	var got, all []string
	for _, f := range batch.Failed {
		got = append(got, fmt.Sprint(f.Index, " ", f.Op, " ", f.Object, " ", kinds(f)))
	}
	for i, c := range list {
		if want[i] != nil {
			all = append(all, fmt.Sprint(i, " ", c.Op, " ", c.Object(), " ", kinds(want[i])))
		}
	}
	isSame(t, all, got)
}

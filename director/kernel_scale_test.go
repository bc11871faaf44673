package director

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/lab"
	"github.com/goipvs/goipvs/ipvs"
)

// timed is the kernel, and tells when it has answered to changes.
type timed struct {
	*ipvs.Client
	answered chan time.Time
}

func (k *timed) Apply(changes iter.Seq[ipvs.Change]) error {
	defer func() { k.answered <- time.Now() }()
	return k.Client.Apply(changes)
}

// TestKernelVerdict: from a verdict to the kernel's answer it takes no longer with
// ten thousand real servers than with a hundred, though verdicts come at any
// time, also while the whole table is looked at. -v prints how long.
func TestKernelVerdict(t *testing.T) {
	lab.Need(t)
	var medians []time.Duration
	for _, n := range []int{100, 1000, 10000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			all := verdictLatencies(t, n)
			slices.Sort(all)
			medians = append(medians, all[len(all)/2])
			t.Logf("%d real servers: from verdict to the kernel's answer %v in the middle, %v at the ninth of ten, %v at most", n, all[len(all)/2], all[len(all)*9/10], all[len(all)-1])
		})
	}
	// Done for the whole table it was more than a hundred times as long.
	if few, many := medians[0], medians[2]; many > 10*few+20*time.Millisecond {
		t.Errorf("%v with 100 servers, %v with 10,000", few, many)
	}
}

func verdictLatencies(t *testing.T, servers int) (all []time.Duration) {
	client, err := ipvs.Dial(ipvs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	defer func() {
		if err := client.Flush(); err != nil {
			t.Error(err)
		}
	}()
	k := &timed{client, make(chan time.Time, 1000)}
	setup := bigSetup(servers)
	d := New(Options{Kernel: k})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx, setup) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	d.Observe(verdicts(setup, Up))
	for in := 0; in < servers; time.Sleep(50 * time.Millisecond) { // until all are in
		in = inKernel(client, setup)
	}
	if err := d.do(func(*state) {}); err != nil { // and all that follows from it is done
		t.Fatal(err)
	}
	for len(k.answered) > 0 {
		<-k.answered
	}
	for range 25 {
		time.Sleep(rand.N(60 * time.Millisecond)) // a verdict comes at any time
		v := &setup.Services[rand.IntN(len(setup.Services))]
		id := ServerID{v.Key(), v.Servers[rand.IntN(len(v.Servers))].Addr}
		for _, h := range []Health{Down, Up} {
			began := time.Now()
			d.Observe([]Result{{Server: id, Health: h}})
			all = append(all, (<-k.answered).Sub(began))
			if got := weightOf(t, client, id); (got > 0) != (h == Up) {
				t.Fatalf("%v is %v and has weight %d", id, h, got)
			}
		}
	}
	return all
}

func inKernel(client *ipvs.Client, setup *Setup) (n int) {
	for i := range setup.Services {
		list, err := client.Destinations(setup.Services[i].Key(), nil)
		if err != nil {
			return n // not there yet
		}
		n += len(list)
	}
	return n
}

func weightOf(t *testing.T, client *ipvs.Client, id ServerID) int32 {
	list, err := client.Destinations(id.Service, nil)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list, func(d ipvs.DestinationInfo) bool { return d.Addr == id.Addr })
	if i < 0 {
		t.Fatalf("%v is not in the kernel", id)
	}
	return list[i].Weight
}

package mobyipvs

import (
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/lab"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/google/go-cmp/cmp"
	moby "github.com/moby/ipvs"
)

// both opens the kernel with either library, its table empty.
func both(t *testing.T) (*ipvs.Client, *moby.Handle) {
	t.Helper()
	lab.Need(t)
	ours, err := ipvs.Dial(ipvs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := moby.New("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ours.Flush(); err != nil {
			t.Error(err)
		}
		ours.Close()
		theirs.Close()
	})
	if err := ours.Flush(); err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A library written by others reads what we write.
func TestKernelMobyReadsOurs(t *testing.T) {
	ours, theirs := both(t)
	for _, tt := range services {
		t.Run(tt.name, func(t *testing.T) {
			must(t, ours.Flush())
			must(t, ours.Do(ipvs.Change{Op: ipvs.AddService, Service: tt.ours}))
			for _, d := range destinations {
				if d.key.AF() == tt.ours.AF() && tt.ours.FWMark == 0 {
					must(t, ours.Do(ipvs.Change{Op: ipvs.AddDestination, Service: tt.ours, Destination: d.ours}))
				}
			}
			read, err := theirs.GetServices()
			must(t, err)
			if len(read) != 1 {
				t.Fatalf("moby/ipvs reads %d services", len(read))
			}
			got, err := FromService(read[0])
			must(t, err)
			if diff := cmp.Diff(tt.ours, got.Service, compare); diff != "" {
				t.Errorf("(-ours +as moby/ipvs reads it):\n%s", diff)
			}
			mine, err := ours.Destinations(tt.ours.ServiceKey, nil)
			must(t, err)
			dests, err := theirs.GetDestinations(&tt.moby)
			must(t, err)
			if len(mine) != len(dests) {
				t.Fatalf("%d destinations, moby/ipvs reads %d", len(mine), len(dests))
			}
			for i, d := range dests {
				got, err := FromDestination(d)
				must(t, err)
				if diff := cmp.Diff(mine[i], got, compare); diff != "" {
					t.Errorf("(-ours +as moby/ipvs reads it):\n%s", diff)
				}
			}
		})
	}
}

// We read what a library written by others writes.
func TestKernelMobyWritesOurs(t *testing.T) {
	ours, theirs := both(t)
	for _, tt := range services {
		t.Run(tt.name, func(t *testing.T) {
			must(t, ours.Flush())
			m, err := ToService(&tt.ours)
			must(t, err)
			must(t, theirs.NewService(m))
			got, err := ours.Service(tt.ours.ServiceKey)
			must(t, err)
			if diff := cmp.Diff(tt.ours, got.Service, compare); diff != "" {
				t.Errorf("(-written +read):\n%s", diff)
			}
			for _, d := range destinations {
				if d.key.AF() != tt.ours.AF() || tt.ours.FWMark != 0 {
					continue
				}
				must(t, writeMoby(theirs, m, d.key, d.ours))
				read, err := ours.Destinations(tt.ours.ServiceKey, nil)
				must(t, err)
				if diff := cmp.Diff(d.ours, read[0].Destination, compare); diff != "" { // newest first
					t.Errorf("(-written +read):\n%s", diff)
				}
			}
		})
	}
}

func writeMoby(h *moby.Handle, s *moby.Service, k ipvs.ServiceKey, d ipvs.Destination) error {
	m, err := ToDestination(k, &d)
	if err != nil {
		return err
	}
	return h.NewDestination(s, m)
}

func TestKernelMobyConfig(t *testing.T) {
	ours, theirs := both(t)
	before, err := ours.Timeouts()
	must(t, err)
	t.Cleanup(func() { must(t, ours.SetTimeouts(before)) })
	want := ipvs.Timeouts{TCP: 901 * time.Second, TCPFin: 121 * time.Second, UDP: 301 * time.Second}
	c, err := ToConfig(want)
	must(t, err)
	must(t, theirs.SetConfig(c))
	got, err := ours.Timeouts()
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("(-moby/ipvs wrote +read):\n%s%v", diff, err)
	}
	want.TCP = 902 * time.Second
	must(t, ours.SetTimeouts(ipvs.Timeouts{TCP: want.TCP}))
	if c, err = theirs.GetConfig(); err != nil {
		t.Fatal(err)
	}
	got, err = FromConfig(c)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("(-wrote +moby/ipvs read):\n%s%v", diff, err)
	}
}

// What the documentation says moby/ipvs loses in reading, it does lose: if it
// no longer does, the documentation and ErrNotRepresentable are out of date.
func TestKernelMobyLoses(t *testing.T) {
	ours, theirs := both(t)
	s := services[0].ours
	s.PE = "sip"
	d := destinations[1].ours
	d.Weight, d.Encap = 70000, ipvs.Encap{Type: ipvs.GUE, Port: 6080}
	must(t, ours.Do(ipvs.Change{Op: ipvs.AddService, Service: s}))
	must(t, ours.Do(ipvs.Change{Op: ipvs.AddDestination, Service: s, Destination: d}))

	read, err := theirs.GetServices()
	must(t, err)
	svc, err := FromService(read[0])
	must(t, err)
	s.PE = ""
	if diff := cmp.Diff(s, svc.Service, compare); diff != "" {
		t.Errorf("service (-expected loss +got):\n%s", diff)
	}
	dests, err := theirs.GetDestinations(read[0])
	must(t, err)
	got, err := FromDestination(dests[0])
	must(t, err)
	d.Weight, d.Encap = 70000%65536, ipvs.Encap{}
	if diff := cmp.Diff(d, got.Destination, compare); diff != "" {
		t.Errorf("destination (-expected loss +got):\n%s", diff)
	}
}

package ipvstest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// String is the table as text: a line for each service and below it an indented
// one for each destination, both sorted, with what is not the default:
//
//	tcp 192.0.2.1:80 wlc persistent timeout 300
//	  10.0.0.1:80 nat weight 1
//
// It calls no hook and meets no fault.
func (k *Kernel) String() string {
	s := k.state
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	sorted := slices.SortedFunc(slices.Values(s.order), func(a, b *service) int { return a.Compare(b.ServiceKey) })
	for _, svc := range sorted {
		writeService(&b, svc.Service)
		ds := slices.SortedFunc(slices.Values(svc.destinations), func(a, b *destination) int { return a.Addr.Compare(b.Addr) })
		for _, d := range ds {
			fmt.Fprintf(&b, "  %s\n", d.Destination)
		}
	}
	return b.String()
}

// Text lists a kernel in the notation of [Kernel.String], but for the
// destinations, which are in the kernel's order.
func Text(l ipvs.Lister) (string, error) {
	services, err := l.Services()
	if err != nil {
		return "", err
	}
	slices.SortFunc(services, func(a, b ipvs.ServiceInfo) int { return a.Compare(b.ServiceKey) })
	var b strings.Builder
	for _, svc := range services {
		ds, err := l.Destinations(svc.ServiceKey, nil)
		if err != nil {
			return "", err
		}
		writeService(&b, svc.Service)
		for _, d := range ds {
			fmt.Fprintf(&b, "  %s\n", d.Destination)
		}
	}
	return b.String(), nil
}

func writeService(b *strings.Builder, s ipvs.Service) {
	fmt.Fprintf(b, "%s %s", s.ServiceKey, s.Scheduler)
	for _, f := range []struct {
		bit  ipvs.Flags
		name string
	}{{ipvs.Persistent, "persistent"}, {ipvs.OnePacket, "ops"}, {ipvs.Sched1, "flag-1"}, {ipvs.Sched2, "flag-2"}, {ipvs.Sched3, "flag-3"}} {
		if s.Flags&f.bit != 0 {
			b.WriteString(" " + f.name)
			s.Flags &^= f.bit
		}
	}
	if s.Flags != 0 {
		fmt.Fprintf(b, " flags %#x", uint32(s.Flags))
	}
	if s.Timeout != 0 {
		fmt.Fprintf(b, " timeout %d", s.Timeout/time.Second)
	}
	if !s.Netmask.IsDefault() {
		b.WriteString(" mask " + s.Netmask.Text(s.AF()))
	}
	if s.PE != "" {
		b.WriteString(" pe " + s.PE)
	}
	b.WriteByte('\n')
}

package doctor

import (
	"fmt"
	"slices"
	"strings"
)

func moduleMissing(f *Facts) []Finding {
	if f.IPVS || f.RealServer() { // a real server needs none
		return nil
	}
	x := Finding{
		Seen: "the kernel has no IPVS: /proc/net/ip_vs is missing; and no virtual address is held here as on a DR or TUN real server",
		Why:  "a director cannot work without the module ip_vs; containers cannot load it themselves",
		Fix:  []string{"modprobe ip_vs", "echo ip_vs > /etc/modules-load.d/ip_vs.conf"},
		Undo: []string{"rmmod ip_vs", "rm /etc/modules-load.d/ip_vs.conf"},
	}
	if !f.IPVSFile {
		x.Seen += "; there is no module of this name for the running kernel either"
		x.Fix = []string{"# install the kernel's modules (in a container: on the host), or boot the kernel they belong to; then:", x.Fix[0]}
		x.Undo = nil
	}
	return []Finding{x}
}

func schedulerMissing(f *Facts) (found []Finding) {
	for name, there := range f.Schedulers {
		if !there {
			found = append(found, Finding{
				Object: name,
				Seen:   "neither the running kernel nor its modules have the scheduler " + name,
				Why:    "a service that asks for it cannot be added: scheduler not available",
				Fix:    []string{"modprobe ip_vs_" + name},
			})
		}
	}
	for _, s := range f.Services {
		if s.Scheduler == "none" {
			found = append(found, Finding{
				Object: s.ServiceKey.String(),
				Seen:   "the service has no scheduler: the kernel says none",
				Why:    "no new connection gets a server",
				Fix:    []string{"modprobe ip_vs_wlc", "goipvs -E " + serviceFlag(s.ServiceKey) + " -s wlc"},
			})
		}
	}
	return found
}

// foreignManager: two programs that each think the table is theirs.
func foreignManager(f *Facts) []Finding {
	var names []string
	for _, p := range f.Managers {
		names = append(names, fmt.Sprintf("%s (pid %d)", p.Name, p.PID))
	}
	distinct := map[string]bool{}
	for _, p := range f.Managers {
		distinct[p.Name] = true
	}
	seen := strings.Join(names, ", ")
	if _, kube := f.link("kube-ipvs0"); kube && !distinct["kube-proxy"] && f.outside("kube-ipvs0") {
		distinct["kube-proxy"] = true
		seen = strings.Join(append(names, "the interface kube-ipvs0 of kube-proxy in its IPVS mode, and services that are not its own"), ", ")
	}
	if len(distinct) < 2 && (!distinct["kube-proxy"] || !f.outside("kube-ipvs0")) {
		return nil
	}
	return []Finding{{
		Seen: "more than one program writes the IPVS table of this network namespace: " + seen,
		Why:  "each removes what the others add: services and real servers vanish after seconds",
		Fix: []string{"# keep one of them, or give the other a network namespace of its own;",
			"# kube-proxy leaves alone what is in --ipvs-exclude-cidrs"},
	}}
}

// outside tells whether there are services whose address is not on the link.
func (f *Facts) outside(link string) bool {
	return slices.ContainsFunc(f.vips(), func(a addr) bool {
		return !slices.ContainsFunc(f.Addrs, func(x Addr) bool { return x.Link == link && x.Addr() == a })
	})
}

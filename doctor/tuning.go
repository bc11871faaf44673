package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

func dropDefenceOn(f *Facts) (found []Finding) {
	for _, name := range []string{"drop_packet", "drop_entry", "secure_tcp"} {
		v, _ := f.knob(name)
		if v < 2 || len(f.Services) == 0 {
			continue
		}
		state := "always on"
		if v == 2 {
			state = "it has switched itself on, for want of memory (amemthresh " + f.Knobs["amemthresh"] + " pages)"
		}
		found = append(found, Finding{
			Severity: Warning,
			Object:   name,
			Seen:     fmt.Sprintf("%s is %d: %s", name, v, state),
			Why:      "packets or entries are dropped on purpose: some connections take a second longer, or fail",
			Fix:      []string{setKnob(name, 0), "# in an attack leave it; in want of memory give the director more"},
			Undo:     []string{f.unsetKnob(name)},
		})
	}
	return found
}

func estimatorOff(f *Facts) []Finding {
	cpus, there := f.Knobs["est_cpulist"]
	none := there && strings.TrimSpace(cpus) == "" && !f.Kernel.Before(6, 2)
	if len(f.Services) == 0 || !f.knobIs("run_estimation", 0) && !none {
		return nil
	}
	return []Finding{{
		Severity: Info,
		Seen:     "run_estimation is " + f.Knobs["run_estimation"] + ", est_cpulist \"" + cpus + "\": the estimator does not run",
		Why:      "totals and rates of goipvs -L --stats and --rate stand still, though traffic flows",
		Fix:      []string{setKnob("run_estimation", 1)},
		Undo:     []string{f.unsetKnob("run_estimation")},
	}}
}

// manyEstimates is from where on the estimator's round, every two seconds, is
// felt before 6.2 gave it threads.
const manyEstimates = 100_000

func estimatorJitter(f *Facts) []Finding {
	n := len(f.Services)
	for _, s := range f.Services {
		n += len(s.Destinations)
	}
	if !f.Kernel.Before(6, 2) || !f.knobIs("run_estimation", 1) || n*f.CPUs <= manyEstimates {
		return nil
	}
	return []Finding{{
		Severity: Warning,
		Seen:     fmt.Sprintf("%d services and real servers on %d CPUs are estimated every 2 s in one go, kernel %d.%d", n, f.CPUs, f.Kernel.Major, f.Kernel.Minor),
		Why:      "packets wait for it, 10 to 200 ms every two seconds",
		Fix:      []string{"# update to 6.2 or later, where threads do it; until then, at the price of rates and totals:", setKnob("run_estimation", 0)},
		Undo:     []string{f.unsetKnob("run_estimation")},
	}}
}

func connTableSmall(f *Facts) []Finding {
	n := 0
	for _, c := range f.Connections {
		n += c.Count
	}
	if _, resizes := f.Knobs["conn_lfactor"]; resizes || f.Buckets == 0 || n <= 8*int(f.Buckets) {
		return nil
	}
	bits := 12
	for 1<<bits < n {
		bits++
	}
	return []Finding{{
		Severity: Warning,
		Seen:     fmt.Sprintf("%d connections in %d buckets: %d in each", n, f.Buckets, n/int(f.Buckets)),
		Why:      "every packet looks through a long list, which costs CPU time",
		Fix:      []string{fmt.Sprintf("echo options ip_vs conn_tab_bits=%d > /etc/modprobe.d/ip_vs.conf", min(bits, 20)), "# takes effect when the module is loaded again"},
		Undo:     []string{"rm /etc/modprobe.d/ip_vs.conf"},
	}}
}

func lroOn(f *Facts) (found []Finding) {
	if len(f.servers(forwarded...)) == 0 {
		return nil
	}
	for _, l := range f.Links {
		if l.LRO && l.Up {
			found = append(found, Finding{
				Severity: Warning,
				Object:   l.Name,
				Seen:     "large receive offload is on",
				Why:      "packets put together by the card cannot be forwarded as they came: uploads break or crawl",
				Fix:      []string{"ethtool -K " + l.Name + " lro off"},
				Undo:     []string{"ethtool -K " + l.Name + " lro on"},
			})
		}
	}
	return found
}

func txChecksum(f *Facts) []Finding {
	n := f.Grew("Tcp.InCsumErrors") + f.Grew("Udp.InCsumErrors")
	if n == 0 || !f.Director() && !f.RealServer() {
		return nil
	}
	return []Finding{{
		Severity: Warning,
		Seen:     fmt.Sprintf("%d segments with a wrong checksum came in meanwhile (Tcp and Udp InCsumErrors)", n),
		Why:      "some host, often a virtual machine on the way, sends packets whose checksum was left to a card that does not compute it",
		Fix:      []string{"# on the sender, to find it out: ethtool -K IF tx off; then update its driver"},
		Undo:     []string{"# on the sender: ethtool -K IF tx on"},
	}}
}

func rsTWRecycle(f *Facts) []Finding {
	if f.Net["net.ipv4.tcp_tw_recycle"] != "1" {
		return nil
	}
	return []Finding{{
		Seen: "tcp_tw_recycle is 1",
		Why:  "of several clients behind one address some never get a connection: their time stamps do not agree",
		Fix:  []string{"sysctl -w net.ipv4.tcp_tw_recycle=0"},
		Undo: []string{"sysctl -w net.ipv4.tcp_tw_recycle=1"},
	}}
}

// sysctlNotPersistent: what works now because a knob is set, and is in no file
// that would set it after a reboot. What goipvs set it sets again itself.
func sysctlNotPersistent(f *Facts) (found []Finding) {
	if !f.BootFiles {
		return nil
	}
	needed := f.neededKnobs()
	for _, name := range slices.Sorted(maps.Keys(needed)) {
		want, set := needed[name], f.Persistent[name]
		if set == want {
			continue
		}
		x := Finding{
			Severity: Warning,
			Object:   name,
			Seen:     fmt.Sprintf("the running value is %s, and no file of sysctl.d sets it", want),
			Why:      "the set-up works until the next reboot",
			Fix:      []string{fmt.Sprintf("echo %s=%s >> /etc/sysctl.d/90-lvs.conf", name, want)},
			Undo:     []string{fmt.Sprintf("sed -i /^%s=/d /etc/sysctl.d/90-lvs.conf", name)},
		}
		if set != "" {
			x.Seen = fmt.Sprintf("the running value is %s, the files of sysctl.d set %s", want, set)
		}
		found = append(found, x)
	}
	if vs := f.persistentVS(); vs != "" && len(f.Services) > 0 && !f.BootLoads["ip_vs"] {
		found = append(found, Finding{
			Severity: Warning,
			Object:   vs,
			Seen:     "a file of sysctl.d sets it, but no file of modules-load.d loads ip_vs before",
			Why:      "at boot the knob does not exist yet when sysctl.d is read, so it is not set",
			Fix:      []string{"echo ip_vs > /etc/modules-load.d/ip_vs.conf"},
			Undo:     []string{"rm /etc/modules-load.d/ip_vs.conf"},
		})
	}
	return found
}

func (f *Facts) persistentVS() string {
	for _, name := range slices.Sorted(maps.Keys(f.Persistent)) {
		if strings.HasPrefix(name, "net.ipv4.vs.") {
			return name
		}
	}
	return ""
}

// neededKnobs are knobs without whose running value, which is not the kernel's
// default, this host would not work.
func (f *Facts) neededKnobs() map[string]string {
	need := map[string]string{}
	if len(f.Hints.VIPs) == 0 && len(held4(f)) > 0 { // by hand, not by goipvs realserver
		for _, knob := range []string{"arp_ignore", "arp_announce"} {
			if v := f.Conf["all"][knob]; v > 0 {
				need["net.ipv4.conf.all."+knob] = strconv.Itoa(v)
			}
		}
	}
	if len(f.natServers(true)) > 0 && f.Conf["all"]["forwarding"] == 1 {
		need["net.ipv4.ip_forward"] = "1"
	}
	if len(f.natServers(false)) > 0 && f.Conf6["all"]["forwarding"] == 1 {
		need["net.ipv6.conf.all.forwarding"] = "1"
	}
	return need
}

package doctor

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// managers are programs that write IPVS tables. goipvs itself is no daemon.
var managers = []string{"kube-proxy", "keepalived", "kube-router", "ldirectord", "goipvsd", "seesaw_ncc", "surealived", "mon"}

// managers finds them in this network namespace. A process whose namespace may
// not be read is another user's; root sees all.
func (g *gatherer) managers() {
	own, err := os.Readlink("/proc/thread-self/ns/net")
	comms, _ := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil || len(comms) == 0 {
		return
	}
	for _, c := range comms {
		name := readLine(c)
		dir := filepath.Dir(c)
		if !slices.Contains(managers, name) && !interpreted(dir, name) {
			continue
		}
		if !slices.Contains(managers, name) {
			name = "ldirectord"
		}
		ns, err := os.Readlink(dir + "/ns/net")
		if os.IsPermission(err) {
			g.note("programs that write the IPVS table", err)
		}
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if err != nil || ns != own || g.isChild(pid) {
			continue
		}
		g.Facts.Managers = append(g.Facts.Managers, Process{Name: name, PID: pid})
	}
}

// interpreted: ldirectord is a Perl script, and may be called perl.
func interpreted(dir, name string) bool {
	return name == "perl" && fileHas(dir+"/cmdline", "ldirectord")
}

// isChild: keepalived is two or three processes; one of a name tells enough.
func (g *gatherer) isChild(pid int) bool {
	name := readLine("/proc/" + strconv.Itoa(pid) + "/comm")
	return slices.ContainsFunc(g.Facts.Managers, func(p Process) bool { return p.Name == name })
}

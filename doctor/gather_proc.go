package doctor

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// What is read of each interface.
var (
	confKnobs  = []string{"arp_ignore", "arp_announce", "rp_filter", "send_redirects", "accept_local", "forwarding", "promote_secondaries"}
	conf6Knobs = []string{"forwarding"}
	netKnobs   = []string{"net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_tw_recycle"}
)

func (g *gatherer) conf() {
	names := []string{"all", "default"}
	for _, l := range g.Links {
		names = append(names, l.Name)
	}
	g.Conf = readConf("/proc/sys/net/ipv4/conf/", names, confKnobs)
	g.Conf6 = readConf("/proc/sys/net/ipv6/conf/", names, conf6Knobs)
}

func readConf(dir string, ifaces, knobs []string) map[string]map[string]int {
	all := map[string]map[string]int{}
	for _, i := range ifaces {
		values := map[string]int{}
		for _, k := range knobs {
			if n, err := strconv.Atoi(readLine(dir + i + "/" + k)); err == nil {
				values[k] = n
			}
		}
		all[i] = values
	}
	return all
}

func (g *gatherer) knobs() {
	g.Net = map[string]string{}
	for _, name := range netKnobs {
		if v := readLine("/proc/sys/" + strings.ReplaceAll(name, ".", "/")); v != "" {
			g.Net[name] = v
		}
	}
}

func readLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// files reads what the next boot will set: sysctl.d in its order, the later
// file and line winning, a file of the same name in etc hiding that of run and
// lib (sysctl.d(5)).
func (g *gatherer) files() {
	g.Facts.Persistent, g.BootLoads = map[string]string{}, map[string]bool{}
	for _, name := range confFiles(g.path, "sysctl.d") {
		g.BootFiles = true
		for line := range lines(name) {
			key, value, ok := strings.Cut(line, "=")
			if ok {
				key = strings.TrimPrefix(strings.TrimSpace(key), "-")
				g.Facts.Persistent[sysctlName(strings.TrimSpace(key))] = strings.TrimSpace(value)
			}
		}
	}
	for _, name := range append(confFiles(g.path, "modules-load.d"), g.path("etc/modules")) {
		for line := range lines(name) {
			g.BootLoads[strings.Fields(line)[0]] = true
		}
	}
	aliases, _ := filepath.Glob(g.path("etc/sysconfig/network-scripts/ifcfg-lo:*"))
	for _, name := range aliases {
		if !fileHas(name, "ARPUPDATE=no") {
			g.Legacy = append(g.Legacy, name)
		}
	}
}

// sysctlName turns a name with slashes into one with dots.
func sysctlName(name string) string {
	if i := strings.IndexAny(name, "./"); i < 0 || name[i] == '.' {
		return name
	}
	return strings.NewReplacer("/", ".", ".", "/").Replace(name)
}

func confFiles(path func(string) string, folder string) (files []string) {
	chosen := map[string]string{}
	for _, dir := range []string{"usr/lib", "lib", "usr/local/lib", "run", "etc"} {
		found, _ := filepath.Glob(path(dir + "/" + folder + "/*.conf"))
		for _, f := range found {
			chosen[filepath.Base(f)] = f
		}
	}
	for _, f := range chosen {
		files = append(files, f)
	}
	sortByBase(files)
	if folder == "sysctl.d" && exists(path("etc/sysctl.conf")) {
		files = append(files, path("etc/sysctl.conf"))
	}
	return files
}

// readCounters reads the tables of names and numbers under /proc/net.
func readCounters() map[string]uint64 {
	c := map[string]uint64{}
	for _, name := range []string{"snmp", "netstat"} {
		readPairs(c, procNet+name)
	}
	readNamed(c, procNet+"snmp6")
	readPerCPU(c, procNet+"stat/rt_cache", "rt_cache.")
	readPerCPU(c, procNet+"stat/nf_conntrack", "nf_conntrack.")
	return c
}

// readPairs reads "Ip: Forwarding InReceives ..." and the line of numbers that
// follows.
func readPairs(into map[string]uint64, path string) {
	var head []string
	for line := range lines(path) {
		f := strings.Fields(line)
		if len(head) != len(f) || head[0] != f[0] {
			head = f
			continue
		}
		for i, name := range head[1:] {
			if n, err := strconv.ParseUint(f[i+1], 10, 64); err == nil {
				into[strings.TrimSuffix(head[0], ":")+"."+name] = n
			}
		}
		head = nil
	}
}

func readNamed(into map[string]uint64, path string) {
	for line := range lines(path) {
		if f := strings.Fields(line); len(f) == 2 {
			if n, err := strconv.ParseUint(f[1], 10, 64); err == nil {
				into[f[0]] = n
			}
		}
	}
}

// readPerCPU adds up a table of hexadecimal numbers, a row for each processor.
// The column entries is the same in all.
func readPerCPU(into map[string]uint64, path, prefix string) {
	var head []string
	for line := range lines(path) {
		f := strings.Fields(line)
		if head == nil {
			head = f
			continue
		}
		for i, name := range head {
			if i >= len(f) {
				break
			}
			if n, err := strconv.ParseUint(f[i], 16, 64); err == nil {
				into[prefix+strings.TrimSuffix(name, ":")] += n
			}
		}
	}
}

// lines are those of a file that are neither empty nor comments; of a file that
// cannot be read there are none.
func lines(path string) func(func(string) bool) {
	return func(yield func(string) bool) {
		file, err := os.Open(path)
		if err != nil {
			return
		}
		defer file.Close()
		s := bufio.NewScanner(file)
		s.Buffer(nil, 1<<20)
		for s.Scan() {
			line := strings.TrimSpace(s.Text())
			if line == "" || line[0] == '#' || line[0] == ';' {
				continue
			}
			if !yield(line) {
				return
			}
		}
	}
}

func (g *gatherer) conntrack() {
	const dir = "/proc/sys/net/netfilter/"
	count, err := os.ReadFile(dir + "nf_conntrack_count")
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	g.note("connection tracking", err)
	g.Facts.Conntrack.Loaded = true
	g.Facts.Conntrack.Count, _ = strconv.Atoi(strings.TrimSpace(string(count)))
	g.Facts.Conntrack.Max, _ = strconv.Atoi(readLine(dir + "nf_conntrack_max"))
	g.note("local addresses of full NAT", g.lips())
}

package doctor

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvs/procfs"
)

const procNet = "/proc/thread-self/net/"

// ipvs reads the table. It asks only a kernel that has IPVS already: a question
// would load the module.
func (g *gatherer) ipvs() {
	g.IPVS = exists(procNet + "ip_vs")
	g.IPVSFile = g.hasModule("ip_vs")
	g.Facts.Schedulers = map[string]bool{}
	for _, name := range g.Facts.Hints.Schedulers {
		g.Facts.Schedulers[name] = loaded("ip_vs_"+name) || g.hasModule("ip_vs_"+name)
	}
	if !g.IPVS {
		return
	}
	c, err := ipvs.Dial(ipvs.Options{})
	if err == nil {
		defer c.Close()
		err = g.table(c)
	}
	if err != nil {
		g.TableHidden = true
		g.note("the IPVS table", err)
		return
	}
	g.settings(c)
	g.note("connections", g.connections())
	g.note("connections by synchronization", g.synced())
	g.Apps = firstWords(procNet + "ip_vs_app")
}

func (g *gatherer) table(c *ipvs.Client) error {
	services, err := c.Services()
	if err != nil {
		return err
	}
	for _, s := range services {
		if k := g.Facts.Hints.Service; k != nil && s.ServiceKey != *k {
			g.Others++
			continue
		}
		d, err := c.Destinations(s.ServiceKey, nil)
		if errors.Is(err, ipvs.ErrNoService) {
			continue // it has just gone
		}
		if err != nil {
			return err
		}
		g.Services = append(g.Services, Service{ServiceInfo: s, Destinations: d})
	}
	return nil
}

func (g *gatherer) settings(c *ipvs.Client) {
	var err error
	if g.Timeouts, err = c.Timeouts(); err != nil {
		g.note("timeouts", err)
	}
	if g.Daemons, err = c.Daemons(); err != nil {
		g.note("sync daemons", err)
	}
	if info, err := c.Info(); err == nil {
		g.Buckets = info.ConnTabSize
	}
	const dir = "/proc/sys/net/ipv4/vs/"
	knobs, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		g.note("knobs of net.ipv4.vs", errors.New("they are not in this namespace (a container without root of its own)"))
		return
	}
	g.note("knobs of net.ipv4.vs", err)
	g.Knobs = map[string]string{}
	for _, k := range knobs {
		g.Knobs[k.Name()] = readLine(dir + k.Name())
	}
}

// synReceived is how long the kernel keeps a connection in SYN_RECV from its
// last packet on.
const synReceived = 60 * time.Second

const sampledClients = 8

// connections adds up the connection table. A million of them take a second or
// two and no memory.
func (g *gatherer) connections() error {
	file, err := procfs.Open("", procfs.ConnectionFile)
	if err != nil {
		return err
	}
	defer file.Close()
	type key struct {
		p             ipvs.Protocol
		v, d          string
		state         string
		template, own bool
	}
	index := map[key]int{}
	for c, err := range procfs.Connections(file) {
		if errors.Is(err, procfs.ErrInput) {
			continue
		}
		if err != nil {
			return err
		}
		template := c.Client.Port() == 0 && (c.State == "NONE" || c.State == "ASSURED")
		k := key{c.Protocol, c.Virtual.String(), c.Destination.String(), c.State, template, g.hasAddr(c.Client.Addr())}
		i, ok := index[k]
		if !ok {
			i = len(g.Connections)
			index[k] = i
			mark, _ := c.FWMark()
			g.Connections = append(g.Connections, Connections{Protocol: c.Protocol, Virtual: c.Virtual, Destination: c.Destination,
				Mark: mark, State: c.State, Template: template, Own: k.own})
		}
		sum := &g.Connections[i]
		sum.Count++
		if c.State == "SYN_RECV" {
			sum.Idle = max(sum.Idle, synReceived-c.Expires)
		}
		if len(sum.Clients) < sampledClients {
			sum.Clients = append(sum.Clients, c.Client)
		}
	}
	return nil
}

func (g *gatherer) synced() error {
	file, err := procfs.Open("", procfs.ConnectionSyncFile)
	if err != nil {
		return err
	}
	defer file.Close()
	if len(g.Daemons) == 0 {
		return nil
	}
	for c, err := range procfs.Connections(file) {
		if err == nil && c.Origin == "SYNC" {
			g.Synced++
		}
	}
	return nil
}

// firstWords reads the names of application helpers: "tcp 21 0 ftp".
func firstWords(path string) (names []string) {
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer file.Close()
	for s := bufio.NewScanner(file); s.Scan(); {
		if f := strings.Fields(s.Text()); len(f) == 4 && f[0] != "prot" {
			names = append(names, f[3])
		}
	}
	return names
}

func loaded(module string) bool {
	return exists("/sys/module/"+module) || fileHasLine("/proc/modules", module+" ")
}

// hasModule tells whether the running kernel has the module, on disk or built
// in.
func (g *gatherer) hasModule(name string) bool {
	dir := g.modules()
	return loaded(name) || fileHas(dir+"/modules.dep", "/"+name+".ko") || fileHas(dir+"/modules.builtin", "/"+name+".ko")
}

func fileHas(path, text string) bool {
	b, err := os.ReadFile(path)
	return err == nil && strings.Contains(string(b), text)
}

func fileHasLine(path, start string) bool {
	b, err := os.ReadFile(path)
	return err == nil && (strings.HasPrefix(string(b), start) || strings.Contains(string(b), "\n"+start))
}

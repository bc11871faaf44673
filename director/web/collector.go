package web

import (
	"cmp"
	"runtime"

	"github.com/goipvs/goipvs/director/control"
	"github.com/prometheus/client_golang/prometheus"
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("goipvs_"+name, help, labels, nil)
}

var (
	buildInfo    = desc("build_info", "1, labelled with versions.", "version", "goversion")
	startTime    = desc("start_time_seconds", "When the daemon started, as a Unix time.")
	reloadOK     = desc("config_last_reload_successful", "1 when the last reload, or the start, went well.")
	kernelUp     = desc("kernel_up", "1 when the kernel's IPVS can be reached.")
	holding      = desc("mass_failure_hold", "1 while nearly all servers fail at once and the last state is kept.")
	serviceUp    = desc("service_up", "1 when enough real servers are in and clients reach them, 0 when not, by service.", "service", "address")
	fallback     = desc("service_fallback", "1 while the fallback is in use.", "service", "address")
	capacity     = desc("service_capacity", "Sum of weights of the real servers that are in.", "service", "address")
	drifted      = desc("service_drift", "1 while the kernel differs from what is wanted.", "service", "address")
	servicePlane = desc("service_plane", "1 for where full NAT of the service runs: kernel, userspace; none: it cannot be served here.", "service", "address", "plane")
	byCommand    = desc("service_by_command", "1 for a service of full NAT that commands made, not the file.", "service", "address")
	natConns     = desc("service_source_nat_connections_total", "Connections that the kernel's full NAT gave a local address, since the service came to the kernel.", "service", "address")
	withoutIPVS  = desc("without_ipvs", "1 while the machine has no IPVS and services of NAT run in user space.")
	tracked      = desc("conntrack_entries", "Connections that connection tracking knows; absent: it is not loaded.")
	trackedMax   = desc("conntrack_entries_max", "Connections that connection tracking has room for; absent: it is not loaded.")
	userspace    = desc("userspace_connections", "Connections, and sessions of UDP, of full NAT in user space; absent: there is none.")
	userspaceMax = desc("userspace_connections_max", "How many there can be, by the daemon's limit of file descriptors.")
	userspaceBad = desc("userspace_errors_total", "Connections of user space without a server (refused), with none that answered (unreachable), without a port (exhausted), reset after the idle timeout (idle); times without descriptors or memory (no_files); datagrams lost (dropped).", "kind")
	refused      = desc("service_refused", "1 while the kernel refuses part of the service.", "service", "address")
	serverUp     = desc("server_up", "1 up, 0 down; absent: never checked.", "service", "address", "server")
	serverState  = desc("server_state", "1 for the place the server is in: in, quiesced, out, leaving.", "service", "address", "server", "state")
	weight       = desc("server_weight", "Weight: of the file, wanted now, in the kernel.", "service", "address", "server", "kind")
	connections  = desc("server_connections", "Connections now.", "service", "address", "server", "state")
	connsTotal   = desc("server_connections_total", "Connections since the server was added.", "service", "address", "server")
	connectFails = desc("server_connect_failures_total", "Connects to the server that it refused, or did not answer in time, by full NAT in user space; absent: the kernel does not connect.", "service", "address", "server")
	packets      = desc("server_packets_total", "Packets since the server was added.", "service", "address", "server", "direction")
	bytesTotal   = desc("server_bytes_total", "Bytes since the server was added.", "service", "address", "server", "direction")
	override     = desc("server_override", "1 while an operator's word on the server counts.", "service", "address", "server", "kind")
	lastCheck    = desc("server_last_check_timestamp_seconds", "When the server was last checked, as a Unix time.", "service", "address", "server")
)

// collector makes metrics of the latest picture: a scrape asks neither the
// kernel nor a real server.
type collector struct{ m *Monitor }

// Describe sends nothing: which series there are changes with the file.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends the series of the moment.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(buildInfo, 1, c.m.version, runtime.Version())
	st, err := c.m.picture()
	if err != nil {
		return
	}
	gauge(startTime, float64(st.Started.Unix()))
	gauge(reloadOK, truth(st.Reload == nil || st.Reload.Error == ""))
	gauge(kernelUp, truth(st.Kernel == "ok"))
	gauge(holding, truth(st.Hold != nil))
	gauge(withoutIPVS, truth(st.WithoutIPVS != ""))
	if t := st.Conntrack; t != nil {
		gauge(tracked, float64(t.Count))
		gauge(trackedMax, float64(t.Max))
	}
	if u := st.Userspace; u != nil {
		gauge(userspace, float64(u.Connections))
		gauge(userspaceMax, float64(u.Limit))
		for kind, n := range map[string]uint64{"refused": u.Refused, "unreachable": u.Unreachable, "no_files": u.NoFiles, "exhausted": u.Exhausted, "idle": u.Idle, "dropped": u.Dropped} {
			out <- prometheus.MustNewConstMetric(userspaceBad, prometheus.CounterValue, float64(n), kind)
		}
	}
	for i := range st.Services {
		service(out, gauge, &st.Services[i])
	}
}

func service(out chan<- prometheus.Metric, gauge func(*prometheus.Desc, float64, ...string), s *control.ServiceStatus) {
	name, address := label(s.Name), s.Service
	gauge(serviceUp, truth(s.State == "up"), name, address)
	gauge(fallback, truth(s.Fallback), name, address)
	gauge(capacity, float64(s.Capacity), name, address)
	gauge(drifted, truth(s.Drift != ""), name, address)
	gauge(refused, truth(s.Refused != ""), name, address)
	if s.Plane != "" || s.State == "refused" {
		gauge(servicePlane, 1, name, address, cmp.Or(s.Plane, "none"))
	}
	if s.ByCommand {
		gauge(byCommand, 1, name, address)
	}
	if s.SourceNAT != nil {
		out <- prometheus.MustNewConstMetric(natConns, prometheus.CounterValue, float64(*s.SourceNAT), name, address)
	}
	for i := range s.Servers {
		server(out, gauge, name, address, &s.Servers[i])
	}
}

func server(out chan<- prometheus.Metric, gauge func(*prometheus.Desc, float64, ...string), name, address string, s *control.ServerStatus) {
	if s.Verdict != "unchecked" {
		gauge(serverUp, truth(s.Verdict == "up"), name, address, s.Address)
	}
	gauge(serverState, 1, name, address, s.Address, s.Place)
	gauge(weight, float64(s.Weight), name, address, s.Address, "file")
	gauge(weight, float64(s.WeightWanted), name, address, s.Address, "wanted")
	if s.WeightKernel != nil {
		gauge(weight, float64(*s.WeightKernel), name, address, s.Address, "kernel")
		gauge(connections, float64(s.Active), name, address, s.Address, "active")
		gauge(connections, float64(s.Inactive), name, address, s.Address, "inactive")
	}
	if s.Override != nil {
		gauge(override, 1, name, address, s.Address, s.Override.Kind)
	}
	for i := range s.Checks {
		if c := &s.Checks[i]; c.Last != nil {
			gauge(lastCheck, float64(c.Last.UnixMilli())/1000, name, address, s.Address)
			break
		}
	}
	if k := s.Stats; k != nil {
		count := func(d *prometheus.Desc, v uint64, labels ...string) {
			out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), append([]string{name, address, s.Address}, labels...)...)
		}
		count(connsTotal, k.Connections)
		if k.ConnectFailures != nil {
			count(connectFails, *k.ConnectFailures)
		}
		count(packets, k.PacketsIn, "in")
		count(packets, k.PacketsOut, "out")
		count(bytesTotal, k.BytesIn, "in")
		count(bytesTotal, k.BytesOut, "out")
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

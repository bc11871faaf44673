package director

import (
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/goipvs/goipvs/director/control"
	"github.com/goipvs/goipvs/fullnat/snat"
	"github.com/goipvs/goipvs/healthcheck"
	"github.com/goipvs/goipvs/ipvs"
)

// Checks tells what is known of the checks of one server, in their order; the
// runner does.
type Checks func(ServerID) []CheckStatus

// CheckStatus is what a runner knows of one check.
type CheckStatus struct {
	Type string
	healthcheck.Status
}

// Status is a picture of everything, as of the last look at the kernel.
func (d *Director) Status(checks Checks) (st control.Status, err error) {
	err = d.ask(func(s *state) {
		if s.stale() {
			_ = s.look(nil) // its error is part of the picture
		}
		st = s.status(checks)
	})
	return st, err
}

// stale reports whether no tick keeps the counters of connections fresh.
func (s *state) stale() bool { return s.setup.Settings.Reconcile == 0 }

func (s *state) status(checks Checks) control.Status {
	st := control.Status{Time: s.d.now(), Kernel: "ok", Services: make([]control.ServiceStatus, 0, len(s.services))}
	if s.lost != nil {
		st.Kernel = s.lost.Error()
	}
	if s.setup.NoIPVS != nil {
		st.WithoutIPVS = s.setup.NoIPVS.Error()
	}
	st.Conntrack = conntrack()
	counts := s.counts()
	if since, on := s.hold.Active(); on {
		st.Hold = &since
	}
	if !s.reload.Time.IsZero() {
		st.Reload = &control.Reload{Time: s.reload.Time, Error: s.reload.Error}
	}
	for _, key := range s.keys() {
		if s.services[key].Path {
			continue
		}
		v := s.services[key]
		s.countFailures(v)
		out := v.status(s.d.now(), checks)
		if s.nat.drift != "" && len(v.Locals) > 0 {
			out.Drift = strings.TrimPrefix(out.Drift+", "+s.nat.drift, ", ")
		}
		if n, ok := counts[key]; ok && len(v.Locals) > 0 {
			out.SourceNAT = &n.Conns
		}
		st.Services = append(st.Services, out)
	}
	return st
}

// conntrack is how full connection tracking is, nil where it is not loaded.
func conntrack() *control.Conntrack {
	var c control.Conntrack
	for name, into := range map[string]*uint64{"count": &c.Count, "max": &c.Max} {
		b, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_" + name)
		if err == nil {
			*into, err = strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
		}
		if err != nil {
			return nil
		}
	}
	return &c
}

// counts are those of source NAT, if there is any.
func (s *state) counts() map[ipvs.ServiceKey]snat.Counts {
	if s.d.o.SourceNAT == nil || len(s.nat.kept) == 0 {
		return nil
	}
	counts, _ := s.d.o.SourceNAT.Counts() // its error is found by the next look
	return counts
}

func (v *service) status(now time.Time, checks Checks) control.ServiceStatus {
	d := &v.decision
	out := control.ServiceStatus{
		Name: v.Name, Service: v.Key().String(), Scheduler: v.Service.Scheduler,
		State: v.stateName(), Since: stamp(v.since), Fallback: d.Fallback,
		Quorum: max(v.Quorum, 1), Capacity: d.Capacity, Drift: v.drift, Refused: v.refusal.text,
		Servers: make([]control.ServerStatus, 0, len(v.Servers)),
	}
	if text := v.shadow(); text != "" {
		out.Drift = text
	}
	out.ByCommand = v.Manual != nil
	if v.fullNAT() || v.refused() {
		out.Locals = v.locals()
		out.Plane, out.PlaneReason = string(v.Plane), v.Why
	}
	for i := range v.Servers {
		out.Servers = append(out.Servers, v.serverStatus(now, i, checks))
	}
	out.Others = v.others()
	return out
}

func (v *service) stateName() string {
	switch d := &v.decision; {
	case v.gone:
		return "leaving"
	case v.refused():
		return "refused"
	case d.Pending:
		return "pending"
	case v.up:
		return "up"
	}
	return "down"
}

func (v *service) serverStatus(now time.Time, i int, checks Checks) control.ServerStatus {
	r := &v.Servers[i]
	m := v.mem.Server(r.Addr)
	out := control.ServerStatus{
		Address: r.Addr.String(), Verdict: m.Health.String(), Since: stamp(m.Since), Reason: Clean(m.Reason),
		Weight: r.Weight, Method: v.method(r.Method), Maintenance: m.Maintenance,
	}
	if r.Name != out.Address {
		out.Name = r.Name
	}
	if i < len(v.decision.Standings) {
		st := v.decision.Standings[i]
		out.Place, out.Cause, out.WeightWanted = st.Place.String(), string(st.Cause), st.Weight
	}
	if _, leaving := v.mem.Leaving[r.Addr]; leaving {
		out.Place = "leaving"
	}
	if m.Override.active(now) {
		out.Override = m.Override.status()
	}
	if h := v.inKernel(r.Addr); h != nil {
		w := h.Weight
		out.WeightKernel, out.Active, out.Inactive, out.Stats = &w, h.Active, h.Inactive, v.stats(h)
	}
	if checks != nil {
		for _, c := range checks(ServerID{v.Key(), r.Addr}) {
			out.Checks = append(out.Checks, c.status())
		}
	}
	return out
}

// others are what the kernel has, or shall have, beyond the file's servers.
func (v *service) others() (out []control.ServerStatus) {
	for i := range v.have {
		h := &v.have[i]
		if v.server(ServerID{v.Key(), h.Addr}) != nil {
			continue
		}
		w := h.Weight
		o := control.ServerStatus{Address: h.Addr.String(), Place: "foreign", Method: v.method(h.Method),
			Weight: w, WeightKernel: &w, Active: h.Active, Inactive: h.Inactive, Stats: v.stats(h)}
		if _, leaving := v.mem.Leaving[h.Addr]; leaving {
			o.Place = "leaving"
		}
		for _, f := range v.Fallback {
			if f.Addr == h.Addr && v.decision.Fallback {
				o.Place, o.WeightWanted = "fallback", max(f.Weight, 1)
			}
		}
		out = append(out, o)
	}
	return out
}

// method is that of the file: full NAT in the kernel is NAT to IPVS.
func (v *service) method(m ipvs.Method) string {
	if len(v.Locals) > 0 && m == ipvs.NAT {
		m = ipvs.FullNAT
	}
	return m.String()
}

func (v *service) inKernel(a netip.AddrPort) *ipvs.DestinationInfo {
	for i := range v.have {
		if v.have[i].Addr == a {
			return &v.have[i]
		}
	}
	return nil
}

// countFailures asks user space what only it knows, as the kernel does not connect.
func (s *state) countFailures(v *service) {
	if v.Proxy != nil && s.d.o.Proxy != nil {
		v.failures = s.d.o.Proxy.Failures(v.Key())
	}
}

func (v *service) stats(h *ipvs.DestinationInfo) *control.Stats {
	s := &h.Stats
	out := control.Stats{Connections: s.Conns, PacketsIn: s.InPkts, PacketsOut: s.OutPkts, BytesIn: s.InBytes, BytesOut: s.OutBytes,
		CPS: s.CPS, BPSIn: s.InBPS, BPSOut: s.OutBPS}
	if n, ok := v.failures[h.Addr]; ok {
		out.ConnectFailures = &n
	}
	return &out
}

func (o *Override) status() *control.Override {
	out := &control.Override{Kind: string(o.Kind), Reason: o.Reason, By: o.By, Since: o.Since, Until: stamp(o.Until), Deadline: stamp(o.Deadline)}
	if o.Kind == SetWeight {
		w := o.Weight
		out.Weight = &w
	}
	return out
}

func (c *CheckStatus) status() control.Check {
	return control.Check{
		Type: c.Type, Verdict: c.Verdict.String(), Reason: Clean(c.Reason), Last: stamp(c.Checked), Seconds: c.Took.Seconds(),
		Successes: c.Successes, Failures: c.Failures, Warning: Clean(c.Warning), Transcript: c.Transcript,
	}
}

// stamp is a time for JSON: the zero time is absent.
func stamp(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

package fullnat

import (
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// ServiceInfo is a service as it is now.
type ServiceInfo struct {
	ipvs.ServiceInfo
	Options      Options
	Destinations []DestinationInfo // newest first, as the kernel lists them
	Locals       []LocalInfo       // in the order of Options.Locals
}

// DestinationInfo is a real server as it is now.
type DestinationInfo struct {
	ipvs.DestinationInfo
	// Failures counts connects that were refused or not answered in time.
	Failures uint64
}

// LocalInfo is a local address as it is now: what "ipvsadm -G" lists.
type LocalInfo struct {
	Addr  netip.Addr
	Conns uint64 // that have it now
	Total uint64 // that had it since it was added
	// Conflicts counts connects for which the address had no port that was free
	// towards the server.
	Conflicts uint64
	// Unusable counts the attempts to use it while it was not an address of
	// this machine.
	Unusable uint64
	// Capacity is how many connections it can have at a time: TCP has the
	// kernel's local ports once for each server, UDP once.
	Capacity uint64
}

// scarce is the share of its capacity from which a LIP is warned of: connects
// become slow long before they fail.
const scarce = 0.8

// Services reports all services, in the order of their keys.
func (e *Engine) Services() []ServiceInfo {
	e.mu.Lock()
	defer e.mu.Unlock()
	infos := make([]ServiceInfo, 0, len(e.services))
	for _, k := range e.keys() {
		infos = append(infos, e.services[k].info(e.ports))
	}
	return infos
}

// Service reports one service; ok is false when there is none.
func (e *Engine) Service(k ipvs.ServiceKey) (info ServiceInfo, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	svc := e.services[k]
	if svc == nil {
		return info, false
	}
	return svc.info(e.ports), true
}

// info is what there is of a service, whose LIPs have so many local ports.
func (svc *service) info(ports int) ServiceInfo {
	i := ServiceInfo{Options: svc.want.Options}
	i.Service, i.Stats = svc.want.Service, svc.meter.read(svc.counted())
	svc.mu.Lock()
	for _, m := range svc.sched.Servers(nil) {
		d := of(m)
		info := DestinationInfo{DestinationInfo: m.Info(), Failures: failures(d.shares)}
		info.Stats = d.meter.read(total(d.shares))
		i.Destinations = append(i.Destinations, info)
	}
	svc.mu.Unlock()
	for _, a := range svc.want.Options.Locals {
		l := svc.locals[a].info()
		l.Capacity = svc.capacity(ports)
		i.Locals = append(i.Locals, l)
	}
	return i
}

// counted sums what all servers did, with those that are gone.
func (svc *service) counted() ipvs.Stats {
	sum := svc.gone
	for _, d := range svc.servers {
		sum = plus(sum, total(d.shares))
	}
	return sum
}

// capacity is that of each of its LIPs, with so many local ports.
func (svc *service) capacity(ports int) uint64 {
	n := uint64(ports)
	if svc.key.Protocol == ipvs.TCP {
		n *= uint64(max(len(svc.order), 1))
	}
	return n
}

// localPorts is the size of net.ipv4.ip_local_port_range, which counts for IPv6
// as well.
func localPorts() int {
	low, high := 32768, 60999
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		_, _ = fmt.Sscan(string(text), &low, &high)
	}
	return max(high-low+1, 1)
}

func (lip *local) info() LocalInfo {
	i := LocalInfo{Addr: lip.addr}
	for n := range lip.shares {
		s := &lip.shares[n]
		i.Conns += uint64(s.live.Load())
		i.Total += s.total.Load()
		i.Conflicts += s.conflicts.Load()
		i.Unusable += s.unusable.Load()
	}
	return i
}

// Zero sets the counters of all services and their servers to zero, ZeroService
// those of one.
func (e *Engine) Zero() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, svc := range e.services {
		svc.zero()
	}
}

// ZeroService sets the counters of a service and its servers to zero. A missing
// service is ipvs.ErrNoService.
func (e *Engine) ZeroService(k ipvs.ServiceKey) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	svc := e.services[k]
	if svc == nil {
		return opError("zero counters", k, ipvs.ErrNoService)
	}
	svc.zero()
	return nil
}

func (svc *service) zero() {
	svc.meter.zero(svc.counted())
	for _, d := range svc.servers {
		d.meter.zero(total(d.shares))
	}
}

// estimate feeds the meters, forgets removed servers, and balances the loops,
// until the engine ends.
func (e *Engine) estimate() {
	t := time.NewTicker(estimateEvery)
	defer t.Stop()
	for {
		select {
		case <-e.quit:
			return
		case <-t.C:
			ports := localPorts()
			e.mu.Lock()
			e.ports = ports
			for _, svc := range e.services {
				svc.tick(e.clock())
				e.warn(svc)
			}
			e.balance()
			e.mu.Unlock()
		}
	}
}

// warn says once when a LIP is nearly used up, and once when it is not any more.
func (e *Engine) warn(svc *service) {
	capacity := svc.capacity(e.ports)
	for _, lip := range svc.locals {
		is := float64(lip.info().Conns) > scarce*float64(capacity)
		if is == lip.scarce {
			continue
		}
		lip.scarce = is
		if is {
			e.log.Warn("local address nearly used up", "service", svc.key, "local", lip.addr, "conns", lip.info().Conns, "capacity", capacity)
		} else {
			e.log.Info("local address has ports again", "service", svc.key, "local", lip.addr)
		}
	}
}

func (svc *service) tick(now time.Duration) {
	svc.mu.Lock()
	svc.sched.Advance(now)
	svc.mu.Unlock()
	for addr, d := range svc.servers {
		n := total(d.shares)
		d.meter.tick(n)
		if d.removed && live(d.shares) == 0 {
			svc.gone = plus(svc.gone, n)
			delete(svc.servers, addr)
		}
	}
	svc.meter.tick(svc.counted())
}

// Errors counts what did not end well, since the engine began.
type Errors struct {
	// Refused connections found no server to go to: none, or none with weight
	// and below its threshold.
	Refused uint64 `json:"refused"`
	// Unreachable connections had a server, but neither it nor those tried in
	// its place answered.
	Unreachable uint64 `json:"unreachable"`
	// NoFiles counts the times that descriptors or memory ran out.
	NoFiles uint64 `json:"no_files"`
	// Exhausted connections got no descriptor or port in the time to connect.
	Exhausted uint64 `json:"exhausted"`
	// Idle connections were reset after the idle timeout.
	Idle uint64 `json:"idle"`
	// Dropped datagrams found no server, descriptor, port or room in a queue.
	Dropped uint64 `json:"dropped"`
}

// Errors reports them for the whole engine.
func (e *Engine) Errors() (s Errors) {
	for _, l := range e.loops {
		s.Refused += l.errs.refused.Load()
		s.Unreachable += l.errs.unreachable.Load()
		s.NoFiles += l.errs.noFiles.Load()
		s.Exhausted += l.errs.exhausted.Load()
		s.Idle += l.errs.idle.Load()
		s.Dropped += l.errs.dropped.Load()
	}
	return s
}

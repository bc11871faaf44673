package ipvsadm

import (
	"net/netip"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// What is not said means this.
const (
	defaultScheduler   = "wlc"
	defaultPersistence = 360 * time.Second // the man page of ipvsadm says 300
	defaultWeight      = 1
	defaultMethod      = ipvs.DirectRoute
	defaultInterface   = "eth0"
)

var changeOps = [...]ipvs.Op{
	ActionAddService:    ipvs.AddService,
	ActionEditService:   ipvs.UpdateService,
	ActionDeleteService: ipvs.DeleteService,
	ActionAddServer:     ipvs.AddDestination,
	ActionEditServer:    ipvs.UpdateDestination,
	ActionDeleteServer:  ipvs.DeleteDestination,
	ActionAddLocal:      ipvs.AddLocal,
	ActionDeleteLocal:   ipvs.DeleteLocal,
	ActionGetLocal:      0,
}

// finish judges what could not be judged before all options were read, and
// fills in the defaults.
func (p *parser) finish() error {
	for _, step := range [...]func(*parser) error{
		(*parser).positionals, (*parser).readFlags, (*parser).matrix,
	} {
		if err := step(p); err != nil {
			return err
		}
	}
	c := &p.cmd
	c.Change.Op = changeOps[c.Action]
	switch c.Action {
	case ActionAddService, ActionEditService:
		return p.finishService()
	case ActionAddServer, ActionEditServer:
		return p.finishServer()
	case ActionDeleteServer:
		p.setServer(p.servicePort())
	case ActionList:
		return p.finishList()
	case ActionStartDaemon:
		if c.Daemon.Interface == "" {
			c.Daemon.Interface = defaultInterface
		}
	}
	return nil
}

// positionals are the three values of --set; no other command has any.
func (p *parser) positionals() error {
	if p.cmd.Action == ActionSet {
		if err := p.timeouts(); err != nil {
			return err
		}
	}
	if len(p.rest) > 0 {
		return usage(p.rest[0], "unexpected argument")
	}
	return nil
}

func (p *parser) timeouts() error {
	t := &p.cmd.Timeouts
	for _, to := range [...]*time.Duration{&t.TCP, &t.TCPFin, &t.UDP} {
		if len(p.rest) == 0 {
			return usage("--set", "option requires 3 timeout values")
		}
		n, err := number(p.rest[0], "timeout value", 0, maxTimeout)
		if err != nil {
			return blame(err, p.rest[0])
		}
		*to = time.Duration(n) * time.Second
		p.rest = p.rest[1:]
	}
	return nil
}

// matrix holds the command against its row.
func (p *parser) matrix() error {
	at, reason := commandRows[p.cmd.Action].check("command", p.cmd.given, ^columns(0))
	switch {
	case reason == "":
		return nil
	case p.cmd.Action >= ActionAddLocal:
		return tryHelp(p.verb, reason) // no command at all to ipvsadm
	case !p.cmd.given.has(at):
		return usage(p.verb, reason)
	}
	return usage(p.typed[at], reason)
}

func (p *parser) finishService() error {
	c := &p.cmd
	s := &c.Change.Service
	if c.given.has(colPersistent) {
		s.Flags |= ipvs.Persistent
		if s.Timeout == 0 {
			s.Timeout = defaultPersistence
		}
	}
	if s.Scheduler == "" {
		s.Scheduler = defaultScheduler
	}
	switch {
	case s.FWMark == 0 && s.Addr.Port() == 0 && s.Flags&ipvs.Persistent == 0:
		return usage(p.typed[colService], "zero port specified for non-persistent service")
	case s.Flags&ipvs.OnePacket != 0 && s.FWMark == 0 && s.Protocol != ipvs.UDP:
		return usage(p.typed[colOnePacket], "one-packet scheduling is only for UDP virtual services")
	}
	if !c.given.has(colNetmask) {
		return nil
	}
	m, err := p.netmask(s.AF())
	if err != nil {
		return blame(illegalMask(err), p.mask)
	}
	s.Netmask = m
	return nil
}

func (p *parser) finishServer() error {
	c := &p.cmd
	d := &c.Change.Destination
	if !c.given.has(colForward) {
		d.Method = defaultMethod
	}
	if !c.given.has(colWeight) {
		d.Weight = defaultWeight
	}
	p.setServer(p.servicePort())
	forced := d.Method == ipvs.DirectRoute || d.Method == ipvs.Tunnel
	if forced && c.Change.Service.FWMark == 0 {
		// The packet reaches the server unchanged, so its port is the virtual one.
		d.Addr = netip.AddrPortFrom(d.Addr.Addr(), p.servicePort())
	}
	tunnel := c.given & tunOptions
	switch {
	case d.Method == ipvs.Tunnel:
		return p.tunnel()
	case d.Method != ipvs.FullNAT && d.Addr.Addr().Is4() != (c.Change.Service.AF() == ipvs.IPv4):
		return usage(p.typed[colServer], "different address family is allowed only for tunneling servers")
	case tunnel != 0:
		return usage(p.typed[tunnel.first()], "tunnel options conflict with forward method")
	}
	return nil
}

// tunnel holds the tunnel options against the row of the tunnel's type.
func (p *parser) tunnel() error {
	given := p.cmd.given
	at, reason := tunnelRows[p.cmd.Change.Destination.Encap.Type].check("tunnel type", given, tunOptions&^colTunType.set())
	switch {
	case reason == "":
		return nil
	case !given.has(at):
		return usage(p.typed[colTunType], reason)
	}
	return usage(p.typed[at], reason)
}

func (p *parser) servicePort() uint16 { return p.cmd.Change.Service.Addr.Port() }

// setServer makes -r the destination's address; port is that of a server
// without one of its own.
func (p *parser) setServer(port uint16) {
	if p.server.hasPort {
		port = p.server.port
	}
	p.cmd.Change.Destination.Addr = netip.AddrPortFrom(p.server.addr, port)
}

// finishList refuses what excludes each other but is in no column.
func (p *parser) finishList() error {
	const counters = 1<<colStats | 1<<colRate | 1<<colThresholds
	g := p.cmd.given
	for _, e := range [...]struct{ a, b columns }{
		{1<<colConnection | 1<<colTimeout | 1<<colDaemon, counters},
		{1<<colTimeout | 1<<colDaemon, 1 << colPersistentConn},
	} {
		if g.any(e.a) && g.any(e.b) {
			return usage(p.typed[(g&e.b).first()], "options conflict in the list command")
		}
	}
	return nil
}

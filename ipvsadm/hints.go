package ipvsadm

import (
	"errors"
	"net/netip"
	"strings"

	"github.com/goipvs/goipvs/ipvs"
)

// hint says what may help against err, or nothing. The first row that applies
// counts. The table is made here since hardly a run needs it.
func (s *session) hint(c *Command, err error) string {
	var u *UsageError
	if errors.As(err, &u) {
		if u.Status == exitKernel {
			return "\"" + s.prog + " --help\" lists the commands and their options"
		}
		return ""
	}
	var no *refused
	if errors.As(err, &no) && no.Hint != "" {
		return no.Hint
	}
	var daemon *DaemonError
	if errors.As(err, &daemon) {
		return daemon.Hint
	}
	for _, h := range []struct {
		err  error
		when func(*Command) bool // nil: always
		text string              // SCHEDULER and ENGINE stand for their names
	}{
		{ErrNotRunning, nil, `start it with "systemctl start goipvsd" or "goipvsd start"`},
		{ipvs.ErrNoIPVS, nil, `load it with "modprobe ip_vs"; for a container, on its host`},
		{ipvs.ErrPermission, nil, "run it as root or with the capability CAP_NET_ADMIN; a container gets that by --cap-add NET_ADMIN"},
		{ipvs.ErrNoEngine, unknownEngine, `is it spelled right (sip)? If so, "modprobe ip_vs_pe_ENGINE"`},
		{ipvs.ErrNoScheduler, nil, `is it spelled right (rr wrr lc wlc sh dh sed nq lblc lblcr fo ovf mh)? If so, "modprobe ip_vs_SCHEDULER"`},
		{ipvs.ErrExists, is(ActionAddService), "-E changes a service; --ensure makes it so either way"},
		{ipvs.ErrExists, is(ActionAddServer), "-e changes a real server; --ensure makes it so either way"},
		{ipvs.ErrExists, is(ActionStartDaemon), "--stop-daemon stops the one that runs"},
		{ipvs.ErrNoService, is(ActionEditService), "-A adds a service; --ensure makes it so either way"},
		{ipvs.ErrNoService, is(ActionAddServer), "-A adds the service"},
		{ipvs.ErrNoDestination, portForced, "without -m the port is that of the service; a server on another port is masqueraded: -m"},
		{ipvs.ErrNoDestination, is(ActionEditServer), "-a adds a real server; --ensure makes it so either way"},
		{ipvs.ErrRange, thresholdsCrossed, "-y must not be above -x, and -x is 0 when it is not given"},
		{ipvs.ErrFamily, nil, "a real server of another family than the service needs -i; is the kernel built with IPv6?"},
		{ipvs.ErrInvalid, notUnicast, "a real server has a unicast address: not multicast, broadcast, 0.0.0.0 or IPv6 link-local"},
		{ipvs.ErrInvalid, mixedFamilies, "not while a sync daemon runs, for a server of another family than the service"},
		{ipvs.ErrInvalid, is(ActionAddServer), `is the loopback interface up? IPVS needs it: "ip link set lo up"`},
		{ipvs.ErrInvalid, is(ActionStartDaemon), "not while a service has a real server of another family; --mcast-group is multicast"},
		{ipvs.ErrNoDevice, is(ActionStartDaemon), "--mcast-interface names the interface; it is eth0 when not given"},
		{ipvs.ErrUnsettled, nil, "run it again: what is done stays done"},
		{ipvs.ErrNoDaemon, nil, `"-L --daemon" shows which run`},
	} {
		if errors.Is(err, h.err) && (h.when == nil || h.when(c)) {
			service := &c.Change.Service
			return strings.NewReplacer("SCHEDULER", printable(service.Scheduler), "ENGINE", printable(service.PE)).Replace(h.text)
		}
	}
	return ""
}

func is(a Action) func(*Command) bool {
	return func(c *Command) bool { return c.Action == a }
}

// unknownEngine: of a scheduler and an engine that the kernel does not tell
// apart, the engine is the likelier to be missing.
func unknownEngine(c *Command) bool { return c.Change.Service.PE != "sip" }

// portForced: the port typed behind -r was not used.
func portForced(c *Command) bool {
	return c.Action == ActionEditServer && c.Change.Destination.Method != ipvs.NAT && c.Change.Destination.Method != ipvs.FullNAT
}

func thresholdsCrossed(c *Command) bool {
	return c.Change.Destination.Lower > c.Change.Destination.Upper
}

func notUnicast(c *Command) bool {
	a := c.Change.Destination.Addr.Addr()
	return a.IsValid() && (a.IsMulticast() || a.IsUnspecified() || a.Is6() && a.IsLinkLocalUnicast() ||
		a == netip.AddrFrom4([4]byte{255, 255, 255, 255}))
}

func mixedFamilies(c *Command) bool {
	a := c.Change.Destination.Addr.Addr()
	return a.IsValid() && a.Is4() != (c.Change.Service.AF() == ipvs.IPv4)
}

package ipvs

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// What the kernel would misread, cut or wrap is refused before it is sent;
// what it refuses by itself is left to it.

func (c *Change) check() error {
	if c.Op == AddLocal || c.Op == DeleteLocal {
		return fmt.Errorf("%w: local addresses are full NAT's", ErrUnsupported)
	}
	if c.Op == 0 || int(c.Op) >= len(opCommands) {
		return fmt.Errorf("%w: %s %d", ErrInvalid, c.Op, uint8(c.Op))
	}
	if err := c.Service.ServiceKey.check(); err != nil {
		return err
	}
	switch c.Op {
	case AddService, UpdateService:
		return c.Service.check()
	case AddDestination, UpdateDestination:
		return c.Destination.check(c.Service.AF())
	case DeleteDestination:
		return checkAddr(c.Destination.Addr.Addr())
	}
	return nil
}

// check also holds a key to the one form that compares equal to what a kernel
// lists: of a key in another form Plan would believe that it is not there.
func (k *ServiceKey) check() error {
	switch {
	case k.FWMark == 0 && k.Family != 0:
		return fmt.Errorf("%w: family %s beside an address, which tells its own", ErrFamily, k.Family)
	case k.FWMark == 0 && k.Addr.Addr().Is4In6() && k.Addr.Addr().Zone() == "":
		return nil // to the kernel a virtual address like any other of IPv6
	case k.FWMark == 0:
		return checkAddr(k.Addr.Addr())
	case k.Addr != netip.AddrPort{} || k.Protocol != 0:
		return fmt.Errorf("%w: a firewall mark and an address or protocol", ErrInvalid)
	case k.Family != IPv4 && k.Family != IPv6:
		return fmt.Errorf("%w: a firewall mark of family %d", ErrFamily, uint16(k.Family))
	}
	return nil
}

func (s *Service) check() error {
	if s.FullNAT || s.Proxy != NoProxy || s.Plane != PlaneAuto {
		return fmt.Errorf("%w: full NAT is not the kernel's", ErrUnsupported)
	}
	if err := checkName("scheduler", s.Scheduler); err != nil {
		return err
	}
	if err := checkName("persistence engine", s.PE); err != nil {
		return err
	}
	// A service added with this bit would never be found again (ip_vs_svc_hash).
	if s.Flags&flagHashed != 0 {
		return fmt.Errorf("%w: flag %#x is the kernel's own", ErrInvalid, flagHashed)
	}
	// The kernel multiplies by HZ in 32 bits and would wrap.
	return checkSeconds("persistence timeout", s.Timeout, maxPersist)
}

func (d *Destination) check(service Family) error {
	if err := checkAddr(d.Addr.Addr()); err != nil {
		return err
	}
	switch {
	case d.Method == FullNAT:
		return fmt.Errorf("%w: no kernel forwards by %s", ErrUnsupported, d.Method)
	case d.Method > methodMask:
		return fmt.Errorf("%w: forwarding method %d", ErrRange, uint32(d.Method))
	case max(d.Upper, d.Lower) > maxThreshold: // connections are counted in an int; kernels of 2026 refuse them, too
		return fmt.Errorf("%w: connection threshold %d, the largest is %d", ErrRange, max(d.Upper, d.Lower), maxThreshold)
	case d.Method != Tunnel && familyOf(d.Addr.Addr()) != service:
		return fmt.Errorf("%w: an %s real server of an %s service needs a tunnel", ErrFamily, familyOf(d.Addr.Addr()), service)
	}
	return nil
}

func (d *Daemon) check() error {
	if d.SyncID > maxSyncID {
		return fmt.Errorf("%w: sync id %d, the largest is %d", ErrRange, d.SyncID, maxSyncID)
	}
	if d.Group.IsValid() {
		if err := checkAddr(d.Group); err != nil {
			return err
		}
	}
	return checkName("interface", d.Interface)
}

func (t *Timeouts) check() error {
	for _, v := range [...]struct {
		what string
		d    time.Duration
	}{{"tcp timeout", t.TCP}, {"tcp fin timeout", t.TCPFin}, {"udp timeout", t.UDP}} {
		if err := checkSeconds(v.what, v.d, maxTimeout); err != nil {
			return err
		}
	}
	return nil
}

// checkAddr refuses addresses that the kernel would take for others: it has no
// zones, and to it an IPv4 address in IPv6 form is an IPv6 address.
func checkAddr(a netip.Addr) error {
	switch {
	case !a.IsValid():
		return fmt.Errorf("%w: no address", ErrInvalid)
	case a.Zone() != "":
		return fmt.Errorf("%w: zone in %s", ErrInvalid, a)
	case a.Is4In6():
		return fmt.Errorf("%w: %s is an IPv4 address in IPv6 form", ErrFamily, a)
	}
	return nil
}

// checkName refuses names that the kernel would cut.
func checkName(what, s string) error {
	switch {
	case len(s) > maxName:
		return fmt.Errorf("%w: %s %q is longer than %d bytes", ErrRange, what, s, maxName)
	case strings.IndexByte(s, 0) >= 0:
		return fmt.Errorf("%w: %s %q has a zero byte", ErrInvalid, what, s)
	}
	return nil
}

func checkSeconds(what string, d time.Duration, limit int64) error {
	switch {
	case d%time.Second != 0:
		return fmt.Errorf("%w: %s %s is not whole seconds", ErrRange, what, d)
	case d < 0 || int64(d/time.Second) > limit:
		return fmt.Errorf("%w: %s %s, the longest is %d s", ErrRange, what, d, limit)
	}
	return nil
}

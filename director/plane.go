package director

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/fullnat/snat"
	"github.com/goipvs/goipvs/ipvs"
)

// Machine is what the machine that a Setup is built for can do. The zero value
// can do everything.
type Machine struct {
	// NoIPVS is why the kernel has no IPVS; nil: it has. Then services of NAT
	// run in user space (without_ipvs = "fullnat").
	NoIPVS error
	// NoSourceNAT is why the kernel cannot give IPVS' connections local addresses,
	// by what services need; nil: it can.
	NoSourceNAT map[snat.Need]error
}

// A Choice is where a service runs, and why. Services other than of full NAT
// have no reason where IPVS is.
type Choice struct {
	Plane config.Plane // PlaneKernel, PlaneUserspace; empty: it cannot be served here
	Why   string
}

const asAsked = "as asked"

// Choose decides where a service is to run: in the kernel if it can do what is
// asked, else in user space. A plane that the file names is taken or none is.
func Choose(v *config.Virtual, m Machine) Choice {
	if v.Forward != ipvs.FullNAT {
		return m.choosePlain(v)
	}
	kernel, user := m.notInKernel(v), notInUserspace(&v.Service)
	switch plane := v.FullNAT.Plane; {
	case plane == config.PlaneKernel && kernel == "":
		return Choice{config.PlaneKernel, asAsked}
	case plane == config.PlaneKernel:
		return Choice{"", `plane = "kernel": ` + kernel}
	case plane == config.PlaneUserspace && user == "":
		return Choice{config.PlaneUserspace, asAsked}
	case plane == config.PlaneUserspace:
		return Choice{"", `plane = "userspace": ` + user}
	case kernel == "":
		return Choice{config.PlaneKernel, "it can do what is asked"}
	case user == "":
		return Choice{config.PlaneUserspace, kernel}
	}
	return Choice{"", "not in the kernel: " + kernel + "; not in user space: " + user}
}

// choosePlain is for services that are not of full NAT.
func (m Machine) choosePlain(v *config.Virtual) Choice {
	if m.NoIPVS == nil {
		return Choice{Plane: config.PlaneKernel}
	}
	methods := []ipvs.Method{v.Forward}
	for i := range v.Reals {
		methods = append(methods, v.Reals[i].Method)
	}
	for _, method := range methods {
		if method != ipvs.NAT {
			return Choice{"", fmt.Sprintf("this machine has no IPVS, and without it there is no %s, only nat and fullnat", method)}
		}
	}
	if text := notInUserspace(&v.Service); text != "" {
		return Choice{"", "this machine has no IPVS, and " + text}
	}
	return Choice{config.PlaneUserspace, "this machine has no IPVS: full NAT instead of NAT"}
}

// notInKernel is why a service of full NAT cannot run in the kernel.
func (m Machine) notInKernel(v *config.Virtual) string {
	f, s := &v.FullNAT, &v.Service
	switch {
	case f.ProxyProtocol != "":
		return "the kernel cannot do proxy_protocol"
	case f.Asked.Retries:
		return "the kernel cannot do retries"
	case f.Asked.ConnectTimeout:
		return "the kernel knows no connect_timeout"
	case f.Notrack:
		return "the kernel's plane lives by connection tracking, and notrack is asked for"
	case f.MaxConnections > 0:
		return "the kernel has no max_connections"
	case f.CutRemoved:
		return "the kernel does not reset what a removed server leaves, and cut_removed is asked for"
	case s.Flags&ipvs.OnePacket != 0: // ip_vs_update_conntrack in net/netfilter/ipvs/ip_vs_nfct.c leaves them alone
		return "connection tracking does not know where IPVS sends single packets (one_packet), and answers would be lost"
	case len(localsOf(v)) == 0:
		return fmt.Sprintf("no local address of %s is given", s.AF())
	case len(localsOf(v)) > snat.MostLocals:
		return fmt.Sprintf("a rule has room for %d local addresses, and %d are given", snat.MostLocals, len(localsOf(v)))
	}
	for i := range v.Reals { // a fallback there is reached without NAT
		if a := v.Reals[i].Addr; a.IsValid() && a.IsLoopback() { // ip_vs_nat_xmit in ip_vs_xmit.c
			return fmt.Sprintf("the kernel's NAT does not reach the loopback address %s", v.Reals[i].Target())
		}
	}
	for _, list := range [][]config.Real{v.Reals, v.Fallback} {
		for i := range list {
			if a := list[i].Addr; a.IsValid() && a.Is4() != (s.AF() == ipvs.IPv4) {
				return fmt.Sprintf("the kernel's NAT does not cross from %s to %s", s.AF(), list[i].Target())
			}
		}
	}
	if err := errors.Join(m.NoIPVS, m.NoSourceNAT[snat.NeedOf(s.ServiceKey)]); err != nil {
		return strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	return ""
}

// notInUserspace is why a service cannot run in user space. Firewall marks and
// port 0 take rights and modules there that the engine asks for itself, as both
// may come later.
func notInUserspace(s *ipvs.Service) string {
	switch {
	case s.FWMark == 0 && s.Protocol != ipvs.TCP && s.Protocol != ipvs.UDP:
		return fmt.Sprintf("user space speaks TCP and UDP, not %s", s.Protocol)
	case s.PE != "":
		return "user space has no persistence engines"
	}
	return ""
}

// localsOf are the local addresses of the service's own family: in the kernel
// both sides are of one.
func localsOf(v *config.Virtual) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(v.FullNAT.Local), func(a netip.Addr) bool { return a.Is4() != (v.Service.AF() == ipvs.IPv4) })
}

// choose puts the service where it is to run.
func (b *builder) choose(c *config.Virtual, v *VirtualService) error {
	choice := Choose(c, b.machine)
	v.Plane, v.Why = choice.Plane, choice.Why
	switch choice.Plane {
	case config.PlaneKernel:
		if c.Forward == ipvs.FullNAT {
			v.Locals = localsOf(c)
		}
		return nil
	case config.PlaneUserspace:
		o, err := proxyOptions(c)
		v.Proxy, v.Notrack = o, c.FullNAT.Notrack
		return err
	}
	return nil
}

// proxyOptions say how the engine serves. A service of NAT, which is served by
// it for want of IPVS, says nothing of it.
func proxyOptions(c *config.Virtual) (*fullnat.Options, error) {
	if c.Forward != ipvs.FullNAT {
		return &fullnat.Options{}, nil
	}
	f := &c.FullNAT
	o := fullnat.Options{Locals: f.Local, TrustedPeers: f.TrustedPeers, ConnectTimeout: f.ConnectTimeout, Retries: f.Retries,
		MaxConns: f.MaxConnections, CutRemoved: f.CutRemoved}
	if f.Retries == 0 {
		o.Retries = -1 // the engine's zero value means its default
	}
	return &o, o.ProxyProtocol.UnmarshalText([]byte(f.ProxyProtocol))
}

// place is a destination where it is to run: the kernel does full NAT by NAT.
func (v *VirtualService) place(d ipvs.Destination) ipvs.Destination {
	if v.Plane == config.PlaneKernel && d.Method == ipvs.FullNAT {
		d.Method = ipvs.NAT
	}
	return d
}

// Full reports whether the service is of full NAT, wherever it runs.
func (v *VirtualService) fullNAT() bool { return v.Proxy != nil || len(v.Locals) > 0 }

// refused reports whether the service cannot be served on this machine.
func (v *VirtualService) refused() bool { return v.Plane == "" && v.Why != "" }

// tellPlane tells where the service runs, and why, when that has changed.
func (v *service) tellPlane(s *state) {
	now := Choice{v.Plane, v.Why}
	if v.gone || v.told == now || !v.fullNAT() && !v.refused() {
		return
	}
	v.told = now
	e := v.event(PlaneChosen, netip.AddrPort{}, v.Why)
	if v.refused() {
		e.Kind = ServiceRefused
	} else {
		e.Attrs = []slog.Attr{slog.String("plane", string(v.Plane))}
	}
	s.emit(e)
}

package fullnat

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/goipvs/goipvs/fullnat/sched"
	"github.com/goipvs/goipvs/ipvs"
)

// Service is a full NAT service as it is wanted: what IPVS knows of it, its
// real servers, and what only full NAT has. The engine serves TCP and UDP: one of
// them by an address and a port, or by port 0 at every port that no other service
// has, and both by a firewall mark. The latter two take CAP_NET_ADMIN and a
// kernel with TPROXY (package tproxy).
type Service struct {
	ipvs.Service
	Destinations []ipvs.Destination
	Options      Options
}

// Options are what IPVS has no words for. The zero value works: source
// addresses are the kernel's choice and no header is sent.
type Options struct {
	// Locals are the LIPs, the source addresses towards the real servers. Those
	// of a server's family are used for it; with none of that family the kernel
	// chooses one by its routes.
	Locals []netip.Addr
	// ProxyProtocol tells real servers the client's address in a header before
	// the client's data: over UDP in a session's first datagram, with ProxyV2Every
	// or one-packet scheduling in each. A datagram that has no room for its header,
	// the longest there are, is dropped.
	ProxyProtocol ProxyProtocol
	// TrustedPeers are the proxies in front of the service whose PROXY header,
	// of either version, is believed: real servers get it, in the version of
	// ProxyProtocol, in place of one about the proxy. A connection of theirs
	// without a header gets the ordinary one, after the time to connect if it
	// sends nothing; one with a broken header is reset. What others send is data.
	// Without ProxyProtocol they are not looked at.
	TrustedPeers []netip.Prefix
	// ConnectTimeout is how long one server has to accept a connection, rounded
	// up to whole seconds; 0 is 3 s.
	ConnectTimeout time.Duration
	// Retries is how many other servers are tried after a connect failed; -1 is
	// none, 0 is 2.
	Retries int
	// CutRemoved resets the connections of a server that is removed; false lets
	// them finish.
	CutRemoved bool
	// MaxConns is how many connections, or UDP sessions, the service may have
	// at a time; more wait to be accepted. 0 is as many as there can be file
	// descriptors.
	MaxConns int
}

// Scheduling are the settings that schedulers share with the kernel's variables.
type Scheduling = sched.Settings

// ProxyProtocol is a version of the PROXY protocol.
type ProxyProtocol = ipvs.ProxyProtocol

// The headers there are.
const (
	NoProxy      = ipvs.NoProxy
	ProxyV1      = ipvs.ProxyV1
	ProxyV2      = ipvs.ProxyV2
	ProxyV2Every = ipvs.ProxyV2Every
)

const (
	defaultConnectTimeout = 3 * time.Second
	defaultRetries        = 2
)

func (o *Options) connectSeconds() uint32 {
	d := o.ConnectTimeout
	if d <= 0 {
		d = defaultConnectTimeout
	}
	return uint32((d + time.Second - 1) / time.Second)
}

func (o *Options) retries() int {
	if o.Retries == 0 {
		return defaultRetries
	}
	return max(o.Retries, 0)
}

// ErrUnsupported is a service that user space cannot serve.
var ErrUnsupported = errors.New("not possible in user space")

// Check tells what is wrong with a service, which Apply would refuse.
func (s *Service) Check() error {
	switch {
	case s.FWMark == 0 && s.Protocol != ipvs.TCP && s.Protocol != ipvs.UDP:
		return fmt.Errorf("%w: protocol %s", ErrUnsupported, s.Protocol)
	case s.FWMark == 0 && !s.Addr.Addr().IsValid():
		return fmt.Errorf("%w: no address", ipvs.ErrInvalid)
	case s.Addr.Addr().Is4In6(): // its sockets would be those of the IPv4 service
		return fmt.Errorf("%w: %s is an IPv4 address in the form of IPv6, write %s", ipvs.ErrInvalid, s.Addr.Addr(), s.Addr.Addr().Unmap())
	case s.FWMark == 0 && s.Addr.Port() == 0 && s.Flags&ipvs.Persistent == 0: // ip_vs_schedule in ip_vs_core.c
		return fmt.Errorf("%w: port 0, every port, needs persistence", ipvs.ErrInvalid)
	case s.PE != "":
		return fmt.Errorf("%w: persistence engine %s", ErrUnsupported, s.PE)
	case s.Options.ProxyProtocol == ProxyV1 && s.Protocol == ipvs.UDP:
		return fmt.Errorf("%w: PROXY v1 is for TCP, use v2", ipvs.ErrInvalid)
	case s.Options.ProxyProtocol == ProxyV2Every && s.Protocol == ipvs.TCP:
		return fmt.Errorf("%w: PROXY v2-every is for UDP, use v2", ipvs.ErrInvalid)
	}
	return s.checkAddresses()
}

func (s *Service) checkAddresses() error {
	seen := map[netip.AddrPort]bool{}
	for _, d := range s.Destinations {
		switch {
		case !d.Addr.Addr().IsValid():
			return fmt.Errorf("server without an address: %w", ipvs.ErrInvalid)
		case d.Method != ipvs.FullNAT && d.Method != ipvs.NAT:
			return fmt.Errorf("server %s: %w: forwarding by %s", d.Addr, ErrUnsupported, d.Method)
		case seen[d.Addr]:
			return fmt.Errorf("server %s: %w", d.Addr, ipvs.ErrExists)
		}
		seen[d.Addr] = true
	}
	for _, p := range s.Options.TrustedPeers {
		if !p.IsValid() {
			return fmt.Errorf("trusted peers: no prefix: %w", ipvs.ErrInvalid)
		}
	}
	locals := map[netip.Addr]bool{}
	for _, a := range s.Options.Locals {
		if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || locals[a] {
			return fmt.Errorf("local address %s: %w", a, ipvs.ErrInvalid)
		}
		locals[a] = true
	}
	return nil
}

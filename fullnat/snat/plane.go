package snat

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Service is a service whose connections get local addresses.
type Service struct {
	Key    ipvs.ServiceKey
	Locals []netip.Addr // of the service's family, at least one
}

// Counts are the connections of a service that got a local address, and their
// first packets' bytes.
type Counts struct{ Conns, Bytes uint64 }

// ErrUnsupported is a service that the plane cannot do; ErrNoNAT is a kernel
// without nf_tables or its NAT.
var (
	ErrUnsupported = errors.New("not possible in the kernel's plane")
	ErrNoNAT       = errors.New("the kernel has no NAT by nf_tables (modules nft_chain_nat, nft_nat, nft_numgen, nft_ct)")
)

// tableName is the name of our tables. What else is in them goes with the next
// change.
const tableName = "goipvs"

// Plane makes rules in the network namespace that it is used in. The zero value
// works. It needs CAP_NET_ADMIN. Methods may not be called at the same time.
//
// While there are rules, and until the process ends, it also has the kernel go
// on translating the connections there are when somebody else flushes all rules,
// by a table "goipvs-guard-PID" that cannot be flushed (from Linux 5.12).
type Plane struct {
	guards [2]*netlink.Conn // by family, as in families; nil: there is none
}

// Check tells whether the kernel can do what Apply asks of it, by having it do
// that in a table that nobody sees, and what is wrong with a service.
func Check(services ...Service) error {
	for _, s := range services {
		if err := s.check(); err != nil {
			return fmt.Errorf("snat: %s: %w", s.Key, err)
		}
	}
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("snat: %w", err)
	}
	trial := Service{Key: ipvs.AddrService(ipvs.TCP, netip.MustParseAddrPort("192.0.2.1:1")), Locals: []netip.Addr{netip.MustParseAddr("192.0.2.2")}}
	t := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: tableName + "-trial"})
	if err := addRule(c, t, addChain(c, t), &trial, Counts{}); err != nil {
		return fmt.Errorf("snat: %w", err)
	}
	c.DelTable(t)
	return reason(c.Flush())
}

func reason(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("snat: %w", err)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EINVAL):
		return fmt.Errorf("snat: %w (%v)", ErrNoNAT, err) // %v: the number means something else to callers
	}
	return fmt.Errorf("snat: %w", err)
}

func (s *Service) check() error {
	switch {
	case s.Key.FWMark != 0:
		return fmt.Errorf("%w: a firewall mark has no address to know its connections by", ErrUnsupported)
	case s.Key.Protocol != ipvs.TCP && s.Key.Protocol != ipvs.UDP && s.Key.Protocol != ipvs.SCTP:
		return fmt.Errorf("%w: protocol %s", ErrUnsupported, s.Key.Protocol)
	case len(s.Locals) == 0:
		return fmt.Errorf("%w: no local address", ipvs.ErrInvalid)
	}
	for _, a := range s.Locals {
		if a.Is4() != s.Key.Addr.Addr().Is4() || a.Zone() != "" || a.IsUnspecified() {
			return fmt.Errorf("local address %s: %w", a, ipvs.ErrFamily)
		}
	}
	return nil
}

// sign is what a rule carries to be known by: all that it depends on.
func (s *Service) sign() string {
	words := []string{s.Key.Protocol.String(), s.Key.Addr.String()}
	for _, a := range s.Locals {
		words = append(words, a.String())
	}
	return strings.Join(words, " ")
}

// Apply makes the tables hold rules for exactly these services, in one step,
// and tells whether it had to change anything: the second time it does not,
// unless somebody else did. Connections keep the address they have. Counts of
// services that stay go on.
func (p *Plane) Apply(want []Service) (changed bool, err error) {
	want = sorted(want)
	for i := range want {
		if err := want[i].check(); err != nil {
			return false, fmt.Errorf("snat: %s: %w", want[i].Key, err)
		}
	}
	for _, f := range families {
		some := ofFamily(want, f)
		did, err := p.applyFamily(f, some)
		if err != nil {
			return changed, err
		}
		p.guard(f, len(some) > 0)
		changed = changed || did
	}
	return changed, nil
}

// Differs tells whether Apply would have to change anything. It changes nothing.
func (p *Plane) Differs(want []Service) (bool, error) {
	want = sorted(want)
	c, err := nftables.New()
	if err != nil {
		return false, fmt.Errorf("snat: %w", err)
	}
	for _, f := range families {
		have, err := read(c, f)
		if err != nil {
			return false, err
		}
		if !have.is(ofFamily(want, f)) {
			return true, nil
		}
	}
	return false, nil
}

// Services reads the services that there are rules for.
func (p *Plane) Services() (all []Service, err error) {
	c, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("snat: %w", err)
	}
	for _, f := range families {
		have, err := read(c, f)
		if err != nil {
			return nil, err
		}
		for _, sign := range have.signs {
			if s, ok := parseSign(sign); ok {
				all = append(all, s)
			}
		}
	}
	return all, nil
}

var families = [...]nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6}

func sorted(all []Service) []Service {
	return slices.SortedFunc(slices.Values(all), func(a, b Service) int { return cmp.Compare(a.sign(), b.sign()) })
}

func ofFamily(all []Service, f nftables.TableFamily) (some []Service) {
	for _, s := range all {
		if s.Key.Addr.Addr().Is4() == (f == nftables.TableFamilyIPv4) {
			some = append(some, s)
		}
	}
	return some
}

func (p *Plane) applyFamily(f nftables.TableFamily, want []Service) (changed bool, err error) {
	c, err := nftables.New()
	if err != nil {
		return false, fmt.Errorf("snat: %w", err)
	}
	have, err := read(c, f)
	if err != nil || have.is(want) {
		return false, err
	}
	t := &nftables.Table{Family: f, Name: tableName}
	c.AddTable(t) // that there is one to delete
	c.DelTable(t)
	if len(want) > 0 {
		c.AddTable(t)
		chain := addChain(c, t)
		for i := range want {
			if err := addRule(c, t, chain, &want[i], have.counts[key(&want[i])]); err != nil {
				return false, fmt.Errorf("snat: %w", err)
			}
		}
	}
	return true, reason(c.Flush())
}

// Remove takes the tables away.
func (p *Plane) Remove() error {
	_, err := p.Apply(nil)
	return err
}

// Counts reads the counts by service.
func (p *Plane) Counts() (map[ipvs.ServiceKey]Counts, error) {
	c, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("snat: %w", err)
	}
	all := map[ipvs.ServiceKey]Counts{}
	for _, f := range families {
		have, err := read(c, f)
		if err != nil {
			return nil, err
		}
		for k, n := range have.counts {
			if s, ok := parseKey(k); ok {
				all[s] = n
			}
		}
	}
	return all, nil
}

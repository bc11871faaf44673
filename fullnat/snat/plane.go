package snat

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/goipvs/goipvs/fullnat/internal/nft"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Service is a service whose connections get local addresses.
type Service struct {
	Key    ipvs.ServiceKey
	Locals []netip.Addr // of the service's family, at least one
	// Servers are where a firewall mark's connections go; port 0 is any. No rule
	// depends on them, but who reads connection tracking, which keeps no marks,
	// knows its connections by them.
	Servers []netip.AddrPort
}

// Counts are the connections of a service that got a local address, and their
// first packets' bytes.
type Counts struct{ Conns, Bytes uint64 }

// ErrUnsupported is a service that the plane cannot do; ErrNoNAT is a kernel
// without nf_tables or its NAT; ErrNoMarks one without what services of firewall
// marks need besides.
var (
	ErrUnsupported = errors.New("not possible in the kernel's plane")
	ErrNoNAT       = errors.New("the kernel has no NAT by nf_tables (Linux 5.6; modules nft_chain_nat, nft_nat, nft_numgen, nft_ct)")
	ErrOthers      = errors.New("another goipvsd has full NAT in the kernel of this network namespace")
	ErrNoMarks     = errors.New("the kernel has no rules for firewall marks, that go by what IPVS has sent (modules nft_compat, xt_ipvs)")
)

// tableName is the name of our tables.
const tableName = "goipvs"

// Plane makes rules in the network namespace that it is used in, which must
// always be the same. The zero value works. It needs CAP_NET_ADMIN. Methods may
// not be called at the same time.
//
// While there are rules, and until the process ends, it also has the kernel go
// on translating the connections there are when somebody else flushes all rules,
// by a table "goipvs-guard-PID" that cannot be flushed (from Linux 5.12).
type Plane struct {
	guards [2]*netlink.Conn // by family, as in families; nil: there is none
	have   [2]table         // what was there at the generation
	// The kernel numbers the states of all its tables: they need not be read
	// again while there is no other number.
	known      bool
	generation uint32
}

var families = [...]nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6}

func familyOf(k ipvs.ServiceKey) nftables.TableFamily {
	if k.AF() == ipvs.IPv4 {
		return nftables.TableFamilyIPv4
	}
	return nftables.TableFamilyIPv6
}

// Need is what a service needs of the kernel.
type Need struct {
	Family ipvs.Family
	Mark   bool // it is one of a firewall mark
}

// NeedOf is what a service needs.
func NeedOf(k ipvs.ServiceKey) Need { return Need{k.AF(), k.FWMark != 0} }

// Check tells whether the kernel can do what Apply asks of it for such services,
// by having it do that in a table that nobody sees.
func Check(n Need) error {
	err := try(Need{Family: n.Family})
	if err == nil && n.Mark {
		if err = try(n); errors.Is(err, ErrNoNAT) {
			err = fmt.Errorf("snat: %w", ErrNoMarks)
		}
	}
	return err
}

func try(n Need) error {
	c, err := dial()
	if err != nil {
		return err
	}
	trial := Service{Key: ipvs.AddrService(ipvs.TCP, netip.MustParseAddrPort("192.0.2.1:1")), Locals: []netip.Addr{netip.MustParseAddr("192.0.2.2")}}
	if n.Family == ipvs.IPv6 {
		trial = Service{Key: ipvs.AddrService(ipvs.TCP, netip.MustParseAddrPort("[2001:db8::1]:1")), Locals: []netip.Addr{netip.MustParseAddr("2001:db8::2")}}
	}
	if n.Mark {
		trial.Key = ipvs.MarkService(1, n.Family)
	}
	e := editor{c, &nftables.Table{Family: familyOf(trial.Key), Name: tableName + "-trial"}}
	if err := e.begin(); err != nil {
		return fmt.Errorf("snat: %w", err)
	}
	if n.Mark {
		if err := e.beginMarks(); err != nil {
			return fmt.Errorf("snat: %w", err)
		}
	}
	if err := e.add(wanted{&trial, trial.sign()}, Counts{}); err != nil {
		return fmt.Errorf("snat: %w", err)
	}
	c.DelTable(e.table)
	return reason(c.Flush())
}

func dial() (*nftables.Conn, error) {
	c, err := nft.Dial()
	return c, reason(err)
}

// generation numbers the state of all tables.
func generation() (uint32, error) {
	n, err := nft.Generation()
	return n, reason(err)
}

func reason(err error) error {
	switch err = nft.Cause(err); {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("snat: %w", err)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EINVAL):
		return fmt.Errorf("snat: %w (%v)", ErrNoNAT, err) // %v: the number means something else to callers
	}
	return fmt.Errorf("snat: %w", err)
}

// MostLocals are as many local addresses as a service may have. They go into one
// message (64 KiB), as a map without a name has to.
const MostLocals = 1024

// Check tells what is wrong with a service.
func (s *Service) Check() error {
	switch {
	case s.Key.FWMark == 0 && s.Key.Protocol != ipvs.TCP && s.Key.Protocol != ipvs.UDP && s.Key.Protocol != ipvs.SCTP:
		return fmt.Errorf("%w: protocol %s", ErrUnsupported, s.Key.Protocol)
	case len(s.Locals) == 0:
		return fmt.Errorf("%w: no local address", ipvs.ErrInvalid)
	case len(s.Locals) > MostLocals:
		return fmt.Errorf("%w: %d local addresses, at most %d have room in a rule", ErrUnsupported, len(s.Locals), MostLocals)
	}
	for _, a := range s.Locals {
		if a.Is4() != (s.Key.AF() == ipvs.IPv4) || a.Zone() != "" || a.IsUnspecified() {
			return fmt.Errorf("local address %s: %w", a, ipvs.ErrFamily)
		}
	}
	return nil
}

// Apply makes the tables hold rules for exactly these services and tells whether
// it had to change anything: the second time it does not, unless somebody else
// did. All changes of a family are one step, which touches only the services
// that change; where somebody else changed our rules the table is made anew.
// Connections keep the address they have. Counts of services that stay go on. A
// Plane that has made no rules yet takes none away while the process that made
// them lives, as far as its guard shows that (ErrOthers).
func (p *Plane) Apply(want []Service) (changed bool, err error) {
	for i := range want {
		if err := want[i].Check(); err != nil {
			return false, fmt.Errorf("snat: %s: %w", want[i].Key, err)
		}
	}
	if err := p.look(); err != nil {
		return false, err
	}
	if len(want) == 0 && p.guards == [2]*netlink.Conn{} && (p.have[0].exists || p.have[1].exists) {
		if others, err := guarded(); others || err != nil {
			return false, cmp.Or(err, ErrOthers)
		}
	}
	commits := uint32(0)
	for i, f := range families {
		some := ofFamily(want, f)
		if !p.have[i].is(some) {
			p.known = false
			next, err := p.have[i].change(f, some)
			if err != nil {
				return changed, err
			}
			p.have[i], changed = next, true
			commits++
		}
		if p.guard(f, len(some) > 0) {
			commits++
		}
	}
	if commits > 0 {
		before := p.generation
		p.generation, err = generation()
		p.known = err == nil && p.generation == before+commits // else others wrote, too
	}
	return changed, nil
}

// Differs tells whether Apply would have to change anything. It changes nothing.
func (p *Plane) Differs(want []Service) (bool, error) {
	if err := p.look(); err != nil {
		return false, err
	}
	for i, f := range families {
		if !p.have[i].is(ofFamily(want, f)) {
			return true, nil
		}
	}
	return false, nil
}

// look reads the tables, if anything has changed in nf_tables since they are
// known.
func (p *Plane) look() error {
	now, err := generation()
	if err != nil || p.known && now == p.generation {
		return err
	}
	p.known = false
	for range 3 { // a listing during which others write may be torn
		p.generation = now
		for i, f := range families {
			if p.have[i], err = read(f); err != nil {
				return err
			}
		}
		if now, err = generation(); err != nil || now == p.generation {
			p.known = err == nil && p.have[0].whole && p.have[1].whole
			return err
		}
	}
	return nil
}

// Services reads the services that there are rules for.
func (p *Plane) Services() (all []Service, err error) {
	c, err := dial()
	if err != nil {
		return nil, err
	}
	for _, f := range families {
		have, err := read(f)
		if err != nil {
			return nil, err
		}
		for k, e := range have.services {
			s := Service{Key: k, Locals: readLocals(c, f, e.locals)}
			if s.Check() == nil {
				all = append(all, s)
			}
		}
	}
	slices.SortFunc(all, func(a, b Service) int { return a.Key.Compare(b.Key) })
	return all, nil
}

// wanted is a service with its signature.
type wanted struct {
	*Service
	sign string
}

// ofFamily are the services of a family.
func ofFamily(all []Service, f nftables.TableFamily) map[ipvs.ServiceKey]wanted {
	some := make(map[ipvs.ServiceKey]wanted, len(all))
	for i := range all {
		if s := &all[i]; familyOf(s.Key) == f {
			some[s.Key] = wanted{s, s.sign()}
		}
	}
	return some
}

// Remove takes the tables away.
func (p *Plane) Remove() error {
	_, err := p.Apply(nil)
	return err
}

// Counts reads the counts by service.
func (p *Plane) Counts() (map[ipvs.ServiceKey]Counts, error) {
	all := map[ipvs.ServiceKey]Counts{}
	for _, f := range families {
		rules, err := readRules(f, tableName, "")
		if err != nil {
			return nil, err
		}
		for i := range rules {
			if k, ok := parseChain(f, rules[i].chain); ok {
				all[k] = rules[i].counts
			}
		}
	}
	return all, nil
}

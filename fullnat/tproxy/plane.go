package tproxy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/goipvs/goipvs/fullnat/internal/nft"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// Divert is where packets of one protocol go to that are of a service of a
// firewall mark or of port 0: a port of the loopback address of its family, at
// which a socket with IP_TRANSPARENT listens.
type Divert struct {
	Key      ipvs.ServiceKey
	Protocol ipvs.Protocol // TCP or UDP
	Port     uint16
}

// Rules are all that there is to divert. The zero value is nothing.
type Rules struct {
	Diverts []Divert
	// Exact are services with an address and a port, which a Divert of port 0
	// does not get the packets of. Others do no harm here.
	Exact []ipvs.ServiceKey
}

// ErrNone is a kernel without nf_tables' TPROXY.
var ErrNone = errors.New("the kernel has no TPROXY by nf_tables (Linux 4.19; modules nf_tables, nft_tproxy)")

// ErrOthers are rules of a process that is at work.
var ErrOthers = errors.New("another goipvsd has packets brought to user space in this network namespace")

// ErrPermission is a process that may not do it.
var ErrPermission = errors.New("it takes CAP_NET_ADMIN")

// Plane makes rules in the network namespace that it is used in, which must
// always be the same. The zero value works. It needs CAP_NET_ADMIN. Methods may
// not be called at the same time.
type Plane struct {
	want Rules
	made bool // there are, or were, rules that this Plane has made or found as wanted
	// The kernel numbers the states of all its tables: they need not be read
	// again while there is no other number than when they were as wanted.
	known      bool
	generation uint32
}

// Check tells why the kernel cannot divert packets of a family, by having it make
// the rules in a table that nobody sees; nil: it can.
func Check(f ipvs.Family) error {
	c, err := nft.Dial()
	if err != nil {
		return reason(err)
	}
	t := &nftables.Table{Family: familyOf(f), Name: tableName + "-trial"}
	if err := (editor{c, t}).fill(Rules{}); err != nil {
		return reason(err)
	}
	c.DelTable(t)
	return reason(c.Flush())
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
		return fmt.Errorf("tproxy: %w (%v)", ErrPermission, err)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EINVAL):
		return fmt.Errorf("tproxy: %w (%v)", ErrNone, err) // %v: the number means something else to callers
	}
	return fmt.Errorf("tproxy: %w", err)
}

var families = [...]ipvs.Family{ipvs.IPv4, ipvs.IPv6}

// Apply makes the tables hold exactly these rules and tells whether it had to
// change anything: the second time it does not, unless somebody else did. What
// changes of a family does so in one step, which no packet sees the middle of.
// Where nothing is wanted rules that the Plane has not made stay while there are
// sockets to them (ErrOthers).
func (p *Plane) Apply(want Rules) (changed bool, err error) {
	before, err := p.look(want)
	if len(want.Diverts) > 0 {
		p.made = true
	} else if !p.made && err == nil && !before.same {
		if others, err := served(); others || err != nil {
			return false, cmp.Or(err, ErrOthers)
		}
	}
	if err != nil || before.same {
		return false, err
	}
	p.known = false
	commits := uint32(0)
	for i, f := range families {
		if before.families[i] {
			continue
		}
		if err := write(f, want.of(f)); err != nil {
			return changed, err
		}
		changed = true
		commits++
	}
	now, err := generation()
	if err == nil && now == before.generation+commits { // else others wrote, too
		p.want, p.known, p.generation = want.clone(), true, now
	}
	return changed, err
}

// Differs tells whether Apply would have to change anything. It changes nothing.
func (p *Plane) Differs(want Rules) (bool, error) {
	have, err := p.look(want)
	return !have.same, err
}

// state is how what there is compares with what is wanted.
type state struct {
	same       bool
	families   [len(families)]bool // those that are the same
	generation uint32
}

// look compares, without reading if nobody has changed anything.
func (p *Plane) look(want Rules) (s state, err error) {
	if s.generation, err = generation(); err != nil {
		return s, err
	}
	if p.known && s.generation == p.generation && p.want.equal(want) {
		s.same = true
		return s, nil
	}
	s.same = true
	for i, f := range families {
		if s.families[i], err = is(f, want.of(f)); err != nil {
			return s, err
		}
		s.same = s.same && s.families[i]
	}
	now, err := generation()
	if s.same && now == s.generation { // else the listing may be torn
		p.want, p.known, p.generation = want.clone(), true, now
	}
	return s, err
}

// of are the rules of a family.
func (r Rules) of(f ipvs.Family) (some Rules) {
	for _, d := range r.Diverts {
		if d.Key.AF() == f {
			some.Diverts = append(some.Diverts, d)
		}
	}
	for _, k := range r.Exact {
		if k.AF() == f && k.FWMark == 0 {
			some.Exact = append(some.Exact, k)
		}
	}
	return some
}

func (r Rules) clone() Rules { return Rules{slices.Clone(r.Diverts), slices.Clone(r.Exact)} }

func (r Rules) equal(o Rules) bool {
	return slices.Equal(r.Diverts, o.Diverts) && slices.Equal(r.Exact, o.Exact)
}

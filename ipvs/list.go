package ipvs

import (
	"net/netip"
	"slices"

	"github.com/goipvs/goipvs/ipvs/internal/wire"
	"golang.org/x/sys/unix"
)

// Services lists the services in the kernel's order, which means nothing; each
// is there once. The list is not a snapshot: see [Read].
func (c *Client) Services() ([]ServiceInfo, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []ServiceInfo
	err := c.request(cmdGetService, unix.NLM_F_DUMP,
		func(*wire.Encoder) { list = list[:0] },
		func(b []byte) error {
			list = append(list, ServiceInfo{})
			return decodeService(b, &list[len(list)-1], c.names)
		})
	if err != nil {
		return nil, opError("list services", "", cmdGetService, err)
	}
	return c.seen.services(list), nil
}

// Service reads one service. A missing one is [ErrNoService].
func (c *Client) Service(k ServiceKey) (ServiceInfo, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.service(&k)
	return s, opErrorOf("read service", &k, cmdGetService, err)
}

func (c *Client) service(k *ServiceKey) (s ServiceInfo, err error) {
	if err := k.check(); err != nil {
		return ServiceInfo{}, err
	}
	err = c.request(cmdGetService, 0,
		func(e *wire.Encoder) { putKey(e, k) },
		func(b []byte) error { return decodeService(b, &s, c.names) })
	return s, err
}

// Destinations appends the destinations of a service to buf, in the kernel's
// order, each once. It allocates only to make buf larger. A missing service is
// [ErrNoService], and then, as with every error, buf is returned as it was. The
// list is not a snapshot: see [Read].
func (c *Client) Destinations(k ServiceKey, buf []DestinationInfo) ([]DestinationInfo, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	list, err := c.destinations(&k, buf)
	if err != nil {
		return buf, opErrorOf("list destinations", &k, cmdGetDest, err)
	}
	return list, nil
}

func (c *Client) destinations(k *ServiceKey, buf []DestinationInfo) ([]DestinationInfo, error) {
	if err := k.check(); err != nil {
		return nil, err
	}
	list, family := buf, k.AF()
	err := c.request(cmdGetDest, unix.NLM_F_DUMP,
		func(e *wire.Encoder) {
			list = list[:len(buf)]
			putKey(e, k)
		},
		func(b []byte) error {
			list = append(list, DestinationInfo{})
			return decodeDestination(b, family, &list[len(list)-1])
		})
	if err == nil && len(list) == len(buf) {
		// The kernel answers the same for a service without destinations and
		// for none at all (ip_vs_genl_dump_dests).
		_, err = c.service(k)
	}
	if err != nil {
		return nil, err
	}
	return c.seen.destinations(list, len(buf)), nil
}

// opErrorOf is opError for a request about one service; the name is made only
// when there is an error.
func opErrorOf(op string, k *ServiceKey, cmd command, err error) error {
	if err == nil {
		return nil
	}
	return opError(op, k.String(), cmd, err)
}

// seen finds the entries that a dump gave twice, as it does when others are
// added before it is done. It keeps its memory between listings.
type seen struct {
	svc map[ServiceKey]struct{}
	dst map[netip.AddrPort]struct{}
}

// onePart is the number of entries below which a dump is one datagram, made
// under one lock, so that nothing is in it twice: an entry takes over 100 bytes.
const onePart = 24

func (s *seen) services(list []ServiceInfo) []ServiceInfo {
	if len(list) <= onePart {
		return list
	}
	if s.svc == nil {
		s.svc = make(map[ServiceKey]struct{}, len(list))
	}
	clear(s.svc)
	return slices.DeleteFunc(list, func(e ServiceInfo) bool {
		_, twice := s.svc[e.ServiceKey]
		s.svc[e.ServiceKey] = struct{}{}
		return twice
	})
}

func (s *seen) destinations(list []DestinationInfo, from int) []DestinationInfo {
	if len(list)-from <= onePart {
		return list
	}
	if s.dst == nil {
		s.dst = make(map[netip.AddrPort]struct{}, len(list)-from)
	}
	clear(s.dst)
	n := len(slices.DeleteFunc(list[from:], func(e DestinationInfo) bool {
		_, twice := s.dst[e.Addr]
		s.dst[e.Addr] = struct{}{}
		return twice
	}))
	return list[:from+n]
}

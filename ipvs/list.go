package ipvs

import (
	"net/netip"

	"github.com/goipvs/goipvs/ipvs/internal/wire"
	"golang.org/x/sys/unix"
)

// Services lists the services in the kernel's order, which means nothing; each
// is there once. The list is not a snapshot: see [Read].
func (c *Client) Services() ([]ServiceInfo, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list blocks[ServiceInfo]
	err := c.request(cmdGetService, unix.NLM_F_DUMP,
		func(*wire.Encoder) { list = blocks[ServiceInfo]{} },
		func(b []byte) error { return decodeService(b, list.next(), c.names) })
	if err != nil {
		return nil, opError("list services", "", cmdGetService, err)
	}
	return unique(list.join(), &c.hashes, func(s *ServiceInfo) ServiceKey { return s.ServiceKey }), nil
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
	once := unique(list[len(buf):], &c.hashes, func(d *DestinationInfo) netip.AddrPort { return d.Addr })
	return list[:len(buf)+len(once)], nil
}

// opErrorOf is opError for a request about one service; the name is made only
// when there is an error.
func opErrorOf(op string, k *ServiceKey, cmd command, err error) error {
	if err == nil {
		return nil
	}
	return opError(op, k.String(), cmd, err)
}

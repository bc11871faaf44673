package ipvs

import (
	"errors"
	"slices"

	"github.com/goipvs/goipvs/ipvs/internal/wire"
	"golang.org/x/sys/unix"
)

// Info reads the version of the kernel's IPVS and the size of its connection
// table.
func (c *Client) Info() (Info, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var i Info
	err := c.request(cmdGetInfo, 0, nil, func(b []byte) error { return decodeInfo(b, &i) })
	return i, opError("read info", "", cmdGetInfo, err)
}

// Flush removes all services with their destinations.
func (c *Client) Flush() error {
	return c.order("flush", "", cmdFlush, nil)
}

// Zero sets the counters of all services and destinations, and those of the
// namespace, to zero.
func (c *Client) Zero() error {
	return c.order("zero counters", "", cmdZero, nil)
}

// ZeroService sets the counters of a service and its destinations to zero. A
// missing service is [ErrNoService].
func (c *Client) ZeroService(k ServiceKey) error {
	if err := k.check(); err != nil {
		return opErrorOf("zero counters", &k, cmdZero, err)
	}
	return c.order("zero counters", k.String(), cmdZero, func(e *wire.Encoder) { putKey(e, &k) })
}

// Timeouts reads the connection timeouts.
func (c *Client) Timeouts() (Timeouts, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var t Timeouts
	err := c.request(cmdGetConfig, 0, nil, func(b []byte) error { return decodeTimeouts(b, &t) })
	return t, opError("read timeouts", "", cmdGetConfig, err)
}

// SetTimeouts sets the connection timeouts that are not zero, in whole
// seconds; others are [ErrRange], as the kernel would cut them to another
// value without a word.
func (c *Client) SetTimeouts(t Timeouts) error {
	if err := t.check(); err != nil {
		return opError("set timeouts", "", cmdSetConfig, err)
	}
	return c.order("set timeouts", "", cmdSetConfig, func(e *wire.Encoder) { putTimeouts(e, &t) })
}

// Daemons lists the connection sync daemons that run in the namespace.
func (c *Client) Daemons() ([]Daemon, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []Daemon
	err := c.request(cmdGetDaemon, unix.NLM_F_DUMP,
		func(*wire.Encoder) { list = list[:0] },
		func(b []byte) error {
			list = append(list, Daemon{})
			return decodeDaemon(b, &list[len(list)-1], c.names)
		})
	if err != nil {
		return nil, opError("list sync daemons", "", cmdGetDaemon, err)
	}
	return list, nil
}

// StartDaemon starts a sync daemon. One that runs in that state already is
// [ErrExists], an unknown interface [ErrNoDevice].
func (c *Client) StartDaemon(d Daemon) error {
	const op = "start sync daemon"
	object := d.State.String()
	if d.Interface != "" {
		object += " " + d.Interface
	}
	if err := d.check(); err != nil {
		return opError(op, object, cmdNewDaemon, err)
	}
	return c.order(op, object, cmdNewDaemon, func(e *wire.Encoder) { putDaemon(e, &d) })
}

// StopDaemon stops the sync daemon of d.State; the rest of d is not read. If
// none runs the error is [ErrNoDaemon].
func (c *Client) StopDaemon(d Daemon) error {
	const op = "stop sync daemon"
	object := d.State.String()
	err := c.order(op, object, cmdDelDaemon, func(e *wire.Encoder) { putDaemon(e, &Daemon{State: d.State}) })
	// Stopping a daemon whose thread has not run yet works, but kthread_stop
	// says EINTR, and that is the one error netlink does not pass on
	// (netlink_rcv_skb). So look.
	if errors.Is(err, ErrLost) {
		list, lerr := c.Daemons()
		if lerr == nil && !slices.ContainsFunc(list, func(l Daemon) bool { return l.State == d.State }) {
			return nil
		}
	}
	return err
}

// order makes a request that is answered by yes or no.
func (c *Client) order(op, object string, cmd command, put func(*wire.Encoder)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return opError(op, object, cmd, c.request(cmd, unix.NLM_F_ACK, put, nil))
}

package healthcheck

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxBytes is how much all connections of one check may carry each way
// together. A protocol may set itself lower limits.
const maxBytes = 256 << 10

// A Dialer opens the connections of one check of one server, and is the only
// way that a protocol reaches the network. They share one deadline, that of the
// context they were dialed with, and one budget of bytes, and they are closed
// when the check is over.
type Dialer struct {
	Check  Check
	Target Target

	dial       func(ctx context.Context, network, address string) (net.Conn, error)
	transcript transcript
	budget     budget
	warning    string
	weight     Weight

	mu     sync.Mutex
	stage  string // what we wait for, for the words of a timeout
	broken error  // how the first of the connections broke
	open   []net.Conn
}

func newDialer(c Check, t Target) *Dialer {
	d := &Dialer{Check: c, Target: t, stage: "starting"}
	d.dial = d.connect
	d.budget.read.Store(maxBytes)
	d.budget.sent.Store(maxBytes)
	d.transcript.secrets = secretsOf(c)
	return d
}

// limit lowers the check's budget, for protocols whose answers are short or
// dear to read.
func (d *Dialer) limit(bytes int64) { d.budget.read.Store(min(bytes, d.budget.read.Load())) }

// Address is where the check goes: the real server, or the VIP for Via "path".
func (d *Dialer) Address() netip.AddrPort { return d.Target.address(&d.Check) }

// Dial connects to the server. The network is "tcp" or "udp".
func (d *Dialer) Dial(ctx context.Context, network string) (net.Conn, error) {
	return d.DialPort(ctx, network, d.Address().Port())
}

// DialPort connects to another port of the same server, as FTP needs.
func (d *Dialer) DialPort(ctx context.Context, network string, port uint16) (net.Conn, error) {
	to := netip.AddrPortFrom(d.Address().Addr(), port)
	if !to.IsValid() || port == 0 {
		return nil, ours(fmt.Errorf("no address and port to check (%v)", to))
	}
	d.Stage("connecting")
	start := time.Now()
	raw, err := d.dial(ctx, network, to.String())
	if err != nil {
		d.Note("%s connect to %v: %v", network, to, bare(err))
		return nil, fmt.Errorf("%s connect to %v: %w", network, to, bare(err))
	}
	d.Note("%s connected to %v after %v", network, to, time.Since(start).Round(10*time.Microsecond))
	d.Stage("waiting for an answer")
	return d.guard(ctx, raw), nil
}

func (d *Dialer) connect(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Control: d.control, KeepAlive: -1, FallbackDelay: -1, LocalAddr: d.local(network)}
	return dialer.DialContext(ctx, network, address)
}

// DialContext is Dial in the form that libraries ask for. The address they
// name is not looked at: a check talks to its own server.
func (d *Dialer) DialContext(ctx context.Context, network, _ string) (net.Conn, error) {
	return d.Dial(ctx, network)
}

// dialBinary is Dial for a protocol whose bytes tell people nothing: what is
// said has to be noted.
func (d *Dialer) dialBinary(ctx context.Context, network string) (net.Conn, error) {
	c, err := d.Dial(ctx, network)
	if g, ok := c.(*conn); ok {
		g.silent.Store(true)
	}
	return c, err
}

// StartTLS begins TLS on a connection of this dialer, as config and the check
// say; see [Dialer.tlsClient].
func (d *Dialer) StartTLS(ctx context.Context, c net.Conn, config *tls.Config) (net.Conn, error) {
	t, err := d.tlsClient(ctx, c, config)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// Note writes a line into the check's transcript. It must hold no secret.
func (d *Dialer) Note(format string, args ...any) { d.transcript.note(format, args...) }

// Warn tells the operator of something about a server that is well.
func (d *Dialer) Warn(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.warning = fmt.Sprintf(format, args...)
}

// Stage says what the check waits for from here on: "timed out while ...".
func (d *Dialer) Stage(what string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stage = what
}

// control sets what must be set before a socket connects.
func (d *Dialer) control(_, _ string, c syscall.RawConn) error {
	if d.Target.Mark == 0 {
		return nil
	}
	var err error
	if e := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(d.Target.Mark))
	}); e != nil {
		return e
	}
	if err != nil {
		return ours(fmt.Errorf("mark the check's packets (needs CAP_NET_ADMIN): %w", err))
	}
	return nil
}

// sourceAddr is where packets come from, none when the kernel chooses. To a VIP
// that is the director's own the kernel would choose the VIP, which no real
// server could answer: there it is the address that the real server would be
// reached from.
func (d *Dialer) sourceAddr() netip.Addr {
	source := d.Target.Source
	if !source.IsValid() && d.Check.Via == ViaPath && d.Target.Real.IsValid() {
		source, _ = routeTo(net.Dialer{}, d.Target.Real.Addr()) // none: the kernel's choice and its error
	}
	return source
}

// local is the source address in the network's form.
func (d *Dialer) local(network string) net.Addr {
	source := d.sourceAddr()
	if !source.IsValid() {
		return nil
	}
	from := netip.AddrPortFrom(source, 0)
	if network == "udp" {
		return net.UDPAddrFromAddrPort(from)
	}
	return net.TCPAddrFromAddrPort(from)
}

// guard puts a connection under the check's limits.
func (d *Dialer) guard(ctx context.Context, raw net.Conn) net.Conn {
	c := &conn{Conn: raw, dialer: d}
	c.deadline, _ = ctx.Deadline()
	raw.SetDeadline(c.deadline)
	c.stop = context.AfterFunc(ctx, func() { raw.Close() })
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open = append(d.open, c)
	return c
}

func (d *Dialer) close() {
	d.mu.Lock()
	open := d.open
	d.open = nil
	d.mu.Unlock()
	for _, c := range open {
		c.Close()
	}
}

// bare is an error of package net without the address, which we say ourselves.
func bare(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

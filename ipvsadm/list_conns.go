package ipvsadm

import (
	"fmt"
	"io"
	"iter"
	"net/netip"
	"strconv"
	"time"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvs/procfs"
)

// connBatch is how many connections are read before their names are asked for,
// all at once. Without names rows go through one by one.
const connBatch = 1024

// Connection is a connection of full NAT: what the kernel says of its own, and the
// local address that the real server sees it come from.
type Connection struct {
	procfs.Connection
	Local netip.AddrPort // the zero AddrPort where there is none, port 0 when it is closed
}

// listConnections prints the connection table in its own order (-L -c), with the
// data of persistence engines in ViewPersistent, and full NAT's connections after
// it. Connections that cannot be read are left out and are the error in the end.
// The columns of the kernel's are the same whether there are others or not; those
// that have a local address there, which kernel knows, have it behind them.
func listConnections(w io.Writer, conns iter.Seq2[procfs.Connection, error], full, kernel []Connection, o ListOptions) error {
	v := connView{out: &output{w: w}, names: o.Names, persistent: o.View == ViewPersistent, locals: len(full)+len(kernel) > 0}
	v.json.first = true
	if o.JSON {
		v.names, v.row = nil, v.jsonRow
		v.json.open('{')
		v.json.field("connections", '[')
	} else {
		v.row = v.textRow
		v.out.b = v.title(v.out.b)
	}
	err := v.list(both(conns, full, localsOf(kernel)))
	if o.JSON {
		v.json.close(']')
		v.json.close('}')
		v.out.b = append(v.out.b, v.json.b...)
		v.out.b = append(v.out.b, '\n')
	}
	return v.out.end(err)
}

// connView prints connections in one form.
type connView struct {
	out        *output
	names      *Resolver
	persistent bool
	locals     bool
	row        func(*Connection)
	json       jsonText
	batch      []Connection
}

// ends are what a connection is known by.
type ends struct {
	protocol                     ipvs.Protocol
	client, virtual, destination netip.AddrPort
}

func (c *Connection) ends() ends { return ends{c.Protocol, c.Client, c.Virtual, c.Destination} }

// localsOf are the local addresses of connections.
func localsOf(all []Connection) map[ends]netip.AddrPort {
	locals := make(map[ends]netip.AddrPort, len(all))
	for i := range all {
		locals[all[i].ends()] = all[i].Local
	}
	return locals
}

func both(conns iter.Seq2[procfs.Connection, error], full []Connection, locals map[ends]netip.AddrPort) iter.Seq2[Connection, error] {
	return func(yield func(Connection, error) bool) {
		for kernel, err := range conns {
			c := Connection{Connection: kernel}
			c.Local = locals[c.ends()]
			if !yield(c, err) {
				return
			}
		}
		for _, c := range full {
			if !yield(c, nil) {
				return
			}
		}
	}
}

func (v *connView) list(conns iter.Seq2[Connection, error]) error {
	var unread error
	for c, err := range conns {
		if err != nil {
			if unread == nil {
				unread = fmt.Errorf("read connections: %w", err)
			}
			continue
		}
		v.batch = append(v.batch, c)
		if v.names == nil || len(v.batch) == connBatch {
			if err := v.flush(); err != nil {
				return err
			}
		}
	}
	if err := v.flush(); err != nil {
		return err
	}
	return unread
}

// flush prints the rows that are waiting, after asking for their names.
func (v *connView) flush() error {
	if v.names != nil {
		for i := range v.batch {
			c := &v.batch[i]
			v.names.want(c.Client.Addr())
			v.names.want(c.Virtual.Addr())
			v.names.want(c.Destination.Addr())
			if c.Local.IsValid() {
				v.names.want(c.Local.Addr())
			}
		}
		v.names.lookup()
	}
	for i := range v.batch {
		v.row(&v.batch[i])
	}
	v.batch = v.batch[:0]
	return v.out.spill()
}

func (v *connView) title(b []byte) []byte {
	b = append(b, "IPVS connection entries\npro expire state       source             virtual            destination"...)
	switch {
	case v.persistent:
		b = append(b, "        pe name          pe_data"...)
	case v.locals:
		b = append(b, "        local"...)
	}
	return append(b, '\n')
}

// textRow prints the columns where ipvsadm does; those of engine data are not
// below their titles there either.
func (v *connView) textRow(c *Connection) {
	v.out.b = v.appendRow(v.out.b, c)
}

func (v *connView) appendRow(b []byte, c *Connection) []byte {
	start := len(b)
	b = append(padTo(append(b, c.ProtocolName()...), start, 3), ' ')
	start = len(b)
	b = append(padTo(appendExpiry(b, c.Expires), start, 6), ' ')
	start = len(b)
	b = append(padTo(appendVisible(b, c.State), start, 11), ' ')
	text := textView{names: v.names}
	for _, a := range [...]netip.AddrPort{c.Client, c.Virtual} {
		start = len(b)
		b = append(padTo(text.endpoint(b, start, a, c.Protocol, maxEndpoint), start, 18), ' ')
	}
	start = len(b)
	b = text.endpoint(b, start, c.Destination, c.Protocol, maxEndpoint)
	if c.Local.IsValid() && !v.persistent {
		b = append(padTo(b, start, 18), ' ')
		b = text.endpoint(b, len(b), c.Local, c.Protocol, maxEndpoint)
	}
	if v.persistent && c.PE != "" {
		b = append(padTo(b, start, 16), ' ')
		start = len(b)
		b = append(padTo(appendVisible(b, c.PE), start, 18), ' ')
		b = appendVisible(b, c.PEData)
	}
	return append(b, '\n')
}

// appendExpiry appends minutes and seconds; hours are minutes, too.
func appendExpiry(b []byte, d time.Duration) []byte {
	s := int64(d / time.Second)
	b = appendTwoDigits(b, s/60)
	return appendTwoDigits(append(b, ':'), s%60)
}

func appendTwoDigits(b []byte, n int64) []byte {
	if n < 10 {
		b = append(b, '0')
	}
	return strconv.AppendInt(b, n, 10)
}

// appendVisible appends what comes from packets, without what a terminal would
// obey.
func appendVisible(b []byte, s string) []byte {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			b = append(b, '?')
		} else {
			b = append(b, s[i])
		}
	}
	return b
}

func (v *connView) jsonRow(c *Connection) {
	j := &v.json
	j.line()
	j.connection(c)
	v.out.b, j.b = append(v.out.b, j.b...), j.b[:0]
}

func (j *jsonText) connection(c *Connection) {
	j.open('{')
	if mark, ok := c.FWMark(); ok {
		j.uint("fwmark", uint64(mark))
	} else {
		j.str("protocol", c.Protocol.String())
		j.addr("virtual", c.Virtual.Addr())
		j.uint("virtual_port", uint64(c.Virtual.Port()))
	}
	j.addr("client", c.Client.Addr())
	j.uint("client_port", uint64(c.Client.Port()))
	j.addr("destination", c.Destination.Addr())
	j.uint("destination_port", uint64(c.Destination.Port()))
	j.str("state", c.State)
	j.int("expires", int64(c.Expires/time.Second))
	j.str("pe", c.PE)
	j.str("pe_data", c.PEData)
	if c.Local.IsValid() {
		j.addr("local", c.Local.Addr())
		j.uint("local_port", uint64(c.Local.Port()))
	}
	j.close('}')
}

// AppendConnections appends the document of -L -c --json, on one line: what
// goipvsd answers to VerbConnections, and with it what is known of connections that the kernel
// lists: their local addresses.
func AppendConnections(b []byte, all, kernel []Connection) []byte {
	j := jsonText{b: b, first: true, oneLine: true}
	j.open('{')
	j.field("connections", '[')
	for i := range all {
		j.connection(&all[i])
	}
	j.close(']')
	j.field("kernel", '[')
	for i := range kernel {
		j.connection(&kernel[i])
	}
	j.close(']')
	j.close('}')
	return j.b
}

// readConnections reads that document.
func readConnections(document []byte) (all, kernel []Connection, err error) {
	j := jsonReader{b: document}
	j.object(func(name string) {
		switch name {
		case "connections":
			j.array(func() { all = append(all, j.connection()) })
		case "kernel":
			j.array(func() { kernel = append(kernel, j.connection()) })
		default:
			j.skip()
		}
	})
	return all, kernel, j.end()
}

func (j *jsonReader) connection() (c Connection) {
	var client, virtual, destination, local struct {
		addr netip.Addr
		port uint16
	}
	var seconds, mark uint32
	j.object(func(name string) {
		switch name {
		case "fwmark":
			number64(j, &mark)
		case "protocol":
			j.text(&c.Protocol)
		case "client":
			client.addr = j.addr()
		case "client_port":
			number64(j, &client.port)
		case "virtual":
			virtual.addr = j.addr()
		case "virtual_port":
			number64(j, &virtual.port)
		case "destination":
			destination.addr = j.addr()
		case "destination_port":
			number64(j, &destination.port)
		case "local":
			local.addr = j.addr()
		case "local_port":
			number64(j, &local.port)
		case "state":
			c.State = j.string()
		case "expires":
			number64(j, &seconds)
		default:
			j.skip()
		}
	})
	c.Expires = time.Duration(seconds) * time.Second
	c.Client, c.Virtual = netip.AddrPortFrom(client.addr, client.port), netip.AddrPortFrom(virtual.addr, virtual.port)
	if mark != 0 {
		c.Virtual = procfs.MarkAddr(mark, ipvs.AddrService(0, c.Client).AF())
	}
	c.Destination = netip.AddrPortFrom(destination.addr, destination.port)
	if local.addr.IsValid() {
		c.Local = netip.AddrPortFrom(local.addr, local.port)
	}
	return c
}

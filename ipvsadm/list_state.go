package ipvsadm

import (
	"io"
	"strconv"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// ListTimeouts prints the connection timeouts in seconds (-L --timeout).
func ListTimeouts(w io.Writer, t ipvs.Timeouts, json bool) error {
	out := &output{w: w}
	if json {
		out.b = appendTimeoutsJSON(out.b, t)
		return out.flush()
	}
	out.b = append(out.b, "Timeout (tcp tcpfin udp):"...)
	for _, d := range [...]time.Duration{t.TCP, t.TCPFin, t.UDP} {
		out.b = strconv.AppendInt(append(out.b, ' '), int64(d/time.Second), 10)
	}
	out.b = append(out.b, '\n')
	return out.flush()
}

// ListDaemons prints the running sync daemons, a line each (-L --daemon).
func ListDaemons(w io.Writer, daemons []ipvs.Daemon, json bool) error {
	out := &output{w: w}
	if json {
		out.b = appendDaemonsJSON(out.b, daemons)
		return out.flush()
	}
	for i := range daemons {
		out.b = appendDaemon(out.b, &daemons[i])
	}
	return out.flush()
}

// appendDaemon appends one daemon; what the kernel did not report is left out.
func appendDaemon(b []byte, d *ipvs.Daemon) []byte {
	b = append(append(b, d.State.String()...), " sync daemon (mcast="...)
	b = append(append(b, d.Interface...), ", syncid="...)
	b = strconv.AppendUint(b, uint64(d.SyncID), 10)
	if d.MaxLen != 0 {
		b = strconv.AppendUint(append(b, ", maxlen="...), uint64(d.MaxLen), 10)
	}
	if d.Group.IsValid() {
		b = appendAddr(append(b, ", group="...), d.Group)
	}
	if d.Port != 0 {
		b = strconv.AppendUint(append(b, ", port="...), uint64(d.Port), 10)
	}
	if d.TTL != 0 {
		b = strconv.AppendUint(append(b, ", ttl="...), uint64(d.TTL), 10)
	}
	return append(b, ")\n"...)
}

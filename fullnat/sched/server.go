package sched

import (
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// Server is a real server of a Service. Its pointer is its identity: it stays
// the same while the server has connections, also when the server is deleted
// and added again.
//
// All integers have the kernel's widths, so that they wrap where its wrap.
type Server struct {
	// Data is the caller's.
	Data any

	weight     int32
	active     int32
	inactive   int32
	overloaded bool // sticky: thresholds set and clear it, see bound and released
	available  bool // in the list, not in the trash
	lastWeight int32
	persistent int32
	upper      uint32
	lower      uint32
	cached     int32         // references from the caches of lblc and lblcr
	idle       bool          // seen in the trash without references at idleSince
	idleSince  time.Duration // see collectTrash

	config   ipvs.Destination
	settings *Settings // the service's
}

// Destination is the server as it was configured last.
func (d *Server) Destination() ipvs.Destination { return d.config }

// InService tells whether the server is in the service's list. The kernel drops
// what clients send on the connections of one that is not, but keeps them for
// the case that the server is added again.
func (d *Server) InService() bool { return d.available }

// Info is the server as the kernel would report it, without statistics.
func (d *Server) Info() ipvs.DestinationInfo {
	return ipvs.DestinationInfo{
		Destination: d.config,
		Active:      uint32(d.active),
		Inactive:    uint32(d.inactive),
		Persistent:  uint32(d.persistent),
	}
}

// configure sets what add and edit set (ip_vs_ctl.c, __ip_vs_update_dest).
func (d *Server) configure(c ipvs.Destination, added bool) {
	if added || c.Weight != 0 {
		d.lastWeight = c.Weight
	}
	changed := c.Upper != d.upper || c.Lower != d.lower
	raised := c.Upper == 0 || c.Upper > d.upper
	d.config, d.weight, d.upper, d.lower = c, c.Weight, c.Upper, c.Lower
	switch {
	case d.settings.PromptThresholds && changed:
		d.reconsider()
	case !d.settings.PromptThresholds && raised:
		d.overloaded = false
	}
}

func (d *Server) usable() bool { return d.weight > 0 && !d.overloaded }

// overhead is the load that lc and wlc compare (ip_vs_dest_conn_overhead).
func (d *Server) overhead() int32 { return d.active<<8 + d.inactive }

// total counts connections for the thresholds; templates are not in it.
func (d *Server) total() uint32 { return uint32(d.active + d.inactive) }

// bound applies the upper threshold after a connection or template was counted
// (ip_vs_conn.c, ip_vs_bind_dest).
func (d *Server) bound() {
	if d.settings.PromptThresholds {
		d.reconsider()
	} else if d.upper != 0 && d.total() >= d.upper {
		d.overloaded = true
	}
}

// released applies the lower threshold after one is gone (ip_vs_unbind_dest):
// without a lower threshold it is three quarters of the upper one.
func (d *Server) released() {
	switch {
	case d.settings.PromptThresholds:
		if d.overloaded {
			d.reconsider()
		}
	case d.lower != 0 && d.total() >= d.lower:
	case d.lower == 0 && d.upper != 0 && d.total()*4 >= d.upper*3:
	default:
		d.overloaded = false
	}
}

// reconsider is the rule of newer kernels for all occasions
// (ip_vs_dest_update_overload).
func (d *Server) reconsider() {
	lower := d.lower
	if lower == 0 {
		lower = d.upper - d.upper/4
	}
	switch total := d.total(); {
	case d.upper != 0 && total >= d.upper:
		d.overloaded = true
	case d.upper == 0 || total < lower:
		d.overloaded = false
	}
}

// referenced tells whether anything still knows a deleted server.
func (d *Server) referenced() bool {
	return d.active != 0 || d.inactive != 0 || d.persistent != 0 || d.cached != 0
}

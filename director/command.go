package director

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/goipvs/goipvs/config"
	"github.com/goipvs/goipvs/ipvs"
)

// Command is a program of the operator's that is to be run: argv, never a
// shell's line.
type Command struct {
	Virtual string // name of the service it is for
	Real    string // address of the real server it is for; empty: the service as a whole
	Argv    []string
	Env     []string // beside what every program gets
}

// notify has one of a pair of programs run.
func (v *service) notify(s *state, n config.Notify, up bool, e Event) {
	argv, word := n.Down, "down"
	if up {
		argv, word = n.Up, "up"
	}
	if len(argv) == 0 {
		return
	}
	s.d.o.Command(Command{v.Name, e.Server, argv, []string{
		"GOIPVS_EVENT=" + word, "GOIPVS_VIRTUAL=" + v.Name, "GOIPVS_REAL=" + e.Server, "GOIPVS_REASON=" + Clean(e.Reason),
	}})
}

// command has the service's fallback_command run with what became of the
// fallback.
func (v *service) command(s *state) {
	if len(v.FallbackCommand) == 0 {
		return
	}
	word := "stop"
	if v.decision.Fallback {
		word = "start"
	}
	s.d.o.Command(Command{Virtual: v.Name, Argv: slices.Concat(v.FallbackCommand, []string{word})})
}

// handOutVIPs says which virtual addresses are ours to set up, when that
// changed: those of services that are there, so that nobody is sent to an address
// that does not answer, or not yet.
func (s *state) handOutVIPs() {
	s.handOutPaths()
	vips := make(map[netip.Addr]string)
	for _, v := range s.services {
		if v.VIPInterface != "" && v.Service.FWMark == 0 && v.answers && !v.refused() {
			vips[v.Service.Addr.Addr()] = v.VIPInterface
		}
	}
	if s.vips != nil && maps.Equal(vips, s.vips) {
		return
	}
	s.vips = vips
	s.d.o.VIPs(vips)
}

// handOutPaths says which real servers answer checks by the path from an address
// of ours, when that changes: those of DR and TUN, whose answers come from the
// VIP. IPv6 has no rule against that.
func (s *state) handOutPaths() {
	var list []netip.Addr
	for _, v := range s.services {
		if !v.Path || v.gone || v.Service.AF() != ipvs.IPv4 {
			continue
		}
		for i := range v.Servers {
			if d := &v.Servers[i].Destination; d.Method != ipvs.NAT {
				list = append(list, d.Addr.Addr())
			}
		}
	}
	slices.SortFunc(list, netip.Addr.Compare)
	if list = slices.Compact(list); s.paths != nil && slices.Equal(list, s.paths) {
		return
	}
	s.paths = append([]netip.Addr{}, list...)
	s.d.o.Paths(list)
}

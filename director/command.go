package director

import (
	"maps"
	"net/netip"
	"slices"
)

// Command is a program of the operator's that is to be run: argv, never a
// shell's line.
type Command struct {
	Virtual string // name of the service it is for
	Argv    []string
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
	s.d.o.Command(Command{v.Name, slices.Concat(v.FallbackCommand, []string{word})})
}

// handOutVIPs says which virtual addresses are ours to set up, when that
// changed. It comes after the kernel has the services, so that nobody is sent
// to an address that does not answer yet.
func (s *state) handOutVIPs() {
	vips := make(map[netip.Addr]string)
	for _, v := range s.services {
		if v.VIPInterface != "" && v.Service.FWMark == 0 && !v.refused() {
			vips[v.Service.Addr.Addr()] = v.VIPInterface
		}
	}
	if s.vips != nil && maps.Equal(vips, s.vips) {
		return
	}
	s.vips = vips
	s.d.o.VIPs(vips)
}

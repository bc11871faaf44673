package realserver

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/goipvs/goipvs/sysctl"
)

// state is the content of the record.
type state struct {
	VIPs    []VIP    `json:"vips"`
	Knobs   []held   `json:"knobs,omitempty"`   // in the order they were set
	Devices []string `json:"devices,omitempty"` // that were down before
	Ports   []port   `json:"ports,omitempty"`   // that were not open before
}

// held is a knob that has a value of ours.
type held struct {
	Knob  sysctl.Knob `json:"knob"`
	Found string      `json:"found"` // the last value that was not ours
	Set   string      `json:"set"`
	Prev  string      `json:"prev,omitempty"` // what Set was before; the kernel may have it still if we were killed
}

func (h held) ours(value string) bool { return value == h.Set || h.Prev != "" && value == h.Prev }

// port takes GUE packets.
type port struct {
	Outer int    `json:"outer"`
	Port  uint16 `json:"port"`
}

// check refuses a record that asks for more than we ever do.
func (s *state) check() error {
	for _, h := range s.Knobs {
		family, _, name, ok := h.Knob.Conf()
		known := slices.Contains([]string{"arp_ignore", "arp_announce", "rp_filter"}, name)
		_, err := strconv.Atoi(h.Found)
		if !ok || family != "ipv4" || !known || err != nil {
			return &OpError{"read record", h.Knob.String() + "=" + h.Found, errRecord}
		}
	}
	for _, dev := range s.Devices {
		if dev == "" || strings.ContainsAny(dev, "/ ") {
			return &OpError{"read record", strconv.Quote(dev), errRecord}
		}
	}
	return nil
}

func (s *state) empty() bool {
	return len(s.VIPs) == 0 && len(s.Knobs) == 0 && len(s.Devices) == 0 && len(s.Ports) == 0
}

func (s *state) vip(addr netip.Addr) *VIP {
	for i := range s.VIPs {
		if s.VIPs[i].Addr == addr {
			return &s.VIPs[i]
		}
	}
	return nil
}

func (s *state) knob(k sysctl.Knob) *held {
	for i := range s.Knobs {
		if s.Knobs[i].Knob == k {
			return &s.Knobs[i]
		}
	}
	return nil
}

func (s *state) hold(k sysctl.Knob, found, set string) {
	h := s.knob(k)
	switch {
	case h == nil:
		s.Knobs = append(s.Knobs, held{Knob: k, Found: found, Set: set})
		return
	case !h.ours(found):
		h.Found = found
	}
	if h.Set != set {
		h.Prev, h.Set = h.Set, set
	}
}

func (s *state) release(k sysctl.Knob) {
	s.Knobs = slices.DeleteFunc(s.Knobs, func(h held) bool { return h.Knob == k })
}

// staying are the VIPs that are not being deleted.
func (s *state) staying() (vips []VIP) {
	for _, v := range s.VIPs {
		if !v.Leaving {
			vips = append(vips, v)
		}
	}
	return vips
}

func (s *state) clone() *state {
	return &state{slices.Clone(s.VIPs), slices.Clone(s.Knobs), slices.Clone(s.Devices), slices.Clone(s.Ports)}
}

package doctor

import (
	"fmt"
	"strings"

	"github.com/goipvs/goipvs/sysctl"
)

// eff is the value of an IPv4 knob that the kernel uses for an interface.
func (f *Facts) eff(knob, iface string) (value int, known bool) {
	all, ok := f.Conf["all"][knob]
	own, ok2 := f.Conf[iface][knob]
	if !ok || !ok2 {
		return 0, false
	}
	return sysctl.Combine(knob, all, own), true
}

// said is "arp_ignore is 0 (all 0, eth0 0)".
func (f *Facts) said(knob, iface string) string {
	v, _ := f.eff(knob, iface)
	return fmt.Sprintf("%s is %d (all %d, %s %d)", knob, v, f.Conf["all"][knob], iface, f.Conf[iface][knob])
}

// confName is the sysctl of an interface. sysctl(8) takes a name whose dots
// are slashes where an interface has dots in its own.
func confName(iface, knob string) string {
	return "net.ipv4.conf." + strings.ReplaceAll(iface, ".", "/") + "." + knob
}

// setConf is the command that sets a knob, and unsetConf the one that takes it
// back.
func setConf(iface, knob string, value int) string {
	return fmt.Sprintf("sysctl -w %s=%d", confName(iface, knob), value)
}

func (f *Facts) unsetConf(iface, knob string) string {
	return setConf(iface, knob, f.Conf[iface][knob])
}

// setKnob and unsetKnob are the same for net.ipv4.vs.
func setKnob(name string, value any) string {
	return fmt.Sprintf("sysctl -w net.ipv4.vs.%s=%v", name, value)
}

func (f *Facts) unsetKnob(name string) string {
	return setKnob(name, strings.ReplaceAll(f.Knobs[name], "\t", " "))
}

package sysctl

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// companions are the knobs that the kernel changes along with one:
// inet_forward_change() in net/ipv4/devinet.c copies ip_forward to every
// interface and resets accept_redirects; addrconf_fixup_forwarding() and
// addrconf_disable_ipv6() in net/ipv6/addrconf.c copy "all" to the interfaces.
func (n Netns) companions(k Knob) []Knob {
	if k == Forward4 {
		k = Conf4("all", "forwarding")
	}
	family, dev, name, ok := k.Conf()
	if !ok || dev != "all" || name != "forwarding" && (family != "ipv6" || name != "disable_ipv6") {
		return nil
	}
	var also []Knob
	for _, dev := range n.devices(family) {
		if dev != "all" {
			also = append(also, Knob("net/"+family+"/conf/"+dev+"/"+name))
		}
	}
	if family == "ipv4" {
		also = append(also, Conf4("all", "accept_redirects"), Conf4("default", "accept_redirects"))
	}
	return also
}

// devices are the interfaces that have knobs, "all" and "default" among them.
func (n Netns) devices(family string) (names []string) {
	entries, _ := os.ReadDir(filepath.Dir(n.File(Knob("net/" + family + "/conf/all"))))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func (n Netns) values(knobs []Knob) (all []Setting, err error) {
	for _, k := range knobs {
		v, err := n.read(k)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the interface went away
		}
		if err != nil {
			return nil, err
		}
		all = append(all, Setting{k, v})
	}
	return all, nil
}

// along is the value that the kernel gives a companion.
func along(companion Knob, value string) string {
	if companion.Name() != "accept_redirects" {
		return value
	}
	if value == "0" { // a host listens to redirects, a router does not
		return "1"
	}
	return "0"
}

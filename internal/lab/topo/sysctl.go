package topo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// Sysctl sets a kernel variable of the host, named as sysctl names it:
// net.ipv4.vs.conntrack.
func (h *Host) Sysctl(name, value string) error {
	err := h.Do(func() error { return os.WriteFile(sysctlPath(name), []byte(value), 0) })
	if err != nil {
		return fmt.Errorf("topo: %s: set %s=%s: %w", h.Name, name, value, err)
	}
	return nil
}

// ReadSysctl returns the value of a kernel variable of the host.
func (h *Host) ReadSysctl(name string) (string, error) {
	var b []byte
	err := h.Do(func() (err error) { b, err = os.ReadFile(sysctlPath(name)); return err })
	if err != nil {
		return "", fmt.Errorf("topo: %s: read %s: %w", h.Name, name, err)
	}
	return strings.TrimSpace(string(b)), nil
}

func sysctlPath(name string) string {
	return "/proc/sys/" + strings.ReplaceAll(name, ".", "/")
}

// settle sets what new interfaces inherit. Namespaces take over IPv4 settings of
// the machine they are made on, so everything a test could stumble over is set.
func (h *Host) settle(forwards bool) error {
	on, v6 := "0", h.usesIPv6()
	if forwards {
		on = "1"
	}
	set := [][2]string{
		{"net.ipv4.ip_forward", on}, // first: it resets other settings
		{"net.ipv4.icmp_ratelimit", "0"},
	}
	for _, dev := range []string{"all", "default"} {
		for _, name := range []string{"rp_filter", "arp_ignore", "arp_announce", "accept_redirects", "send_redirects"} {
			// Redirects: a director with one arm would tell its NAT servers
			// of the shorter way past itself.
			set = append(set, [2]string{"net.ipv4.conf." + dev + "." + name, "0"})
		}
		if v6 {
			prefix := "net.ipv6.conf." + dev + "."
			set = append(set, [2]string{prefix + "forwarding", on}, [2]string{prefix + "accept_redirects", "0"},
				[2]string{prefix + "accept_ra", "0"}, [2]string{prefix + "accept_dad", "0"})
		}
	}
	if v6 { // link-local addresses are given by hand, so that they work at once
		set = append(set, [2]string{"net.ipv6.conf.default.addr_gen_mode", "1"}, [2]string{"net.ipv6.icmp.ratelimit", "0"})
	}
	return h.Do(func() error {
		for _, s := range set {
			if err := os.WriteFile(sysctlPath(s[0]), []byte(s[1]), 0); err != nil {
				return fmt.Errorf("set %s=%s: %w", s[0], s[1], err)
			}
		}
		if v6 {
			return nil
		}
		// Silent: no neighbour discovery in captures. A kernel without IPv6 is.
		err := os.WriteFile(sysctlPath("net.ipv6.conf.default.disable_ipv6"), []byte("1"), 0)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}

// usesIPv6 is false for the switch, which only passes frames on.
func (h *Host) usesIPv6() bool { return h.net.spec.IPv6 && h.Name != "switch" }

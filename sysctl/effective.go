package sysctl

import (
	"fmt"
	"strconv"
)

// rule is how the kernel combines the values of "all" and of an interface.
type rule int

const (
	own  rule = iota // only the interface counts; "all" is at most copied to it
	most             // the larger one
	or               // one of them suffices
	and              // both are needed
)

// rules4 are the macros IN_DEV_* of include/linux/inetdevice.h. What is not here
// goes by the interface alone.
var rules4 = map[string]rule{
	"accept_local":                 or,
	"accept_source_route":          and,
	"arp_accept":                   most,
	"arp_announce":                 most,
	"arp_evict_nocarrier":          and,
	"arp_filter":                   or,
	"arp_ignore":                   most,
	"arp_notify":                   most,
	"bc_forwarding":                and,
	"bootp_relay":                  and,
	"drop_gratuitous_arp":          or,
	"log_martians":                 or,
	"mc_forwarding":                and,
	"promote_secondaries":          or,
	"proxy_arp":                    or,
	"proxy_arp_pvlan":              or,
	"route_localnet":               or,
	"rp_filter":                    most,
	"secure_redirects":             or,
	"send_redirects":               or,
	"shared_media":                 or,
	"src_valid_mark":               or,
	"drop_unicast_in_l2_multicast": or,
}

// rules6 are from net/ipv6: addrconf_dad_begin(), ndisc_recv_ns(), ip6_input.c.
var rules6 = map[string]rule{
	"accept_dad":     most,
	"disable_policy": or,
	"proxy_ndp":      or,
}

// Effective is the value that the kernel goes by for a knob of an interface
// (Conf4 or Conf6), combined from those of "all" and of the interface. Of other
// knobs, and of "all" itself, it is the value alone.
func (n Netns) Effective(k Knob) (value int, err error) {
	err = n.Do(func() error { value, err = n.effective(k); return err })
	return value, err
}

func (n Netns) effective(k Knob) (int, error) {
	mine, err := n.number(k)
	family, dev, name, ok := k.Conf()
	if err != nil || !ok || dev == "all" || dev == "default" {
		return mine, err
	}
	r, err := n.rule(family, dev, name)
	if err != nil || r == own {
		return mine, err
	}
	all, err := n.number(Knob("net/" + family + "/conf/all/" + name))
	if err != nil {
		return 0, err
	}
	return r.combine(all, mine), nil
}

// Combine is what the kernel makes of the values that "all" and an interface
// have of an IPv4 knob such as arp_ignore, for those who have read both.
// accept_redirects depends on more and is not among them.
func Combine(knob string, all, dev int) int { return rules4[knob].combine(all, dev) }

func (n Netns) rule(family, dev, name string) (rule, error) {
	if family == "ipv6" {
		return rules6[name], nil
	}
	if name == "accept_redirects" { // IN_DEV_RX_REDIRECTS
		forwards, err := n.number(Conf4(dev, "forwarding"))
		if err != nil || forwards == 0 {
			return or, err
		}
		return and, nil
	}
	return rules4[name], nil
}

func (r rule) combine(all, dev int) int {
	var yes bool
	switch r {
	case most:
		return max(all, dev)
	case or:
		yes = all != 0 || dev != 0
	case and:
		yes = all != 0 && dev != 0
	default:
		return dev
	}
	if yes {
		return 1
	}
	return 0
}

func (n Netns) number(k Knob) (int, error) {
	s, err := n.read(k)
	if err != nil {
		return 0, err
	}
	v, err := strconv.Atoi(s)
	if err != nil {
		return 0, &OpError{Op: "read", Knob: k, Err: fmt.Errorf("%q is not one number", s)}
	}
	return v, nil
}

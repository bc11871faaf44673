package tune

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goipvs/goipvs/sysctl"
)

// About is what there is to know about a knob.
type About struct {
	Knob    sysctl.Knob `json:"knob"`
	Default string      `json:"default"` // empty: it depends on the machine
	Brief   string      `json:"brief"`   // what it does
	Change  string      `json:"change"`  // when to change it
	Values  string      `json:"values"`  // the values it takes, for people

	check func(string) bool
}

// Name is how the knob is typed: the last part of its name where that is enough.
func (a About) Name() string {
	if a.Knob == sysctl.Forward6 {
		return a.Knob.String()
	}
	return a.Knob.Name()
}

func about(k sysctl.Knob, usual, brief, change string, v values) About {
	return About{k, usual, brief, change, v.text, v.ok}
}

// values are those a knob takes.
type values struct {
	text string
	ok   func(string) bool
}

var (
	onOff  = span(0, 1)
	modes  = values{"0 never, 1 or 2 when memory is short, 3 always", span(0, 3).ok}
	amount = values{"a number from 0", func(s string) bool { n, err := strconv.ParseInt(s, 10, 32); return err == nil && n >= 0 }}
	number = values{"a number", func(s string) bool { _, err := strconv.ParseInt(s, 10, 32); return err == nil }}
	two    = values{"two numbers: packet and period", func(s string) bool {
		f := strings.Fields(s)
		return len(f) == 2 && amount.ok(f[0]) && amount.ok(f[1])
	}}
	cpus = values{"a list of CPUs, such as 0-3,8", func(s string) bool { return strings.Trim(s, "0123456789-,") == "" }}
)

func span(from, to int) values {
	text := fmt.Sprintf("%d to %d", from, to)
	if to-from == 1 {
		text = fmt.Sprintf("%d or %d", from, to)
	}
	return values{text, func(s string) bool { n, err := strconv.Atoi(s); return err == nil && n >= from && n <= to }}
}

// knobs are in the order of their importance to most; defaults are those of
// Linux 6.1, meanings of Documentation/networking/ipvs-sysctl.rst.
var knobs = []About{
	about(sysctl.Forward4, "0", "forward IPv4 packets: answers of NAT real servers pass the director as forwarded packets", "1 for NAT; DR and TUN do without", onOff),
	about(sysctl.Forward6, "0", "the same for IPv6; the host then takes no router advertisements unless accept_ra is 2", "1 for NAT of IPv6", onOff),
	about(sysctl.VS("conntrack"), "0", "keep netfilter's connection tracking for connections of IPVS", "1 where firewall rules look at the state of answers, and for SNAT or full NAT; no use for DR and TUN", onOff),
	about(sysctl.VS("expire_nodest_conn"), "0", "packet of a connection whose server was removed: 0 drops it in silence, 1 ends the connection, so that the client may reconnect", "1 where a daemon removes servers that fail", onOff),
	about(sysctl.VS("expire_quiescent_template"), "0", "persistent clients of a server with weight 0: 0 keeps sending them there, 1 gives them another", "1 with persistence where a daemon sets weights to 0", onOff),
	about(sysctl.VS("conn_reuse_mode"), "1", "a client port that is used again: 0 the old server, though it be gone; bit 1 schedules anew after TIME_WAIT; bit 2 after FIN_WAIT too", "1 is right from Linux 5.9; 0 avoids delays of a second in older ones that have conntrack on; 3 spreads DR load to new servers", span(0, 3)),
	about(sysctl.VS("sloppy_tcp"), "0", "take a TCP connection from a packet in its midst", "1 after a fail-over without connection sync, with schedulers sh and mh", onOff),
	about(sysctl.VS("sloppy_sctp"), "0", "the same for SCTP", "1 for multi-homed SCTP", onOff),
	about(sysctl.VS("pmtu_disc"), "1", "packets too large for a tunnel: 1 tells the client by ICMP, 0 fragments them", "0 where ICMP is filtered on the way and the servers' MSS cannot be lowered", onOff),
	about(sysctl.VS("snat_reroute"), "1", "route answers of NAT anew, as if the director had sent them", "0 saves a lookup where there is no policy routing", onOff),
	about(sysctl.VS("schedule_icmp"), "0", "let ICMP errors make connections", "seldom: asymmetric set-ups with sloppy_tcp", onOff),
	about(sysctl.VS("nat_icmp_send"), "0", "tell a NAT server by ICMP when its answer belongs to no connection", "while looking for stale connections", onOff),
	about(sysctl.VS("cache_bypass"), "0", "forward to the original address when no cache server is up", "1 for transparent caches", onOff),
	about(sysctl.VS("ignore_tunneled"), "0", "leave packets in tunnels to this host alone", "1 for TUN between directors that are real servers, too", onOff),
	about(sysctl.VS("backup_only"), "0", "do not schedule while this host is the backup of connection sync", "1 where directors are real servers of each other, or a packet may go in circles", onOff),
	about(sysctl.VS("sync_threshold"), "3 50", "sync a connection at its 3rd packet and every 50th", "\"1 50\" to sync from the first packet: short connections are not synced otherwise", two),
	about(sysctl.VS("sync_refresh_period"), "0", "send a sync message again when the timer differs by so many seconds", "to make less sync traffic", amount),
	about(sysctl.VS("sync_retries"), "0", "how often a sync message is repeated", "where the sync network loses packets", span(0, 3)),
	about(sysctl.VS("sync_ports"), "1", "threads and UDP ports of connection sync, from 8848 on; alike on both hosts", "more for more than 100,000 connections a second", amount),
	about(sysctl.VS("sync_persist_mode"), "0", "1 syncs templates of persistence only", "1 with persistence, and sloppy_tcp on the backup", onOff),
	about(sysctl.VS("sync_qlen_max"), "", "sync messages that may wait to be sent", "where messages are lost while memory is plenty", amount),
	about(sysctl.VS("sync_sock_size"), "0", "buffer of the sync socket in bytes; 0 the usual one", "where Udp RcvbufErrors grow on the backup", amount),
	about(sysctl.VS("sync_version"), "1", "wire format of connection sync", "0 while a peer has a kernel before 2.6.39", onOff),
	about(sysctl.VS("drop_entry"), "0", "drop half-open connections at random", "1 against SYN floods", modes),
	about(sysctl.VS("drop_packet"), "0", "drop one of so many packets before they are scheduled", "1 against overload", modes),
	about(sysctl.VS("secure_tcp"), "0", "a stricter state machine with short timeouts", "1 against SYN floods with NAT", modes),
	about(sysctl.VS("amemthresh"), "1024", "memory pages below which the defences of mode 1 start", "more on hosts with much memory", amount),
	about(sysctl.VS("am_droprate"), "10", "of so many packets one is dropped by drop_packet 3", "for tests", amount),
	about(sysctl.VS("run_estimation"), "1", "compute rates and totals every two seconds", "0 with tens of thousands of services on kernels before 6.2; totals then stand still", onOff),
	about(sysctl.VS("est_cpulist"), "", "CPUs of the estimator's threads (Linux 6.2)", "to keep them off the CPUs that handle packets; an empty list stops them", cpus),
	about(sysctl.VS("est_nice"), "0", "nice value of these threads (Linux 6.2)", "seldom", span(-20, 19)),
	about(sysctl.VS("conn_lfactor"), "-4", "how full the connection table may get before it grows, as a power of two (Linux of 2026)", "more for less memory", number),
	about(sysctl.VS("svc_lfactor"), "-3", "the same for the table of services (Linux of 2026)", "seldom", number),
	about(sysctl.VS("debug_level"), "0", "messages for developers, where the kernel was built with them", "to look for faults of the kernel", amount),
}

// Knobs are all there are, those that this kernel may lack included.
func Knobs() []About { return slices.Clone(knobs) }

// Find finds a knob by its last part or its whole name in any notation.
func Find(name string) (About, error) {
	full, _ := sysctl.Parse(name)
	for _, a := range knobs {
		if a.Name() == name || a.Knob == full {
			return a, nil
		}
	}
	return About{}, fmt.Errorf("no knob of a director is called %q%s", name, meant(name))
}

// meant guesses.
func meant(name string) string {
	for _, a := range knobs {
		n := a.Knob.Name()
		if len(name) > 2 && (strings.Contains(n, name) || strings.Contains(name, n) || near(n, name)) {
			return ", did you mean " + a.Name() + "?"
		}
	}
	return ""
}

// near is true for words that differ by one letter, or two that changed places.
func near(a, b string) bool {
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	j := 0
	for j < min(len(a), len(b))-i && a[len(a)-1-j] == b[len(b)-1-j] {
		j++
	}
	return max(len(a), len(b))-i-j <= 2
}

// Setting reads NAME=VALUE and judges both.
func Setting(text string) (sysctl.Setting, error) {
	name, value, ok := strings.Cut(text, "=")
	if !ok {
		return sysctl.Setting{}, fmt.Errorf("%q is not NAME=VALUE", text)
	}
	a, err := Find(name)
	if err != nil {
		return sysctl.Setting{}, err
	}
	value = sysctl.Normal(value)
	if !a.check(value) {
		return sysctl.Setting{}, fmt.Errorf("%s=%s: it takes %s", a.Name(), value, a.Values)
	}
	return sysctl.Setting{Knob: a.Knob, Value: plain(value)}, nil
}

// plain is a value as the kernel will print it: 01 is 1.
func plain(value string) string {
	f := strings.Fields(value)
	for i := range f {
		if n, err := strconv.Atoi(f[i]); err == nil {
			f[i] = strconv.Itoa(n)
		}
	}
	return strings.Join(f, " ")
}

package main

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/ipvs"
)

// everyKey has every key that the kernel gets to see.
const everyKey = `
hold_on_mass_failure = 1.0
on_stop = "flush"
[check]
interval = "1h"
[timeouts]
tcp = "901s"
tcp_fin = "121s"
udp = "301s"
[sync]
state = ["master", "backup"]
interface = "eth0"
id = 7
maxlen = 1400
group = "224.0.0.99"
port = 8850
ttl = 3

[[virtual]]
address = "192.0.2.10:80"
scheduler = "sh"
scheduler_flags = ["sh-port", "sh-fallback"]
persistent = "90s"
persistent_prefix = 24
forward = "nat"
check = { type = "on" }
[[virtual.real]]
address = "10.9.0.11-10.9.0.13:8080"
weight = 7
upper = 20
lower = 10
[[virtual.real]]
address = "10.9.0.21"
forward = "dr"
[[virtual.real]]
address = "10.9.0.22"
forward = "tun"
[[virtual.real]]
address = "10.9.0.23"
forward = "tun"
tunnel = { type = "gue", port = 6080, csum = "remcsum" }
[[virtual.real]]
address = "10.9.0.24"
forward = "ipip"
tunnel = { type = "gre", csum = "csum" }

[[virtual]]
address = "192.0.2.10:5060"
protocol = "udp"
scheduler = "mh"
scheduler_flags = ["mh-port"]
one_packet = true
persistent = "300s"
persistence_engine = "sip"
forward = "masq"
check = { type = "on" }
[[virtual.real]]
address = "10.9.0.11"

[[virtual]]
address = "192.0.2.10:3868"
protocol = "sctp"
scheduler = "wrr"
scheduler_flags = ["flag-3"]
forward = "nat"
check = { type = "on" }
[[virtual.real]]
address = "10.9.0.11"

[[virtual]]
fwmark = 7
forward = "gate"
check = { type = "on" }
[[virtual.real]]
address = "10.9.0.11"

[[virtual]]
fwmark = 7
family = "ipv6"
persistent = "60s"
persistent_prefix = 64
scheduler = "rr"
check = { type = "on" }
[[virtual.real]]
address = "fd00:9::11"

[[virtual]]
address = "[2001:db8::10]:80"
scheduler = "nq"
forward = "nat"
check = { type = "off" }
fallback = [{ address = "[fd00:9::99]:80", forward = "tun" }]
[[virtual.real]]
address = "[fd00:9::11]:8080"
`

const everyKeyTable = `fwmark 7 ipv6 rr flags 0x1 timeout 1m0s mask 64
  [fd00:9::11]:0 dr weight 1
fwmark 7 wlc flags 0x0 timeout 0s mask 255.255.255.255
  10.9.0.11:0 dr weight 1
sctp 192.0.2.10:3868 wrr flags 0x20 timeout 0s mask 255.255.255.255
  10.9.0.11:3868 nat weight 1
tcp 192.0.2.10:80 sh flags 0x19 timeout 1m30s mask 255.255.255.0
  10.9.0.11:8080 nat weight 7 thresholds 20 10
  10.9.0.12:8080 nat weight 7 thresholds 20 10
  10.9.0.13:8080 nat weight 7 thresholds 20 10
  10.9.0.21:80 dr weight 1
  10.9.0.22:80 tun weight 1
  10.9.0.23:80 tun weight 1 gue port 6080 remcsum
  10.9.0.24:80 tun weight 1 gre port 0 csum
tcp [2001:db8::10]:80 nq flags 0x0 timeout 0s mask 128
  [fd00:9::11]:8080 nat weight 0
  [fd00:9::99]:80 tun weight 1
udp 192.0.2.10:5060 mh flags 0x15 timeout 5m0s mask 255.255.255.255 sip
  10.9.0.11:5060 nat weight 1`

// TestKernelEveryKey: what a file says of services, real servers, timeouts and
// sync daemons is what the kernel has.
func TestKernelEveryKey(t *testing.T) {
	r := newRig(t, topo.Spec{Servers: 1})
	r.patience = 3 * time.Minute // the kernel loads a module for nearly every line
	r.file(everyKey)
	r.start()
	r.await("the table is\n"+everyKeyTable, func() bool { return r.whole() == everyKeyTable })
	timeouts, err := r.client.Timeouts()
	r.must(err)
	if want := (ipvs.Timeouts{TCP: 901 * time.Second, TCPFin: 121 * time.Second, UDP: 301 * time.Second}); timeouts != want {
		t.Errorf("timeouts %v, want %v", timeouts, want)
	}
	daemons, err := r.client.Daemons()
	r.must(err)
	want := ipvs.Daemon{Interface: "eth0", SyncID: 7, MaxLen: 1400, Group: netip.MustParseAddr("224.0.0.99"), Port: 8850, TTL: 3}
	if len(daemons) != 2 {
		t.Errorf("sync daemons %+v", daemons)
	}
	for _, d := range daemons {
		if w := want; d.State != ipvs.Master && d.State != ipvs.Backup {
			t.Errorf("sync daemon %+v", d)
		} else if w.State = d.State; d != w {
			t.Errorf("sync daemon %+v, want %+v", d, w)
		}
	}

	// What a reload changes is changed in place.
	text := strings.Replace(everyKey, "tcp = \"901s\"", "tcp = \"902s\"", 1)
	text = strings.Replace(text, "[\"master\", \"backup\"]", "[\"master\"]", 1)
	text = strings.Replace(text, "upper = 20", "upper = 30", 1)
	text = strings.Replace(text, "persistent = \"90s\"", "persistent = \"95s\"", 1)
	r.file(text)
	r.ok("reload")
	r.await("timeouts, sync daemons, thresholds and persistence are the new ones", func() bool {
		timeouts, err := r.client.Timeouts()
		r.must(err)
		daemons, err := r.client.Daemons()
		r.must(err)
		table := r.whole()
		return timeouts.TCP == 902*time.Second && len(daemons) == 1 && strings.Count(table, "thresholds 30 10") == 3 && strings.Contains(table, "timeout 1m35s")
	})
	if status := r.stop(); status != 0 {
		t.Errorf("stopped with %d", status)
	}
	if got := r.whole(); got != "" {
		t.Errorf("on_stop = \"flush\" left\n%s", got)
	}
	if daemons, err := r.client.Daemons(); err != nil || len(daemons) != 0 {
		t.Errorf("on_stop = \"flush\" left the sync daemons %+v, %v", daemons, err)
	}
}

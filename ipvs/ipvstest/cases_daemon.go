package ipvstest

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/goipvs/goipvs/ipvs"
	"golang.org/x/sys/unix"
)

// counterCases: there is no traffic here, so only the command is tested.
func counterCases() []operationCase {
	web, fwm := tcp("192.0.2.1:80"), mark(7, ipvs.IPv6)
	const line, lines = "tcp 192.0.2.1:80 wlc\n", "tcp 192.0.2.1:80 wlc\n  10.0.0.1:80 nat weight 1\n"
	return []operationCase{
		{name: "zero all", setup: these(add(web), addTo(web, rs("10.0.0.1:80"))), table: lines, do: func(t *testing.T, c Client) error { return c.Zero() }},
		{name: "zero nothing", do: func(t *testing.T, c Client) error { return c.Zero() }},
		{name: "zero a service", setup: these(add(web), addTo(web, rs("10.0.0.1:80"))), table: lines,
			do: func(t *testing.T, c Client) error { return c.ZeroService(web.ServiceKey) }},
		{name: "zero a mark", setup: these(add(fwm)), table: "fwmark 7 ipv6 wlc\n", do: func(t *testing.T, c Client) error { return c.ZeroService(fwm.ServiceKey) }},
		{name: "zero a missing service", setup: these(add(web)), table: line, do: func(t *testing.T, c Client) error { return c.ZeroService(fwm.ServiceKey) },
			want: ipvs.ErrNoService, op: opZero, object: "fwmark 7 ipv6"},
	}
}

// timeoutCases: ip_vs_set_timeout. A second has 100 to 1000 ticks, and the
// kernel counts ticks in 31 bits.
func timeoutCases() (cases []operationCase) {
	const s = time.Second
	for _, tc := range []struct {
		name      string
		set, want ipvs.Timeouts
		err       error
	}{
		{"all", ipvs.Timeouts{TCP: 1 * s, TCPFin: 2 * s, UDP: 3 * s}, ipvs.Timeouts{TCP: 1 * s, TCPFin: 2 * s, UDP: 3 * s}, nil},
		{"none", ipvs.Timeouts{}, defaultTimeouts, nil},
		{"tcp", ipvs.Timeouts{TCP: s}, ipvs.Timeouts{TCP: s, TCPFin: 2 * time.Minute, UDP: 5 * time.Minute}, nil},
		{"tcp fin", ipvs.Timeouts{TCPFin: s}, ipvs.Timeouts{TCP: 15 * time.Minute, TCPFin: s, UDP: 5 * time.Minute}, nil},
		{"udp", ipvs.Timeouts{UDP: s}, ipvs.Timeouts{TCP: 15 * time.Minute, TCPFin: 2 * time.Minute, UDP: s}, nil},
		{"long", ipvs.Timeouts{TCP: 2147483 * s, TCPFin: 2678400 / 2 * s, UDP: 2147483 * s},
			ipvs.Timeouts{TCP: 2147483 * s, TCPFin: 2678400 / 2 * s, UDP: 2147483 * s}, nil},
		{"too long for tcp", ipvs.Timeouts{TCP: 21474837 * s}, defaultTimeouts, ipvs.ErrInvalid},
		{"too long for tcp fin", ipvs.Timeouts{TCP: s, TCPFin: 21474837 * s}, defaultTimeouts, ipvs.ErrInvalid},
		{"too long for udp", ipvs.Timeouts{TCP: s, UDP: 1 << 31 * s}, defaultTimeouts, ipvs.ErrInvalid},
		{"32 bits", ipvs.Timeouts{UDP: (1<<32 - 1) * s}, defaultTimeouts, ipvs.ErrInvalid},
		{"33 bits", ipvs.Timeouts{UDP: 1 << 32 * s}, defaultTimeouts, ipvs.ErrRange},
		{"negative", ipvs.Timeouts{TCP: s, TCPFin: -s}, defaultTimeouts, ipvs.ErrRange},
		{"less than a second", ipvs.Timeouts{TCP: s, UDP: 999 * time.Millisecond}, defaultTimeouts, ipvs.ErrRange},
	} {
		cases = append(cases, operationCase{name: tc.name, want: tc.err, op: opSetTimeouts, do: func(t *testing.T, c Client) error {
			err := c.SetTimeouts(tc.set)
			got, e := c.Timeouts()
			if e != nil {
				t.Error(e)
			}
			isSame(t, tc.want, got)
			return err
		}})
	}
	return cases
}

// daemonCases: ip_vs_genl_new_daemon, start_sync_thread and stop_sync_thread.
func daemonCases() (cases []operationCase) {
	addr := netip.MustParseAddr
	group, group6 := addr("224.0.0.81"), addr("ff02::81")
	master := ipvs.Daemon{State: ipvs.Master, Interface: "lo"}
	backup := ipvs.Daemon{State: ipvs.Backup, Interface: "lo"}
	runs := ipvs.Daemon{State: ipvs.Master, Interface: "lo", MaxLen: 1472, Group: group, Port: 8848, TTL: 1}
	runsBackup := ipvs.Daemon{State: ipvs.Backup, Interface: "lo", MaxLen: 65507, Group: group, Port: 8848, TTL: 1}
	with := func(d ipvs.Daemon, f func(*ipvs.Daemon)) ipvs.Daemon { f(&d); return d }

	for _, tc := range []struct {
		name        string
		start, want ipvs.Daemon
	}{
		{"master", master, runs},
		{"backup", backup, runsBackup},
		{"sync id", with(master, func(d *ipvs.Daemon) { d.SyncID = 255 }), with(runs, func(d *ipvs.Daemon) { d.SyncID = 255 })},
		{"everything",
			ipvs.Daemon{State: ipvs.Master, Interface: "lo", SyncID: 7, MaxLen: 1000, Group: addr("239.1.2.3"), Port: 12345, TTL: 255},
			ipvs.Daemon{State: ipvs.Master, Interface: "lo", SyncID: 7, MaxLen: 1000, Group: addr("239.1.2.3"), Port: 12345, TTL: 255}},
		{"everything over IPv6",
			ipvs.Daemon{State: ipvs.Backup, Interface: "lo", SyncID: 1, MaxLen: 2000, Group: group6, Port: 8849, TTL: 3},
			ipvs.Daemon{State: ipvs.Backup, Interface: "lo", SyncID: 1, MaxLen: 2000, Group: group6, Port: 8849, TTL: 3}},
		{"master over IPv6", ipvs.Daemon{State: ipvs.Master, Interface: syncInterface, Group: group6},
			ipvs.Daemon{State: ipvs.Master, Interface: syncInterface, MaxLen: 1452, Group: group6, Port: 8848, TTL: 1}},
		{"backup on an interface of large MTU", ipvs.Daemon{State: ipvs.Backup, Interface: syncInterface},
			ipvs.Daemon{State: ipvs.Backup, Interface: syncInterface, MaxLen: 8972, Group: group, Port: 8848, TTL: 1}},
		{"backup over IPv6", with(backup, func(d *ipvs.Daemon) { d.Group = group6 }),
			with(runsBackup, func(d *ipvs.Daemon) { d.Group, d.MaxLen = group6, 65487 })},
		{"shortest message of a master", with(master, func(d *ipvs.Daemon) { d.MaxLen = 1 }), with(runs, func(d *ipvs.Daemon) { d.MaxLen = 1 })},
		{"longest message of a master", with(master, func(d *ipvs.Daemon) { d.MaxLen = 65535 }), with(runs, func(d *ipvs.Daemon) { d.MaxLen = 65507 })},
		{"shortest message of a backup", with(backup, func(d *ipvs.Daemon) { d.MaxLen = 1 }), with(runsBackup, func(d *ipvs.Daemon) { d.MaxLen = 1024 })},
		{"longest message of a backup", with(backup, func(d *ipvs.Daemon) { d.MaxLen = 65535 }), with(runsBackup, func(d *ipvs.Daemon) { d.MaxLen = 65507 })},
	} {
		cases = append(cases, operationCase{name: tc.name, do: func(t *testing.T, c Client) error {
			err := c.StartDaemon(tc.start)
			daemons(t, c, tc.want)
			return err
		}})
	}

	web := tcp("192.0.2.1:80")
	tun6 := rs("[2001:db8::10]:80", by(ipvs.Tunnel))
	// start starts some daemons and returns the error of the last.
	start := func(ds ...ipvs.Daemon) func(t *testing.T, c Client) error {
		return func(t *testing.T, c Client) error {
			for _, d := range ds[:len(ds)-1] {
				if err := c.StartDaemon(d); err != nil {
					t.Fatal(err)
				}
			}
			return c.StartDaemon(ds[len(ds)-1])
		}
	}
	return append(cases, []operationCase{
		{name: "none", do: func(t *testing.T, c Client) error { daemons(t, c); return nil }},
		{name: "both", do: func(t *testing.T, c Client) error {
			err := errors.Join(c.StartDaemon(backup), c.StartDaemon(master))
			daemons(t, c, runs, runsBackup)
			return err
		}},
		{name: "twice", do: start(master, with(master, func(d *ipvs.Daemon) { d.SyncID = 3 })), want: ipvs.ErrExists, op: opStart, object: "master lo"},
		{name: "backup twice", do: start(backup, backup), want: ipvs.ErrExists, op: opStart, object: "backup lo"},
		{name: "unknown interface", do: start(ipvs.Daemon{State: ipvs.Master, Interface: "nosuch"}), want: ipvs.ErrNoDevice, op: opStart, object: "master nosuch"},
		{name: "no interface", do: start(ipvs.Daemon{State: ipvs.Backup}), want: ipvs.ErrNoDevice, op: opStart, object: "backup"},
		{name: "interface of 16 bytes", do: start(ipvs.Daemon{State: ipvs.Backup, Interface: longName}), want: ipvs.ErrRange, op: opStart, object: "backup " + longName},
		{name: "group not multicast", do: start(with(master, func(d *ipvs.Daemon) { d.Group = addr("10.0.0.1") })), want: ipvs.ErrInvalid, op: opStart, object: "master lo"},
		{name: "IPv6 group not multicast", do: start(with(master, func(d *ipvs.Daemon) { d.Group = addr("2001:db8::1") })), want: ipvs.ErrInvalid, op: opStart, object: "master lo"},
		{name: "mapped group", do: start(with(master, func(d *ipvs.Daemon) { d.Group = addr("::ffff:224.0.0.81") })), want: ipvs.ErrFamily, op: opStart, object: "master lo"},
		{name: "group with a zone", do: start(with(master, func(d *ipvs.Daemon) { d.Group = addr("ff02::81%lo") })), want: ipvs.ErrInvalid, op: opStart, object: "master lo"},
		{name: "master over IPv6 on lo", do: start(with(master, func(d *ipvs.Daemon) { d.Group = group6 })), want: unix.ENETUNREACH, op: opStart, object: "master lo"},
		{name: "sync id 256", do: start(with(master, func(d *ipvs.Daemon) { d.SyncID = 256 })), want: ipvs.ErrRange, op: opStart, object: "master lo"},
		{name: "no state", do: start(ipvs.Daemon{Interface: "lo"}), want: ipvs.ErrInvalid, op: opStart, object: "0 lo"},
		{name: "both states at once", do: start(ipvs.Daemon{State: 3, Interface: "lo"}), want: ipvs.ErrInvalid, op: opStart, object: "3 lo"},
		{name: "while a destination is of another family", setup: these(add(web), addTo(web, tun6)), do: start(master),
			want: ipvs.ErrInvalid, op: opStart, object: "master lo", table: "tcp 192.0.2.1:80 wlc\n  [2001:db8::10]:80 tun weight 1\n"},
		{name: "after a destination of another family", setup: these(add(web), addTo(web, tun6), removeFrom(web, tun6)), do: start(master), table: "tcp 192.0.2.1:80 wlc\n"},
		{name: "after a service with a destination of another family", setup: these(add(web), addTo(web, tun6), remove(web)), do: start(master)},
		{name: "before a destination of another family", setup: these(add(web)), do: func(t *testing.T, c Client) error {
			if err := c.StartDaemon(backup); err != nil {
				t.Fatal(err)
			}
			return c.Do(addTo(web, tun6))
		}, want: ipvs.ErrInvalid, op: "add destination", object: "[2001:db8::10]:80 of tcp 192.0.2.1:80", table: "tcp 192.0.2.1:80 wlc\n"},

		{name: "stop", do: func(t *testing.T, c Client) error {
			err := errors.Join(c.StartDaemon(master), c.StartDaemon(backup), c.StopDaemon(ipvs.Daemon{State: ipvs.Master}))
			daemons(t, c, runsBackup)
			return err
		}},
		// kthread_stop says EINTR of a thread that has not run yet, and to that
		// netlink_rcv_skb gives no answer: it is stopped all the same.
		{name: "stop and start again", do: func(t *testing.T, c Client) error {
			err := errors.Join(c.StartDaemon(master), c.StopDaemon(master), c.StartDaemon(master))
			daemons(t, c, runs)
			return err
		}},
		{name: "stop what does not run", do: func(t *testing.T, c Client) error {
			if err := c.StartDaemon(master); err != nil {
				t.Fatal(err)
			}
			return c.StopDaemon(ipvs.Daemon{State: ipvs.Backup})
		}, want: ipvs.ErrNoDaemon, op: opStop, object: "backup"},
		{name: "stop no state", do: func(t *testing.T, c Client) error { return c.StopDaemon(ipvs.Daemon{}) }, want: ipvs.ErrInvalid, op: opStop, object: "0"},
		{name: "a flush leaves them", setup: these(add(web)), do: func(t *testing.T, c Client) error {
			err := errors.Join(c.StartDaemon(master), c.Flush())
			daemons(t, c, runs)
			return err
		}},
	}...)
}

func daemons(t *testing.T, c Client, want ...ipvs.Daemon) {
	t.Helper()
	got, err := c.Daemons()
	if err != nil {
		t.Error(err)
	}
	isSame(t, want, got)
}

package ipvsadm

import (
	"encoding/json"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvs/procfs"
)

var sameAddresses = cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, ipvs.Netmask{})

// fullListing has something in every field.
func fullListing() listing {
	mask, _ := ipvs.PrefixMask(ipvs.IPv4, 24)
	k := ipvs.AddrService(ipvs.TCP, netip.MustParseAddrPort("192.0.2.10:80"))
	stats := ipvs.Stats{Conns: 1, InPkts: 2, OutPkts: 3, InBytes: 1<<64 - 1, OutBytes: 5, CPS: 6, InPPS: 7, OutPPS: 8, InBPS: 9, OutBPS: 10}
	six := ipvs.AddrService(ipvs.UDP, netip.MustParseAddrPort("[2001:db8::1]:53"))
	mark, mark6 := ipvs.MarkService(7, ipvs.IPv4), ipvs.MarkService(7, ipvs.IPv6)
	return listing{
		services: []ipvs.ServiceInfo{
			{Service: ipvs.Service{ServiceKey: k, Scheduler: "mh", Flags: ipvs.Persistent | ipvs.Sched1 | ipvs.Sched2, Timeout: 7 * time.Second, Netmask: mask, FullNAT: true, Proxy: ipvs.ProxyV2Every},
				Stats: stats, Locals: []ipvs.LocalInfo{{Addr: netip.MustParseAddr("10.0.0.1"), Conns: 11, Conflicts: 12}}, Managed: true},
			{Service: ipvs.Service{ServiceKey: six, Scheduler: "rr", Flags: ipvs.OnePacket, FullNAT: true}},
			{Service: ipvs.Service{ServiceKey: mark, Scheduler: "rr", Flags: ipvs.Persistent, Timeout: time.Minute, Netmask: mask, FullNAT: true}},
			{Service: ipvs.Service{ServiceKey: mark6, Scheduler: "rr", FullNAT: true}},
		},
		dests: map[ipvs.ServiceKey][]ipvs.DestinationInfo{
			k:   {{Destination: ipvs.Destination{Addr: netip.MustParseAddrPort("[2001:db8::2]:8080"), Method: ipvs.FullNAT, Weight: 3, Upper: 100, Lower: 50}, Active: 1, Inactive: 2, Persistent: 3, Stats: stats}},
			six: nil, mark: nil, mark6: nil,
		},
		timeouts: ipvs.Timeouts{TCP: time.Hour, TCPFin: time.Minute, UDP: time.Second},
	}
}

// TestListingRoundTrip: a listing is read as it was written, and is JSON to
// everybody.
func TestListingRoundTrip(t *testing.T) {
	want := fullListing()
	text := AppendServices(nil, want.services, want.dests, want.timeouts)
	if !json.Valid(text) {
		t.Fatalf("no JSON: %s", text)
	}
	got, err := readListing(text)
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(listing{}), sameAddresses, cmpopts.EquateEmpty()); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s\n%s", err, diff, text)
	}
	conns := []Connection{
		{procfs.Connection{Protocol: ipvs.TCP, Client: netip.MustParseAddrPort("192.0.2.1:1"), Virtual: netip.MustParseAddrPort("192.0.2.2:2"),
			Destination: netip.MustParseAddrPort("[2001:db8::3]:3"), State: "ESTABLISHED", Expires: 899 * time.Second}, netip.MustParseAddrPort("[2001:db8::4]:4")},
		{procfs.Connection{Protocol: ipvs.UDP, Client: netip.MustParseAddrPort("192.0.2.1:0"), Virtual: netip.MustParseAddrPort("192.0.2.2:2"),
			Destination: netip.MustParseAddrPort("192.0.2.3:3"), State: "NONE"}, netip.AddrPort{}},
		{procfs.Connection{Client: netip.MustParseAddrPort("192.0.2.1:0"), Virtual: netip.MustParseAddrPort("0.0.0.7:0"),
			Destination: netip.MustParseAddrPort("192.0.2.3:0"), State: "NONE"}, netip.AddrPort{}},
		{procfs.Connection{Client: netip.MustParseAddrPort("[2001:db8::1]:0"), Virtual: netip.MustParseAddrPort("[0:7::]:0"),
			Destination: netip.MustParseAddrPort("[2001:db8::3]:0"), State: "NONE"}, netip.AddrPort{}},
	}
	text = AppendConnections(nil, conns, conns[:1])
	read, kernel, err := readConnections(text)
	if diff := cmp.Diff([][]Connection{conns, conns[:1]}, [][]Connection{read, kernel}, sameAddresses); err != nil || diff != "" || !json.Valid(text) {
		t.Errorf("%v (-want +got):\n%s\n%s", err, diff, text)
	}
}

// TestReadAnswer: what goipvsd may answer, and what it may not.
func TestReadAnswer(t *testing.T) {
	for _, tt := range []struct{ line, result, code string }{
		{`{"result":{}}`, `{}`, ""},
		{` { "id" : 7 , "more":[1,{"x":null}], "result" : {"services" : []} } `, `{"services" : []}`, ""},
		{`{"error":{"code":"denied","message":"no \"you\" \u00e4\ud83d\ude00\n","hint":"h","new":-1.5e3}}`, "", "denied"},
		{``, "", "bad"}, {`{`, "", "bad"}, {`{"result":{}} x`, "", "bad"}, {`{"result":{}`, "", "bad"}, {`{"result":"\q"}`, "", "bad"},
		{`{"result":"` + "\x01" + `"}`, "", "bad"}, {`{"result":"\u12"}`, "", "bad"}, {`[]`, "", "bad"}, {`{"error":{"code":7}}`, "", "bad"},
		{`{"result":,}`, "", "bad"}, {`{"result":{},}`, "", "bad"},
	} {
		result, err := ReadAnswer([]byte(tt.line))
		var own *DaemonError
		switch {
		case tt.code == "bad" && (err == nil || errors.As(err, &own)):
			t.Errorf("%q: %q, %v", tt.line, result, err)
		case tt.code == "" && (err != nil || string(result) != tt.result):
			t.Errorf("%q: %q, %v, want %q", tt.line, result, err, tt.result)
		case tt.code == "denied" && (!errors.As(err, &own) || *own != DaemonError{"denied", "no \"you\" ä😀\n", "h"}):
			t.Errorf("%q: %+v", tt.line, err)
		}
	}
}

// TestTable: rules that make a table are read as what they were made of.
func TestTable(t *testing.T) {
	l := fullListing()
	var want ipvs.Table
	for _, s := range l.services {
		e := ipvs.Entry{Service: s.Service}
		for _, a := range s.Locals {
			e.Locals = append(e.Locals, a.Addr)
		}
		for _, d := range l.dests[s.ServiceKey] {
			e.Destinations = append(e.Destinations, d.Destination)
		}
		want = append(want, e)
	}
	got, err := Table(Rules(want))
	if diff := cmp.Diff(want, got, sameAddresses, cmpopts.EquateEmpty()); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, bad := range [][]string{{"-C"}, {"-a -t 10.0.0.1:80 -r 10.0.0.2"}, {"-A -t 10.0.0.1:80", "-A -t 10.0.0.1:80"}, {"what"}, {"-A -t 10.0.0.1:80", "-D -t 10.0.0.1:80"}} {
		if got, err := Table(bad); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}

func FuzzReadAnswer(f *testing.F) {
	l := fullListing()
	services := AppendServices(nil, l.services, l.dests, l.timeouts)
	f.Add(append(append([]byte(`{"id":1,"result":`), services...), '}'))
	f.Add([]byte(`{"error":{"code":"x","message":"\ud83d\u0000\ude00"}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		result, err := ReadAnswer(line)
		if err != nil {
			return
		}
		if l, err := readListing(result); err == nil {
			again, err := readListing(AppendServices(nil, l.services, l.dests, l.timeouts))
			if err != nil || len(again.services) != len(l.services) {
				t.Errorf("%q: %v", result, err)
			}
		}
		_, _, _ = readConnections(result)
	})
}

package ipvsadm

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/ipvs/procfs"
	"github.com/google/go-cmp/cmp"
)

func connSeq(conns []procfs.Connection, errs ...error) iter.Seq2[procfs.Connection, error] {
	return func(yield func(procfs.Connection, error) bool) {
		for _, err := range errs {
			if !yield(procfs.Connection{}, err) {
				return
			}
		}
		for _, c := range conns {
			if !yield(c, nil) {
				return
			}
		}
	}
}

// TestConnectionsGolden takes the recorded listings of ipvsadm apart and prints
// them again.
func TestConnectionsGolden(t *testing.T) {
	f, err := os.Open("../testdata/ipvsadm/cases.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		var c struct {
			Name, Stdout, Expect string
			Argv                 []string
		}
		if err := json.Unmarshal(s.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(c.Stdout, "IPVS connection entries\n") || c.Expect != "same" {
			continue
		}
		n++
		t.Run(c.Name, func(t *testing.T) {
			r := fileResolver()
			o := ListOptions{Names: r}
			for _, a := range c.Argv {
				switch a {
				case "-Lcn", "-n":
					o.Names = nil
				case "--persistent-conn":
					o.View = ViewPersistent
				}
			}
			var b bytes.Buffer
			if err := listConnections(&b, connSeq(recordedConnections(t, r, c.Stdout)), nil, nil, o); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.Stdout, b.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if err := s.Err(); err != nil || n < 10 {
		t.Errorf("only %d listings of connections found, %v", n, err)
	}
}

func recordedConnections(t *testing.T, r *Resolver, text string) (conns []procfs.Connection) {
	t.Helper()
	for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n")[2:] {
		w := strings.Fields(line)
		var min, sec int
		if _, err := fmt.Sscanf(w[1], "%d:%d", &min, &sec); err != nil {
			t.Fatal(err)
		}
		c := procfs.Connection{State: w[2], Expires: time.Duration(min*60+sec) * time.Second}
		if w[0] != "IP" {
			if err := c.Protocol.UnmarshalText([]byte(strings.ToLower(w[0]))); err != nil {
				t.Fatal(err)
			}
		}
		for i, to := range []*netip.AddrPort{&c.Client, &c.Virtual, &c.Destination} {
			p := parser{names: r}
			e, err := p.endpoint(w[3+i], "real", c.Protocol)
			if err != nil {
				t.Fatal(err)
			}
			*to = netip.AddrPortFrom(e.addr, e.port)
		}
		if len(w) == 8 {
			c.PE, c.PEData = w[6], w[7]
		}
		conns = append(conns, c)
	}
	return conns
}

var hostileConns = []procfs.Connection{
	{Protocol: ipvs.UDP, Client: netip.MustParseAddrPort("[2001:db8:1111:2222:3333:4444:5555:6666]:65535"), Virtual: netip.MustParseAddrPort("10.0.0.1:5060"),
		Destination: netip.MustParseAddrPort("10.2.0.11:5060"), State: "ASSURED", Expires: 100*time.Hour + 9*time.Second, PE: "sip", PEData: "a ~\x1b[2J\n\xff\"b"},
	{Client: netip.MustParseAddrPort("10.1.0.2:0"), Virtual: netip.MustParseAddrPort("255.255.255.255:0"), Destination: netip.MustParseAddrPort("10.2.0.11:0"), State: "NONE"},
	{Protocol: 47, Client: netip.MustParseAddrPort("10.1.0.2:1"), Virtual: netip.MustParseAddrPort("10.0.0.1:1"), Destination: netip.MustParseAddrPort("10.2.0.11:1"), State: "NONE", Expires: 10*time.Minute + 10*time.Second},
}

func TestListConnections(t *testing.T) {
	tests := []struct {
		name string
		o    ListOptions
		want string
	}{
		{"default", ListOptions{}, `IPVS connection entries
pro expire state       source             virtual            destination
UDP 6000:09 ASSURED     [2001:db8:1111:2222:3333:4444:5555:6666]:65535 10.0.0.1:5060      10.2.0.11:5060
IP  00:00  NONE        10.1.0.2:0         255.255.255.255:0  10.2.0.11:0
IP_47 10:10  NONE        10.1.0.2:1         10.0.0.1:1         10.2.0.11:1
`},
		{"engine data cannot command a terminal", ListOptions{View: ViewPersistent}, `IPVS connection entries
pro expire state       source             virtual            destination        pe name          pe_data
UDP 6000:09 ASSURED     [2001:db8:1111:2222:3333:4444:5555:6666]:65535 10.0.0.1:5060      10.2.0.11:5060   sip                a ~?[2J??"b
IP  00:00  NONE        10.1.0.2:0         255.255.255.255:0  10.2.0.11:0
IP_47 10:10  NONE        10.1.0.2:1         10.0.0.1:1         10.2.0.11:1
`},
		{"json", ListOptions{JSON: true}, `{"connections":[
{"protocol":"udp","virtual":"10.0.0.1","virtual_port":5060,"client":"2001:db8:1111:2222:3333:4444:5555:6666","client_port":65535,"destination":"10.2.0.11","destination_port":5060,"state":"ASSURED","expires":360009,"pe":"sip","pe_data":"a ~\u001b[2J\u000a` + "\ufffd" + `\"b"},
{"fwmark":4294967295,"client":"10.1.0.2","client_port":0,"destination":"10.2.0.11","destination_port":0,"state":"NONE","expires":0,"pe":"","pe_data":""},
{"protocol":"47","virtual":"10.0.0.1","virtual_port":1,"client":"10.1.0.2","client_port":1,"destination":"10.2.0.11","destination_port":1,"state":"NONE","expires":610,"pe":"","pe_data":""}]}
`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := listConnections(&b, connSeq(hostileConns), nil, nil, tt.o); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, b.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	var b bytes.Buffer
	if err := listConnections(&b, connSeq(nil), nil, nil, ListOptions{JSON: true}); err != nil || b.String() != "{\"connections\":[]}\n" {
		t.Errorf("no connections: %q, %v", b.String(), err)
	}
}

// The kernel's connections have their local addresses behind them, and only
// those that the kernel lists are listed.
func TestListConnectionsLocal(t *testing.T) {
	all := []procfs.Connection{
		{Protocol: ipvs.TCP, Client: netip.MustParseAddrPort("10.1.0.2:1"), Virtual: netip.MustParseAddrPort("10.0.0.1:80"), Destination: netip.MustParseAddrPort("10.2.0.11:80"), State: "ESTABLISHED"},
		{Protocol: ipvs.TCP, Client: netip.MustParseAddrPort("10.1.0.2:2"), Virtual: netip.MustParseAddrPort("10.0.0.1:80"), Destination: netip.MustParseAddrPort("10.2.0.11:80"), State: "ESTABLISHED"},
	}
	kernel := []Connection{{all[0], netip.MustParseAddrPort("10.2.0.1:4000")}, {all[0], netip.MustParseAddrPort("10.2.0.1:4000")}}
	kernel[0].State = "" // the daemon does not know
	kernel[1].Client = netip.MustParseAddrPort("10.1.0.2:3")
	var b bytes.Buffer
	if err := listConnections(&b, connSeq(all), nil, kernel, ListOptions{}); err != nil {
		t.Fatal(err)
	}
	const want = `IPVS connection entries
pro expire state       source             virtual            destination        local
TCP 00:00  ESTABLISHED 10.1.0.2:1         10.0.0.1:80        10.2.0.11:80       10.2.0.1:4000
TCP 00:00  ESTABLISHED 10.1.0.2:2         10.0.0.1:80        10.2.0.11:80
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A row that cannot be read is an error, but the others are printed.
func TestListConnectionsUnread(t *testing.T) {
	first := errors.New("line 3")
	for _, o := range []ListOptions{{}, {JSON: true}, {Names: fileResolver()}} {
		var b bytes.Buffer
		err := listConnections(&b, connSeq(hostileConns, first, errors.New("line 4")), nil, nil, o)
		if !errors.Is(err, first) || !strings.Contains(b.String(), "ASSURED") {
			t.Errorf("%+v: %v\n%s", o, err, b.String())
		}
		if o.JSON && !json.Valid(b.Bytes()) {
			t.Errorf("not a document: %s", b.String())
		}
	}
	if err := listConnections(brokenPipe{}, connSeq(hostileConns), nil, nil, ListOptions{}); err == nil {
		t.Error("nowhere to write to, and no error")
	}
}

// More connections than are asked for at once, with names.
func TestListConnectionsBatches(t *testing.T) {
	conns := make([]procfs.Connection, 2*connBatch+1)
	for i := range conns {
		conns[i] = hostileConns[2]
		conns[i].Client = netip.AddrPortFrom(netip.MustParseAddr("192.168.1.11"), uint16(i))
	}
	var b bytes.Buffer
	if err := listConnections(&b, connSeq(conns), nil, nil, ListOptions{Names: fileResolver()}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(b.String(), "rs1.example.com:"); got != len(conns) {
		t.Errorf("%d rows with a name, want %d", got, len(conns))
	}
}

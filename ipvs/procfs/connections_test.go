package procfs

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const (
	connHeader = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"
	syncHeader = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Origin Expires\n"
)

var (
	ap         = netip.MustParseAddrPort
	sameAddr   = cmpopts.EquateComparable(netip.AddrPort{})
	tcpConn    = "TCP 0A010002 9C42 0A000001 0050 0A02000B 1F90 ESTABLISHED     897\n"
	wantTCP    = Connection{Protocol: ipvs.TCP, Client: ap("10.1.0.2:40002"), Virtual: ap("10.0.0.1:80"), Destination: ap("10.2.0.11:8080"), State: "ESTABLISHED", Expires: 897 * time.Second}
	longData   = strings.Repeat("x", 255)
	longV6Row  = "UDP 2001:0db8:0001:0000:0000:0000:0000:0002 A411 2001:0db8:0000:0000:0000:0000:0000:0080 13C4 2001:0db8:0002:0000:0000:0000:0000:0011 13C4 ASSURED          59 sip " + longData + "\n"
	wantLongV6 = Connection{Protocol: ipvs.UDP, Client: ap("[2001:db8:1::2]:42001"), Virtual: ap("[2001:db8::80]:5060"), Destination: ap("[2001:db8:2::11]:5060"), State: "ASSURED", Expires: 59 * time.Second, PE: "sip", PEData: longData}
)

func collect(r io.Reader) (conns []Connection, errs []string) {
	for c, err := range Connections(r) {
		if err != nil {
			errs = append(errs, err.Error())
			continue
		}
		conns = append(conns, c)
	}
	return conns, errs
}

func TestConnections(t *testing.T) {
	tests := []struct {
		name, in string
		want     []Connection
		errs     []string
	}{
		{name: "empty table", in: connHeader},
		{name: "IPv4", in: connHeader + tcpConn, want: []Connection{wantTCP}},
		{name: "no newline at the end", in: connHeader + strings.TrimSuffix(tcpConn, "\n"), want: []Connection{wantTCP}},
		{name: "IPv6 with the longest engine data", in: connHeader + longV6Row + tcpConn, want: []Connection{wantLongV6, wantTCP}},
		{
			name: "IPv6 real server of an IPv4 service",
			in:   connHeader + "TCP 0A010002 9C42 0A000001 0050 2001:0db8:0002:0000:0000:0000:0000:0011 0050 SYN_RECV         59\n",
			want: []Connection{{Protocol: ipvs.TCP, Client: ap("10.1.0.2:40002"), Virtual: ap("10.0.0.1:80"), Destination: ap("[2001:db8:2::11]:80"), State: "SYN_RECV", Expires: 59 * time.Second}},
		},
		{
			name: "fwmark template",
			in:   connHeader + "IP  0A010002 0000 0000000A 0000 0A02000B 0000 ASSURED          87\n",
			want: []Connection{{Client: ap("10.1.0.2:0"), Virtual: ap("0.0.0.10:0"), Destination: ap("10.2.0.11:0"), State: "ASSURED", Expires: 87 * time.Second}},
		},
		{
			name: "engine data with blanks",
			in:   connHeader + "UDP 0A010002 0000 0A000001 13C4 0A02000B 13C4 ASSURED          59 sip a b  c \n",
			want: []Connection{{Protocol: ipvs.UDP, Client: ap("10.1.0.2:0"), Virtual: ap("10.0.0.1:5060"), Destination: ap("10.2.0.11:5060"), State: "ASSURED", Expires: 59 * time.Second, PE: "sip", PEData: "a b  c "}},
		},
		{
			name: "other protocol, timer overdue on an old kernel",
			in:   connHeader + "IP_47 0A010002 0000 0A000001 0000 0A02000B 0000 NONE        18446744073709551\n",
			want: []Connection{{Protocol: 47, Client: ap("10.1.0.2:0"), Virtual: ap("10.0.0.1:0"), Destination: ap("10.2.0.11:0"), State: "NONE"}},
		},
		{
			name: "sync file",
			in:   syncHeader + "TCP 0A010002 9C42 0A000001 0050 0A02000B 1F90 TIME_WAIT   SYNC       118\n",
			want: []Connection{{Protocol: ipvs.TCP, Client: ap("10.1.0.2:40002"), Virtual: ap("10.0.0.1:80"), Destination: ap("10.2.0.11:8080"), State: "TIME_WAIT", Origin: "SYNC", Expires: 118 * time.Second}},
		},
		{
			name: "a newline in engine data breaks one row, the others are read",
			in:   connHeader + "UDP 0A010002 0000 0A000001 13C4 0A02000B 13C4 ASSURED          59 sip call\x1b[2J\nid\n" + tcpConn,
			want: []Connection{{Protocol: ipvs.UDP, Client: ap("10.1.0.2:0"), Virtual: ap("10.0.0.1:5060"), Destination: ap("10.2.0.11:5060"), State: "ASSURED", Expires: 59 * time.Second, PE: "sip", PEData: "call\x1b[2J"}, wantTCP},
			errs: []string{`unexpected input: line 3: "id"`},
		},
		{
			name: "rows that are none",
			in: connHeader + "\n" +
				"TCP 0A010002 9C42 0A000001 0050 0A02000B 1F90 ESTABLISHED\n" +
				"TCP 0A01000 9C42 0A000001 0050 0A02000B 1F90 ESTABLISHED 1\n" +
				"TCP 0A010002 C42 0A000001 0050 0A02000B 1F90 ESTABLISHED 1\n" +
				"XYZ 0A010002 9C42 0A000001 0050 0A02000B 1F90 ESTABLISHED 1\n" +
				"IP_99999 0A010002 9C42 0A000001 0050 0A02000B 1F90 ESTABLISHED 1\n" +
				"TCP 0A010002 9C42 0A000001 0050 0A02000B 1F90 ESTABLISHED -1\n" +
				"TCP 2001:0db8:0001:0000:0000:0000:0000-0002 9C42 0A000001 0050 0A02000B 1F90 ESTABLISHED 1\n" + tcpConn,
			want: []Connection{wantTCP},
			errs: []string{
				`unexpected input: line 2: ""`,
				`unexpected input: line 3: "TCP 0A010002 9C42 0A000001 0050 0A02000B 1F90 ESTABLISHED"`,
				`unexpected input: line 4: "TCP 0A01000 9C42 0A000001 0050 0A02000B 1F90 ESTABLISHED 1"`,
				`unexpected input: line 5: "TCP 0A010002 C42 0A000001 0050 0A02000B 1F90 ESTABLISHED 1"`,
				`unexpected input: line 6: "XYZ 0A010002 9C42 0A000001 0050 0A02000B 1F90 ESTABLISHED 1"`,
				`unexpected input: line 7: "IP_99999 0A010002 9C42 0A000001 0050 0A02000B 1F90 ESTABLISH"`,
				`unexpected input: line 8: "TCP 0A010002 9C42 0A000001 0050 0A02000B 1F90 ESTABLISHED -1"`,
				`unexpected input: line 9: "TCP 2001:0db8:0001:0000:0000:0000:0000-0002 9C42 0A000001 00"`,
			},
		},
		{
			name: "a row without end is skipped",
			in:   connHeader + strings.Repeat("x", 3*longestRow) + "\n" + tcpConn,
			want: []Connection{wantTCP},
			errs: []string{fmt.Sprintf("unexpected input: line 2 is longer than %d bytes", longestRow)},
		},
		{name: "not the file", in: "hello\n" + tcpConn, errs: []string{`unexpected input: line 1: "hello"`}},
		{name: "nothing", errs: []string{"unexpected input: no header"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// One byte a read: a row may come in any pieces.
			for _, r := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in))} {
				got, errs := collect(r)
				if diff := cmp.Diff(tt.want, got, sameAddr); diff != "" {
					t.Errorf("connections (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(tt.errs, errs); diff != "" {
					t.Errorf("errors (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestConnectionsReadError(t *testing.T) {
	broken := errors.New("disk on fire")
	r := io.MultiReader(strings.NewReader(connHeader+tcpConn), iotest.ErrReader(broken))
	var n int
	var last error
	for _, err := range Connections(r) {
		n, last = n+1, err
	}
	if n != 2 || !errors.Is(last, broken) {
		t.Errorf("got %d entries, the last with error %v; want 2, %v", n, last, broken)
	}
}

func TestConnectionsStop(t *testing.T) {
	for range Connections(strings.NewReader(connHeader + tcpConn + tcpConn)) {
		break // yielding again would panic
	}
}

func TestConnectionsAllocs(t *testing.T) {
	const rows = 1000
	in := connHeader + strings.Repeat(tcpConn, rows)
	allocs := testing.AllocsPerRun(5, func() {
		n := 0
		for range Connections(strings.NewReader(in)) {
			n++
		}
		if n != rows {
			t.Fatalf("%d rows", n)
		}
	})
	if allocs > 20 {
		t.Errorf("%v allocations for %d rows; the rows must cost none", allocs, rows)
	}
}

func TestFWMark(t *testing.T) {
	tests := []struct {
		c    Connection
		mark uint32
		ok   bool
	}{
		{Connection{Virtual: ap("0.0.0.10:0")}, 10, true},
		{Connection{Virtual: ap("255.255.255.254:0")}, 1<<32 - 2, true},
		{Connection{Virtual: ap("[0:a::]:0")}, 10, true},
		{Connection{Protocol: ipvs.TCP, Virtual: ap("0.0.0.10:0")}, 0, false},
		{Connection{}, 0, false},
	}
	for _, tt := range tests {
		if mark, ok := tt.c.FWMark(); mark != tt.mark || ok != tt.ok {
			t.Errorf("%v: mark %d, %v; want %d, %v", tt.c.Virtual, mark, ok, tt.mark, tt.ok)
		}
	}
}

// kernelRow writes a connection as the kernel does, for round trips.
func kernelRow(c *Connection, sync bool) string {
	addr := func(a netip.AddrPort) string {
		if b := a.Addr().As16(); a.Addr().Is6() {
			s := make([]string, 8)
			for i := range s {
				s[i] = fmt.Sprintf("%02x%02x", b[2*i], b[2*i+1])
			}
			return fmt.Sprintf("%s %04X", strings.Join(s, ":"), a.Port())
		}
		return fmt.Sprintf("%08X %04X", a.Addr().As4(), a.Port())
	}
	s := fmt.Sprintf("%-3s %s %s %s %-11s ", c.ProtocolName(), addr(c.Client), addr(c.Virtual), addr(c.Destination), c.State)
	if sync {
		s += fmt.Sprintf("%-6s ", c.Origin)
	}
	s += fmt.Sprintf("%7d", c.Expires/time.Second)
	if c.PE != "" {
		s += " " + c.PE + " " + c.PEData
	}
	return s + "\n"
}

// FuzzConnections: no input panics or loops, and whatever was understood reads
// the same when it is written as the kernel writes it.
func FuzzConnections(f *testing.F) {
	for _, s := range []string{connHeader, connHeader + tcpConn + longV6Row, syncHeader + "TCP 0A010002 9C42 0A000001 0050 0A02000B 1F90 TIME_WAIT   SYNC       118\n", "Pro", "", connHeader + "\n\n", connHeader + "IP_1 "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		sync := strings.Contains(strings.SplitN(in, "\n", 2)[0], " Origin ")
		conns, _ := collect(strings.NewReader(in))
		if len(conns) > strings.Count(in, "\n")+1 {
			t.Fatalf("%d connections from %d lines", len(conns), strings.Count(in, "\n"))
		}
		header := connHeader
		if sync {
			header = syncHeader
		}
		for _, c := range conns {
			again, errs := collect(strings.NewReader(header + kernelRow(&c, sync)))
			if diff := cmp.Diff([]Connection{c}, again, sameAddr); diff != "" || errs != nil {
				t.Errorf("read again (-want +got):\n%s%v", diff, errs)
			}
		}
	})
}

package ipvsadm

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/google/go-cmp/cmp"
)

// Every change prints as the rule that makes it: what is printed is read back
// as the same change.
func TestAppendChange(t *testing.T) {
	web := svc(tcp("10.0.0.1:80"), "wlc", 0)
	six := svc(ipvs.AddrService(ipvs.UDP, netip.MustParseAddrPort("[2001:db8::80]:53")), "rr", ipvs.OnePacket)
	mark := svc(ipvs.MarkService(1<<31, ipvs.IPv6), "sh", ipvs.Persistent|ipvs.Sched1|ipvs.Sched2|ipvs.Sched3)
	mark.Timeout = 60 * time.Second
	mark.Netmask, _ = ipvs.PrefixMask(ipvs.IPv6, 56)
	sip := svc(ipvs.AddrService(ipvs.UDP, netip.MustParseAddrPort("10.0.0.1:5060")), "rr", ipvs.Persistent)
	sip.Timeout, sip.PE, sip.Netmask = 31*24*time.Hour, "sip", ipvs.Netmask4([4]byte{})
	masked := web
	masked.Netmask = ipvs.Netmask4([4]byte{255, 255, 255, 0})
	sctp := svc(ipvs.AddrService(ipvs.SCTP, netip.MustParseAddrPort("10.0.0.1:3868")), "mh", ipvs.Sched2)

	nat := ipvs.Destination{Addr: netip.MustParseAddrPort("192.168.1.11:8080"), Weight: 1<<31 - 1, Upper: 100, Lower: 50}
	upper := ipvs.Destination{Addr: netip.MustParseAddrPort("192.168.1.11:80"), Method: ipvs.DirectRoute, Upper: 100}
	gue := ipvs.Destination{Addr: netip.MustParseAddrPort("[2001:db8::a1]:80"), Method: ipvs.Tunnel, Weight: 1, Upper: 2, Lower: 1,
		Encap: ipvs.Encap{Type: ipvs.GUE, Port: 6080, Flags: ipvs.RemCsum}}
	gre := ipvs.Destination{Addr: netip.MustParseAddrPort("192.168.1.12:80"), Method: ipvs.Tunnel, Encap: ipvs.Encap{Type: ipvs.GRE, Flags: ipvs.Csum}}
	ipip := ipvs.Destination{Addr: netip.MustParseAddrPort("192.168.1.12:80"), Method: ipvs.Tunnel}
	zero := ipvs.Destination{Addr: netip.MustParseAddrPort("192.168.1.11:0"), Method: ipvs.DirectRoute, Weight: 1}

	tests := []struct {
		op   ipvs.Op
		s    ipvs.Service
		d    ipvs.Destination
		want string
	}{
		{ipvs.AddService, web, ipvs.Destination{}, "-A -t 10.0.0.1:80 -s wlc"},
		{ipvs.UpdateService, six, ipvs.Destination{}, "-E -u [2001:db8::80]:53 -s rr -o"},
		{ipvs.AddService, mark, ipvs.Destination{}, "-A -f 2147483648 -6 -s sh -p 60 -M 56 -b sh-fallback,sh-port,flag-3"},
		{ipvs.AddService, sip, ipvs.Destination{}, "-A -u 10.0.0.1:5060 -s rr -p 2678400 -M 0.0.0.0 --pe sip"},
		{ipvs.UpdateService, masked, ipvs.Destination{}, "-E -t 10.0.0.1:80 -s wlc -M 255.255.255.0"},
		{ipvs.AddService, sctp, ipvs.Destination{}, "-A --sctp-service 10.0.0.1:3868 -s mh -b mh-port"},
		{ipvs.DeleteService, ipvs.Service{ServiceKey: web.ServiceKey}, ipvs.Destination{}, "-D -t 10.0.0.1:80"},
		{ipvs.DeleteService, ipvs.Service{ServiceKey: mark.ServiceKey}, ipvs.Destination{}, "-D -f 2147483648 -6"},
		{ipvs.AddDestination, ipvs.Service{ServiceKey: web.ServiceKey}, nat, "-a -t 10.0.0.1:80 -r 192.168.1.11:8080 -m -w 2147483647 -x 100 -y 50"},
		{ipvs.UpdateDestination, ipvs.Service{ServiceKey: web.ServiceKey}, upper, "-e -t 10.0.0.1:80 -r 192.168.1.11:80 -g -w 0 -x 100"},
		{ipvs.AddDestination, ipvs.Service{ServiceKey: web.ServiceKey}, gue, "-a -t 10.0.0.1:80 -r [2001:db8::a1]:80 -i -w 1 -x 2 -y 1 --tun-type gue --tun-port 6080 --tun-remcsum"},
		{ipvs.AddDestination, ipvs.Service{ServiceKey: web.ServiceKey}, gre, "-a -t 10.0.0.1:80 -r 192.168.1.12:80 -i -w 0 --tun-type gre --tun-csum"},
		{ipvs.AddDestination, ipvs.Service{ServiceKey: web.ServiceKey}, ipip, "-a -t 10.0.0.1:80 -r 192.168.1.12:80 -i -w 0 --tun-type ipip"},
		{ipvs.AddDestination, ipvs.Service{ServiceKey: ipvs.MarkService(3, ipvs.IPv4)}, zero, "-a -f 3 -r 192.168.1.11:0 -g -w 1"},
		{ipvs.DeleteDestination, ipvs.Service{ServiceKey: six.ServiceKey}, ipvs.Destination{Addr: gue.Addr}, "-d -u [2001:db8::80]:53 -r [2001:db8::a1]:80"},
	}
	compare := cmp.Options{
		cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b ipvs.Netmask) bool { return a == b }),
	}
	for _, tt := range tests {
		c := ipvs.Change{Op: tt.op, Service: tt.s, Destination: tt.d}
		got := string(AppendChange(nil, c))
		if got != tt.want {
			t.Errorf("%v:\n got %s\nwant %s", c, got, tt.want)
		}
		parsed, err := Parse(strings.Fields(got), nil)
		if err != nil {
			t.Errorf("%s: %v", got, err)
			continue
		}
		if diff := cmp.Diff(c, parsed.Change, compare); diff != "" {
			t.Errorf("%s is read as another change (-want +got):\n%s", got, diff)
		}
	}
	if got := string(AppendChange(nil, ipvs.Change{})); got != "invalid operation" {
		t.Errorf("no operation: %q", got)
	}
}

// What no rule can say must not be read as something else.
func TestRuleUnspeakable(t *testing.T) {
	s := svc(ipvs.AddrService(47, netip.MustParseAddrPort("10.0.0.1:1")), "rr", 0)
	d := ipvs.Destination{Addr: netip.MustParseAddrPort("192.168.1.1:80"), Method: ipvs.Tunnel, Encap: ipvs.Encap{Type: 9}}
	for _, rule := range []string{
		string(AppendServiceRule(nil, &s)),
		string(AppendDestinationRule(nil, tcp("10.0.0.1:80"), &d)),
	} {
		if c, err := Parse(strings.Fields(rule), nil); err == nil {
			t.Errorf("%s is read as %v", rule, c.Change)
		}
	}
}

package ipvsadm

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/google/go-cmp/cmp"
)

const etc = "../testdata/ipvsadm/etc/"

func fileResolver() *Resolver { return &Resolver{Hosts: etc + "hosts", Services: etc + "services"} }

func TestResolverHost(t *testing.T) {
	tests := []struct {
		name   string
		family ipvs.Family
		want   string // "" = no such host
	}{
		{"vip.example.com", ipvs.IPv4, "10.0.0.1"},
		{"VIP", ipvs.IPv4, "10.0.0.1"},
		{"multi.example.com", ipvs.IPv4, "10.0.0.50"}, // the first of two
		{"vip6", ipvs.IPv6, "2001:db8::80"},
		{"vip6", ipvs.IPv4, ""},
		{"vip", ipvs.IPv6, ""},
		{"nohost", ipvs.IPv4, ""},
	}
	r := fileResolver()
	for range 2 { // the second time from memory
		for _, tt := range tests {
			a, err := r.Host(tt.name, tt.family)
			if got := a.String(); (tt.want == "") != (err != nil) || err == nil && got != tt.want {
				t.Errorf("%s %s: %s, %v; want %q", tt.name, tt.family, got, err, tt.want)
			}
		}
	}
	if _, err := (&Resolver{Hosts: "testdata/nowhere"}).Host("vip", ipvs.IPv4); err == nil {
		t.Error("a hosts file that is not there: no error")
	}
}

func TestResolverPort(t *testing.T) {
	r := &Resolver{Services: writeFile(t, "http 80/tcp www # web\n#ftp 21/tcp\ndomain 53/udp\n domain\t53/tcp\nbad 99999/tcp\nx 1/ddp\nlate 80/tcp\n")}
	tests := []struct {
		name string
		p    ipvs.Protocol
		want uint16 // 0 = no such service
	}{
		{"http", ipvs.TCP, 80}, {"www", ipvs.TCP, 80}, {"http", ipvs.UDP, 0}, {"ftp", ipvs.TCP, 0},
		{"domain", ipvs.UDP, 53}, {"domain", ipvs.TCP, 53}, {"bad", ipvs.TCP, 0}, {"80/tcp", ipvs.TCP, 0}, {"late", ipvs.TCP, 80},
	}
	for _, tt := range tests {
		got, err := r.Port(tt.name, tt.p)
		if got != tt.want || (err == nil) != (tt.want != 0) {
			t.Errorf("%s/%s: %d, %v; want %d", tt.name, tt.p, got, err, tt.want)
		}
	}
	if got := string(r.append(nil, netip.MustParseAddrPort("10.0.0.1:80"), ipvs.TCP)); got != "10.0.0.1:http" {
		t.Errorf("the first name of a port counts: %s", got)
	}
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Whoever answers for an address chooses its name.
func TestHostileNames(t *testing.T) {
	for _, name := range []string{"a b", "x\n-D", "\x1b[2J", "a:80", "-w", "a/b", "ä", "a;b", "[x]"} {
		if got := usableName(name); got != "" {
			t.Errorf("%q is printed as %q", name, got)
		}
	}
	for _, name := range []string{"rs1.example.com", "RS-1_x", "10.0.0.1"} {
		if got := usableName(name); got != name {
			t.Errorf("%q is printed as %q", name, got)
		}
	}
}

// known is a HostNames that says what it is asked.
type known struct {
	names map[netip.Addr]string
	asked []string
}

func (k *known) Address(name string, f ipvs.Family) (netip.Addr, error) {
	k.asked = append(k.asked, name+" "+f.String())
	for a, n := range k.names {
		if n == name && a.Is4() == (f == ipvs.IPv4) {
			return a, nil
		}
	}
	return netip.Addr{}, errors.New("no such host")
}

func (k *known) Names(deadline time.Time, addrs []netip.Addr) map[netip.Addr]string {
	for _, a := range addrs {
		k.asked = append(k.asked, a.String())
	}
	if left := time.Until(deadline); left <= 0 || left > 2*time.Second {
		k.asked = append(k.asked, "too late or too early: "+left.String())
	}
	return k.names
}

// The system is asked for what the hosts file does not have, once.
func TestSystemNames(t *testing.T) {
	one, two := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	k := &known{names: map[netip.Addr]string{one: "one.example.com", two: "bad name"}}
	r := &Resolver{System: k, hosts: parseHosts("10.0.0.1 vip\n"), Services: etc + "services"}
	for range 2 {
		if a, err := r.Host("vip", ipvs.IPv4); a.String() != "10.0.0.1" || err != nil {
			t.Errorf("vip: %s, %v", a, err)
		}
		if a, err := r.Host("one.example.com", ipvs.IPv4); a != one || err != nil {
			t.Errorf("one: %s, %v", a, err)
		}
		if a, err := r.Host("one.example.com", ipvs.IPv6); err == nil {
			t.Errorf("one, IPv6: %s", a)
		}
		for _, a := range []string{"10.0.0.1", "192.0.2.1", "192.0.2.2", "192.0.2.3"} {
			r.want(netip.MustParseAddr(a))
		}
		r.lookup()
	}
	var got []string
	for _, a := range []string{"10.0.0.1:1", "192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"} {
		got = append(got, string(r.append(nil, netip.MustParseAddrPort(a), ipvs.TCP)))
	}
	if diff := cmp.Diff([]string{"vip:1", "one.example.com:1", "192.0.2.2:1", "192.0.2.3:1"}, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"one.example.com ipv4", "one.example.com ipv6", "192.0.2.1", "192.0.2.2", "192.0.2.3"}, k.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

func TestFilesFirst(t *testing.T) {
	for text, want := range map[string]bool{
		"": true, "passwd: dns\n": true, "#hosts: dns\n": true, "hosts: files dns\n": true, "hosts:\tmymachines files [NOTFOUND=return] dns # x\n": true,
		"hosts: dns files\n": false, "hosts: dns\n": false, "hosts:\n": false, "hosts: resolve\n": false,
	} {
		if got := filesFirst(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestNamesAreCut(t *testing.T) {
	hosts := writeFile(t, "10.0.0.1 "+strings.Repeat("v", 63)+".example.com\n2001:db8::1 "+strings.Repeat("s", 70)+"\n10.0.0.2 short\n10.0.0.3 x\x1b[2J\n")
	m := new(memory)
	m.add(ipvs.ServiceInfo{Service: svc(tcp("10.0.0.1:80"), "rr", 0)}, dest("10.0.0.1:80", ipvs.NAT, 1), dest("[2001:db8::1]:80", ipvs.Tunnel, 1),
		dest("10.0.0.2:80", ipvs.NAT, 1), dest("10.0.0.3:80", ipvs.NAT, 1))
	r := func() *Resolver { return &Resolver{Hosts: hosts, Services: etc + "services"} }
	var list, save bytes.Buffer
	if err := List(&list, m, ListOptions{Names: r()}); err != nil {
		t.Fatal(err)
	}
	if err := Save(&save, m, SaveOptions{Names: r()}); err != nil {
		t.Fatal(err)
	}
	wantList := "IP Virtual Server version 1.2.1 (size=4096)\n" + titles[ViewDefault] +
		"TCP  vvvvvvvvvvvvvvvvvvvvvvvvvvvv rr\n" +
		"  -> vvvvvvvvvvvvvvvvvvvvvvvvvvvv Masq    1      0          0         \n" +
		"  -> short:http                   Masq    1      0          0         \n" +
		"  -> 10.0.0.3:http                Masq    1      0          0         \n" +
		"  -> [ssssssssssssssssssssssssssssssssssssssssssssssssssssssssss Tunnel  1      0          0         \n"
	if diff := cmp.Diff(wantList, list.String()); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	wantSave := `-A -t 10.0.0.1:80 -s rr
-a -t 10.0.0.1:80 -r 10.0.0.1:80 -m -w 1
-a -t 10.0.0.1:80 -r short:http -m -w 1
-a -t 10.0.0.1:80 -r 10.0.0.3:http -m -w 1
-a -t 10.0.0.1:80 -r [2001:db8::1]:80 -i -w 1 --tun-type ipip
`
	if diff := cmp.Diff(wantSave, save.String()); diff != "" {
		t.Errorf("save does not cut (-want +got):\n%s", diff)
	}
}

func FuzzNameFiles(f *testing.F) {
	f.Add("10.0.0.1 a b\n::1 c # d\n", "http 80/tcp www\n")
	f.Fuzz(func(t *testing.T, hosts, services string) {
		for a, name := range parseHosts(hosts).name {
			if !a.IsValid() || name == "" {
				t.Errorf("%v is %q", a, name)
			}
		}
		for n, name := range parseServices(services).name {
			if name != usableName(name) {
				t.Errorf("%v is %q", n, name)
			}
		}
	})
}

package realserver_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/sysctl/realserver"
)

// TestKernelRefused: what cannot be done changes nothing and says why.
func TestKernelRefused(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(*farm, *topo.Host) error
		spec    realserver.Spec
		is      error
		text    string
		hint    string
	}{
		{"on a real interface", func(f *farm, s *topo.Host) error { return s.AddAddr("eth0", netip.PrefixFrom(f.VIP4, 32)) },
			realserver.Spec{}, realserver.ErrOnWire,
			"realserver: add 192.0.2.10/32 to lo: eth0 has it: neighbours ask for addresses there", "ip address del 192.0.2.10/32 dev eth0"},
		{"to a real interface", nil, realserver.Spec{Dev: "eth0"}, realserver.ErrOnWire,
			"realserver: add 192.0.2.10/32 to eth0: neighbours ask for addresses there", "use lo, a dummy or a tunnel device"},
		{"no such interface", nil, realserver.Spec{Dev: "eth7"}, nil,
			"realserver: add 192.0.2.10/32 to eth7: no such interface", "ip link"},
		{"as a network", func(f *farm, s *topo.Host) error { return s.AddAddr("lo", netip.PrefixFrom(f.VIP4, 24)) },
			realserver.Spec{}, realserver.ErrElsewhere,
			"realserver: add 192.0.2.10/32 to lo: as 192.0.2.10/24: the address is there already", "all of that network would be this host"},
		{"on another device", func(f *farm, s *topo.Host) error { return s.AddAddr("lo", netip.PrefixFrom(f.VIP4, 32)) },
			realserver.Spec{Mode: realserver.TUN}, realserver.ErrElsewhere,
			"realserver: add 192.0.2.10/32 to tunl0: lo has it: the address is there already", "use --dev lo"},
		{"IPv4 in IPv6", nil, realserver.Spec{Mode: realserver.TUN, Outer: 6}, nil,
			"realserver: add 192.0.2.10/32 to ip6tnl0: ip6tnl0 takes IPv6 out of IPv6 only, as it is", "ip -6 tunnel change ip6tnl0 mode any"},
		{"tunnel without tun", nil, realserver.Spec{Tunnel: realserver.Tunnel{Kind: "gre"}}, nil,
			"realserver: add 192.0.2.10: a tunnel needs mode tun", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFarm(t, topo.Spec{})
			s := f.Servers[0]
			if c.prepare != nil {
				if err := c.prepare(f, s); err != nil {
					t.Fatal(err)
				}
			}
			before := hostState(t, s)
			// The other one could be added, but it is all or nothing.
			err := s.Do(func() error {
				_, err := f.host().Add(c.spec, netip.MustParseAddr("192.0.2.11"), f.VIP4)
				return err
			})
			if c.spec == (realserver.Spec{Dev: "eth7"}) || c.spec.Dev == "eth0" || c.spec.Tunnel.Kind == "gre" || c.spec.Outer == 6 {
				c.text = strings.ReplaceAll(c.text, "192.0.2.10", "192.0.2.11") // no address would do
			}
			if err == nil || err.Error() != c.text || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(realserver.Hint(err), c.hint) {
				t.Errorf("error %v\nwant  %s\nhint  %s", err, c.text, realserver.Hint(err))
			}
			wantState(t, s, before)
			if files, err := os.ReadDir(f.dir); err != nil || len(files) > 1 { // the lock file
				t.Errorf("left in the folder: %v, %v", files, err)
			}
		})
	}
}

// TestKernelDiffers: a VIP is not moved from one kind to another in passing.
func TestKernelDiffers(t *testing.T) {
	f := newFarm(t, topo.Spec{})
	s := f.Servers[0]
	f.add(t, s, realserver.Spec{}, f.VIP4)
	before := hostState(t, s)
	err := s.Do(func() error { _, err := f.host().Add(realserver.Spec{Mode: realserver.TUN}, f.VIP4); return err })
	if !errors.Is(err, realserver.ErrDiffers) || err.Error() != "realserver: add 192.0.2.10: it was added in another way (--mode dr --dev lo)" {
		t.Errorf("error %v", err)
	}
	wantState(t, s, before)
	if err := s.AddAddr("lo", netip.MustParsePrefix("192.0.2.50/32")); err != nil {
		t.Fatal(err)
	}
	err = s.Do(func() error { _, err := f.host().Delete(f.VIP4, netip.MustParseAddr("192.0.2.50")); return err })
	if !errors.Is(err, realserver.ErrNotOurs) || realserver.Hint(err) != "ip address del 192.0.2.50/32 dev lo" {
		t.Errorf("delete a stranger: %v, hint %s", err, realserver.Hint(err))
	}
	if got := texts(f.add(t, s, realserver.Spec{}, f.VIP4)); got != nil {
		t.Errorf("the refused delete took something away: %q", got)
	}
}

// TestKernelReadOnly: /proc/sys as it is in containers. Mounts belong to the
// whole process, so it happens in a child with mounts of its own.
func TestKernelReadOnly(t *testing.T) {
	f := newFarm(t, topo.Spec{})
	s := f.Servers[0]
	before := hostState(t, s)
	out := f.confined(t, s, "readonly")
	for _, want := range []string{"sysctl: set net.ipv4.conf.all.arp_ignore=1: read-only file system", "hint: /proc/sys is read-only, as in most containers"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q lacks %q", out, want)
		}
	}
	wantState(t, s, before)
}

// TestKernelNoPermission: without CAP_NET_ADMIN, and without being root.
func TestKernelNoPermission(t *testing.T) {
	f := newFarm(t, topo.Spec{})
	s := f.Servers[0]
	before := hostState(t, s)
	open, err := os.MkdirTemp("/run", "goipvs-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(open) })
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{
		open:             "sysctl: set net.ipv4.conf.all.arp_ignore=1: permission denied",
		"/run/goipvs-no": "record: open realserver of /run/goipvs-no: mkdir /run/goipvs-no: permission denied",
	} {
		f.dir = dir
		out := f.confined(t, s, "nobody")
		if !strings.Contains(out, want) || !strings.Contains(out, "needs root (CAP_NET_ADMIN)") {
			t.Errorf("%q lacks %q or a hint", out, want)
		}
	}
	wantState(t, s, before)
}

// confined runs a child that adds a VIP under restrictions, and returns what it
// says.
func (f *farm) confined(t *testing.T, s *topo.Host, how string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "REALSERVER_TEST_CHILD="+strings.Join([]string{f.dir, how, f.VIP4.String()}, " "))
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	var out []byte
	do(t, s, func() error { out, _ = cmd.CombinedOutput(); return nil })
	return string(out)
}

// confinedChild is the other end of confined.
func confinedChild(dir, how, addr string) int {
	if how == "nobody" { // who may not start this program, which is root's
		if err := syscall.Setuid(65534); err != nil {
			fmt.Fprintln(os.Stderr, "setuid:", err)
			return 2
		}
	} else {
		err := unix.Mount("/proc/sys", "/proc/sys", "", unix.MS_BIND, "")
		if err == nil {
			err = unix.Mount("", "/proc/sys", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "mount:", err)
			return 2
		}
	}
	_, err := realserver.Host{Dir: dir}.Add(realserver.Spec{}, netip.MustParseAddr(addr))
	if err != nil {
		fmt.Printf("%v\nhint: %s", err, realserver.Hint(err))
		return 1
	}
	fmt.Print("it was done")
	return 0
}

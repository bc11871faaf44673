package daemon

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/goipvs/goipvs/ipvs"
	"golang.org/x/sys/unix"
)

// manager is the part of systemd that services talk to: it takes messages with
// files, and keeps these by name (sd_pid_notify_with_fds(3)).
type manager struct {
	mu    sync.Mutex
	heard []string
	store map[string][]*os.File
}

func newManager(t *testing.T) *manager {
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", path)
	m := &manager{store: make(map[string][]*os.File)}
	done := make(chan struct{})
	t.Cleanup(func() {
		l.Close()
		<-done
		for _, files := range m.store {
			closeAll(files)
		}
	})
	go func() {
		defer close(done)
		b, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4*253))
		for {
			n, oobn, _, _, err := l.ReadMsgUnix(b, oob)
			if err != nil {
				return
			}
			m.take(string(b[:n]), oob[:oobn])
		}
	}()
	return m
}

func (m *manager) take(text string, oob []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.heard = append(m.heard, text)
	var files []*os.File
	messages, _ := unix.ParseSocketControlMessage(oob)
	for i := range messages {
		fds, _ := unix.ParseUnixRights(&messages[i])
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "kept"))
		}
	}
	vars := make(map[string]string)
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		vars[name] = value
	}
	name := vars["FDNAME"]
	switch {
	case vars["FDSTOREREMOVE"] == "1":
		closeAll(m.store[name])
		delete(m.store, name)
	case vars["FDSTORE"] == "1":
		m.store[name] = append(m.store[name], files...)
	default:
		closeAll(files)
	}
}

// names are those of the kept files, with how many there are of each.
func (m *manager) names() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for name, files := range m.store {
		out = append(out, fmt.Sprintf("%s %d", name, len(files)))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// TestFDStore: systemd has the listening sockets of full NAT under names that it
// takes, those of a service that comes by a reload, too, and is told to forget
// those of one that leaves. A client that comes while no daemon runs waits there.
func TestFDStore(t *testing.T) {
	m := newManager(t)
	f := newFixture(t, 1)
	vip, other := f.free(), f.free()
	service := func(vip string) string {
		return fmt.Sprintf("[[virtual]]\naddress = %q\nscheduler = \"rr\"\nforward = \"fullnat\"\n[virtual.check]\ntype = \"connect\"\n[[virtual.real]]\naddress = %q\n",
			vip, f.servers[0].Addr())
	}
	head := fmt.Sprintf("control = %q\ncontrol_group = \"\"\nstate_dir = %q\nmax_removal = 1.0\n", f.path("sock"), f.path("state"))
	f.write(head + service(vip))
	f.start()
	name := func(vip string) string { return "tcp_" + strings.Replace(vip, ":", "-", 1) }
	kept := func(vips ...string) string {
		var out []string
		for _, v := range vips {
			out = append(out, fmt.Sprintf("%s %d", name(v), cpus()))
		}
		slices.Sort(out)
		return strings.Join(out, ", ")
	}
	f.await("the first service is kept", func() bool { return m.names() == kept(vip) })
	f.write(head + service(vip) + service(other))
	f.reload("", "")
	f.await("both are kept", func() bool { return m.names() == kept(vip, other) })
	f.write(head + service(vip))
	f.reload("", "")
	f.await("one is kept", func() bool { return m.names() == kept(vip) })
	m.mu.Lock()
	heard := m.heard
	m.mu.Unlock()
	for _, h := range heard {
		if strings.HasPrefix(h, "FDSTORE=1\n") && !strings.HasSuffix(h, "\nFDPOLL=0") {
			t.Errorf("%q", h)
		}
	}
	f.stop()
	c, err := net.Dial("tcp", vip) // nobody runs, and yet
	f.must(err)
	c.Close()
}

// free is an address of this machine that nobody has.
func (f *fixture) free() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	f.must(err)
	defer l.Close()
	return l.Addr().String()
}

func cpus() int {
	var may unix.CPUSet
	if unix.SchedGetaffinity(0, &may) != nil {
		return 1
	}
	return may.Count()
}

// TestFDNames: a name is at most 255 bytes, printable, and has no colon.
func TestFDNames(t *testing.T) {
	for k, want := range map[string]string{
		"tcp 192.0.2.10:80": "tcp_192.0.2.10-80", "udp [2001:db8::1]:53": "udp_2001-db8--1-53",
	} {
		p, addr, _ := strings.Cut(k, " ")
		key := ipvs.AddrService(map[string]ipvs.Protocol{"tcp": ipvs.TCP, "udp": ipvs.UDP}[p], netip.MustParseAddrPort(addr))
		if got := fdName(key); got != want {
			t.Errorf("%s: %s, want %s", k, got, want)
		}
	}
}

// TestWire: messages with more files than one of the kernel's takes arrive whole,
// and nonsense is an error.
func TestWire(t *testing.T) {
	a, theirs, err := newWires()
	if err != nil {
		t.Fatal(err)
	}
	b, err := newWire(theirs)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, n := range []int{0, 1, filesAtOnce, filesAtOnce + 1, 3*filesAtOnce + 7} {
		sent := make(chan error, 1)
		go func() {
			sent <- a.send(message{Step: strings.Repeat("x", 100_000)}, patienceStep, slices.Repeat([]*os.File{null}, n)...)
		}()
		var m message
		files, err := b.receive(&m, patienceStep)
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		if err != nil || len(files) != n || len(m.Step) != 100_000 {
			t.Errorf("%d files: %d came with %d bytes: %v", n, len(files), len(m.Step), err)
		}
		closeAll(files)
	}
	for _, text := range []string{"\x00\x00\x00\x02\x00\x00\x00\x00{", "\x00\x00\x00\x02\x00\x00\x00\x00xx", "\xff\xff\xff\xff\x00\x00\x00\x00", "\x00\x00\x00\x02\x00\x00\x00\x01\x01{}", ""} {
		a, theirs, err := newWires()
		if err != nil {
			t.Fatal(err)
		}
		b, err := newWire(theirs)
		if err != nil {
			t.Fatal(err)
		}
		_, err = a.conn.Write([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		a.close()
		var m message
		if files, err := b.receive(&m, patienceStep); err == nil || files != nil || text == "" && !errors.Is(err, io.EOF) {
			t.Errorf("%q: %v, %v", text, files, err)
		}
		b.close()
	}
	a.close()
}

package daemon

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goipvs/goipvs/ipvs/ipvstest"
	"golang.org/x/sys/unix"
)

// systemd hears what a daemon says to the socket of a fake systemd.
type systemd struct {
	*net.UnixConn
	path  string
	mu    sync.Mutex
	heard []string
}

// newSystemd has the daemon find itself under systemd, with a watchdog of 300 ms.
func newSystemd(t *testing.T) *systemd {
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "300000")
	s := &systemd{UnixConn: l, path: path}
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := l.Read(b)
			if err != nil {
				return
			}
			s.mu.Lock()
			s.heard = append(s.heard, string(b[:n]))
			s.mu.Unlock()
		}
	}()
	return s
}

func (s *systemd) count(text string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.heard {
		n += strings.Count(h, text)
	}
	return n
}

// status is the last status line.
func (s *systemd) status() (text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.heard {
		for line := range strings.Lines(h) {
			if strings.HasPrefix(line, "STATUS=") {
				text = line
			}
		}
	}
	return text
}

// sofar counts what was said until now, also what has not been read yet.
func (s *systemd) sofar(f *fixture, text string) int {
	mark := fmt.Sprint("mark of ", time.Now().UnixNano())
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.path, Net: "unixgram"})
	f.must(err)
	defer c.Close()
	_, err = c.Write([]byte(mark))
	f.must(err)
	f.await("systemd has read all", func() bool { return s.count(mark) == 1 })
	return s.count(text)
}

// TestSystemd: systemd hears when the daemon is ready, reloads, lives, has
// trouble, stops.
func TestSystemd(t *testing.T) {
	s := newSystemd(t)
	f := newFixture(t, 1)
	f.write(strings.Replace(f.text(""), "[check]", "reconcile = \"50ms\"\n[check]", 1))
	f.start()
	f.has(0, "1")
	f.await("signs of life", func() bool { return s.count("WATCHDOG=1") > 2 })
	if n := s.sofar(f, "READY=1\nSTATUS="); n != 1 {
		t.Errorf("%d times ready", n)
	}
	f.signals <- unix.SIGHUP
	f.await("reloading and ready", func() bool { return s.count("RELOADING=1\nMONOTONIC_USEC=") == 1 && s.count("READY=1") == 2 })
	f.servers[0].Close()
	f.await("systemctl status tells that the server is down", func() bool { return strings.Contains(s.status(), "STATUS=0 of 1 services up, 0 of 1 real servers in") })
	f.write("broken")
	f.signals <- unix.SIGHUP
	f.await("systemctl status tells of the reload that failed, and goes on to", func() bool {
		return s.count("RELOADING=1") == 2 && strings.Contains(s.status(), "real servers in; reload failed, the old configuration stays: "+f.path("goipvs.toml")+":1: ")
	})
	f.signals <- unix.SIGTERM
	select {
	case err := <-f.done:
		f.done <- err
	case <-time.After(30 * time.Second):
		t.Fatal("does not stop")
	}
	f.await("stopping", func() bool { return s.count("STOPPING=1") == 1 })
}

// TestSystemdGrantsDrains: while a stop drains, systemd is asked for the time that
// the drain of a service may take, and told what is waited for; for connections
// without a limit it is not asked.
func TestSystemdGrantsDrains(t *testing.T) {
	for drain, want := range map[string]string{"10m": "EXTEND_TIMEOUT_USEC=40000000", "": ""} {
		t.Run("drain "+drain, func(t *testing.T) {
			s := newSystemd(t)
			f := newFixture(t, 1)
			text := f.text("on_stop = \"drain\"\n")
			if drain != "" {
				text = strings.Replace(text, "[virtual.check]", fmt.Sprintf("drain = %q\n[virtual.check]", drain), 1)
			}
			f.write(text)
			f.start()
			f.has(0, "1")
			services, err := f.kernel.Services()
			f.must(err)
			server := netip.MustParseAddrPort(f.servers[0].Addr().String())
			f.kernel.CountDestination(services[0].ServiceKey, server, ipvstest.Load{Active: 1})
			f.signals <- unix.SIGTERM
			f.await("systemd is told", func() bool {
				return s.count("STATUS=stopping, 1 services wait for the end of their connections") > 0
			})
			if n := s.count("EXTEND_TIMEOUT_USEC="); want == "" && n > 0 || want != "" && s.count(want) != n || n == 0 && want != "" {
				t.Errorf("%d requests for time, want %s", n, want)
			}
			f.kernel.CountDestination(services[0].ServiceKey, server, ipvstest.Load{})
			select {
			case err := <-f.done:
				f.done <- err
			case <-time.After(30 * time.Second):
				t.Fatal("does not stop")
			}
		})
	}
}

// TestSystemdHangs: a systemd that reads nothing holds up no verdict and no stop.
// It is said once.
func TestSystemdHangs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "300000")
	f := newFixture(t, 2)
	f.write(strings.Replace(f.text(""), "[check]", "reconcile = \"50ms\"\n[check]", 1))
	f.start()
	f.has(1, "1")
	for full := false; !full; {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		f.must(err)
		err = unix.Sendto(fd, []byte("x"), unix.MSG_DONTWAIT, &unix.SockaddrUnix{Name: path})
		unix.Close(fd)
		if full = errors.Is(err, unix.EAGAIN); !full {
			f.must(err)
		}
	}
	f.await("there is no room for another sign of life", func() bool { return strings.Contains(f.log.String(), "event=notify_failed") })
	f.servers[1].Close()
	f.has(1, "0")
	f.signals <- unix.SIGTERM
	select {
	case err := <-f.done:
		f.done <- err
	case <-time.After(30 * time.Second):
		t.Fatal("does not stop")
	}
	if n := strings.Count(f.log.String(), "event=notify_failed"); n != 1 {
		t.Errorf("said %d times", n)
	}
}

// TestWatchdogStarves: when the loop that looks after the kernel hangs systemd
// gets no sign of life, whatever else of the daemon is awake.
func TestWatchdogStarves(t *testing.T) {
	s := newSystemd(t)
	f := newFixture(t, 1)
	f.write(strings.Replace(f.text(""), "[check]", "reconcile = \"50ms\"\n[check]", 1))
	f.start()
	f.has(0, "1")
	release := f.hang()
	before := s.sofar(f, "WATCHDOG=1")
	time.Sleep(time.Second) // for so long nothing may come, ten times as long as it would take
	if n := s.sofar(f, "WATCHDOG=1") - before; n != 0 {
		t.Errorf("%d signs of life of a loop that hangs", n)
	}
	release()
	f.await("signs of life again", func() bool { return s.count("WATCHDOG=1") > before+1 })
}

// TestSignalsWhileHanging: with a loop that hangs the daemon still hears that it
// is to stop, however often it was asked for a status before, and stops when the
// loop goes on.
func TestSignalsWhileHanging(t *testing.T) {
	s := newSystemd(t)
	f := newFixture(t, 1)
	f.write(strings.Replace(f.text(""), "[check]", "reconcile = \"50ms\"\n[check]", 1))
	f.start()
	f.has(0, "1")
	f.signals <- unix.SIGUSR1
	f.await("a status", func() bool { return strings.Contains(f.log.String(), "msg=status event=status vs=web") })
	release := f.hang()
	for range 50 {
		f.signals <- unix.SIGUSR1
	}
	f.signals <- unix.SIGTERM
	f.await("stopping", func() bool { return s.count("STOPPING=1") == 1 })
	release()
	select {
	case err := <-f.done:
		f.done <- err
	case <-time.After(30 * time.Second):
		t.Fatal("does not stop")
	}
	if n := strings.Count(f.log.String(), "msg=status event=status vs=web"); n > 2 {
		t.Errorf("%d statuses of one moment", n)
	}
}

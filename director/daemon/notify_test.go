package daemon

import (
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestSystemd: systemd hears when the daemon is ready, reloads, lives, stops.
func TestSystemd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "300000")
	var mu sync.Mutex
	var heard []string
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := l.Read(b)
			if err != nil {
				return
			}
			mu.Lock()
			heard = append(heard, string(b[:n]))
			mu.Unlock()
		}
	}()
	count := func(text string) (n int) {
		mu.Lock()
		defer mu.Unlock()
		for _, h := range heard {
			n += strings.Count(h, text)
		}
		return n
	}
	f := newFixture(t, 1)
	f.write(strings.Replace(f.text(""), "[check]", "reconcile = \"50ms\"\n[check]", 1))
	f.start()
	f.has(0, "1")
	f.await("signs of life", func() bool { return count("WATCHDOG=1") > 2 })
	if count("READY=1") != 1 || count("STATUS=") == 0 {
		t.Errorf("%q", heard)
	}
	f.signals <- unix.SIGHUP
	f.await("reloading and ready", func() bool { return count("RELOADING=1\nMONOTONIC_USEC=") == 1 && count("READY=1") == 2 })
	f.signals <- unix.SIGTERM
	select {
	case err := <-f.done:
		f.done <- err
	case <-time.After(30 * time.Second):
		t.Fatal("does not stop")
	}
	f.await("stopping", func() bool { return count("STOPPING=1") == 1 })
}

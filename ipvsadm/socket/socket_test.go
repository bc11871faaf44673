package socket

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/ipvsadm"
)

// answering is a socket that answers each request line so, in pieces.
func answering(t *testing.T, answer func(request string) []string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for in := bufio.NewScanner(c); in.Scan(); {
					pieces := answer(in.Text())
					for _, p := range pieces {
						_, _ = io.WriteString(c, p)
					}
					if pieces == nil {
						return
					}
				}
			}()
		}
	}()
	return path
}

// TestAsk: requests of one connection are answered in turn, however the answers
// come in, and what is no answer is an error.
func TestAsk(t *testing.T) {
	long := `"` + strings.Repeat("x", 300000) + `"`
	path := answering(t, func(request string) []string {
		switch {
		case request == `{"verb":"one","args":{"a":1}}`:
			return []string{`{"resu`, `lt":`, `{}}`, "\n"}
		case request == `{"verb":"long","args":{}}`:
			return []string{`{"result":`, long, "}\n"}
		case request == `{"verb":"no","args":{}}`:
			return []string{`{"error":{"code":"denied","message":"m","hint":"h"}}` + "\n"}
		case strings.HasPrefix(request, `{"verb":"rubbish"`):
			return []string{"rubbish\n"}
		}
		return nil
	})
	d, err := Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for range 2 {
		if b, err := d.Ask("one", []byte(`{"a":1}`)); err != nil || string(b) != "{}" {
			t.Errorf("%q, %v", b, err)
		}
		if b, err := d.Ask("long", []byte(`{}`)); err != nil || string(b) != long {
			t.Errorf("%d bytes, %v", len(b), err)
		}
		_, err = d.Ask("no", []byte(`{}`))
		var own *ipvsadm.DaemonError
		if !errors.As(err, &own) || *own != (ipvsadm.DaemonError{Code: "denied", Message: "m", Hint: "h"}) {
			t.Errorf("%v", err)
		}
	}
	if _, err := d.Ask("rubbish", []byte(`{}`)); err == nil || !strings.Contains(err.Error(), "malformed") {
		t.Errorf("rubbish: %v", err)
	}
	if _, err := d.Ask("close", []byte(`{}`)); err == nil || !strings.Contains(err.Error(), "closed") && !strings.Contains(err.Error(), "reset") {
		t.Errorf("closed: %v", err)
	}
}

// TestSilent: a goipvsd that does not answer holds nobody up for ever.
func TestSilent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d, err := Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.Ask(ipvsadm.VerbList, []byte(`{}`)); err == nil || !strings.HasSuffix(err.Error(), "goipvsd does not answer") {
		t.Errorf("%v", err)
	}
}

// TestNotRunning: there is no socket, or a dead one's.
func TestNotRunning(t *testing.T) {
	dir := t.TempDir()
	dead := filepath.Join(dir, "dead")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	for _, path := range []string{filepath.Join(dir, "none"), dead, filepath.Join(dead, "x")} {
		if d, err := Dial(path); !errors.Is(err, ipvsadm.ErrNotRunning) {
			t.Errorf("%s: %v, %v", path, d, err)
		}
	}
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Dial(plain); !errors.Is(err, ipvsadm.ErrNotRunning) {
		t.Errorf("a plain file: %v", err)
	}
}

// TestDaemonHangs: a daemon that takes no connections any more, and whose queue is
// full, is not waited for without end.
func TestDaemonHangs(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	first, err := Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	told := make(chan error, 1)
	go func() {
		_, err := Dial(path)
		told <- err
	}()
	select {
	case err := <-told:
		if err == nil || !strings.Contains(err.Error(), "goipvsd does not answer") {
			t.Error(err)
		}
	case <-time.After(10 * listPatience):
		t.Fatal("it is waited for")
	}
}

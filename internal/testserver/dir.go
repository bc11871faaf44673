package testserver

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// Dir makes a folder for a server, with these files in it, which any user may
// read. Its path is short enough for sockets. It goes with the test.
func Dir(t testing.TB, files map[string]string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "goipvs-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		Write(t, filepath.Join(dir, name), text)
	}
	return dir
}

// Write writes a file, and the folders above it.
func Write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Give makes a folder and all that is in it a user's, where we may.
func Give(t testing.TB, dir, name string) {
	t.Helper()
	if os.Getuid() != 0 {
		return
	}
	uid, gid := ids(t, name)
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, gid)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// lowest and highest bound the ports given out: below those that the kernel
// takes for outgoing connections, of which tests make many.
const (
	lowest  = 10240
	highest = 32767
)

var nextPort atomic.Uint32

func init() { nextPort.Store(rand.Uint32N(highest - lowest)) }

// Port finds a port of 127.0.0.1 that is free for TCP and UDP, and that no other
// test of this repository is given until this test is over, in whatever process:
// a server may stop there and start again.
func Port(t testing.TB) uint16 {
	t.Helper()
	for range highest - lowest {
		port := uint16(lowest + nextPort.Add(1)%(highest-lowest))
		mark, err := net.Listen("unix", fmt.Sprintf("@goipvs-test-port-%d", port)) // ends with the process, leaves no file
		if err != nil {
			continue
		}
		if free(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)) {
			t.Cleanup(func() { mark.Close() })
			return port
		}
		mark.Close()
	}
	t.Fatal("testserver: no free port")
	return 0
}

func free(addr netip.AddrPort) bool {
	l, err := net.Listen("tcp4", addr.String())
	if err != nil {
		return false
	}
	l.Close()
	u, err := net.ListenPacket("udp4", addr.String())
	if err != nil {
		return false
	}
	u.Close()
	return true
}

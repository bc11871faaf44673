package fullnat_test

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// waitSent waits until the peer's kernel has all that was written.
func waitSent(t *testing.T, c *net.TCPConn) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "all is sent", func() bool {
		var n int
		raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
		return n == 0
	})
}

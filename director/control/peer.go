package control

import (
	"net"

	"golang.org/x/sys/unix"
)

// Peer is the process at the other end, as the kernel knows it.
type Peer struct{ PID, UID, GID int }

func peerOf(c *net.UnixConn) (Peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return Peer{}, err
	}
	var cred *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) { cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err != nil {
		return Peer{}, err
	}
	if failed != nil {
		return Peer{}, failed
	}
	return Peer{int(cred.Pid), int(cred.Uid), int(cred.Gid)}, nil
}

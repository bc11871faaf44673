package main

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// serve is the role of the real servers: it accepts and closes on all addresses
// at alivePort and at the ports of those that can be killed, which it does on
// the words "close PORT" and "open PORT" of its standard input. One thread does
// it all: what the servers cost is the same for all directors, and should be
// little.
func serve(servers int) error {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	fds := make(map[int]int)
	open := func(port int) error {
		fd, err := listen(port)
		if err != nil {
			return err
		}
		fds[port] = fd
		return unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
	}
	if err := open(alivePort); err != nil {
		return err
	}
	for i := range servers {
		if mortal(i) {
			if err := open(mortalPort + i); err != nil {
				return err
			}
		}
	}
	go acceptAll(poll)
	fmt.Println("ready")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var word string
		var port int
		if _, err := fmt.Sscan(in.Text(), &word, &port); err != nil {
			return err
		}
		if word == "open" {
			err = open(port)
		} else {
			err = unix.Close(fds[port])
		}
		if err != nil {
			return err
		}
		fmt.Println("done")
	}
	return nil
}

func acceptAll(poll int) {
	events := make([]unix.EpollEvent, 64)
	for {
		n, err := unix.EpollWait(poll, events, -1)
		if err != nil && err != unix.EINTR {
			panic(err)
		}
		for _, e := range events[:max(n, 0)] {
			for {
				c, _, err := unix.Accept4(int(e.Fd), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
				if err != nil {
					break
				}
				_ = unix.Close(c) // it was ours
			}
		}
	}
}

func listen(port int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return 0, err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: netip.IPv4Unspecified().As4()}); err != nil {
		return 0, fmt.Errorf("port %d: %w", port, err)
	}
	return fd, unix.Listen(fd, 4096)
}

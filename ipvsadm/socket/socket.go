// Package socket is the control socket of goipvsd for one-shot commands: a
// client without package net and encoding/json, whose start these would pay for
// though few of them have anything to ask. docs/control.md has the protocol;
// director/control is the client for all other programs.
package socket

import (
	"bytes"
	"errors"
	"os"
	"time"

	"github.com/goipvs/goipvs/ipvsadm"
	"golang.org/x/sys/unix"
)

// Default is where goipvsd listens when its file says nothing else.
const Default = "/run/goipvs/goipvs.sock"

// Connect connects to the socket that GOIPVS_SOCKET names, as for the verbs, or to
// the default one.
func Connect() (ipvsadm.Daemon, error) {
	if p := os.Getenv("GOIPVS_SOCKET"); p != "" {
		return Dial(p)
	}
	return Dial(Default)
}

// How long goipvsd may take to answer: a listing is at hand, a change may have to
// wait for other work.
const (
	listPatience   = 5 * time.Second
	changePatience = 30 * time.Second
)

// Client is a connection. It is for one goroutine.
type Client struct {
	fd   int
	path string
	in   []byte // received and not yet read

	patience time.Duration // set on the socket
}

// Dial connects to the socket at path. That nobody listens there is
// ipvsadm.ErrNotRunning.
func Dial(path string) (ipvsadm.Daemon, error) {
	if unix.Access(path, unix.F_OK) == unix.ENOENT {
		return nil, ipvsadm.ErrNotRunning // all that a command pays where there is no goipvsd
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, failed("connect to "+path, err)
	}
	c := &Client{fd: fd, path: path}
	if err = c.wait(listPatience); err == nil { // a daemon that hangs takes none once its queue is full
		err = connect(fd, path)
	}
	if err != nil {
		unix.Close(fd)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.ENOTDIR) {
			return nil, ipvsadm.ErrNotRunning
		}
		return nil, failed("connect to "+path, err)
	}
	return c, nil
}

func connect(fd int, path string) error {
	for {
		if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != unix.EINTR {
			return err
		}
	}
}

func (c *Client) wait(d time.Duration) error {
	if d == c.patience {
		return nil
	}
	c.patience = d
	t := unix.NsecToTimeval(d.Nanoseconds())
	err := unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &t)
	if err != nil {
		return err
	}
	return unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &t)
}

// failed says what was tried. A time that is over is EAGAIN to the kernel.
func failed(what string, err error) error {
	switch {
	case errors.Is(err, unix.EAGAIN):
		return errors.New(what + ": goipvsd does not answer")
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return &ipvsadm.DaemonError{Code: "denied", Message: what + ": permission denied", Hint: "root may, and the members of control_group in goipvs.toml"}
	}
	return errors.New(what + ": " + err.Error())
}

// Close ends the connection.
func (c *Client) Close() error { return unix.Close(c.fd) }

// Ask makes one request and returns its result. After an error that is no
// *ipvsadm.DaemonError the connection is of no more use.
func (c *Client) Ask(verb string, args []byte) ([]byte, error) {
	patience := listPatience
	if verb == ipvsadm.VerbRules {
		patience = changePatience
	}
	if err := c.wait(patience); err != nil {
		return nil, failed("ask goipvsd at "+c.path, err)
	}
	request := make([]byte, 0, len(verb)+len(args)+32)
	request = append(append(append(request, `{"verb":"`...), verb...), `","args":`...)
	request = append(append(request, args...), "}\n"...)
	for len(request) > 0 {
		n, err := unix.SendmsgN(c.fd, request, nil, nil, unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, failed("ask goipvsd at "+c.path, err)
		}
		request = request[n:]
	}
	line, err := c.line()
	if err != nil {
		return nil, err
	}
	return ipvsadm.ReadAnswer(line)
}

// line receives up to the next newline. An answer may be as long as a table.
func (c *Client) line() ([]byte, error) {
	for seen := 0; ; {
		if i := bytes.IndexByte(c.in[seen:], '\n'); i >= 0 {
			line := c.in[:seen+i]
			c.in = c.in[seen+i+1:]
			return line, nil
		}
		seen = len(c.in)
		if cap(c.in)-len(c.in) < 16<<10 {
			bigger := make([]byte, len(c.in), max(64<<10, 2*cap(c.in)))
			copy(bigger, c.in)
			c.in = bigger
		}
		n, err := unix.Read(c.fd, c.in[len(c.in):cap(c.in)])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, failed("answer of goipvsd at "+c.path, err)
		case n == 0:
			return nil, errors.New("answer of goipvsd at " + c.path + ": the connection was closed")
		default:
			c.in = c.in[:len(c.in)+n]
		}
	}
}

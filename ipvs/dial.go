package ipvs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"time"

	"github.com/goipvs/goipvs/ipvs/internal/wire"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Options say which kernel table a [Client] works on. The zero value is that
// of the calling thread's network namespace.
type Options struct {
	// Netns is the path of a network namespace, such as /run/netns/NAME or
	// /proc/PID/ns/net. Empty means the calling thread's. Entering another than
	// one's own needs CAP_SYS_ADMIN.
	Netns string
	// Timeout is the longest one listing may take; 0 means 30 s. Nothing else
	// waits: the kernel answers before the system call that asks returns, and
	// when it has not the answer is lost. That call itself lasts as long as the
	// kernel works, or as a module that it loads takes to come up.
	Timeout time.Duration
	// Alone says that the program has nothing else to do while the kernel
	// works, as a one-shot command has not. Otherwise the Go runtime starts
	// threads that could take over, at a cost above that of the requests.
	Alone bool
}

const defaultTimeout = 30 * time.Second

// Dial opens a connection to the kernel's IPVS and makes the kernel load the
// module ip_vs if it is not there yet (needs no capability). The error is an
// [*OpError]: [ErrNoIPVS] when there is no IPVS, fs.ErrNotExist when there is
// no such namespace, fs.ErrPermission when it may not be entered. That the
// process lacks CAP_NET_ADMIN shows with the first request, not here.
func Dial(o Options) (*Client, error) {
	c := &Client{timeout: o.Timeout, names: interned{}}
	if c.timeout == 0 {
		c.timeout = defaultTimeout
	}
	var err error
	switch {
	case c.timeout < 0:
		err = fmt.Errorf("%w: timeout %s", ErrRange, o.Timeout)
	case o.Netns == "":
		c.sock, err = open(o.Alone)
	default:
		c.sock, err = openAt(o.Netns, o.Alone)
	}
	if err != nil {
		return nil, &OpError{Op: "open", Object: o.Netns, Err: err}
	}
	if err := c.resolve(); err != nil {
		c.sock.close()
		return nil, &OpError{Op: "open", Object: o.Netns, Err: err}
	}
	return c, nil
}

// resolve asks the kernel for the number of the IPVS family, which is another
// one every time the module is loaded.
func (c *Client) resolve() error {
	var id uint16
	err := c.ask(target{unix.GENL_ID_CTRL, unix.CTRL_CMD_GETFAMILY, genlVersion}, 0,
		func(e *wire.Encoder) { e.String(unix.CTRL_ATTR_FAMILY_NAME, genlName) },
		func(b []byte) error {
			it := wire.NewAttrs(b)
			for it.Next() {
				if it.Type() == unix.CTRL_ATTR_FAMILY_ID {
					id = it.U16()
				}
			}
			return it.Err()
		})
	switch {
	case isErrno(err, unix.ENOENT):
		return ErrNoIPVS
	case err != nil:
		return err
	case id < unix.NLMSG_MIN_TYPE: // the kernel would take requests for no-operations and say yes
		return fmt.Errorf("%w: family number %d", ErrReply, id)
	}
	c.family = id
	return nil
}

// openAt opens a socket in the network namespace at path. It works on a thread
// of its own, because a thread that cannot go back to where it came from must
// not run anything else: it ends locked, and with that the runtime ends it.
func openAt(path string, alone bool) (transport, error) {
	type result struct {
		t   transport
		err error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread()
		t, err, back := openIn(path, alone)
		if back {
			runtime.UnlockOSThread()
		}
		done <- result{t, err}
	}()
	r := <-done
	return r.t, r.err
}

// openIn tells, besides, whether the thread is in its own namespace.
func openIn(path string, alone bool) (t transport, err error, back bool) {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return nil, err, true
	}
	defer ns.Close()
	here, err := netns.Get()
	if err != nil {
		return nil, err, true
	}
	defer here.Close()
	if here.Equal(ns) { // entering would need a capability for nothing
		t, err = open(alone)
		return t, err, true
	}
	if err := netns.Set(ns); err != nil {
		return nil, enterError(err), true
	}
	t, err = open(alone)
	return t, err, netns.Set(here) == nil
}

func enterError(err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w (CAP_SYS_ADMIN is needed to enter a network namespace)", fs.ErrPermission)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%w: not a network namespace", ErrInvalid)
	}
	return os.NewSyscallError("setns", err)
}

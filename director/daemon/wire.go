package daemon

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// wire carries messages and open files between two goipvsd on one machine: a
// message is its length and the number of its files, a byte for each few of
// these, and JSON.
type wire struct{ conn *net.UnixConn }

const (
	filesAtOnce = 200     // the kernel takes 253 (SCM_MAX_FD)
	maxFiles    = 1 << 20 // that a message may announce
	maxMessage  = 1 << 30
)

// newWires are the two ends of a new one; theirs is for a child.
func newWires() (ours *wire, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	theirs = os.NewFile(uintptr(fds[1]), "handover")
	if ours, err = newWire(os.NewFile(uintptr(fds[0]), "handover")); err != nil {
		theirs.Close()
	}
	return ours, theirs, err
}

// newWire takes the file.
func newWire(f *os.File) (*wire, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, errors.New("not a unix socket")
	}
	return &wire{u}, nil
}

func (w *wire) close() { w.conn.Close() }

// send sends a message. The files stay the caller's.
func (w *wire) send(v any, patience time.Duration, files ...*os.File) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_ = w.conn.SetWriteDeadline(time.Now().Add(patience))
	head := binary.BigEndian.AppendUint32(nil, uint32(len(b)))
	if _, err = w.conn.Write(binary.BigEndian.AppendUint32(head, uint32(len(files)))); err != nil {
		return err
	}
	for len(files) > 0 {
		some := files[:min(len(files), filesAtOnce)]
		files = files[len(some):]
		if _, _, err := w.conn.WriteMsgUnix([]byte{byte(len(some))}, rights(some), nil); err != nil {
			return err
		}
	}
	_, err = w.conn.Write(b)
	return err
}

// receive reads a message and its files, which are the caller's. io.EOF: the
// other end is gone.
func (w *wire) receive(v any, patience time.Duration) (files []*os.File, err error) {
	_ = w.conn.SetReadDeadline(time.Now().Add(patience))
	defer func() {
		if err != nil {
			closeAll(files)
			files = nil
		}
	}()
	var head [8]byte
	if _, err := io.ReadFull(w.conn, head[:]); err != nil {
		return nil, err
	}
	size, n := binary.BigEndian.Uint32(head[:]), int(binary.BigEndian.Uint32(head[4:]))
	if size > maxMessage || n > maxFiles {
		return nil, fmt.Errorf("a message of %d bytes and %d files", size, n)
	}
	for len(files) < n {
		some, err := w.receiveFiles()
		files = append(files, some...)
		if err != nil {
			return files, err
		}
		if len(some) == 0 || len(files) > n {
			return files, fmt.Errorf("%d of %d files came", len(files), n)
		}
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(w.conn, b); err != nil {
		return files, err
	}
	return files, json.Unmarshal(b, v)
}

func (w *wire) receiveFiles() (files []*os.File, err error) {
	var one [1]byte
	oob := make([]byte, unix.CmsgSpace(4*filesAtOnce))
	n, oobn, flags, _, err := w.conn.ReadMsgUnix(one[:], oob)
	if err == nil && n == 0 {
		err = io.EOF
	}
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return nil, err
	}
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue // of another kind
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "inherited"))
		}
	}
	if flags&unix.MSG_CTRUNC != 0 || len(files) != int(one[0]) {
		return files, errors.New("files got lost: too many are open")
	}
	return files, nil
}

// rights are the files as the kernel takes them. File.Fd is not asked: it makes
// a socket blocking for everybody who has it, and whoever accepts there waits for
// ever.
func rights(files []*os.File) []byte {
	var fds []int
	for _, f := range files {
		if c, err := f.SyscallConn(); err == nil {
			_ = c.Control(func(fd uintptr) { fds = append(fds, int(fd)) })
		}
	}
	if fds == nil {
		return nil
	}
	return unix.UnixRights(fds...)
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

package fullnat_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/goipvs/goipvs/fullnat"
	"golang.org/x/sys/unix"
)

// Urgent data is no end, and no pause: what comes behind it arrives, also in bulk,
// where a splice that meets it moves nothing. Its byte is not part of the stream.
func TestUrgentData(t *testing.T) {
	for _, size := range []int{128, 4 << 20} {
		part := bytes.Repeat([]byte("0123456789abcdef"), size/16)
		for _, ends := range []bool{true, false} {
			_, c, rs := through(t, fullnat.Options{})
			go func() {
				rs.Write(part)
				if err := sendUrgent(rs); err != nil {
					t.Error(err)
				}
				rs.Write(part)
				if ends {
					rs.CloseWrite()
				}
			}()
			got := make([]byte, 2*size)
			if n, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, append(part, part...)) {
				t.Errorf("%d bytes of %d, %v", n, len(got), err)
			}
			if ends {
				hearEnd(t, c, io.EOF)
			}
		}
	}
}

// sendUrgent sends a byte of urgent data.
func sendUrgent(c *net.TCPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	if e := raw.Write(func(fd uintptr) bool {
		err = unix.Sendto(int(fd), []byte("!"), unix.MSG_OOB, nil)
		return !errors.Is(err, unix.EAGAIN)
	}); e != nil {
		return e
	}
	return err
}

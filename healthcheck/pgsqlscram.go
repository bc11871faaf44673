package healthcheck

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
)

// maxSCRAM is how many rounds of hashing a server may ask for when we log in.
// PostgreSQL's default is 4,096, its most cautious operators set some 600,000;
// a million take about a quarter of a second, in which no deadline can be kept.
const maxSCRAM = 1_000_000

// scramConn reads along with the library, which hashes a password as often as
// the server says, up to ten million times, and refuses what no server needs.
type scramConn struct {
	net.Conn
	mu   sync.Mutex    // the library reads in the background, and elsewhere when it closes
	buf  *bufio.Reader // of Conn
	left int64         // bytes of the current message, for the library to read
}

func newSCRAMConn(c net.Conn) *scramConn {
	return &scramConn{Conn: c, buf: bufio.NewReaderSize(c, 4<<10)}
}

// Read fails at a message that asks for too much work.
func (s *scramConn) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left == 0 {
		if err := s.next(); err != nil {
			return 0, err
		}
	}
	n, err := s.buf.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	return n, err
}

// next looks at the head of a message: its type, and its length without that
// (PostgreSQL protocol, "Message Formats"). What is malformed the library refuses.
func (s *scramConn) next() error {
	const head, code, saslContinue = 5, 4, 11
	h, err := s.buf.Peek(head)
	if err != nil {
		return err
	}
	s.left = max(head, 1+int64(binary.BigEndian.Uint32(h[1:])))
	if h[0] != 'R' || s.left < head+code {
		return nil
	}
	if h, err = s.buf.Peek(head + code); err != nil {
		return err
	}
	if binary.BigEndian.Uint32(h[head:]) != saslContinue {
		return nil
	}
	if s.left > int64(s.buf.Size()) {
		return fmt.Errorf("a login of %d bytes: %w", s.left, ErrFlood)
	}
	if h, err = s.buf.Peek(int(s.left)); err != nil {
		return err
	}
	return scramRounds(string(h[head+code:]))
}

// scramRounds judges a server's first message, r=NONCE,s=SALT,i=ROUNDS (RFC
// 5802, section 5.1). The library wants these three, in this order.
func scramRounds(first string) error {
	fields := strings.SplitN(first, ",", 3)
	rounds, err := strconv.Atoi(strings.TrimPrefix(fields[len(fields)-1], "i="))
	if err == nil && rounds > maxSCRAM {
		return fmt.Errorf("the server wants the password hashed %d times, a check does so %d times at most", rounds, maxSCRAM)
	}
	return nil
}

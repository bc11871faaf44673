package ipvs

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/goipvs/goipvs/ipvs/internal/wire"
	"golang.org/x/sys/unix"
)

// script is a transport that plays a kernel whose answers a test decides on.
// It keeps the rules of netlink: a message is answered by an error reply when
// it fails or asks for an acknowledgement, each answer is a datagram of its own.
type script struct {
	t      testing.TB
	family uint16 // of IPVS; 0 is no IPVS
	// on answers a message to IPVS: an errno, or payloads of replies, each in a
	// datagram of its own. nil is success.
	on func(s *script, m wire.Message) (unix.Errno, [][]byte)
	// lose tells whether the n-th reply (from 0) is lost.
	lose func(n int) bool

	sendErrs []error // each is returned once, nil is none
	recvErrs []error
	queue    [][]byte
	log      []wire.Message // all messages sent
	sends    int
	replies  int
	closed   bool
}

// newScript gives a client of a script.
func newScript(t testing.TB) (*script, *Client) {
	s := &script{t: t, family: 28}
	c := &Client{sock: s, timeout: time.Second, names: interned{}}
	if err := c.resolve(); err != nil {
		t.Fatal(err)
	}
	s.log, s.sends, s.replies = nil, 0, 0
	return s, c
}

func pop(errs *[]error) error {
	if len(*errs) == 0 {
		return nil
	}
	err := (*errs)[0]
	*errs = (*errs)[1:]
	return err
}

func (s *script) send(b []byte) error {
	if err := pop(&s.sendErrs); err != nil {
		return err
	}
	s.sends++
	it := wire.NewMessages(b)
	for it.Next() {
		m := it.Message()
		m.Payload = slices.Clone(m.Payload) // the client uses its memory again
		s.log = append(s.log, m)
		s.message(m)
	}
	if it.Err() != nil {
		s.t.Errorf("the client sent %x: %v", b, it.Err())
	}
	return nil
}

func (s *script) message(m wire.Message) {
	var errno unix.Errno
	var replies [][]byte
	switch {
	case m.Type == unix.NLMSG_NOOP:
	case m.Type == unix.GENL_ID_CTRL && s.family == 0:
		errno = unix.ENOENT
	case m.Type == unix.GENL_ID_CTRL:
		var e wire.Encoder
		e.U16(unix.CTRL_ATTR_FAMILY_ID, s.family)
		replies = [][]byte{e.Buf}
	case m.Type != s.family:
		errno = unix.ENOENT
	case s.on != nil:
		errno, replies = s.on(s, m)
	}
	switch {
	case errno == silent:
	case m.Flags&unix.NLM_F_DUMP == unix.NLM_F_DUMP && errno == 0:
		for _, r := range replies {
			s.reply(m, m.Type, r)
		}
		s.push(m, unix.NLMSG_DONE, []byte{0, 0, 0, 0})
	case errno != 0 || m.Flags&unix.NLM_F_ACK != 0:
		b := binary.NativeEndian.AppendUint32(nil, uint32(-int32(errno)))
		s.push(m, unix.NLMSG_ERROR, append(b, make([]byte, 16)...))
	default:
		for _, r := range replies {
			s.reply(m, m.Type, r)
		}
	}
}

// silent as an errno is no answer at all.
const silent = unix.Errno(4095)

func (s *script) reply(m wire.Message, typ uint16, attrs []byte) {
	s.push(m, typ, append([]byte{0, 1, 0, 0}, attrs...))
}

func (s *script) push(m wire.Message, typ uint16, payload []byte) {
	n := s.replies
	s.replies++
	if s.lose == nil || !s.lose(n) {
		s.queue = append(s.queue, datagram(typ, m.Seq, payload))
	}
}

func datagram(typ uint16, seq uint32, payload []byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(16+len(payload)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = binary.NativeEndian.AppendUint16(b, 0)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = binary.NativeEndian.AppendUint32(b, 0)
	return append(b, payload...)
}

func (s *script) recv(buf []byte, size int, lengths []int) (int, error) {
	if err := pop(&s.recvErrs); err != nil {
		return 0, err
	}
	if len(s.queue) == 0 {
		return 0, unix.EAGAIN
	}
	n := min(len(lengths), len(buf)/size, len(s.queue))
	for i, d := range s.queue[:n] {
		lengths[i] = len(d)
		copy(buf[i*size:][:size], d)
	}
	s.queue = slices.Delete(s.queue, 0, n)
	return n, nil
}

func (s *script) widen(size int) int { return 2 * size }
func (s *script) close()             { s.closed = true }

// commands are the numbers of the messages sent, in order.
func (s *script) commands() (out []command) {
	for _, m := range s.log {
		if m.Type == unix.GENL_ID_CTRL {
			out = append(out, cmdResolve)
			continue
		}
		out = append(out, command(m.Payload[0]))
	}
	return out
}

// cmdResolve stands for a question for the family in commands.
const cmdResolve command = 200

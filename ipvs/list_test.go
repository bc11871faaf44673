package ipvs

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/goipvs/goipvs/ipvs/internal/wire"
	"golang.org/x/sys/unix"
)

// rs are n destinations, 10.0.0.1:80 and so on.
func rs(n int) (list []DestinationInfo) {
	for i := range n {
		a := netip.AddrFrom4([4]byte{10, 0, byte((i + 1) >> 8), byte(i + 1)})
		list = append(list, DestinationInfo{Destination: Destination{Addr: netip.AddrPortFrom(a, 80), Weight: 1}})
	}
	return list
}

// dumps answers GET_DEST by the destinations, a message for each, and
// GET_SERVICE by a service at testKey.
func dumps(list []DestinationInfo) func(*script, wire.Message) (unix.Errno, [][]byte) {
	return func(_ *script, m wire.Message) (unix.Errno, [][]byte) {
		if command(m.Payload[0]) != cmdGetDest {
			var e wire.Encoder
			putService(&e, &Service{ServiceKey: testKey, Scheduler: "rr"})
			return 0, [][]byte{e.Buf}
		}
		var out [][]byte
		for i := range list {
			var e wire.Encoder
			kernelDestination(&e, &list[i], false)
			out = append(out, e.Buf)
		}
		return 0, out
	}
}

func TestDestinationsAppendsOnce(t *testing.T) {
	s, c := newScript(t)
	list := rs(100)
	s.on = dumps(append(append(rs(100), list[40:50]...), list[0]))
	before := DestinationInfo{Destination: Destination{Addr: list[3].Addr, Weight: 99}}
	got, err := c.Destinations(testKey, []DestinationInfo{before})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "destinations", append([]DestinationInfo{before}, list...), got)
}

func TestServicesOnce(t *testing.T) {
	s, c := newScript(t)
	list := adds(60)
	s.on = func(*script, wire.Message) (unix.Errno, [][]byte) {
		var out [][]byte
		for _, ch := range append(list, list[30:40]...) {
			var e wire.Encoder
			putService(&e, &ch.Service)
			out = append(out, e.Buf)
		}
		return 0, out
	}
	got, err := c.Services()
	if err != nil {
		t.Fatal(err)
	}
	want := []ServiceInfo{}
	for _, ch := range list {
		want = append(want, ServiceInfo{Service: ch.Service})
	}
	equal(t, "services", want, got)
}

// No destinations: only then the client asks whether there is a service.
func TestDestinationsOfNone(t *testing.T) {
	s, c := newScript(t)
	s.on = dumps(nil)
	buf := rs(2)
	if got, err := c.Destinations(testKey, buf); err != nil || len(got) != 2 {
		t.Errorf("%v, %v", got, err)
	}
	equal(t, "commands", []command{cmdGetDest, cmdGetService}, s.commands())
	s.on = func(_ *script, m wire.Message) (unix.Errno, [][]byte) {
		if command(m.Payload[0]) == cmdGetService {
			return unix.ESRCH, nil
		}
		return 0, nil
	}
	got, err := c.Destinations(testKey, buf)
	if !errors.Is(err, ErrNoService) || len(got) != 2 {
		t.Errorf("%v, %v", got, err)
	}
	s.log, s.on = nil, dumps(rs(1))
	if _, err := c.Destinations(testKey, nil); err != nil {
		t.Error(err)
	}
	equal(t, "commands", []command{cmdGetDest}, s.commands())
}

func TestListingFaults(t *testing.T) {
	for _, tc := range []struct {
		name string
		prep func(s *script, c *Client)
		want error
		n    int // destinations where there is no error
	}{
		{"end lost", func(s *script, c *Client) { s.lose = func(n int) bool { return n == 100 } }, nil, 100},
		{"end always lost", func(s *script, c *Client) { s.lose = func(n int) bool { return n%101 == 100 } }, ErrLost, 0},
		{"ENOBUFS once", func(s *script, c *Client) { s.recvErrs = []error{nil, unix.ENOBUFS} }, nil, 100},
		{"EINTR", func(s *script, c *Client) { s.recvErrs = []error{unix.EINTR, nil, unix.EINTR} }, nil, 100},
		{"recv fails", func(s *script, c *Client) { s.recvErrs = []error{nil, unix.EBADF} }, unix.EBADF, 0},
		{"send fails", func(s *script, c *Client) { s.sendErrs = []error{unix.ENOMEM} }, unix.ENOMEM, 0},
		{"entry of nonsense", func(s *script, c *Client) {
			s.on = func(*script, wire.Message) (unix.Errno, [][]byte) { return 0, [][]byte{{1, 2, 3}} }
		}, ErrReply, 0},
		{"entry cut", func(s *script, c *Client) {
			s.on = func(_ *script, m wire.Message) (unix.Errno, [][]byte) {
				s.queue = append(s.queue, datagram(m.Type, m.Seq, make([]byte, dumpSlot)))
				return 0, nil
			}
		}, ErrReply, 0},
		{"end says an error", func(s *script, c *Client) {
			s.on = func(_ *script, m wire.Message) (unix.Errno, [][]byte) {
				s.push(m, unix.NLMSG_DONE, []byte{244, 255, 255, 255}) // ENOMEM
				return silent, nil
			}
		}, unix.ENOMEM, 0},
		{"an earlier listing not at its end", func(s *script, c *Client) {
			answer, busy := s.on, true
			s.on = func(s *script, m wire.Message) (unix.Errno, [][]byte) {
				if busy {
					return unix.EBUSY, nil
				}
				return answer(s, m)
			}
			c.sock = &onNoop{s, func() { busy = false }}
		}, nil, 100},
		{"always busy", func(s *script, c *Client) {
			s.on = func(*script, wire.Message) (unix.Errno, [][]byte) { return unix.EBUSY, nil }
		}, unix.EBUSY, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, c := newScript(t)
			s.on = dumps(rs(100))
			tc.prep(s, c)
			got, err := c.Destinations(testKey, nil)
			if !errors.Is(err, tc.want) || len(got) != tc.n {
				t.Errorf("%d destinations, %v; want %d, %v", len(got), err, tc.n, tc.want)
			}
			s.on, s.lose = dumps(rs(3)), nil
			if got, err := c.Destinations(testKey, nil); err != nil || len(got) != 3 {
				t.Errorf("afterwards %d destinations, %v", len(got), err)
			}
		})
	}
}

// An acknowledgement is no answer to a question.
func TestAnswerWithoutContents(t *testing.T) {
	s, c := newScript(t)
	s.on = func(_ *script, m wire.Message) (unix.Errno, [][]byte) {
		s.push(m, unix.NLMSG_ERROR, make([]byte, 20))
		return silent, nil
	}
	if got, err := c.Service(testKey); !errors.Is(err, ErrReply) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := c.Info(); !errors.Is(err, ErrReply) {
		t.Errorf("%v, %v", got, err)
	}
}

// onNoop calls f when a message that does nothing is sent.
type onNoop struct {
	*script
	f func()
}

func (s *onNoop) send(b []byte) error {
	it := wire.NewMessages(b)
	if it.Next() && it.Message().Type == unix.NLMSG_NOOP {
		s.f()
	}
	return s.script.send(b)
}

// A listing that grows as fast as it is read has an end nevertheless.
func TestEndlessListing(t *testing.T) {
	s, c := newScript(t)
	c.timeout = 20 * time.Millisecond
	c.sock = &endless{script: s}
	if _, err := c.Destinations(testKey, nil); !errors.Is(err, ErrTimeout) {
		t.Error(err)
	}
}

// endless repeats the first part of a listing for ever.
type endless struct {
	*script
	part []byte
}

func (s *endless) send(b []byte) error {
	var e wire.Encoder
	kernelDestination(&e, &rs(1)[0], false)
	it := wire.NewMessages(b)
	it.Next()
	s.part = datagram(s.family, it.Message().Seq, append([]byte{0, 1, 0, 0}, e.Buf...))
	return nil
}

func (s *endless) recv(buf []byte, size int, lengths []int) (int, error) {
	lengths[0] = copy(buf, s.part)
	return 1, nil
}

// Listing into a used buffer and applying from a sequence allocate nothing per
// entry.
func TestClientAllocations(t *testing.T) {
	_, c := newScript(t)
	c.sock = &canned{family: c.family, n: 200}
	buf := make([]DestinationInfo, 0, 300)
	if n := testing.AllocsPerRun(10, func() {
		got, err := c.Destinations(testKey, buf)
		if err != nil || len(got) != 200 {
			t.Fatalf("%d destinations, %v", len(got), err)
		}
	}); n != 0 {
		t.Errorf("listing 200 destinations allocates %v times", n)
	}
	changes := adds(5000)
	sequence := func(yield func(Change) bool) {
		for i := range changes {
			if !yield(changes[i]) {
				return
			}
		}
	}
	if n := testing.AllocsPerRun(5, func() {
		if err := c.Apply(sequence); err != nil {
			t.Fatal(err)
		}
	}); n > 40 { // the batch grows; nothing per change
		t.Errorf("applying 5000 changes allocates %v times", n)
	}
}

// canned answers everything by success and every listing by n destinations,
// without allocating.
type canned struct {
	family uint16
	n      int
	seq    uint32
	dump   bool
	enc    wire.Encoder
}

func (s *canned) send(b []byte) error {
	for it := wire.NewMessages(b); it.Next(); {
		s.seq = it.Message().Seq
		s.dump = it.Message().Flags&unix.NLM_F_DUMP == unix.NLM_F_DUMP
	}
	return nil
}

func (s *canned) recv(buf []byte, size int, lengths []int) (int, error) {
	s.enc.Buf = s.enc.Buf[:0]
	for i := range s.n {
		if !s.dump {
			break
		}
		a := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		d := Destination{Addr: netip.AddrPortFrom(a, 80), Weight: 1}
		m := s.enc.Message(s.family, 0, s.seq, 0, 1)
		putDestination(&s.enc, &d)
		s.enc.EndMessage(m)
	}
	m := s.enc.Message(unix.NLMSG_ERROR, 0, s.seq, 0, 0) // the header is the errno 0
	s.enc.EndMessage(m)
	lengths[0] = copy(buf, s.enc.Buf)
	return 1, nil
}

func (s *canned) widen(size int) int { return 2 * size }
func (s *canned) close()             {}

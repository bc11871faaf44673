package ipvs

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/ipvs/internal/wire"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

var testKey = AddrService(TCP, netip.MustParseAddrPort("192.0.2.1:80"))

// adds are n changes that add n services on ports from 1.
func adds(n int) (list []Change) {
	for i := range n {
		key := AddrService(TCP, netip.AddrPortFrom(testKey.Addr.Addr(), uint16(i+1)))
		list = append(list, Change{Op: AddService, Service: Service{ServiceKey: key, Scheduler: "rr"}})
	}
	return list
}

// port is the port of the service that a message is about.
func port(m wire.Message) int {
	b, _ := nested(m.Payload[4:], attrService)
	for it := wire.NewAttrs(b); it.Next(); {
		if it.Type() == svcPort {
			return int(it.Port())
		}
	}
	return 0
}

// failures says which changes failed and of what: "3 already exists\n".
func failures(err error) string {
	var batch *BatchError
	var one *OpError
	switch {
	case errors.As(err, &batch):
		var b strings.Builder
		for _, f := range batch.Failed {
			fmt.Fprintf(&b, "%d %s: %v\n", f.Index, f.Op, f.Err)
		}
		return b.String()
	case errors.As(err, &one):
		return fmt.Sprintf("all from %d %s: %v\n", one.Index, one.Op, one.Err)
	case err != nil:
		return err.Error()
	}
	return ""
}

func equal(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.AllowUnexported(Netmask{})); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestApplyGoesOn(t *testing.T) {
	s, c := newScript(t)
	s.on = func(_ *script, m wire.Message) (unix.Errno, [][]byte) {
		switch port(m) {
		case 2, 1500, 2500: // 2500 is the last of all
			return unix.EEXIST, nil
		}
		return 0, nil
	}
	list := adds(2500)
	list[4].Service.Timeout = time.Millisecond
	equal(t, "failed", `1 add service: already exists
4 add service: out of range: persistence timeout 1ms is not whole seconds
1499 add service: already exists
2499 add service: already exists
`, failures(c.Apply(slices.Values(list))))
	equal(t, "messages", 2499, len(s.log))
	if s.sends > 10 {
		t.Errorf("%d transmissions for 2499 changes", s.sends)
	}
	for i, m := range s.log { // only the last of a transmission asks for an answer
		if ack := m.Flags&unix.NLM_F_ACK != 0; ack && i%100 == 50 {
			t.Errorf("message %d asks for an acknowledgement", i)
		}
	}
}

func TestApplyNothing(t *testing.T) {
	s, c := newScript(t)
	if err := c.Apply(slices.Values([]Change(nil))); err != nil || s.sends != 0 {
		t.Errorf("%v, %d transmissions", err, s.sends)
	}
	bad := adds(2)
	bad[0].Op, bad[1].Op = 0, 77
	equal(t, "failed", "0 invalid operation: invalid argument: invalid operation 0\n1 invalid operation: invalid argument: invalid operation 77\n", failures(c.Apply(slices.Values(bad))))
	equal(t, "transmissions", 0, s.sends)
}

// sized makes the client transmit n changes at a time.
func sized(c *Client, n int) {
	c.maxOps, c.wide = n, true
}

func TestApplyLostBarrier(t *testing.T) {
	for _, tc := range []struct {
		name string
		prep func(s *script)
	}{
		{"lost without a word", func(s *script) { s.lose = func(n int) bool { return n == 2 } }},
		{"ENOBUFS", func(s *script) {
			s.lose = func(n int) bool { return n == 2 }
			s.recvErrs = []error{nil, unix.ENOBUFS, nil}
		}},
		{"ENOBUFS, but the barrier came", func(s *script) { s.recvErrs = []error{nil, unix.ENOBUFS, nil} }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, c := newScript(t)
			sized(c, 4)
			s.on = func(_ *script, m wire.Message) (unix.Errno, [][]byte) {
				if port(m) == 6 { // reply 1, the barrier of its transmission is reply 2
					return unix.EEXIST, nil
				}
				return 0, nil
			}
			tc.prep(s)
			const lost = " add service: kernel replies were lost, outcome unknown\n"
			equal(t, "failed", "4"+lost+"5 add service: already exists\n6"+lost+"7"+lost, failures(c.Apply(slices.Values(adds(12)))))
			equal(t, "messages", 12, len(s.log))
			if err := c.Flush(); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

func TestENOBUFSForEver(t *testing.T) {
	s, c := newScript(t)
	s.recvErrs = slices.Repeat([]error{unix.ENOBUFS}, 1000)
	if err := c.Do(adds(1)[0]); !errors.Is(err, ErrLost) {
		t.Error(err)
	}
	if _, err := c.Info(); !errors.Is(err, ErrLost) {
		t.Error(err)
	}
}

func TestEINTR(t *testing.T) {
	s, c := newScript(t)
	s.recvErrs = slices.Repeat([]error{unix.EINTR}, 3)
	if err := c.Do(adds(1)[0]); err != nil {
		t.Error(err)
	}
}

func TestStaleReplies(t *testing.T) {
	s, c := newScript(t)
	refused := []byte{234, 255, 255, 255} // EINVAL
	s.queue = [][]byte{
		datagram(unix.NLMSG_ERROR, c.seq, refused),
		datagram(unix.NLMSG_ERROR, c.seq+3, refused),
		datagram(unix.NLMSG_DONE, 0, refused),
		datagram(s.family, c.seq-7, []byte("nonsense")),
		datagram(unix.NLMSG_NOOP, c.seq+1, nil),
	}
	if err := c.Apply(slices.Values(adds(2))); err != nil {
		t.Error(err)
	}
}

func TestFamilyChanges(t *testing.T) {
	s, c := newScript(t)
	sized(c, 4)
	made := []int{}
	s.on = func(s *script, m wire.Message) (unix.Errno, [][]byte) {
		made = append(made, port(m))
		if port(m) == 6 && s.family == 28 { // the module is reloaded after the sixth
			s.family = 29
		}
		return 0, nil
	}
	if err := c.Apply(slices.Values(adds(10))); err != nil {
		t.Fatal(err)
	}
	// 5 and 6 went to the module that is gone, so they are made again.
	equal(t, "made", []int{1, 2, 3, 4, 5, 6, 5, 6, 7, 8, 9, 10}, made)
	seqs := map[uint32]bool{}
	for _, m := range s.log {
		if seqs[m.Seq] {
			t.Errorf("sequence number %d was used twice", m.Seq)
		}
		seqs[m.Seq] = true
	}
	s.family = 30
	if _, err := c.Services(); err != nil {
		t.Errorf("list after a reload: %v", err)
	}
	s.family = 31
	if err := c.Flush(); err != nil {
		t.Errorf("flush after a reload: %v", err)
	}
}

// A kernel that reloads its module at every change does not keep the client
// busy for ever.
func TestFamilyNeverStays(t *testing.T) {
	s, c := newScript(t)
	c.sock = &bumper{s}
	s.family++
	if err := c.Do(adds(1)[0]); err == nil {
		t.Error("no error")
	}
	if _, err := c.Info(); err == nil {
		t.Error("no error")
	}
	if s.sends > 12 {
		t.Errorf("%d transmissions", s.sends)
	}
}

// bumper gives the family another number after every answer.
type bumper struct{ *script }

func (b *bumper) send(p []byte) error {
	err := b.script.send(p)
	b.family++
	return err
}

func TestNoIPVS(t *testing.T) {
	s, c := newScript(t)
	s.family = 0
	calls := map[string]func() error{
		"apply":        func() error { return c.Apply(slices.Values(adds(3000))) },
		"do":           func() error { return c.Do(adds(1)[0]) },
		"info":         func() error { _, err := c.Info(); return err },
		"services":     func() error { _, err := c.Services(); return err },
		"service":      func() error { _, err := c.Service(testKey); return err },
		"destinations": func() error { _, err := c.Destinations(testKey, nil); return err },
		"flush":        c.Flush,
		"zero":         c.Zero,
		"zero service": func() error { return c.ZeroService(testKey) },
		"timeouts":     func() error { _, err := c.Timeouts(); return err },
		"set timeouts": func() error { return c.SetTimeouts(Timeouts{TCP: time.Second}) },
		"daemons":      func() error { _, err := c.Daemons(); return err },
		"start":        func() error { return c.StartDaemon(Daemon{State: Master, Interface: "lo"}) },
		"stop":         func() error { return c.StopDaemon(Daemon{State: Master}) },
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			err := call()
			var op *OpError
			if !errors.Is(err, ErrNoIPVS) || !errors.As(err, &op) || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%T %v", err, err)
			}
		})
	}
	s.family = 40 // it is back
	if err := c.Apply(slices.Values(adds(3))); err != nil {
		t.Errorf("after it came back: %v", err)
	}
	c.Close()
	if !s.closed {
		t.Error("the socket is not closed")
	}
	for name, call := range calls {
		t.Run("closed "+name, func(t *testing.T) {
			if err := call(); !errors.Is(err, fs.ErrClosed) {
				t.Error(err)
			}
		})
	}
	if err := c.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}

func TestApplyStopsEarly(t *testing.T) {
	for _, tc := range []struct {
		name string
		n    int // changes asked for
		prep func(s *script, c *Client, list []Change)
		want string
	}{
		{"permission", 3, func(s *script, c *Client, list []Change) {
			s.on = func(*script, wire.Message) (unix.Errno, [][]byte) { return unix.EPERM, nil }
		}, "all from 0 apply changes: permission denied (CAP_NET_ADMIN is needed)\n"},
		{"permission after others", 6, func(s *script, c *Client, list []Change) {
			s.on = func(_ *script, m wire.Message) (unix.Errno, [][]byte) {
				return []unix.Errno{unix.EEXIST, 0, unix.ERANGE, unix.EPERM, unix.EPERM, unix.EPERM}[port(m)-1], nil
			}
		}, "all from 3 apply changes: permission denied (CAP_NET_ADMIN is needed); before that: ipvs: add service tcp 192.0.2.1:1 rr: already exists (and 1 more)\n"},
		{"IPVS gone", 12, func(s *script, c *Client, list []Change) {
			s.on = func(s *script, m wire.Message) (unix.Errno, [][]byte) {
				if port(m) == 6 {
					s.family = 0
				}
				return 0, nil
			}
		}, "all from 4 apply changes: the kernel has no IPVS (module ip_vs)\n"},
		{"send", 12, func(s *script, c *Client, list []Change) {
			s.sendErrs = []error{nil, unix.ENOMEM}
		}, "all from 4 apply changes: cannot allocate memory\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, c := newScript(t)
			sized(c, 4)
			list := adds(tc.n)
			tc.prep(s, c, list)
			equal(t, "failed", tc.want, failures(c.Apply(slices.Values(list))))
		})
	}
}

func TestDoSaysWhatItDid(t *testing.T) {
	s, c := newScript(t)
	var errno unix.Errno
	s.on = func(*script, wire.Message) (unix.Errno, [][]byte) { return errno, nil }
	service := Service{ServiceKey: testKey, Scheduler: "wrrr"}
	sip := Service{ServiceKey: testKey, Scheduler: "rr", PE: "sip"}
	dest := Destination{Addr: netip.MustParseAddrPort("10.0.0.1:80")}
	for _, tc := range []struct {
		ch    Change
		errno unix.Errno
		want  string
		is    []error
		not   error
	}{
		{Change{Op: AddService, Service: service, Destination: dest}, unix.ENOENT, "add service tcp 192.0.2.1:80 wrrr: scheduler not available (ip_vs_wrrr)", []error{ErrNoScheduler}, fs.ErrNotExist},
		{Change{Op: UpdateService, Service: sip, Destination: dest}, unix.ENOENT, "update service tcp 192.0.2.1:80 rr: scheduler or persistence engine not available (ip_vs_rr, ip_vs_pe_sip)", []error{ErrNoScheduler, ErrNoEngine}, fs.ErrNotExist},
		{Change{Op: AddService, Service: service, Destination: dest}, unix.EEXIST, "add service tcp 192.0.2.1:80 wrrr: already exists", []error{ErrExists, fs.ErrExist, unix.EEXIST}, nil},
		{Change{Op: DeleteService, Service: service, Destination: dest}, unix.ESRCH, "delete service tcp 192.0.2.1:80: no such service", []error{ErrNoService, unix.ESRCH}, nil},
		{Change{Op: DeleteDestination, Service: service, Destination: dest}, unix.ENOENT, "delete destination 10.0.0.1:80 of tcp 192.0.2.1:80: no such destination", []error{ErrNoDestination, fs.ErrNotExist}, ErrNoScheduler},
		{Change{Op: UpdateDestination, Service: service, Destination: dest}, unix.ENOENT, "update destination 10.0.0.1:80 of tcp 192.0.2.1:80: no such destination", []error{ErrNoDestination}, nil},
		{Change{Op: AddDestination, Service: service, Destination: dest}, unix.ERANGE, "add destination 10.0.0.1:80 of tcp 192.0.2.1:80: out of range", []error{ErrRange}, nil},
		{Change{Op: AddDestination, Service: service, Destination: dest}, unix.EPERM, "add destination 10.0.0.1:80 of tcp 192.0.2.1:80: permission denied (CAP_NET_ADMIN is needed)", []error{ErrPermission, fs.ErrPermission}, nil},
		{Change{Op: AddService, Service: service, Destination: dest}, unix.EAFNOSUPPORT, "add service tcp 192.0.2.1:80 wrrr: wrong address family", []error{ErrFamily}, nil},
		{Change{Op: AddService, Service: service, Destination: dest}, unix.EPROTONOSUPPORT, "add service tcp 192.0.2.1:80 wrrr: not supported by this kernel", []error{ErrUnsupported}, nil},
		{Change{Op: AddService, Service: service, Destination: dest}, unix.ENOMEM, "add service tcp 192.0.2.1:80 wrrr: cannot allocate memory", []error{unix.ENOMEM}, nil},
	} {
		t.Run(tc.want, func(t *testing.T) {
			errno = tc.errno
			err := c.Do(tc.ch)
			if err == nil || err.Error() != "ipvs: "+tc.want {
				t.Errorf("%v", err)
			}
			for _, is := range tc.is {
				if !errors.Is(err, is) {
					t.Errorf("%v is not %v", err, is)
				}
			}
			if tc.not != nil && errors.Is(err, tc.not) {
				t.Errorf("%v is %v", err, tc.not)
			}
		})
	}
}

// The sequence given to Apply may use the client.
func TestApplyHoldsNoLockOverTheSequence(t *testing.T) {
	_, c := newScript(t)
	err := c.Apply(func(yield func(Change) bool) {
		for _, ch := range adds(3) {
			if err := c.Flush(); err != nil {
				t.Error(err)
			}
			if !yield(ch) {
				return
			}
		}
	})
	if err != nil {
		t.Error(err)
	}
}

func TestSmallSendBuffer(t *testing.T) {
	s, c := newScript(t)
	small := &smallSend{s, 500}
	c.sock = small
	if err := c.Apply(slices.Values(adds(30))); err != nil || len(s.log) != 30 {
		t.Errorf("%v, %d messages", err, len(s.log))
	}
	small.limit = 10
	if err := c.Do(adds(1)[0]); !errors.Is(err, unix.EMSGSIZE) {
		t.Error(err)
	}
}

// smallSend refuses long transmissions as netlink_sendmsg does.
type smallSend struct {
	*script
	limit int
}

func (s *smallSend) send(b []byte) error {
	if len(b) > s.limit {
		return unix.EMSGSIZE
	}
	return s.script.send(b)
}

func TestStopDaemonUnanswered(t *testing.T) {
	for _, tc := range []struct {
		name string
		runs []Daemon
		want error
	}{
		{"gone", nil, nil},
		{"the other one runs", []Daemon{{State: Master, Interface: "lo"}}, nil},
		{"still there", []Daemon{{State: Backup, Interface: "lo"}}, ErrLost},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, c := newScript(t)
			s.on = func(_ *script, m wire.Message) (unix.Errno, [][]byte) {
				if command(m.Payload[0]) == cmdDelDaemon {
					return silent, nil
				}
				var out [][]byte
				for _, d := range tc.runs {
					var e wire.Encoder
					putDaemon(&e, &d)
					out = append(out, e.Buf)
				}
				return 0, out
			}
			if err := c.StopDaemon(Daemon{State: Backup}); !errors.Is(err, tc.want) {
				t.Errorf("%v, want %v", err, tc.want)
			}
		})
	}
}

package healthcheck

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// connector makes the connect checks of a [Runner], many at a time and without
// a goroutine for each: most directors check most servers so, and of what such
// a check costs all but the handshake is what is spent around it. Where package
// net makes a dozen system calls, this makes two, and one for each batch: one
// that connects and one that resets the connection and leaves the socket to the
// next. Timeouts are the business of the runner's loop, answers that take a
// while that of a goroutine which waits for all of them.
type connector struct {
	runner *Runner
	ctx    context.Context // of Run
	lowest uint16          // port that the kernel may choose for a connection
	poll   int             // epoll
	file   *os.File        // poll, as Go's poller waits for it
	fds    []unix.PollFd   // of a batch

	mu      sync.Mutex
	waiting map[int32]*attempt // by file
	began   int32              // attempts so far, see attempt.number
	ends    ends               // of the same, the first to end first
	spare   []*tcpSocket       // sockets that nobody uses
	closed  bool
}

// attempt is a connect check under way.
type attempt struct {
	job   *job
	check *prepared
	to    netip.AddrPort
	sock  *tcpSocket
	// number tells an answer to this attempt from one to an attempt before,
	// whose file had the same number and was closed after the answer came.
	number int32
	end    time.Time
	index  int // in ends, -1: not there
}

// batch is how many connections are begun before a look at what became of them:
// a server next door has answered by then.
const batch = 32

// attempt is the job's next check, if that is for the connector: it only
// connects, and needs nothing special for that. nil: it is not.
func (j *job) attempt() *attempt {
	to := j.key.target.address(&j.prepared.check)
	if c := &j.prepared.check; c.Type != "connect" || c.Protocol != "" && c.Protocol != "tcp" || j.prepared.check.Via == ViaPath || j.key.target.Mark != 0 ||
		!to.IsValid() || to.Port() == 0 || to.Addr().Is4In6() || to.Addr().Zone() != "" || j.key.target.crossed(&j.prepared.check) != nil {
		return nil
	}
	return &attempt{job: j, check: j.prepared, to: to, end: j.began.Add(j.key.schedule.Timeout), index: -1}
}

func newConnector(ctx context.Context, r *Runner) (*connector, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // for os.NewFile to hand it to Go's poller
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	c := &connector{runner: r, ctx: ctx, lowest: lowestPort(), poll: fd, file: os.NewFile(uintptr(fd), "epoll"), waiting: make(map[int32]*attempt)}
	r.running.Go(c.wait)
	return c, nil
}

// close ends all that is under way.
func (c *connector) close() {
	if c == nil {
		return
	}
	c.mu.Lock()
	for _, a := range c.waiting {
		c.spare = append(c.spare, a.sock) // nobody waits for it any more
	}
	for _, s := range c.spare {
		s.reset()
		s.close()
	}
	clear(c.waiting)
	c.ends, c.spare, c.closed = nil, nil, true
	c.mu.Unlock()      // wait may be about to take what came
	_ = c.file.Close() // ends it, and waits for that
}

// begin connects to some servers, and concludes what is decided at once. It
// returns the time at its end.
func (c *connector) begin(all []*attempt) time.Time {
	var up []*job
	c.mu.Lock()
	c.fds = c.fds[:0]
	open := all[:0]
	for _, a := range all {
		if err := c.connect(a); err != nil {
			c.fail(err, a)
			continue
		}
		open = append(open, a)
		c.fds = append(c.fds, unix.PollFd{Fd: a.sock.fd, Events: unix.POLLOUT})
	}
	if len(open) > 0 {
		pollNow(c.fds)
	}
	for i, a := range open {
		switch revents := c.fds[i].Revents; {
		case revents == 0:
			c.await(a)
		case c.conclude(a, revents&^unix.POLLOUT != 0):
			up = append(up, a.job)
		}
	}
	c.mu.Unlock()
	now := time.Now()
	c.succeed(up, now)
	return now
}

// connect begins to connect.
func (c *connector) connect(a *attempt) (err error) {
	family, source := uint16(unix.AF_INET), a.job.key.target.Source
	if a.to.Addr().Is6() {
		family = unix.AF_INET6
	}
	if !source.IsValid() {
		a.sock = c.unused(family)
	}
	if a.sock == nil {
		if a.sock, err = newTCPSocket(family); err != nil {
			return err
		}
	}
	if source.IsValid() {
		err = a.sock.bind(source)
	}
	if err == nil {
		err = a.sock.connect(a.to)
	}
	if err != nil {
		a.sock.close()
	}
	return err
}

// unused is a socket that nobody uses, or nil.
func (c *connector) unused(family uint16) *tcpSocket {
	for i, s := range slices.Backward(c.spare) {
		if s.family == family {
			c.spare = slices.Delete(c.spare, i, i+1)
			return s
		}
	}
	return nil
}

// leave ends a connection and keeps the socket for another.
func (c *connector) leave(s *tcpSocket) {
	if !s.reset() || s.bound || c.closed || len(c.spare) >= batch {
		s.close()
		return
	}
	c.spare = append(c.spare, s)
}

// await has the goroutine wait for the answer, and the runner's loop for its
// end.
func (c *connector) await(a *attempt) {
	c.began++
	a.number = c.began
	if err := a.sock.watch(c.poll, a.number); err != nil {
		a.sock.close()
		c.fail(ours(err), a)
		return
	}
	c.waiting[a.sock.fd] = a
	heap.Push(&c.ends, a)
}

// wait concludes attempts as their answers come.
func (c *connector) wait() {
	raw, err := c.file.SyscallConn()
	if err != nil {
		return // closed already
	}
	events := make([]unix.EpollEvent, 64)
	_ = raw.Read(func(uintptr) bool { // until the file is closed
		for {
			n, err := epollNow(c.poll, events)
			if n == 0 && !errors.Is(err, unix.EINTR) {
				return err != nil
			}
			c.take(events[:n])
		}
	})
}

func (c *connector) take(events []unix.EpollEvent) {
	var up []*job
	c.mu.Lock()
	for _, e := range events {
		a := c.waiting[e.Fd]
		if a == nil || a.number != e.Pad {
			continue // its time was over
		}
		delete(c.waiting, e.Fd)
		heap.Remove(&c.ends, a.index)
		if c.conclude(a, e.Events&^unix.EPOLLOUT != 0) {
			up = append(up, a.job)
		}
	}
	c.mu.Unlock()
	c.succeed(up, time.Now())
}

// expire ends the attempts whose time is over, and returns the time until the
// next one's is; 0: there is none.
func (c *connector) expire(now time.Time) time.Duration {
	if c == nil {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var over []*attempt
	var next time.Duration
	for len(c.ends) > 0 {
		a := c.ends[0]
		if left := a.end.Sub(now); left > 0 {
			next = max(left, leastWait)
			break
		}
		heap.Pop(&c.ends)
		delete(c.waiting, a.sock.fd)
		a.sock.close()
		over = append(over, a)
	}
	if len(over) > 0 {
		c.fail(ErrTimeout, over...)
	}
	return next
}

// conclude ends the connection and reports whether there was one; otherwise
// it enters why not.
func (c *connector) conclude(a *attempt, doubtful bool) (up bool) {
	var err error
	if doubtful {
		errno, e := unix.GetsockoptInt(int(a.sock.fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if e == nil && errno != 0 {
			e = unix.Errno(errno)
		}
		err = os.NewSyscallError("connect", e)
	}
	if err == nil && a.toItself(c.lowest) {
		err = os.NewSyscallError("connect", unix.ECONNREFUSED)
	}
	c.leave(a.sock) // with a reset: nothing is lost
	if err != nil {
		c.fail(err, a)
	}
	return err == nil
}

// toItself reports whether the connection leads to its own beginning: where
// nobody listens at a port of this machine, the kernel may choose just that for
// ours, and TCP has both sides open at once.
func (a *attempt) toItself(lowest uint16) bool {
	if a.to.Port() < lowest { // never chosen
		return false
	}
	name, err := unix.Getsockname(int(a.sock.fd))
	if err != nil {
		return false
	}
	return socketAddr(name) == a.to
}

func socketAddr(name unix.Sockaddr) (a netip.AddrPort) {
	switch n := name.(type) {
	case *unix.SockaddrInet4:
		a = netip.AddrPortFrom(netip.AddrFrom4(n.Addr), uint16(n.Port))
	case *unix.SockaddrInet6:
		a = netip.AddrPortFrom(netip.AddrFrom16(n.Addr), uint16(n.Port))
	}
	return a
}

func lowestPort() uint16 {
	var low uint16
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err == nil {
		_, err = fmt.Sscan(string(b), &low)
	}
	if err != nil {
		return 1
	}
	return low
}

// succeed enters good results, all at once.
func (c *connector) succeed(jobs []*job, now time.Time) {
	if len(jobs) == 0 {
		return
	}
	c.runner.finish(c.ctx, now, jobs, func(j *job) Result {
		took := now.Sub(j.began)
		to := j.key.target.address(&j.prepared.check).String()
		return Result{Took: took, Transcript: "* tcp connected to " + to + " after " + took.Round(10*time.Microsecond).String() + "\n"}
	})
}

// fail enters bad results. Finding the words for them may mean to look at the
// machine's links, which the others need not wait for.
func (c *connector) fail(err error, all ...*attempt) {
	c.runner.running.Go(func() {
		jobs, results := make([]*job, len(all)), make(map[*job]Result, len(all))
		for i, a := range all {
			jobs[i], results[a.job] = a.job, a.failed(c.ctx, err)
		}
		now := time.Now()
		c.runner.finish(c.ctx, now, jobs, func(j *job) Result {
			r := results[j]
			r.Took = now.Sub(j.began)
			return r
		})
	})
}

// failed is the result of an attempt that came to nothing.
func (a *attempt) failed(ctx context.Context, err error) Result {
	d := newDialer(a.check.check, a.job.key.target)
	d.Note("tcp connect to %v: %v", a.to, err)
	if errors.Is(err, ErrTimeout) {
		err = fmt.Errorf("%w connecting", ErrTimeout)
	} else {
		err = fmt.Errorf("tcp connect to %v: %w", a.to, err)
	}
	err = d.explain(ctx, err)
	return Result{Err: err, Transcript: d.transcript.String()}
}

// ends is a heap of attempts by their ends.
type ends []*attempt

func (e ends) Len() int           { return len(e) }
func (e ends) Less(i, j int) bool { return e[i].end.Before(e[j].end) }
func (e ends) Swap(i, j int) {
	e[i], e[j] = e[j], e[i]
	e[i].index, e[j].index = i, j
}

// Push and Pop are container/heap's.
func (e *ends) Push(x any) {
	a := x.(*attempt)
	a.index = len(*e)
	*e = append(*e, a)
}

// Pop takes the last one.
func (e *ends) Pop() any {
	last := len(*e) - 1
	a := (*e)[last]
	(*e)[last] = nil
	*e = (*e)[:last]
	a.index = -1
	return a
}

package fullnat_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/goipvs/goipvs/fullnat"
	"github.com/goipvs/goipvs/ipvs"
)

var bulk = flag.Int64("bulk", 48, "megabytes each way in TestBulk")

// Both ways at once, with both ends pausing at random: buffers fill and empty,
// pipes are borrowed and given back, and every byte arrives in order.
func TestBulk(t *testing.T) {
	size := *bulk << 20
	for _, options := range []fullnat.Options{{}, {ProxyProtocol: fullnat.ProxyV1}} {
		t.Run("proxy "+options.ProxyProtocol.String(), func(t *testing.T) {
			e, c, rs := through(t, options)
			c.SetDeadline(time.Now().Add(time.Hour))
			rs.SetDeadline(time.Now().Add(time.Hour))
			if options.ProxyProtocol != fullnat.NoProxy {
				b := make([]byte, 1)
				for b[0] != '\n' {
					if _, err := rs.Read(b); err != nil {
						t.Fatal(err)
					}
				}
			}
			var wg sync.WaitGroup
			sums := make([]hash.Hash, 4)
			for i, end := range []*net.TCPConn{c, rs} {
				sent, got := sha256.New(), sha256.New()
				sums[2*i], sums[2*i+1] = sent, got
				wg.Go(func() { pour(t, end, size, sent) })
				wg.Go(func() { drink(t, end, size, got) })
			}
			wg.Wait()
			for i, other := range []int{3, 1} {
				if !bytes.Equal(sums[2*i].Sum(nil), sums[other].Sum(nil)) {
					t.Errorf("direction %d: what arrived is not what was sent", i)
				}
			}
			eventually(t, "the connection ends", func() bool { return e.Conns() == 0 })
			checkBytes(t, e, uint64(size))
		})
	}
}

func checkBytes(t *testing.T, e *fullnat.Engine, size uint64) {
	t.Helper()
	if s := e.Services()[0].Stats; s.InBytes != size || s.OutBytes != size || s.Conns != 1 || s.InPkts < size/1448 {
		t.Errorf("statistics %+v, want %d bytes each way and 1 connection", s, size)
	}
}

func pause() {
	if rand.IntN(200) == 0 {
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond) // an end that is slow at times
	}
}

func pour(t *testing.T, c *net.TCPConn, size int64, sum io.Writer) {
	b := make([]byte, 256<<10)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	for size > 0 {
		at := rand.IntN(len(b))
		chunk := b[at:min(int64(len(b)), int64(at)+1+rand.Int64N(size))]
		sum.Write(chunk)
		if _, err := c.Write(chunk); err != nil {
			t.Errorf("write: %v", err)
			return
		}
		size -= int64(len(chunk))
		pause()
	}
	c.CloseWrite()
}

func drink(t *testing.T, c *net.TCPConn, size int64, sum io.Writer) {
	b := make([]byte, 128<<10)
	for {
		n, err := c.Read(b[:1+rand.IntN(len(b))])
		sum.Write(b[:n])
		size -= int64(n)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Errorf("read: %v", err)
			return
		}
		pause()
	}
	if size != 0 {
		t.Errorf("%d bytes are missing", size)
	}
}

// A reader that does not read stops its writer, costs a buffer, and does not
// stop the other direction.
func TestBackpressure(t *testing.T) {
	_, c, rs := through(t, fullnat.Options{})
	var sent int64
	b := make([]byte, 64<<10)
	for { // until nothing has moved for a while
		rs.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
		n, err := rs.Write(b)
		sent += int64(n)
		if err != nil {
			break
		}
	}
	if sent > 64<<20 {
		t.Errorf("%d bytes on the way to a client that reads nothing", sent)
	}
	for range 10 {
		say(t, c, "the other way")
		hear(t, rs, "the other way")
	}
	if n, err := io.CopyN(io.Discard, c, sent); err != nil {
		t.Errorf("%d of %d bytes arrived: %v", n, sent, err)
	}
}

// Slow readers for hours: what moves does not idle, what does not is reset.
func TestIdleTimeout(t *testing.T) {
	e, c, rs := through(t, fullnat.Options{})
	for range 10 {
		e.Skew(10 * time.Minute) // of the 15 that are allowed
		say(t, rs, "tick")
		hear(t, c, "tick")
	}
	e.Skew(16 * time.Minute)
	hearEnd(t, c, syscall.ECONNRESET)
	hearEnd(t, rs, syscall.ECONNRESET)
	if got := e.Errors().Idle; got != 1 {
		t.Errorf("%d connections idled out, want 1", got)
	}
	if d := e.Services()[0].Destinations[0]; d.Active+d.Inactive != 0 || e.Ghosts() != 0 {
		t.Errorf("%d active and %d inactive connections after the timeout, want none as in the kernel", d.Active, d.Inactive)
	}
}

// A client that takes a little of what waits for it every ten minutes has its
// connection for as long as it likes, although nothing can be written to it
// meanwhile; one that takes nothing has it for two timeouts at most.
func TestSlowReader(t *testing.T) {
	e, c, rs := through(t, fullnat.Options{})
	if err := c.SetReadBuffer(32 << 10); err != nil {
		t.Fatal(err)
	}
	sent := 0
	eventually(t, "megabytes wait", func() bool { // until nothing moves for a while
		rs.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
		n, err := rs.Write(make([]byte, 64<<10))
		sent += n
		return err != nil && sent > 1<<20
	})
	t.Logf("%d bytes wait", sent)
	b := make([]byte, sent/40)
	for range 30 { // five hours
		waiting, moved := e.Backlog(), e.Services()[0].Stats.OutBytes
		if _, err := io.ReadFull(c, b); err != nil {
			t.Fatalf("a slow reader lost its connection: %v", err)
		}
		eventually(t, "what was read is acknowledged", func() bool {
			return e.Backlog() != waiting || e.Services()[0].Stats.OutBytes != moved
		})
		e.Skew(10 * time.Minute)
	}
	for range 3 {
		e.Skew(16 * time.Minute)
	}
	eventually(t, "a connection where nothing moves ends", func() bool { return e.Conns() == 0 })
	if got := e.Errors().Idle; got != 1 {
		t.Errorf("%d connections idled out, want 1", got)
	}
}

func TestTimeoutAfterFIN(t *testing.T) {
	e, c, rs := through(t, fullnat.Options{})
	e.SetTimeouts(ipvs.Timeouts{TCPFin: 30 * time.Minute})
	c.CloseWrite()
	hearEnd(t, rs, io.EOF)
	e.Skew(20 * time.Minute)
	say(t, rs, "tick")
	hear(t, c, "tick")
	e.Skew(40 * time.Minute)
	hearEnd(t, c, syscall.ECONNRESET)
	eventually(t, "the server, too, hears of it", func() bool { // when it writes: it has read the FIN
		_, err := rs.Write([]byte("x"))
		return errors.Is(err, syscall.EPIPE)
	})
}

// The timeout after a FIN begins with the FIN, also where nothing had moved for
// longer than that before.
func TestHalfCloseAfterIdle(t *testing.T) {
	e, c, rs := through(t, fullnat.Options{})
	e.Skew(10 * time.Minute)
	c.CloseWrite()
	hearEnd(t, rs, io.EOF)
	e.Skew(time.Minute)
	say(t, rs, "answer")
	hear(t, c, "answer")
	e.Skew(time.Minute)
	rs.Close()
	hearEnd(t, c, io.EOF)
	eventually(t, "the connection ends", func() bool { return e.Conns() == 0 })
	if got := states(e); got != "TIME_WAIT" {
		t.Errorf("state %s, want TIME_WAIT", got)
	}
}

// Timeouts count for connections that are there already.
func TestShorterTimeout(t *testing.T) {
	e, c, _ := through(t, fullnat.Options{})
	e.Skew(5 * time.Second) // its timer is now at the 15 minutes
	e.SetTimeouts(ipvs.Timeouts{TCP: 20 * time.Second})
	e.Skew(30 * time.Second)
	hearEnd(t, c, syscall.ECONNRESET)
	if got := e.Timeouts().TCP; got != 20*time.Second {
		t.Errorf("timeout %v, want 20s", got)
	}
}

// checkEmpty waits until nothing is left of connections that have all ended. A
// client that hung up at once may be accepted when others have ended long ago.
func checkEmpty(t *testing.T, e *fullnat.Engine) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		if e.Conns() == 0 {
			e.Skew(5 * time.Minute) // closed ones count for a while
		}
		left := remains(e)
		if left == "" {
			return
		}
		if time.Now().After(end) {
			t.Fatal(left)
		}
	}
}

// remains tells what still counts in an engine that should have nothing.
func remains(e *fullnat.Engine) string {
	for _, s := range e.Services() {
		for _, d := range s.Destinations {
			if d.Active+d.Inactive != 0 {
				return fmt.Sprintf("server %s still has %d active and %d inactive connections", d.Addr, d.Active, d.Inactive)
			}
		}
		for _, l := range s.Locals {
			if l.Conns != 0 {
				return fmt.Sprintf("local address %s still has %d connections", l.Addr, l.Conns)
			}
		}
	}
	if n := e.Ghosts() + e.Conns(); n != 0 {
		return fmt.Sprintf("%d connections are not forgotten", n)
	}
	return ""
}

package control

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Verb is something a client may ask for.
type Verb struct {
	// Write: it changes something, so only root and the daemon's user may.
	Write bool
	// Do carries it out. args is one JSON object, or empty. An *Error goes to
	// the client as it is, any other error as Failed. A json.RawMessage goes as
	// it is, too, and has no line breaks.
	Do func(ctx context.Context, p Peer, args []byte) (any, error)
}

// Limits bound what clients can cost. Zeros mean the defaults.
type Limits struct {
	Clients int           // at once; 64. One more ends the one that is idle longest
	Read    time.Duration // for a request to come in; 5 s
	Write   time.Duration // for an answer to be taken; 10 s
}

// Server answers clients. Serve runs it.
type Server struct {
	Verbs  map[string]Verb
	Limits Limits
	// UID is the user who may use verbs that write, besides root.
	UID int
	Log *slog.Logger // nil: nothing is logged

	mu      sync.Mutex
	conns   map[*session]struct{}
	leaving bool
	ended   bool // Serve's context is over
	l       *net.UnixListener
}

// Move has Serve go on with another listener, because nobody reaches the one
// before any more, or begin with it. Requests that are at work get their answers.
// When Serve has ended the listener is closed.
func (s *Server) Move(l *net.UnixListener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leaving || s.ended {
		l.Close()
		return
	}
	if s.l != nil {
		s.l.SetUnlinkOnClose(false) // the path is l's
		s.l.Close()
	}
	s.l = l
}

// Leave has Serve end: another process has the listener, too, and answers from
// now on. Requests that are at work get their answers.
func (s *Server) Leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaving = true
	if s.l != nil {
		s.l.SetUnlinkOnClose(false)
		s.l.Close()
	}
	s.closeLocked()
}

// Serve answers clients of l until ctx ends, which closes l and all connections.
// It returns when the last of them is closed.
func (s *Server) Serve(ctx context.Context, l *net.UnixListener) error {
	s.init()
	s.mu.Lock()
	if s.l == nil {
		s.l = l
	}
	l = s.l
	if s.leaving {
		l.Close()
	}
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	defer context.AfterFunc(ctx, s.closeAll)()
	for {
		c, err := l.AcceptUnix()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				c.Close()
			}
			s.closeAll()
			return nil
		case errors.Is(err, net.ErrClosed) && s.moved(&l):
		case errors.Is(err, net.ErrClosed):
			all.Wait() // those that are at work when we leave
			return s.unless(err)
		case err != nil: // no file descriptors, say: others end some day
			s.Log.Warn("control socket: accept", "err", err)
			pause(ctx, 100*time.Millisecond)
		default:
			if x := s.admit(c); x != nil {
				all.Go(func() { x.run(ctx) })
			}
		}
	}
}

// moved puts the listener of the last Move in the place of the one before, and
// reports whether there was one.
func (s *Server) moved(l **net.UnixListener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.l == *l || s.leaving {
		return false
	}
	*l = s.l
	return true
}

// unless is an error that leaving explains.
func (s *Server) unless(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leaving {
		return nil
	}
	return err
}

func (s *Server) init() {
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	if s.Limits.Clients == 0 {
		s.Limits.Clients = 64
	}
	if s.Limits.Read == 0 {
		s.Limits.Read = 5 * time.Second
	}
	if s.Limits.Write == 0 {
		s.Limits.Write = 10 * time.Second
	}
	s.conns = make(map[*session]struct{})
}

// admit makes a session of a connection. When there are too many the one that
// has waited longest without a request has to go; when all are at work the new
// one does.
func (s *Server) admit(c *net.UnixConn) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.conns) >= s.Limits.Clients {
		oldest := s.idlest()
		if oldest == nil {
			_ = c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
			_, _ = c.Write([]byte(`{"error":{"code":"busy","message":"too many clients"}}` + "\n"))
			c.Close()
			return nil
		}
		oldest.conn.Close()
		delete(s.conns, oldest)
	}
	x := &session{server: s, conn: c, idle: time.Now()}
	s.conns[x] = struct{}{}
	return x
}

func (s *Server) idlest() (oldest *session) {
	for x := range s.conns {
		if !x.idle.IsZero() && (oldest == nil || x.idle.Before(oldest.idle)) {
			oldest = x
		}
	}
	return oldest
}

// waiting sets since when a session waits for a request; the zero time: it is
// at work. It reports false when no more is answered.
func (s *Server) waiting(x *session, since time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	x.idle = since
	return !s.leaving
}

func (s *Server) leave(x *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, x)
	x.conn.Close()
}

// closeAll is the end of Serve.
func (s *Server) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.l.Close()
	s.closeLocked()
}

// closeLocked closes connections; a server that leaves does not close those that
// are at work, which end by themselves.
func (s *Server) closeLocked() {
	for x := range s.conns {
		if !s.leaving || !x.idle.IsZero() {
			x.conn.Close()
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

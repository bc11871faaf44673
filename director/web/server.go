package web

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// retry is how soon an address is tried again that could not be had.
const retry = 5 * time.Second

// Server listens where it is told to, or nowhere.
type Server struct {
	handler http.Handler
	log     *slog.Logger
	wake    chan struct{}

	mu      sync.Mutex
	address string
}

// NewServer makes a Server that listens nowhere.
func NewServer(m *Monitor, log *slog.Logger) *Server {
	return &Server{handler: m.Handler(), log: log, wake: make(chan struct{}, 1)}
}

// Set says where to listen, host:port; empty: nowhere.
func (s *Server) Set(address string) {
	s.mu.Lock()
	changed := s.address != address
	s.address = address
	s.mu.Unlock()
	if changed {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// Run listens until ctx ends, and follows Set.
func (s *Server) Run(ctx context.Context) {
	for ctx.Err() == nil {
		select { // what was set before is read now
		case <-s.wake:
		default:
		}
		s.mu.Lock()
		address := s.address
		s.mu.Unlock()
		once, cancel := context.WithCancel(ctx)
		var serving sync.WaitGroup
		if address != "" {
			serving.Go(func() { s.serve(once, address) })
		}
		select {
		case <-ctx.Done():
		case <-s.wake:
		}
		cancel()
		serving.Wait()
	}
}

// serve listens on one address until ctx ends.
func (s *Server) serve(ctx context.Context, address string) {
	for said := false; ; said = true {
		c := net.ListenConfig{Control: reusePort}
		l, err := c.Listen(ctx, "tcp", address)
		if err == nil {
			h := &http.Server{
				Handler: s.handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute,
				IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
			}
			stop := context.AfterFunc(ctx, func() { h.Close() })
			defer stop()
			s.log.Info("http listener", "event", "http_listening", "address", l.Addr().String())
			if err = h.Serve(l); errors.Is(err, http.ErrServerClosed) {
				return
			}
		}
		if ctx.Err() != nil {
			return
		}
		if !said {
			s.log.Error("the http listener failed, it is tried again", "event", "http_failed", "address", address, "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(retry):
		}
	}
}

// reusePort lets the process that takes this one's place listen before we end.
func reusePort(_, _ string, c syscall.RawConn) (err error) {
	if e := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }); e != nil {
		return e
	}
	return err
}

// Handler answers requests.
func (m *Monitor) Handler() http.Handler {
	mux := http.NewServeMux()
	metrics := promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, EnableOpenMetrics: true})
	mux.Handle("GET /metrics", metrics)
	mux.HandleFunc("GET /status.json", m.json)
	mux.HandleFunc("GET /{$}", m.page)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		h.Set("Cache-Control", "no-store")
		r.Body = http.MaxBytesReader(w, r.Body, 1<<10)
		mux.ServeHTTP(w, r)
	})
}

func (m *Monitor) json(w http.ResponseWriter, _ *http.Request) {
	st, err := m.picture()
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(st)
}

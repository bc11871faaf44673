package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/goipvs/goipvs/healthcheck"
)

// server is a real HTTP server in a process of its own.
type server struct {
	addr netip.AddrPort
	name string
	cmd  *exec.Cmd
}

// serveVariable makes this program one of the servers: "ADDRESS NAME".
const serveVariable = "GOIPVS_DEMO_SERVE"

// serveIfTold serves and does not return, if this process is a server.
func serveIfTold() bool {
	at, name, ok := strings.Cut(os.Getenv(serveVariable), " ")
	if !ok {
		return false
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s, asked by %s\n", name, r.RemoteAddr)
	})
	s := &http.Server{Addr: at, Handler: h, ReadHeaderTimeout: 10 * time.Second}
	if err := s.ListenAndServe(); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
	return true
}

// start runs the server and waits until it answers. It ends with this process.
func (s *server) start(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	s.cmd = exec.CommandContext(ctx, self)
	s.cmd.Env = append(os.Environ(), serveVariable+"="+s.addr.String()+" "+s.name)
	s.cmd.Stderr = os.Stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", s.addr.String())
		if err == nil {
			return c.Close()
		}
		if time.Now().After(end) || ctx.Err() != nil {
			s.kill()
			return fmt.Errorf("%s at %s does not start: %w", s.name, s.addr, err)
		}
	}
}

func (s *server) pid() int { return s.cmd.Process.Pid }

func (s *server) kill() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

func (s *server) id() string { return s.addr.String() }

func (s *server) subject() healthcheck.Subject {
	return healthcheck.Subject{
		ID:       s.id(),
		Check:    healthcheck.Check{Type: "http", Request: "/", Receive: "^server"},
		Target:   healthcheck.Target{Real: s.addr},
		Schedule: healthcheck.Schedule{Interval: 300 * time.Millisecond, Timeout: 20 * time.Second, Rise: 1, Fall: 2},
	}
}

package healthcheck

import (
	"net"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/testserver"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	grpchealth "google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// TestGRPC: no package of Debian has a server, so that the library's own is it.
func TestGRPC(t *testing.T) {
	h := grpchealth.NewServer()
	h.SetServingStatus("shop", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	plain := grpcServer(t, func(s *grpc.Server) { grpc_health_v1.RegisterHealthServer(s, h) })
	none := grpcServer(t, func(*grpc.Server) {})
	ca := testserver.NewAuthority(t)
	cert := ca.Issue(t, time.Time{}, "rpc.example")
	creds, err := credentials.NewServerTLSFromFile(cert.CertFile, cert.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	secure := grpcServer(t, func(s *grpc.Server) { grpc_health_v1.RegisterHealthServer(s, h) }, grpc.Creds(creds))
	down := testserver.Port(t)
	on := TLS{Mode: "on", ServerName: "rpc.example", CAFile: ca.File}
	for _, s := range []state{
		{name: "serving", port: plain},
		{name: "not serving", check: Check{Request: "shop"}, port: plain, want: "NOT_SERVING"},
		{name: "unknown service", check: Check{Request: "bank"}, port: plain, want: "knows no such service"},
		{name: "no health service", port: none, want: "no health service"},
		{name: "down", port: down, want: "connection refused"},
		{name: "TLS", check: Check{TLS: on}, port: secure},
		{name: "TLS and authority", check: Check{TLS: on, VirtualHost: "rpc.example"}, port: secure},
		{name: "TLS to a plain server", check: Check{TLS: on}, port: plain, want: "TLS"},
		{name: "plain to a TLS server", port: secure, want: "connection"},
		{name: "unknown authority", check: Check{TLS: TLS{Mode: "on", ServerName: "rpc.example"}}, port: secure, want: "unknown authority"},
		{name: "wrong name", check: Check{TLS: TLS{Mode: "on", ServerName: "x.example", CAFile: ca.File}}, port: secure, want: "not x.example"},
	} {
		s.check.Type = "grpc"
		s.test(t)
	}
}

func grpcServer(t *testing.T, register func(*grpc.Server), options ...grpc.ServerOption) uint16 {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(options...)
	register(s)
	done := make(chan error)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		<-done
	})
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

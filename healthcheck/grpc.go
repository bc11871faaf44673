package healthcheck

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// grpcCheck asks the health service (grpc.health.v1) how the service that the
// request names is, or with none how the server is. SERVING is up.
func grpcCheck(c Check) (look, error) {
	mode, err := c.tlsMode("off", "on")
	if err != nil {
		return nil, err
	}
	var config *tls.Config
	if mode == "on" {
		if config, err = tlsConfig(c); err != nil {
			return nil, err
		}
		config.NextProtos = []string{"h2"}
	}
	return func(ctx context.Context, d *Dialer) error {
		once := &grpcOnce{dialer: d, config: config}
		client, err := once.client(ctx, c.VirtualHost)
		if err != nil {
			return ours(err)
		}
		defer client.Close()
		resp, err := grpc_health_v1.NewHealthClient(client).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: c.Request})
		if err != nil {
			return once.reason(err)
		}
		d.Note("status %s", resp.GetStatus())
		if resp.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
			return fmt.Errorf("health status %s", resp.GetStatus())
		}
		return nil
	}, nil
}

// grpcOnce lets the library connect once, and remembers why that failed: the
// library tells it as text only.
type grpcOnce struct {
	dialer *Dialer
	config *tls.Config // nil: no TLS

	mu     sync.Mutex
	dialed bool
	err    error
}

func (o *grpcOnce) client(ctx context.Context, authority string) (*grpc.ClientConn, error) {
	options := []grpc.DialOption{
		grpc.WithContextDialer(func(_ context.Context, _ string) (net.Conn, error) { return o.dial(ctx) }),
		grpc.WithTransportCredentials(o.credentials()),
		grpc.WithNoProxy(), grpc.WithDisableRetry(), grpc.WithDisableServiceConfig(), grpc.WithDisableHealthCheck(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)),
		grpc.WithMaxHeaderListSize(maxHeader),
		grpc.WithUserAgent("goipvs"),
	}
	if authority != "" {
		options = append(options, grpc.WithAuthority(authority))
	}
	return grpc.NewClient("passthrough:///"+o.dialer.Address().String(), options...)
}

var errOnce = errors.New("one connection for one check")

func (o *grpcOnce) dial(ctx context.Context) (net.Conn, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.dialed {
		return nil, errOnce
	}
	o.dialed = true
	conn, err := o.dialer.dialBinary(ctx, "tcp")
	o.err = err
	return conn, err
}

// reason is why the call failed.
func (o *grpcOnce) reason(err error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := status.Convert(err)
	switch {
	case o.err != nil:
		return o.err
	case s.Code() == codes.DeadlineExceeded:
		return context.DeadlineExceeded
	case s.Code() == codes.NotFound:
		return errors.New("the server knows no such service")
	case s.Code() == codes.Unimplemented:
		return errors.New("the server has no health service")
	}
	if strings.Contains(s.Message(), errOnce.Error()) {
		return errors.New("the server ended the connection or broke HTTP/2's rules")
	}
	return fmt.Errorf("%s: %s", s.Code(), head([]byte(s.Message()), 200))
}

func (o *grpcOnce) credentials() credentials.TransportCredentials {
	if o.config == nil {
		return insecure.NewCredentials()
	}
	return &grpcTLS{o}
}

// grpcTLS is our TLS in the library's form.
type grpcTLS struct{ once *grpcOnce }

// ClientHandshake begins TLS.
func (g *grpcTLS) ClientHandshake(ctx context.Context, _ string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, err := g.once.dialer.tlsClient(ctx, raw, g.once.config)
	if err != nil {
		g.once.mu.Lock()
		defer g.once.mu.Unlock()
		g.once.err = err
		return nil, nil, err
	}
	return conn.Conn, credentials.TLSInfo{CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}, nil
}

// ServerHandshake is not for clients.
func (g *grpcTLS) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("not a server")
}

// Info names the protocol, from which the library takes the scheme.
func (g *grpcTLS) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

// Clone returns itself, as nothing in it changes.
func (g *grpcTLS) Clone() credentials.TransportCredentials { return g }

// OverrideServerName is deprecated and not used.
func (g *grpcTLS) OverrideServerName(string) error { return nil }

package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// httpProxy asks a proxy for something beyond it. The request is a URL: for
// http the proxy fetches it, for https the proxy connects (CONNECT) and the
// check speaks TLS with the server beyond; or HOST:PORT, where the proxy only
// has to connect.
func httpProxy(c Check) (look, error) {
	if !strings.Contains(c.Request, "://") {
		return proxyConnect(c)
	}
	u, err := url.Parse(c.Request)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("request: %q is no URL", c.Request)
	}
	path := c
	path.Request, path.Login, path.Password = u.RequestURI(), "", ""
	p, err := newPage(path, u.Scheme)
	if err != nil {
		return nil, err
	}
	p.url.Host = u.Host
	switch u.Scheme {
	case "http":
		if c.VirtualHost != "" || c.TLS != (TLS{}) {
			return nil, errors.New("virtualhost and TLS are for https; a proxy takes the name from the URL")
		}
		return throughProxy(c, p), nil
	case "https":
		return throughTunnel(c, p, u)
	}
	return nil, fmt.Errorf("request: scheme %q is not http or https", u.Scheme)
}

// proxyConnect has the proxy connect to HOST:PORT.
func proxyConnect(c Check) (look, error) {
	if _, _, err := net.SplitHostPort(c.Request); err != nil {
		return nil, fmt.Errorf("request: %q is neither a URL nor HOST:PORT", c.Request)
	}
	if c.Receive+c.Status+c.Method+c.VirtualHost != "" || c.Follow != 0 || c.TLS != (TLS{}) {
		return nil, errors.New("what is not about the proxy needs a request that is a URL")
	}
	return func(ctx context.Context, d *Dialer) error {
		_, err := tunnel(ctx, d, c, c.Request)
		return err
	}, nil
}

func throughProxy(c Check, p page) look {
	return func(ctx context.Context, d *Dialer) error {
		return p.fetch(ctx, d, func(req *http.Request) (*http.Response, error) {
			conn, err := d.Dial(ctx, "tcp")
			if err != nil {
				return nil, err
			}
			authorize(req, c)
			return exchange(conn, req, req.WriteProxy)
		})
	}
}

func throughTunnel(c Check, p page, u *url.URL) (look, error) {
	named := c
	named.TLS.ServerName = or(c.TLS.ServerName, u.Hostname())
	config, err := tlsConfig(named)
	if err != nil {
		return nil, err
	}
	to := net.JoinHostPort(u.Hostname(), or(u.Port(), "443"))
	return func(ctx context.Context, d *Dialer) error {
		return p.fetch(ctx, d, func(req *http.Request) (*http.Response, error) {
			conn, err := tunnel(ctx, d, c, to)
			if err != nil {
				return nil, err
			}
			secure, err := d.StartTLS(ctx, conn, config)
			if err != nil {
				return nil, err
			}
			return exchange(secure, req, req.Write)
		})
	}, nil
}

// tunnel has the proxy connect us to an address (RFC 9110, section 9.3.6).
func tunnel(ctx context.Context, d *Dialer, c Check, to string) (net.Conn, error) {
	conn, err := d.dialBinary(ctx, "tcp") // read byte by byte
	if err != nil {
		return nil, err
	}
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: to}, Host: to, Header: http.Header{"User-Agent": {"goipvs"}}}
	authorize(req, c)
	resp, err := exchange(byteReader{conn}, req, req.Write)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() // empty: what follows is the tunnel
	d.Note("< %s %s to CONNECT %s", resp.Proto, resp.Status, to)
	if resp.StatusCode/100 != 2 {
		return nil, fmt.Errorf("the proxy answered CONNECT with status %s", resp.Status)
	}
	return conn, nil
}

func authorize(req *http.Request, c Check) {
	if c.Login == "" {
		return
	}
	basic := http.Request{Header: http.Header{}}
	basic.SetBasicAuth(c.Login, c.Password)
	req.Header.Set("Proxy-Authorization", basic.Header.Get("Authorization"))
}

// byteReader reads byte by byte, so that no buffer takes what comes after the
// proxy's answer.
type byteReader struct{ net.Conn }

// Read reads one byte.
func (b byteReader) Read(p []byte) (int, error) { return b.Conn.Read(p[:min(len(p), 1)]) }

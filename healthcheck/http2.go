package healthcheck

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
)

// http2Check asks for a page by HTTP/2: with TLS, where the server must agree
// to h2 (RFC 9113, section 3.2), or with tls = "off" by prior knowledge.
func http2Check(c Check) (look, error) {
	mode, err := c.tlsMode("on", "off")
	if err != nil {
		return nil, err
	}
	p, err := newPage(c, map[string]string{"on": "https", "off": "http"}[mode])
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
		first := new(firstBytes)
		transport := http2Transport(d, config, first)
		defer transport.CloseIdleConnections()
		return p.fetch(ctx, d, func(req *http.Request) (*http.Response, error) {
			d.Note("> %s %s", req.Method, req.URL)
			resp, err := transport.RoundTrip(req)
			if err != nil {
				return nil, first.blame(bare(err))
			}
			d.Note("< %s %s", resp.Proto, resp.Status)
			return resp, nil
		})
	}, nil
}

// http2Transport is for one check: it connects once, and once more for each
// redirect.
func http2Transport(d *Dialer, config *tls.Config, first *firstBytes) *http.Transport {
	t := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			c, err := d.dialBinary(ctx, network)
			if err != nil {
				return nil, err
			}
			return first.of(c), nil
		},
		DialTLSContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialH2(ctx, d, network, config)
		},
		DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxHeader,
		Protocols: new(http.Protocols),
	}
	t.Protocols.SetHTTP2(config != nil)
	t.Protocols.SetUnencryptedHTTP2(config == nil)
	return t
}

// dialH2 connects with TLS to a server that must choose h2. The library wants
// the TLS connection itself.
func dialH2(ctx context.Context, d *Dialer, network string, config *tls.Config) (net.Conn, error) {
	raw, err := d.Dial(ctx, network)
	if err != nil {
		return nil, err
	}
	conn, err := d.tlsClient(ctx, raw, config)
	if err != nil {
		return nil, err
	}
	if got := conn.ConnectionState().NegotiatedProtocol; got != "h2" {
		return nil, &handshakeError{fmt.Errorf("the server does not offer HTTP/2 (it chose %q)", got)}
	}
	return conn.Conn, nil
}

// firstBytes remembers how a server's answer begins. A server that speaks
// HTTP/1 refuses our preface and closes, and depending on whether the library
// had its request ready by then, its error may not say so.
type firstBytes struct {
	mu   sync.Mutex
	seen []byte
}

const http1 = "HTTP/1"

// http2Settings is the type of the frame with which a server begins, behind 24
// bits of length (RFC 9113, sections 3.4 and 4.1).
const http2Settings = 4

// blame says that the server speaks HTTP/1, if it does, instead of err.
func (f *firstBytes) blame(err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if string(f.seen) == http1 {
		return errors.New("http2: the server answers in HTTP/1")
	}
	return err
}

func (f *firstBytes) of(c net.Conn) net.Conn {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = nil
	return &firstReader{c, f}
}

type firstReader struct {
	net.Conn
	first *firstBytes
}

func (r *firstReader) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.first.mu.Lock()
	defer r.first.mu.Unlock()
	if missing := len(http1) - len(r.first.seen); missing > 0 {
		r.first.seen = append(r.first.seen, p[:min(n, missing)]...)
	}
	return n, err
}

package healthcheck

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxHeader is how long the header of an answer may be.
const maxHeader = 16 << 10

// page is what HTTP checks ask for and expect, whatever carries it.
type page struct {
	method   string
	url      *url.URL // without a host: the server's address is put in
	host     string   // Host header, "": the address
	login    string
	password string
	statuses statuses
	matcher  matcher
	follow   int
}

func newPage(c Check, scheme string) (page, error) {
	p := page{method: or(c.Method, http.MethodGet), host: c.VirtualHost, login: c.Login, password: c.Password, follow: c.Follow}
	if !slices.Contains([]string{"GET", "HEAD", "OPTIONS", "POST"}, p.method) {
		return p, fmt.Errorf("method is GET, HEAD, OPTIONS or POST, not %q", p.method)
	}
	if p.follow < 0 || p.follow > 3 {
		return p, fmt.Errorf("follow is 0 to 3 redirects, not %d", p.follow)
	}
	if strings.ContainsAny(c.VirtualHost, " /\r\n") {
		return p, fmt.Errorf("virtualhost %q is no host name", c.VirtualHost)
	}
	var err error
	if p.url, err = url.Parse("/" + strings.TrimPrefix(c.Request, "/")); err != nil {
		return p, fmt.Errorf("request: %w", err)
	}
	p.url.Scheme = scheme
	if p.statuses, err = newStatuses(c.Status); err != nil {
		return p, err
	}
	p.matcher, err = newMatcher(c.Receive)
	return p, err
}

// httpCheck asks for a page by HTTP/1.1 and closes the connection.
func httpCheck(c Check) (look, error) { return overHTTP(c, "http", "off") }

// httpsCheck does so by TLS.
func httpsCheck(c Check) (look, error) { return overHTTP(c, "https", "on") }

func overHTTP(c Check, scheme, tlsMode string) (look, error) {
	p, err := newPage(c, scheme)
	if err != nil {
		return nil, err
	}
	dial, err := stream(c, tlsMode)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, d *Dialer) error {
		return p.fetch(ctx, d, func(req *http.Request) (*http.Response, error) {
			conn, err := dial(ctx, d)
			if err != nil {
				return nil, err
			}
			return exchange(conn, req, req.Write)
		})
	}, nil
}

// fetch asks for the page, follows redirects if it may, and judges the answer.
func (p page) fetch(ctx context.Context, d *Dialer, do func(*http.Request) (*http.Response, error)) error {
	u := *p.url
	if u.Host == "" {
		u.Host = or(p.host, d.Address().String())
	}
	for left := p.follow; ; left-- {
		req, err := p.request(ctx, &u)
		if err != nil {
			return err
		}
		resp, err := do(req)
		if err != nil {
			return err
		}
		next := p.redirect(resp)
		if next == "" || left == 0 {
			return p.judge(resp)
		}
		resp.Body.Close()
		to, err := u.Parse(next)
		if err != nil || !sameServer(&u, to, d) {
			return fmt.Errorf("status %s to %q, which is not on this server", resp.Status, next)
		}
		u = *to
	}
}

// sameServer tells whether a redirect stays where it is. Servers put their own
// port into it, which our Host header may not have.
func sameServer(from, to *url.URL, d *Dialer) bool {
	port := to.Port() == "" || to.Port() == from.Port() || to.Port() == strconv.Itoa(int(d.Address().Port()))
	return to.Scheme == from.Scheme && strings.EqualFold(to.Hostname(), from.Hostname()) && port
}

func (p page) request(ctx context.Context, u *url.URL) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, p.method, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Close = true
	req.Host = or(p.host, u.Host)
	req.Header.Set("User-Agent", "goipvs")
	req.Header.Set("Accept", "*/*")
	if p.login != "" {
		req.SetBasicAuth(p.login, p.password)
	}
	return req, nil
}

// redirect is where the answer sends us, if it is not an answer that we want.
func (p page) redirect(resp *http.Response) string {
	if resp.StatusCode/100 != 3 || p.statuses.has(resp.StatusCode) {
		return ""
	}
	return resp.Header.Get("Location")
}

// judge reads the answer to its end, or as much of it as is looked at: a server
// that stops in the middle of a page is not well.
func (p page) judge(resp *http.Response) error {
	defer resp.Body.Close()
	if !p.statuses.has(resp.StatusCode) {
		return fmt.Errorf("status %s", resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("in the body of the answer: %w", bare(err))
	}
	if p.matcher != nil && !p.matcher.Match(body) {
		return unexpected(p.matcher, body)
	}
	return nil
}

// exchange sends a request and reads the head of the answer, passing over
// interim ones (RFC 9110, section 15.2).
func exchange(conn net.Conn, req *http.Request, write func(io.Writer) error) (*http.Response, error) {
	if err := write(conn); err != nil {
		return nil, bare(err)
	}
	limited := &io.LimitedReader{R: conn, N: maxHeader}
	r := bufio.NewReader(limited)
	if b, err := r.Peek(4); err == nil && b[0] == 0 && b[3] == http2Settings {
		return nil, errors.New("no HTTP answer: the server speaks HTTP/2")
	}
	for range 5 {
		resp, err := http.ReadResponse(r, req)
		if err != nil {
			if limited.N <= 0 {
				return nil, fmt.Errorf("%w: header longer than %d KiB", ErrFlood, maxHeader>>10)
			}
			return nil, fmt.Errorf("no HTTP answer: %w", bare(err))
		}
		if resp.StatusCode/100 != 1 || resp.StatusCode == http.StatusSwitchingProtocols {
			limited.N = maxBytes // the body has the check's limit
			return resp, nil
		}
	}
	return nil, fmt.Errorf("%w: only interim answers", ErrFlood)
}

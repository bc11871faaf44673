package healthcheck

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// fuzzDeadline is short, as many inputs make a check wait for more.
const fuzzDeadline = 50 * time.Millisecond

// FuzzAnswers gives any bytes to every type of check over TCP that does not
// begin with TLS: no panic, no more time than there is, and no server that says
// something at random is up.
func FuzzAnswers(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n", "220 x\r\n250 y\r\n", "+OK x\r\n+OK y\r\n", "* OK x\r\na1 OK y\r\n",
		"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x04\x01\x00\x00\x00\x00", "+PONG\r\n", "$4\r\nPONG\r\n",
		"J\x00\x00\x00\x0a5.7.0\x00", "R\x00\x00\x00\x08\x00\x00\x00\x00", "0\x0c\x02\x01\x01a\x07\n\x01\x00\x04\x00\x04\x00",
		"\x00\x08\x00\x00\x02\x00\x00\x00", "SIP/2.0 200 OK\r\n\r\n", "200 posting allowed\r\n211 1 1 1 x\r\n",
	} {
		f.Add([]byte(seed))
	}
	checks := fuzzed(f)
	f.Fuzz(func(t *testing.T, answer []byte) {
		for _, p := range checks {
			client, server := net.Pipe()
			done := make(chan struct{})
			go func() {
				defer close(done)
				speak(server, answer)
			}()
			res := overPipe(p, client)
			server.Close()
			<-done
			if !utf8.ValidString(res.Transcript) || strings.ContainsAny(res.Transcript, "\x00\x1b\r") {
				t.Errorf("%s: transcript %q", p.check.Type, res.Transcript)
			}
			if res.Took > patient {
				t.Errorf("%s took %v", p.check.Type, res.Took)
			}
			if Judge(res.Err) == Unknown {
				t.Errorf("%s: %v", p.check.Type, res.Err)
			}
		}
	})
}

// speak sends the answer in two pieces, reads all, and closes.
func speak(c net.Conn, answer []byte) {
	go io.Copy(io.Discard, c)
	half := len(answer) / 2
	c.Write(answer[:half])
	c.Write(answer[half:])
	c.Close()
}

// fuzzed are the samples that can be spoken to over a pipe.
func fuzzed(f *testing.F) (list []*prepared) {
	for _, kind := range Types() {
		for _, s := range samples[kind] {
			if s.easy || s.udp || kind == "off" || s.check.TLS.Mode == "on" {
				continue
			}
			s.check.Type = kind
			p, err := prepareCheck(s.check)
			if err != nil {
				f.Fatal(err)
			}
			list = append(list, p)
		}
	}
	return list
}

// overPipe makes a check whose connections are all this one.
func overPipe(p *prepared, c net.Conn) Result {
	ctx, cancel := context.WithTimeout(context.Background(), fuzzDeadline)
	defer cancel()
	copied := *p
	copied.look = func(ctx context.Context, d *Dialer) error {
		d.dial = func(context.Context, string, string) (net.Conn, error) { return c, nil }
		return p.look(ctx, d)
	}
	return copied.run(ctx, Target{Real: netip.MustParseAddrPort("127.0.0.1:9")})
}

// FuzzHTTPAnswer reads any bytes as the answer to an HTTP check.
func FuzzHTTPAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"), true)
	f.Add([]byte("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"), false)
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nok\n\r\n0\r\n\r\n"), true)
	p, err := newPage(Check{Receive: "^ok\n$"}, "http")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, answer []byte, head bool) {
		method := map[bool]string{true: "HEAD", false: "GET"}[head]
		req, err := http.NewRequest(method, "http://x.example/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := exchange(replay{r: bytes.NewReader(answer)}, req, req.Write)
		if err != nil {
			return
		}
		if resp.StatusCode/100 == 1 && resp.StatusCode != http.StatusSwitchingProtocols {
			t.Errorf("an interim answer %s was taken for the answer", resp.Status)
		}
		if p.judge(resp) == nil && !bytes.Contains(answer, []byte("ok\n")) {
			t.Errorf("%q is up", answer)
		}
	})
}

// replay is a connection on which the other side has said all it will say.
type replay struct {
	net.Conn
	r io.Reader
}

func (r replay) Read(p []byte) (int, error)  { return r.r.Read(p) }
func (r replay) Write(p []byte) (int, error) { return len(p), nil }

// FuzzCheck makes checks of any words: errors, but no panic; and a check that
// is valid has a key of its own.
func FuzzCheck(f *testing.F) {
	f.Add("http", "/x", "^ok$", "200-299", "web.example", "GET")
	f.Add("http_proxy", "https://x.example:8443/", "(", "2xx", "a b", "BREW")
	f.Add("tcp", "hex:00ff", "hex:0x", "", "", "")
	f.Add("udp", "hex:0", "hex:0", "", "", "")
	f.Fuzz(func(t *testing.T, kind, request, receive, status, host, method string) {
		c := Check{Type: kind, Request: request, Receive: receive, Status: status, VirtualHost: host, Method: method}
		if c.Validate() != nil {
			return
		}
		other := c
		other.Request += "x"
		if c.Key() == other.Key() {
			t.Errorf("keys of %+v", c)
		}
	})
}

// FuzzHexMatcher: what matches is what the pattern says, and the pattern as it
// prints is the same pattern.
func FuzzHexMatcher(f *testing.F) {
	f.Add("0x01fx", []byte{0x0a, 0x01, 0xff})
	f.Add("", []byte{})
	f.Fuzz(func(t *testing.T, digits string, answer []byte) {
		m, err := newMatcher("hex:" + digits)
		if err != nil {
			return
		}
		again, err := newMatcher(m.String())
		if err != nil || again.String() != m.String() || again.Match(answer) != m.Match(answer) {
			t.Errorf("%q is %q is %q, %v", digits, m, again, err)
		}
	})
}

// FuzzClean: what is shown to people has no character that a terminal acts on.
func FuzzClean(f *testing.F) {
	f.Add("\x1b[31mred\x00\xff\u202e")
	f.Fuzz(func(t *testing.T, s string) {
		got := clean(s)
		for _, r := range got {
			if r < ' ' || r == 0x7f || r == 0x202e || r == utf8.RuneError {
				t.Errorf("%q became %q", s, got)
			}
		}
	})
}

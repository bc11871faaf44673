package alert

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/testserver"
)

// run runs an Alerter for the test. It finds the events in its queues.
func run(t *testing.T, c Config, events ...Event) *Alerter {
	t.Helper()
	return runLogged(t, c, io.Discard, events...)
}

func runLogged(t *testing.T, c Config, log io.Writer, events ...Event) *Alerter {
	t.Helper()
	c.On = append(c.On, "down", "up")
	a := New(c, slog.New(slog.NewTextHandler(log, nil)))
	for _, e := range events {
		a.Tell(e)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { a.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return a
}

func down(n int) Event {
	return Event{Time: time.Now(), Alert: "down", Event: "server_down", Text: "real server down", Virtual: "web",
		Real: fmt.Sprintf("10.0.0.%d:80", n), Reason: "timed\r\nout", Begins: true}
}

func await(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain for ", what)
		}
	}
}

func TestCommand(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	a := run(t, Config{Command: []string{"/bin/sh", "-c", `echo "$GOIPVS_EVENT $GOIPVS_VIRTUAL $GOIPVS_REAL $GOIPVS_REASON $0" >> ` + out, "$HOME;x"}})
	a.Tell(down(1))
	a.Tell(Event{Alert: "fallback", Virtual: "nobody asked for it"})
	a.Tell(down(2))
	want := "down web 10.0.0.1:80 timed\r\nout $HOME;x\ndown web 10.0.0.2:80 timed\r\nout $HOME;x\n"
	var got []byte
	await(t, "two lines", func() bool { got, _ = os.ReadFile(out); return len(got) >= len(want) })
	if string(got) != want {
		t.Errorf("%q", got)
	}
}

type lines = testserver.Buffer

// TestFailuresAreExplained: who reads alert_failed learns which alert was not
// delivered, why not, and what helps.
func TestFailuresAreExplained(t *testing.T) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	elsewhere := httptest.NewServer(http.RedirectHandler(s.URL+"/secret", http.StatusFound))
	defer elsewhere.Close()
	for name, test := range map[string]struct {
		c    Config
		want string
	}{
		"command":           {Config{Command: []string{"/bin/sh", "-c", "yes noise | head -c 1000; echo; echo token expired >&2; exit 3"}}, "exit status 3: token expired"},
		"much":              {Config{Command: []string{"/bin/sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x; exit 4"}}, "exit status 4: xxx"},
		"unknown authority": {Config{Webhook: s.URL}, "the certificate is not trusted: x509: "},
		"redirect":          {Config{Webhook: elsewhere.URL}, "status 302, and redirects are not followed"},
	} {
		t.Run(name, func(t *testing.T) {
			var log lines
			a := runLogged(t, test.c, &log)
			a.Tell(down(1))
			await(t, "a failure", func() bool { return strings.Contains(log.String(), "event=alert_failed") })
			for _, want := range []string{test.want, "alert=down vs=web rs=10.0.0.1:80"} {
				if !strings.Contains(log.String(), want) {
					t.Errorf("want %s", want)
				}
			}
			if strings.Contains(log.String(), "secret") || len(log.String()) > 1000 {
				t.Errorf("%s", log.String())
			}
		})
	}
}

// TestCommandLeavesSomething: a command that has ended well, and left something
// that keeps its output open, has told, and is not run again.
func TestCommandLeavesSomething(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	var log lines
	a := runLogged(t, Config{Command: []string{"/bin/sh", "-c", "echo $GOIPVS_REAL >> " + out + "; sleep 5 &"}}, &log)
	a.Tell(down(1))
	a.Tell(down(2))
	await(t, "the next command", func() bool { b, _ := os.ReadFile(out); return strings.Contains(string(b), "10.0.0.2:80") })
	if b, err := os.ReadFile(out); string(b) != "10.0.0.1:80\n10.0.0.2:80\n" || log.String() != "" {
		t.Errorf("%q %v %s", b, err, log.String())
	}
}

// TestCommandTellsBeginFromEnd: a fallback that comes into use and one that leaves
// are the same word of [alert] on.
func TestCommandTellsBeginFromEnd(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	a := run(t, Config{On: []string{"fallback"}, Command: []string{"/bin/sh", "-c", `echo "$GOIPVS_EVENT $GOIPVS_NAME $GOIPVS_REASON" >> ` + out}})
	a.Tell(Event{Alert: "fallback", Event: "fallback_on", Text: "fallback in use", Virtual: "web"})
	a.Tell(Event{Alert: "fallback", Event: "fallback_off", Text: "fallback no longer in use", Virtual: "web"})
	want := "fallback fallback_on fallback in use\nfallback fallback_off fallback no longer in use\n"
	var got []byte
	await(t, "two lines", func() bool { got, _ = os.ReadFile(out); return len(got) >= len(want) })
	if string(got) != want {
		t.Errorf("%q", got)
	}
}

func TestWebhook(t *testing.T) {
	var mu sync.Mutex
	var got []Event
	fail := 1
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if fail > 0 {
			fail--
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		var e Event
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil || r.Method != http.MethodPost {
			t.Error(r.Method, err)
		}
		got = append(got, e)
	}))
	defer s.Close()
	a := run(t, Config{Webhook: s.URL})
	a.Tell(down(1))
	a.Tell(down(2))
	await(t, "two posts", func() bool { mu.Lock(); defer mu.Unlock(); return len(got) == 2 })
	if got[0].Real != "10.0.0.1:80" || got[1].Real != "10.0.0.2:80" || got[0].Host == "" {
		t.Errorf("%+v", got)
	}
}

// TestMail: one mail for what happens at once, to all recipients, in one header
// line each.
func TestMail(t *testing.T) {
	s := newMailServer(t)
	run(t, Config{MailTo: []string{"a@example.com", "b@example.com"}, SMTP: s.addr}, down(0), down(1), down(2), down(3), down(4))
	await(t, "a mail", func() bool { return len(s.mails()) > 0 })
	mail := s.mails()[0]
	for _, want := range []string{"RCPT TO:<a@example.com>", "RCPT TO:<b@example.com>", "and 4 more", "real server down 10.0.0.4:80 of web: timed  out\n"} {
		if !strings.Contains(mail, want) {
			t.Errorf("no %q in\n%s", want, mail)
		}
	}
}

// TestMailCertificate: nothing is told to a mail server whose certificate is not
// the one of the host in the file; the machine's own needs none.
func TestMailCertificate(t *testing.T) {
	web := httptest.NewTLSServer(nil) // has a certificate for 127.0.0.1 and example.com
	web.Close()
	trusted := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(trusted, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		host string
		ca   string
		want string // the error
	}{
		{"trusted, and names the host", "127.0.0.1", trusted, ""},
		{"trusted, of another host", "localhost", trusted, "certificate is valid for example.com, *.example.com, not localhost"},
		{"unknown authority", "127.0.0.1", testserver.NewAuthority(t).File, "certificate signed by unknown authority"},
		{"on this machine", "localhost", "", ""},
		{"a file that is not there", "127.0.0.1", "/nonexistent", "smtp_ca: open /nonexistent"},
		{"a file without a certificate", "127.0.0.1", "/etc/passwd", "smtp_ca: no certificate in /etc/passwd"},
		{"no file", "127.0.0.1", "/dev/zero", "smtp_ca: /dev/zero is no regular file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newMailServer(t, web.TLS.Certificates[0])
			_, port, _ := net.SplitHostPort(s.addr)
			c := &Config{MailTo: []string{"a@example.com"}, SMTP: net.JoinHostPort(tt.host, port), CA: tt.ca}
			err := sendMail(t.Context(), c, "director", []Event{down(1)})
			switch {
			case tt.want == "" && (err != nil || len(s.mails()) != 1):
				t.Errorf("%v, %d mails", err, len(s.mails()))
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "of "+tt.host) && !strings.Contains(tt.want, "smtp_ca")):
				t.Errorf("%v, want %q", err, tt.want)
			case tt.want != "" && len(s.mails()) > 0:
				t.Error("told all the same")
			}
		})
	}
}

// TestMailLogin: who has a login or a certificate says so inside TLS, and nothing
// at all where there is none.
func TestMailLogin(t *testing.T) {
	own := testserver.NewAuthority(t).Issue(t, time.Time{}, "director")
	web := httptest.NewTLSServer(nil)
	web.Close()
	key := web.TLS.Certificates[0]
	tests := []struct {
		name   string
		offers string // by AUTH
		clear  bool   // no TLS
		change func(*Config)
		want   string // the error
		said   string // by the client
	}{
		{"plain", "LOGIN PLAIN", false, nil, "", "AUTH PLAIN AGFubgBzZWNyZXQ="},
		{"login", "CRAM-MD5 LOGIN", false, nil, "", "AUTH LOGIN\nYW5u\nc2VjcmV0\n"},
		{"wrong password", "PLAIN", false, func(c *Config) { c.Password = "wrong" }, `smtp_login ann: 535 "no"`, ""},
		{"wrong password, by login", "LOGIN", false, func(c *Config) { c.Password = "wrong" }, `smtp_login ann: 535 "no"`, ""},
		{"no way that we know", "CRAM-MD5", false, nil, `smtp_login: 127.0.0.1 offers neither PLAIN nor LOGIN ("CRAM-MD5")`, ""},
		{"no TLS", "PLAIN", true, nil, "offers no STARTTLS", ""},
		{"certificate", "", false, func(c *Config) { c.Login, c.Cert, c.Key = "", own.CertFile, own.KeyFile }, "", "certificate shown"},
		{"certificate without TLS", "", true, func(c *Config) { c.Login, c.Cert, c.Key = "", own.CertFile, own.KeyFile }, "offers no STARTTLS", ""},
		{"no such certificate", "", false, func(c *Config) { c.Login, c.Cert = "", "/nonexistent" }, "smtp_cert: open /nonexistent", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			certs := []tls.Certificate{key}
			if tt.clear {
				certs = nil
			}
			s := newMailServer(t, certs...)
			s.mu.Lock()
			s.auth = tt.offers
			s.mu.Unlock()
			c := &Config{MailTo: []string{"a@example.com"}, SMTP: s.addr, Login: "ann", Password: "secret"}
			if tt.change != nil {
				tt.change(c)
			}
			err := sendMail(t.Context(), c, "director", []Event{down(1)})
			mails := s.mails()
			switch {
			case tt.want == "" && (err != nil || len(mails) != 1 || !strings.Contains(mails[0], tt.said)):
				t.Errorf("%v, want %q in %q", err, tt.said, mails)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") || len(mails) > 0):
				t.Errorf("%v, want %q; %q", err, tt.want, mails)
			}
		})
	}
}

// TestNobodyWaits: a mail server that says nothing delays neither who tells nor
// the command.
func TestNobodyWaits(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	out := filepath.Join(t.TempDir(), "out")
	a := run(t, Config{MailTo: []string{"a@example.com"}, SMTP: l.Addr().String(), Command: []string{"/bin/touch", out}})
	for n := range 3 * queueLength {
		a.Tell(down(n))
	}
	await(t, "the command", func() bool { _, err := os.Stat(out); return err == nil })
}

// TestRepeat: what lasts is told again, what is over is not.
func TestRepeat(t *testing.T) {
	a := New(Config{On: []string{"down"}, Repeat: time.Minute}, slog.New(slog.DiscardHandler))
	now := time.Now()
	e := down(1)
	e.Time = now
	a.Tell(e)
	a.Tell(down(2))
	up := down(2)
	up.Alert, up.Begins, up.Ends = "up", false, true
	a.Tell(up)
	queue := a.ways[0].queue
	for len(queue) > 0 {
		<-queue
	}
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{59 * time.Second, 0}, {time.Minute, 1}, {61 * time.Second, 0}, {2 * time.Minute, 1}} {
		a.Repeat(now.Add(step.after))
		if len(queue) != step.want {
			t.Errorf("after %v: %d told, want %d", step.after, len(queue), step.want)
		}
		for len(queue) > 0 {
			if e := <-queue; e.Real != "10.0.0.1:80" || e.Repeat == 0 {
				t.Errorf("%+v", e)
			}
		}
	}
	a.Forget("web", "10.0.0.1:80")
	a.Repeat(now.Add(time.Hour))
	if len(queue) != 0 {
		t.Error("told of a server that has left the file")
	}
}

// mailServer is an SMTP server that keeps what it hears.
type mailServer struct {
	addr string
	tls  *tls.Config // nil: no STARTTLS
	mu   sync.Mutex
	got  []string
	auth string // offered in TLS, to ann whose password is secret; empty: none
}

func (s *mailServer) mails() []string { s.mu.Lock(); defer s.mu.Unlock(); return s.got }

func newMailServer(t *testing.T, certs ...tls.Certificate) *mailServer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &mailServer{addr: l.Addr().String()}
	if len(certs) > 0 {
		s.tls = &tls.Config{Certificates: certs, ClientAuth: tls.RequestClientCert}
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { s.talk(c) })
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return s
}

func (s *mailServer) talk(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	say := func(text string) { _, _ = io.WriteString(c, text+"\r\n") }
	say("220 test")
	var heard strings.Builder
	data, inTLS := false, false
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		heard.WriteString(strings.ReplaceAll(line, "\r\n", "\n"))
		switch {
		case data && line == ".\r\n":
			data = false
			s.mu.Lock()
			s.got = append(s.got, heard.String())
			s.mu.Unlock()
			say("250 taken")
		case data:
		case strings.HasPrefix(line, "DATA"):
			data = true
			say("354 go on")
		case strings.HasPrefix(line, "AUTH LOGIN"):
			say("334 VXNlcm5hbWU6")
		case line == "YW5u\r\n": // ann
			say("334 UGFzc3dvcmQ6")
		case line == "AUTH PLAIN AGFubgBzZWNyZXQ=\r\n", line == "c2VjcmV0\r\n": // secret
			say("235 welcome")
		case strings.HasPrefix(line, "AUTH PLAIN"), line == "d3Jvbmc=\r\n": // wrong
			say("535 no")
		case line == "*\r\n":
			say("501 as you like")
		case strings.HasPrefix(line, "EHLO") && inTLS:
			s.mu.Lock()
			auth := s.auth
			s.mu.Unlock()
			if len(c.(*tls.Conn).ConnectionState().PeerCertificates) > 0 {
				heard.WriteString("certificate shown\n")
			}
			say("250-test\r\n250 AUTH " + auth)
		case strings.HasPrefix(line, "EHLO") && s.tls != nil:
			say("250-test\r\n250 STARTTLS")
		case strings.HasPrefix(line, "STARTTLS"):
			say("220 go on")
			c = tls.Server(c, s.tls)
			in, inTLS = bufio.NewReader(c), true
		case strings.HasPrefix(line, "QUIT"):
			say("221 bye")
			return
		default:
			say("250 fine")
		}
	}
}
